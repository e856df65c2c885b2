"""Secrets that were sent and health checks that were asked, by one configuration in no sink's output.

A sink that is new has a place in SINKS: how it is configured, and what it put out.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from captures import Line, Segment, write_capture
from harness import free_port, wait_until
from oap_witness import OapReceiver
from otlp_witness import OtlpReceiver

SECRET = "s3cr3t"
SHOWN = "sh0wn"
"""What is no secret, and stays."""
REQUESTS = [
    (f"/orders?page=2&access_token={SECRET}&q={SHOWN}", []),
    (f"/login?next=%2Fback%3Ftoken%3D{SECRET}%26page%3D2", []),
    (f"http://user:{SECRET}@a.example/{SHOWN}", []),
    (f"/reset/{SECRET}/done", []),
    (f"/download;jsessionid={SECRET}/{SHOWN}.pdf?sig={SECRET}", []),
    (f"/{SHOWN}", [("authorization", f"Bearer {SECRET}"), ("cookie", f"a={SECRET}"), ("x-tag", SHOWN)]),
    (f"/{SHOWN}", [("referer", f"http://a.example/?code={SECRET}"), ("x-api-key", SECRET)]),
]
ANSWERED = [("set-cookie", f"a={SECRET}"), ("set-cookie", f"b={SECRET}"), ("location", f"/?otp={SECRET}")]
HEALTH = "/healthz"
EXCHANGES = 2 * (len(REQUESTS) + 2)
CONFIGURATION = f"""
[headers]
request = ["Authorization", "cookie", "referer", "x-api-key", "x-tag"]
response = ["set-cookie", "location"]

[plugin.mask]
paths = ["/reset/{{token}}"]

[plugin.filter.drop]
health = 'path == "{HEALTH}"'

[plugin.filter.sample]
"status >= 400" = "0 %"
"""


def http1(line: Line) -> None:
    for target, fields in [*REQUESTS, (HEALTH, []), (HEALTH, [])]:
        said = "".join(f"{name.title()}: {value}\r\n" for name, value in [("host", "a.example"), *fields])
        line.client(f"GET {target} HTTP/1.1\r\n{said}\r\n".encode())
        said = "".join(f"{name}: {value}\r\n" for name, value in ANSWERED)
        line.server(f"HTTP/1.1 200 OK\r\n{said}Content-Length: 2\r\n\r\nok".encode())


def frames(*sent: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in sent)


def http2(line: Line) -> None:
    ask, answer = Encoder(), Encoder()
    line.client(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames(SettingsFrame(0)))
    line.server(frames(SettingsFrame(0)))
    for number, (target, fields) in enumerate([*REQUESTS, (HEALTH, []), (HEALTH, [])]):
        pseudo = [(":method", "GET"), (":scheme", "http"), (":path", target), (":authority", "a.example")]
        block = ask.encode([*pseudo, *fields])
        line.client(frames(HeadersFrame(2 * number + 1, block, flags=["END_HEADERS", "END_STREAM"])))
        head = HeadersFrame(
            2 * number + 1, answer.encode([(":status", "200"), *ANSWERED]), flags=["END_HEADERS"]
        )
        line.server(frames(head, DataFrame(2 * number + 1, b"ok", flags=["END_STREAM"])))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A connection of each protocol."""
    segments: list[Segment] = []
    for port, protocol in enumerate((http1, http2), 40_000):
        line = Line(segments, port)
        protocol(line)
        line.close()
    return write_capture(tmp_path_factory.mktemp("secrets") / "all.pcap", segments)


Replay = Callable[..., tuple[str, str]]
"""Options to what went to standard output, and the totals. `meanwhile` is called before the capture ends."""


@pytest.fixture
def replay(tmp_path: Path, capture: Path) -> Replay:
    configuration = tmp_path / "rover.toml"
    configuration.write_text(CONFIGURATION)

    def run(*options: str, meanwhile: Callable[[], object] | None = None) -> tuple[str, str]:
        file = "-" if meanwhile else str(capture)
        argv = [sys.executable, "-m", "rover", "replay", file, "--config", str(configuration), *options]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(argv, **pipes) as process:
            try:
                if meanwhile:
                    assert process.stdin is not None
                    process.stdin.write(capture.read_bytes())
                    process.stdin.flush()
                    meanwhile()
                out, told = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0, told.decode()
        return out.decode(), told.decode()

    return run


Sink = Callable[[Replay, Path, Callable[..., OapReceiver], tuple[str, ...]], tuple[str, str]]
"""Replays with these options into a sink; what that put out, and the totals."""


def console(replay: Replay, directory: Path, start: object, options: tuple[str, ...]) -> tuple[str, str]:
    return replay("--sink=console", *options)


def jsonl(replay: Replay, directory: Path, start: object, options: tuple[str, ...]) -> tuple[str, str]:
    lines = directory / "lines"
    _, told = replay("--sink=jsonl", f"--set=sink.jsonl.path={lines}", *options)
    return lines.read_text(), told


def oap(
    replay: Replay, directory: Path, start: Callable[..., OapReceiver], options: tuple[str, ...]
) -> tuple[str, str]:
    receiver = start()
    _, told = replay("--sink=oap", f"--set=sink.oap.address=127.0.0.1:{receiver.port}", *options)
    return json.dumps(receiver.messages()), told


def otlp(replay: Replay, directory: Path, start: object, options: tuple[str, ...]) -> tuple[str, str]:
    receiver = OtlpReceiver()
    try:
        _, told = replay("--sink=otlp", "--set=sink.otlp.spool=false", *receiver.options(), *options)
    finally:
        receiver.stop()
    signals = ("traces", "metrics", "logs")
    assert all(map(receiver.items, signals))
    return json.dumps([receiver.items(signal) for signal in signals]), told


def prometheus(replay: Replay, directory: Path, start: object, options: tuple[str, ...]) -> tuple[str, str]:
    """Its page, which is there as long as the capture goes on."""
    port = free_port()
    page = f"http://127.0.0.1:{port}/metrics"
    found: list[str] = []

    def is_whole() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=5) as response:
            found.append(response.read().decode())
        return bool(found) and f"rover_exchanges_total {EXCHANGES}\n" in found[-1]

    options = ("--sink=prometheus", f"--set=sink.prometheus.port={port}", *options)
    _, told = replay(*options, meanwhile=lambda: wait_until(is_whole, "every exchange on the page"))
    return found[-1], told


SINKS: dict[str, Sink] = {
    "console": console,
    "jsonl": jsonl,
    "oap": oap,
    "otlp": otlp,
    "prometheus": prometheus,
}
WITHOUT_TARGETS = ("prometheus",)
"""Sinks that tell routes alone."""


@pytest.mark.parametrize("name", SINKS)
def test_no_secret_and_no_health_check_comes_out(
    name: str, replay: Replay, tmp_path: Path, start_receiver: Callable[..., OapReceiver]
) -> None:
    """With --no-mask the same secrets do: they were there to be found."""
    out, told = SINKS[name](replay, tmp_path, start_receiver, ())
    assert SECRET not in out
    assert HEALTH not in out
    assert f"rover: seen {EXCHANGES} exchanges" in told
    assert "rover: 4 exchanges dropped (filter health 4)" in told
    assert re.search(rf"^rover: {name} logged {EXCHANGES - 4}, lost 0$", told, re.MULTILINE)
    if name not in WITHOUT_TARGETS:
        assert SHOWN in out
        unmasked, _ = SINKS[name](replay, tmp_path, start_receiver, ("--no-mask",))
        assert SECRET in unmasked


def test_all_else_is_told(replay: Replay, tmp_path: Path) -> None:
    """What a line has of each request, of either protocol."""
    out, _ = jsonl(replay, tmp_path, None, ())
    lines = [json.loads(line) for line in out.splitlines()]
    for version in ("1.1", "2"):
        told = [line for line in lines if line["network.protocol.version"] == version]
        assert [line["url.original"] for line in told] == [
            f"/orders?page=2&access_token=REDACTED&q={SHOWN}",
            "/login?next=REDACTED",
            f"http://REDACTED:REDACTED@a.example/{SHOWN}",
            "/reset/REDACTED/done",
            f"/download;jsessionid=REDACTED/{SHOWN}.pdf?sig=REDACTED",
            f"/{SHOWN}",
            f"/{SHOWN}",
        ]
        fields = {name: value for name, value in told[5].items() if ".header." in name}
        assert {name: value for name, value in fields.items() if not name.endswith(".size")} == {
            "http.request.header.host": ["a.example"],
            "http.request.header.authorization": ["REDACTED"],
            "http.request.header.cookie": ["REDACTED"],
            "http.request.header.x-tag": [SHOWN],
            "http.response.header.set-cookie": ["REDACTED", "REDACTED"],
            "http.response.header.location": ["/?otp=REDACTED"],
        }
        assert told[6]["http.request.header.referer"] == ["http://a.example/?code=REDACTED"]
        assert told[6]["http.request.header.x-api-key"] == ["REDACTED"]


def test_an_expression_sees_what_was_sent(replay: Replay) -> None:
    """It is asked before secrets are masked."""
    out, told = replay("--sink=console", "--filter", f'"{SECRET}" in http.request.header.authorization')
    assert (out.count(" GET "), SECRET in out) == (2, False)
    assert "rover: 16 exchanges dropped (filter keep 12, filter health 4)" in told


def test_a_wrong_expression_is_one_line(replay: Replay, capture: Path) -> None:
    argv = [sys.executable, "-m", "rover", "replay", str(capture), "--filter", "status => 500"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "rover: plugin.filter.keep: column 8, at '=> 500': write >=\n"
