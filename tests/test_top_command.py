"""`rover top` and `rover map` as people use them: in a terminal, in a pipe, over recordings and captures."""

from __future__ import annotations

import collections
import fcntl
import json
import math
import os
import pty
import random
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captures import ACK, PSH, SECOND, SYN, Segment, write_capture
from harness import DEADLINE, wait_until
from rover import Address, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.writer import Writer
from tmux import Tmux

ROVER = [sys.executable, "-m", "rover"]
UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
STATUSES = [*[200] * 90, 404, 404, 503, 500]


def recording(path: Path, count: int, connections: int = 50) -> Path:
    """Exchanges of several routes, statuses and sizes, whose durations are of four magnitudes."""
    draw = random.Random(count)
    writer = Writer(str(path), replace=True)
    writer.begin(1_700_000_000 * SECOND, 0)
    for pid in (41, 42):
        writer.process(Process(pid=pid, name="server"))
    for number in range(connections):
        writer.opened(
            Opened(
                connection=number + 1,
                time=1,
                local=Address(host="10.0.0.2", port=80),
                remote=Address(host=f"10.0.1.{number % 7}", port=40_000 + number),
                role=Role.SERVER,
                pid=41 + number % 2,
                late=False,
                detail=None,
            )
        )
    moved = collections.Counter[tuple[int, Direction]]()
    sequence = collections.Counter[int]()

    def call(connection: int, direction: Direction, start: int, data: bytes) -> None:
        writer.data(
            Detail(
                connection=connection,
                sequence=sequence[connection],
                start=start,
                end=start + 10,
                position=moved[connection, direction],
                size=len(data),
                pid=41 + (connection - 1) % 2,
                fd=3,
                syscall=Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE,
                direction=direction,
                error=0,
            ),
            data,
        )
        sequence[connection] += 1
        moved[connection, direction] += len(data)

    free = [100] * connections
    for _ in range(count):
        at = draw.randrange(connections)
        took = int(draw.lognormvariate(13, 2))
        target = f"/{draw.choice('abcdef')}/{draw.choice('xyz')}?q={draw.randrange(1000)}"
        call(
            at + 1, Direction.INGRESS, free[at], f"GET {target} HTTP/1.1\r\nHost: h.example\r\n\r\n".encode()
        )
        body = b"x" * draw.randrange(100)
        head = f"HTTP/1.1 {draw.choice(STATUSES)} Status\r\nContent-Length: {len(body)}\r\n\r\n"
        call(at + 1, Direction.EGRESS, free[at] + took, head.encode() + body)
        free[at] += took + 1000
    writer.end(max(free) + SECOND)
    assert writer.failure == ""
    return path


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """To its end, in a pipe."""
    return subprocess.run(
        [*ROVER, *map(str, arguments)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
        **options,
    )


def table(text: str) -> dict[str, dict[str, str]]:
    """A table as text, by the name of each row."""
    head, *lines = text.splitlines()
    columns = head.split()[1:]
    rows = {}
    for line in lines:
        cells = line.rsplit(maxsplit=len(columns))
        rows[cells[0]] = dict(zip(columns, cells[1:], strict=True))
    return rows


def nanoseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


NAMES: dict[str, Callable[[dict[str, Any]], str]] = {
    "route": lambda line: f"GET {line['url.path']}",
    "status": lambda line: str(line["http.response.status_code"]),
    "process": lambda line: f"server[{line['process.pid']}]",
    "peer": lambda line: line["client.address"],
}


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of so many exchanges."""
    return recording(tmp_path_factory.mktemp("top") / "x.rec", 10_000)


@pytest.fixture(scope="module")
def json_lines(ten_thousand: Path) -> list[dict[str, Any]]:
    """What `jsonl` says of it."""
    done = run("replay", ten_thousand, "--sink", "jsonl", "--set", "sink.jsonl.syscalls=false")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("group", NAMES)
def test_figures_are_those_of_the_json_lines(
    ten_thousand: Path, json_lines: list[dict[str, Any]], group: str
) -> None:
    """Computed apart: counts are exact, quantiles are within 3 %."""
    assert len(json_lines) == 10_000
    compare(run("top", ten_thousand, "--by", group), json_lines, NAMES[group])


def compare(
    done: subprocess.CompletedProcess[str], lines: list[dict[str, Any]], name: Callable[[dict[str, Any]], str]
) -> None:
    assert done.returncode == 0, done.stderr
    apart = collections.defaultdict(list)
    for line in lines:
        apart[name(line)].append(line)
    apart["total"] = lines
    shown = table(done.stdout)
    assert shown.keys() == apart.keys()
    for key, row in shown.items():
        of = apart[key]
        assert int(row["COUNT"]) == len(of)
        assert int(row["ERRORS"]) == len([line for line in of if line["http.response.status_code"] >= 500])
        assert int(row["BYTES"]) == sum(
            line[f"http.{message}.{part}.size"]
            for line in of
            for message in ("request", "response")
            for part in ("header", "body")
        )
        durations = sorted(line["duration_ns"] for line in of)
        for column, share in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99)):
            expected = durations[math.ceil(share * len(durations)) - 1]
            assert nanoseconds(row[column]) == pytest.approx(expected, rel=0.03)


def test_the_total_is_told_and_so_are_the_totals(ten_thousand: Path) -> None:
    done = run("top", ten_thousand, "--filter", "status >= 500", "--by", "status", "--sort", "name")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["STATUS", "500", "503", "total"]
    assert "rover: seen 10000 exchanges; 50 connections" in done.stderr
    assert "rover: top logged 10000, lost 0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["top", "--by", "nothing"], "--by 'nothing': must be one of route, host"),
        (["top", "--sort", "p42"], "--sort 'p42': must be one of name, rate"),
        (["top", "--filter", "status >"], "column"),
        (["top", "/nowhere"], "/nowhere"),
        (["map", "--filter", "status >"], "column"),
        (["map", "--dot", "-", "--mermaid", "-"], "standard output is for one"),
        (["map", "--dot", "/nowhere/x"], "cannot write /nowhere/x"),
        (["map", "/nowhere"], "/nowhere"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode in (1, 2)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert said in done.stderr


def test_a_reader_that_leaves_ends_it_in_silence(ten_thousand: Path) -> None:
    shell = f"{' '.join(ROVER)} top {ten_thousand} --by connection | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.stdout.splitlines()[0].startswith("CONNECTION")
    assert "Traceback" not in done.stderr


def capture(path: Path) -> Path:
    """Two exchanges of a client with a server; the second target would steer a terminal."""
    up = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + (40_000).to_bytes(2, "big") + (80).to_bytes(2, "big")
    down = up[4:8] + up[:4] + up[10:] + up[8:10]
    segments = [Segment(SECOND, up, 0, 0, SYN, 0, b""), Segment(SECOND, down, 0, 1, SYN | ACK, 0, b"")]
    sent, answered, time = 1, 1, SECOND
    for target in (b"/plain", b"/\x1b]0;pwned\x07\xc2\x9b31m"):
        for flow, data in (
            (up, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            (down, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ):
            time += SECOND // 100
            at, acknowledged = (sent, answered) if flow is up else (answered, sent)
            segments.append(Segment(time, flow, at, acknowledged, PSH | ACK, len(data), data))
            if flow is up:
                sent += len(data)
            else:
                answered += len(data)
    return write_capture(path, segments)


def test_captures_and_several_files(tmp_path: Path) -> None:
    for name in ("a.pcap", "b.pcap"):
        capture(tmp_path / name)
    done = run("top", "a.pcap", "b.pcap", cwd=tmp_path)
    assert table(done.stdout)["GET /plain"]["COUNT"] == "2"
    assert "\x1b" not in done.stdout
    assert "\x9b" not in done.stdout
    done = run("map", "a.pcap", "b.pcap", cwd=tmp_path)
    (line,) = done.stdout.splitlines()[1:]
    client, server, protocol, port, _, count, *_ = line.split()
    assert (client, server, protocol, port, count) == ("10.0.0.1", "10.0.0.2", "http", "80", "4")


def test_a_map_as_files(ten_thousand: Path, tmp_path: Path) -> None:
    dot, mermaid = tmp_path / "m.dot", tmp_path / "m.mmd"
    dot.write_text("of before, and longer than nothing")
    done = run("map", ten_thousand, "--dot", dot, "--mermaid", mermaid)
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["server"] * 7
    assert dot.read_text().startswith("digraph rover {")
    assert mermaid.read_text().startswith("flowchart LR")
    assert dot.read_text().count(" -> ") == mermaid.read_text().count(" -->") == 7
    assert run("map", ten_thousand, "--dot", "-").stdout == dot.read_text()


# -- in a terminal ---------------------------------------------------------------------------------


@pytest.fixture
def start_tmux(tmp_path: Path) -> Iterator[Callable[..., Tmux]]:
    """Starts commands in terminals."""
    started: list[Tmux] = []

    def start(*command: Any, **size: int) -> Tmux:
        directory = tmp_path / f"tmux{len(started)}"
        directory.mkdir()
        started.append(Tmux(directory, [*ROVER, *map(str, command)], **size))
        return started[-1]

    yield start
    for tmux in started:
        tmux.__exit__(None, None, None)


def test_a_table_that_keys_change(ten_thousand: Path, start_tmux: Callable[..., Tmux]) -> None:
    terminal = start_tmux("top", ten_thousand)

    def whole(screen: list[str]) -> bool:
        counts = [int(line.split()[3]) for line in screen[3:21] if line.startswith("GET ")]
        return sum(counts) == 10_000 and counts == sorted(counts, reverse=True)

    screen = terminal.wait_for("10000 exchanges", "GET /a/x", "q quit", also=whole)
    assert screen[0].startswith("rover top: ")
    assert screen[2].split() == ["ROUTE", "RATE", "COUNT", "ERRORS", "P50", "P95", "P99", "BYTES"]
    terminal.type("gg\r")  # at once: each key is of what the one before it brought
    terminal.wait_for("the last of process server[4", "bytes  took")
    terminal.press("Escape")
    terminal.wait_for("by process", "server[41]", "server[42]")
    terminal.press("G", "G", "G", "G")
    terminal.wait_for("by status", "503")
    terminal.press("s")
    terminal.wait_for("sorted by errors")
    terminal.press("/")
    terminal.wait_for("filter: _")
    terminal.type("status = 503")
    terminal.press("Enter")
    terminal.wait_for("column")
    terminal.press("C-u")
    terminal.type("status == 503")
    terminal.press("Enter")
    # The file is read again.
    expected = table(run("top", ten_thousand, "--by", "status").stdout)["503"]["COUNT"]
    terminal.wait_for(
        "only status == 503",
        f"{expected} exchanges",
        also=lambda screen: [line.split()[:1] for line in screen[3:5]] == [["503"], []],
    )
    terminal.press("Enter")
    exchange = re.compile(
        r"503 .* GET /[a-f]/[xyz]\?q=.*\n +server\[4[12]\]  10\.0\.1\.\d:\d+ > 10\.0\.0\.2:80 .*\n"
        " +read +in .*took"
    )
    terminal.wait_for(
        "the last of status 503", "Esc back", also=lambda screen: exchange.search("\n".join(screen))
    )
    terminal.press("Escape")
    terminal.wait_for("by status")
    terminal.press("q")
    code, text = terminal.ended()
    assert code == 0
    assert "top logged" in text


def test_standard_input_is_read_while_keys_come_from_the_terminal(ten_thousand: Path, tmp_path: Path) -> None:
    """A filter is of what comes from then on: what a pipe gave does not come again."""
    shell = f"(cat {ten_thousand}; sleep 1000) | {' '.join(ROVER)} top -"
    with Tmux(tmp_path, ["sh", "-c", shell]) as terminal:
        terminal.wait_for("rover top: standard input, reading  10000 exchanges")
        terminal.press("c")
        terminal.wait_for(" 0 exchanges")
        terminal.press("q")
        terminal.wait_for("top logged 10000, lost 0")


def test_a_narrow_terminal_and_one_that_gets_narrow(
    ten_thousand: Path, start_tmux: Callable[..., Tmux]
) -> None:
    terminal = start_tmux("top", ten_thousand, width=120, height=30)
    terminal.wait_for("10000 exchanges", "BYTES")
    terminal.resize(40, 10)
    terminal.wait_for("q quit", also=lambda screen: screen[2].split() == ["ROUTE", "RATE", "P99"])
    terminal.resize(12, 4)
    terminal.wait_for("rover top")
    terminal.press("q")
    terminal.resize(80, 24)
    assert terminal.ended()[0] == 0


def test_what_strangers_sent_does_not_steer_the_terminal(
    tmp_path: Path, start_tmux: Callable[..., Tmux]
) -> None:
    terminal = start_tmux("top", capture(tmp_path / "x.pcap"), "--set", "plugin.routes.derive=false")
    terminal.wait_for("2 exchanges", "GET /plain", r"GET /\x1b]0;pwned\x07")
    assert "pwned" not in terminal._ask("display-message", "-p", "#{pane_title}")
    terminal.press("Enter")  # on that row
    terminal.wait_for("the last of route", r"200    10.0ms  GET /\x1b]0;pwned")
    terminal.press("C-c")
    assert terminal.ended()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_give_the_terminal_back(
    ten_thousand: Path, start_tmux: Callable[..., Tmux], number: int
) -> None:
    terminal = start_tmux("top", ten_thousand)
    terminal.wait_for("10000 exchanges")
    os.kill(terminal.pid, number)
    if number == signal.SIGHUP:  # it is for files, and there are none
        terminal.press("g")
        terminal.wait_for("by host")
        terminal.press("q")
    code, text = terminal.ended()
    assert code == 0
    assert "seen 10000 exchanges" in text


def test_signals_that_come_twice_give_it_back_too(
    ten_thousand: Path, start_tmux: Callable[..., Tmux]
) -> None:
    terminal = start_tmux("top", ten_thousand)
    terminal.wait_for("10000 exchanges")
    for _ in range(2):
        os.kill(terminal.pid, signal.SIGTERM)
    terminal.ended()


def test_what_is_said_meanwhile_is_in_the_picture_and_told_at_the_end(
    ten_thousand: Path, tmp_path: Path, start_tmux: Callable[..., Tmux]
) -> None:
    (tmp_path / "bad.rec").write_text("nothing that is known")
    terminal = start_tmux("top", ten_thousand, tmp_path / "bad.rec", width=150)
    terminal.wait_for("10000 exchanges", "neither a capture nor a recording")
    terminal.press("q")
    code, text = terminal.ended()
    assert code == 2
    assert "rover: " in text
    assert "neither a capture nor a recording" in text.partition("ended with")[0]


BROKEN = """
import sys
import termios
import rover_plugin_top.screen as screen
def frame(*arguments):
    raise ZeroDivisionError("a bug")
screen.frame = frame
from rover.cli import main
sys.argv = ["rover", *sys.argv[1:]]
main()
"""


def test_a_bug_gives_the_terminal_back(ten_thousand: Path, tmp_path: Path) -> None:
    with Tmux(tmp_path, [sys.executable, "-c", BROKEN, "top", str(ten_thousand)]) as terminal:
        code, text = terminal.ended()
    assert code == 1
    assert "rover: the view failed: ZeroDivisionError: a bug" in text


def test_without_a_terminal_that_can_be_drawn_on_it_is_text(ten_thousand: Path, tmp_path: Path) -> None:
    command = ["env", "TERM=dumb", *ROVER, "top", str(ten_thousand), "--by", "status"]
    with Tmux(tmp_path, command) as terminal:
        code, text = terminal.ended()
    assert code == 0
    assert re.search(r"^total +\S+ +10000 ", text, re.MULTILINE)


def test_a_terminal_that_takes_nothing_holds_up_no_end(ten_thousand: Path) -> None:
    """Its reader hangs. The terminal's modes are as before; of its screen nobody can tell it anything."""
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 300, 0, 0))
    before = termios.tcgetattr(terminal)
    # The first terminal that the leader of a new session opens is that of the session.
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <$TTY >$TTY', "sh", *ROVER, "top", str(ten_thousand)],
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "TTY": os.ttyname(terminal)},
        start_new_session=True,
    )

    def writes() -> bool:
        """Whether one of its threads is in a write to standard output, on x86-64 or arm64."""
        calls = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/syscall")]
        return any(call.startswith(("1 0x1 ", "64 0x1 ")) for call in calls)

    try:
        wait_until(writes, "a write that hangs")
        assert termios.tcgetattr(terminal) != before
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        assert b"rover: seen " in said
        assert termios.tcgetattr(terminal) == before
    finally:
        process.kill()
        os.close(keyboard)
        os.close(terminal)


def test_a_terminal_that_is_closed_ends_it(ten_thousand: Path, start_tmux: Callable[..., Tmux]) -> None:
    terminal = start_tmux("top", ten_thousand)
    terminal.wait_for("10000 exchanges")
    pid = terminal.pid
    terminal.__exit__(None, None, None)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")
