"""`rover otlp-receiver`, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Start = Callable[..., "subprocess.Popen[str]"]
MAIN = "import sys; from rover.cli import main; main(sys.argv[1:])"
FREE = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def run(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", MAIN, "otlp-receiver", *options]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[str, str]:
    process.send_signal(number)
    return process.communicate(timeout=20)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_json_lines_and_totals(start: Start, make_sink: Any, traffic: Any, protocol: str) -> None:
    process = start(*FREE)
    assert process.stdout is not None
    listening = json.loads(process.stdout.readline())
    address = listening["grpc" if protocol == "grpc" else "http"]
    signals = ["traces", "metrics", "logs"]
    sink = make_sink(protocol=protocol, endpoint=f"http://{address}", signals=signals)
    sink.write([traffic.exchange(traffic.connection(), f"/{n}") for n in range(3)])
    assert sink.close() == 0
    out, err = end(process)
    *items, last = map(json.loads, out.splitlines())
    spans = [item for item in items if item["signal"] == "traces"]
    assert [span["attributes"]["url.path"] for span in spans] == ["/0", "/1", "/2"]
    totals = {"traces": 3, "metrics": 1, "logs": 3}
    assert last == {"totals": {**totals, "requests": {"traces": 1, "metrics": 1, "logs": 1}}}
    assert (process.returncode, err) == (0, "")


def test_it_can_be_quiet_and_misbehave(start: Start, make_sink: Any, traffic: Any) -> None:
    process = start(*FREE, "--quiet", "--refuse", "404", "--header", "a=b")
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["http"]

    def status(path: str, **headers: str) -> int:
        request = urllib.request.Request(f"http://{address}{path}", b"", headers, method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=10)
        with raised.value as answer:
            return answer.code

    kind = {"content-type": "application/x-protobuf"}
    assert status("/v1/traces", **kind) == 401
    assert status("/v1/x", **kind, a="b") == 404
    assert status("/v1/traces", a="b") == 415
    assert status("/v1/traces", **kind, a="b") == 404
    out, err = end(process, signal.SIGINT)
    assert json.loads(out)["totals"]["traces"] == 0
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--refuse", "x"), "--refuse 'x'"),
        (("--cert", "/nowhere", "--key", "/nowhere"), "/nowhere"),
        (("--http", "127.0.0.1:99999"), "--http '127.0.0.1:99999'"),
    ],
)
def test_wrong_use_is_a_line(start: Start, options: tuple[str, ...], words: str) -> None:
    out, err = start(*FREE, *options).communicate(timeout=20)
    assert words in err
    assert err.count("\n") == 1
    assert not out


def test_the_sender_does_without_grpcio() -> None:
    """It would take 50 MB, and threads of its own."""
    code = "import sys, rover_plugin_sink_otlp.sink; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
