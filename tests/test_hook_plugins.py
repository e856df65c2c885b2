"""The hook plugins that the guide shows, installed and run: no sink shows what they drop and mask, in any
protocol, and the totals add up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from captures import Line, Segment, write_capture
from harness import Nginx, curl
from oap_witness import OapReceiver, exchanges_taken
from rover import Address, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.writer import Writer

GUIDE = Path(__file__).parent.parent / "docs/plugins.md"
SECRET = "tok3n"
TARGETS = ("/healthz", f"/orders?key={SECRET}", "/plain", f"http://a.example/?{SECRET}", f"/healthz?{SECRET}")
MASKED = ["/orders", "/plain", "http://a.example/"]
"""What is left of them."""

RPC = """
from rover import NEED_MORE, Exchange, ProtocolSpec, Verdict, hookimpl

class Rpc:
    role, asked, number = None, b"", 0

    def decode(self, direction, buffer, now):
        end = buffer.data.find(b"\\n", buffer.offset)
        if end < 0:
            return NEED_MORE
        line, start = bytes(buffer.data[buffer.offset : end]), buffer.since
        buffer.consume(end + 1 - buffer.offset, self.number)
        if line.startswith(b"call "):
            self.asked = line[5:].decode()
            return self.decode(direction, buffer, now)
        self.number += 1
        path, _, query = self.asked.partition("?")
        attributes = {"url.original": self.asked, "url.path": path, "url.query": query}
        return Exchange(owner=self.number - 1, start=start, end=now, name="rpc", attributes=attributes)

    def expire(self, now):
        return ()

    close = expire

@hookimpl
def register_protocols():
    sniff = lambda data: Verdict.YES if data.startswith((b"call ", b"done")) else Verdict.NO
    return [ProtocolSpec("rpc", sniff, lambda connection, settings, upgrade: Rpc())]
"""
"""A stranger's protocol, of lines."""


def shown(hook: str) -> str:
    """The program of the guide that implements the hook."""
    programs = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (program,) = [program for program in programs if f"def {hook}(" in program]
    return str(program)


def frames(*sent: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in sent)


def http1() -> list[tuple[bytes, bytes]]:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    return [(f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode(), answer) for target in TARGETS]


def http2() -> list[tuple[bytes, bytes]]:
    ask, answer = Encoder(), Encoder()
    turns = []
    for number, target in enumerate(TARGETS):
        opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames(SettingsFrame(0)) if number == 0 else b""
        fields = [(":method", "GET"), (":scheme", "http"), (":path", target), (":authority", "a.example")]
        request = HeadersFrame(2 * number + 1, ask.encode(fields), flags=["END_HEADERS", "END_STREAM"])
        head = HeadersFrame(2 * number + 1, answer.encode([(":status", "200")]), flags=["END_HEADERS"])
        body = DataFrame(2 * number + 1, b"ok", flags=["END_STREAM"])
        answered = frames(SettingsFrame(0)) if number == 0 else b""
        turns.append((opening + frames(request), answered + frames(head, body)))
    return turns


def rpc() -> list[tuple[bytes, bytes]]:
    return [(f"call {target}\n".encode(), b"done\n") for target in TARGETS]


PROTOCOLS = (http1, http2, rpc)
EXCHANGES = len(PROTOCOLS) * len(TARGETS)


def converse(path: Path) -> Path:
    """A connection of each protocol, in a capture."""
    segments: list[Segment] = []
    for port, protocol in enumerate(PROTOCOLS, 40_000):
        line = Line(segments, port)
        for request, response in protocol():
            line.client(request)
            line.server(response)
        line.close()
    return write_capture(path, segments)


def install(directory: Path, **programs: str) -> dict[str, str]:
    """Plugins of these names; returns the environment that has them."""
    for name, program in programs.items():
        (directory / f"{name}.py").write_text(program)
        information = directory / f"{name}-1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (information / "entry_points.txt").write_text(f"[rover]\n{name} = {name}\n")
    return {**os.environ, "PYTHONPATH": str(directory)}


def rover(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "rover", *map(str, arguments)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)


def everything(
    directory: Path, environment: dict[str, str], receiver: OapReceiver, *settings: str
) -> tuple[str, list[str]]:
    """What every sink put out of the conversations, and the totals."""
    log = directory / "log"
    log.unlink(missing_ok=True)
    sets = [f"sink.jsonl.path={log}", f"sink.oap.address=127.0.0.1:{receiver.port}", *settings]
    sinks = [f"--sink={name}" for name in ("console", "jsonl", "oap")]
    ran = rover(
        environment, "replay", converse(directory / "all.pcap"), *sinks, *(f"--set={each}" for each in sets)
    )
    assert ran.returncode == 0, ran.stderr
    taken = json.dumps(receiver.messages())
    return ran.stdout + log.read_text() + taken, ran.stderr.splitlines()


def added_up(told: list[str]) -> dict[str, int]:
    """What each sink logged, and what was dropped; seen = logged + dropped + lost of each."""
    text = "\n".join(told)
    (seen,) = re.findall(r"^rover: seen (\d+) exchanges", text, re.MULTILINE)
    dropped = re.findall(r"^rover: (\d+) exchanges? dropped \(", text, re.MULTILINE) or ["0"]
    sinks = re.findall(r"^rover: (\w+) logged (\d+), lost (\d+)", text, re.MULTILINE)
    assert len(sinks) == 3
    for _, logged, lost in sinks:
        assert int(seen) == int(dropped[0]) + int(logged) + int(lost)
    return {"seen": int(seen), "dropped": int(dropped[0]), **{name: int(n) for name, n, _ in sinks}}


def test_fifteen_lines_keep_health_checks_and_query_strings_out_of_every_sink(
    tmp_path: Path, start_receiver: Callable[..., OapReceiver]
) -> None:
    program = shown("handle_access_log")
    assert sum(bool(line.strip()) for line in program.splitlines()) <= 16, "fifteen lines and an import"
    environment = install(tmp_path, rpc=RPC)
    output, told = everything(tmp_path, environment, start_receiver())
    assert added_up(told) == {"seen": EXCHANGES, "dropped": 0, "console": 15, "jsonl": 15, "oap": 10}
    assert output.count(SECRET) > EXCHANGES
    assert output.count("/healthz") > EXCHANGES

    environment = install(tmp_path, quiet=program)
    receiver = start_receiver()
    output, told = everything(tmp_path, environment, receiver)
    assert added_up(told) == {"seen": EXCHANGES, "dropped": 6, "console": 9, "jsonl": 9, "oap": 6}
    assert "rover: 6 exchanges dropped (quiet 6)" in told
    assert SECRET not in output
    assert "/healthz" not in output
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(line["url.original"] for line in lines) == sorted(MASKED * len(PROTOCOLS))
    assert exchanges_taken(receiver.messages()).total() == 6
    receiver.finish()


def test_its_setting_is_one_like_others(tmp_path: Path, start_receiver: Callable[..., OapReceiver]) -> None:
    environment = install(tmp_path, rpc=RPC, quiet=shown("handle_access_log"))
    listed = rover(environment, "plugins", "--settings").stdout
    assert "[plugin.quiet]\n# paths of which there are no access logs\n" in listed
    assert 'paths = ["/healthz"]\n' in listed
    (row,) = [row for row in rover(environment, "plugins").stdout.splitlines() if row.startswith("quiet ")]
    assert row.split("  ")[-1].strip() == "settings, handle_access_log, startup"
    _, told = everything(tmp_path, environment, start_receiver(), "plugin.quiet.paths=/plain,/orders")
    assert added_up(told)["dropped"] == 6
    ran = rover(environment, "replay", tmp_path / "all.pcap", "--set", "plugin.quiet.path=/x")
    assert ran.returncode == 2
    assert ran.stderr == "rover: unknown setting 'plugin.quiet.path'; did you mean 'plugin.quiet.paths'?\n"


REFUSES = """
from rover import Setting, UsageError, hookimpl

@hookimpl
def register_settings():
    return [Setting("key", "", "a key")]

@hookimpl
def startup(settings):
    if not settings["plugin.strict.key"]:
        raise UsageError("plugin.strict.key is empty: set it to the key")
"""


def test_a_plugin_refuses_a_run_on_one_line(tmp_path: Path) -> None:
    environment, capture = install(tmp_path, strict=REFUSES), converse(tmp_path / "all.pcap")
    ran = rover(environment, "replay", capture)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "rover: plugin.strict.key is empty: set it to the key\n"
    assert rover(environment, "replay", capture, "--set", "plugin.strict.key=x").returncode == 0


def recording(path: Path, process: Process) -> Path:
    """One exchange of HTTP/1.1 of a process."""
    writer = Writer(str(path), replace=True)
    writer.begin(1_700_000_000_000_000_000, 0)
    writer.process(process)
    ends = Address(host="10.0.0.2", port=80), Address(host="10.0.0.1", port=40_000)
    writer.opened(
        Opened(
            connection=7,
            time=1,
            local=ends[0],
            remote=ends[1],
            role=Role.SERVER,
            pid=process.pid,
            late=False,
            detail=None,
        )
    )
    (request, response), *_ = http1()
    for number, (direction, data) in enumerate(((Direction.INGRESS, request), (Direction.EGRESS, response))):
        call = Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE
        time = 10 + 10 * number
        detail = Detail(
            connection=7,
            sequence=number,
            start=time,
            end=time + 1,
            position=0,
            size=len(data),
            pid=process.pid,
            fd=3,
            syscall=call,
            direction=direction,
            error=0,
        )
        writer.data(detail, data)
    writer.end(100)
    assert writer.failure == ""
    return path


DESCRIBES = """
from rover import hookimpl

@hookimpl
def describe_process(process):
    return {"service.name": f"{process.name} of {process.pid}"}
"""


def test_a_process_that_is_described(tmp_path: Path) -> None:
    """In JSON lines; not on the console. Of a process of a recording the guide's plugin says nothing: the one
    that has its number now is another."""
    path = recording(tmp_path / "one.rec", Process(pid=os.getpid(), name="server"))
    environment = install(tmp_path, mine=DESCRIBES, cgroups=shown("describe_process"))
    ran = rover(environment, "replay", path, "--sink", "jsonl")
    line: dict[str, Any] = json.loads(ran.stdout)
    assert line["service.name"] == f"server of {os.getpid()}"
    assert "cgroup" not in line
    assert "service" not in rover(environment, "replay", path).stdout
    assert "failed" not in ran.stderr


@pytest.mark.live
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_of_this_host_are_described_and_health_checks_dropped(
    tmp_path: Path, start_agent: Callable[..., Any], nginx: Nginx, workers: int
) -> None:
    programs = {"cgroups": shown("describe_process"), "quiet": shown("handle_access_log")}
    agent = start_agent(
        *("--pid", str(nginx.program.pid), "--port", str(nginx.port), "--workers", str(workers)),
        *("--set", "plugin.quiet.paths=/nothing"),
        env=install(tmp_path, **programs),
    )
    for _ in range(4):  # connections: workers share them
        curl(*[f"{nginx.url}/{target}" for target in (f"index.html?{SECRET}", "nothing", "moved")])
    served = agent.wait_for_exchanges(8, "server")
    assert sorted(line["url.original"] for line in served) == ["/index.html"] * 4 + ["/moved"] * 4
    for line in served:
        cgroup = Path(f"/proc/{line['process.pid']}/cgroup").read_text()
        assert cgroup.strip().endswith(f":{line['cgroup']}")
    totals = agent.finish()
    assert (totals.seen, totals.dropped, totals.logged) == (12, {"quiet": 4}, {"jsonl": 8})


@pytest.mark.live
def test_a_process_is_described_again_after_an_exec(
    tmp_path: Path, start_agent: Callable[..., Any], nginx: Nginx
) -> None:
    agent = start_agent("--port", str(nginx.port), env=install(tmp_path, mine=DESCRIBES))
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{nginx.port}; printf 'GET /moved HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    shell = subprocess.Popen(
        ["bash", "-c", f"{ask}; {ask}; exec curl -s {nginx.url}/nothing"], stdout=subprocess.DEVNULL
    )
    assert shell.wait(30) == 0
    asked = agent.wait_for_exchanges(3, "client")
    assert [(line["url.original"], line["service.name"]) for line in asked] == [
        ("/moved", f"bash of {shell.pid}"),
        ("/moved", f"bash of {shell.pid}"),
        ("/nothing", f"curl of {shell.pid}"),
    ]
    assert agent.finish().seen == 6
