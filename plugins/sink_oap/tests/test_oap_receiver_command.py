"""`rover oap-receiver`, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rover_plugin_sink_oap.backend import Backend
from rover_plugin_sink_oap.messages import EBPFAccessLogMessage
from rover_plugin_sink_oap.settings import configure

Start = Callable[..., "subprocess.Popen[str]"]
MAIN = "import sys; from rover.cli import main; main(sys.argv[1:])"


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def run(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", MAIN, "oap-receiver", "--listen", "127.0.0.1:0", *options]
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


def test_json_lines_and_totals(start: Start, make_sink: Any, traffic: Any) -> None:
    process = start("--json")
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["listening"]
    sink = make_sink(address)
    sink.write([traffic.exchange(traffic.connection(), f"/{n}") for n in range(3)])
    assert sink.close() == 0
    out, err = end(process)
    *messages, last = map(json.loads, out.splitlines())
    assert [each["protocolLog"]["http"]["request"]["path"] for each in messages] == ["/0", "/1", "/2"]
    assert messages[0]["node"]["name"] == "host"
    totals = last["totals"]
    assert (totals["exchanges"], totals["calls"], totals["broken"]) == (3, {"read": 3, "write": 3}, {})
    assert (process.returncode, err) == (0, "")


def test_lines_for_people(start: Start, make_sink: Any, traffic: Any) -> None:
    process = start()
    assert process.stdout is not None
    address = process.stdout.readline().removeprefix("listening on ").strip()
    sink = make_sink(address)
    sink.write([traffic.exchange(traffic.connection(), "/\x1b[31mred")])
    assert sink.close() == 0
    out, _ = end(process, signal.SIGINT)
    line, totals = out.splitlines()
    assert line.startswith(
        "server  web (web@host) <- 10.0.0.2 (10.0.0.2)  HTTP_1  GET /\\x1b[31mred 200  read write"
    )
    assert totals.startswith("1 stream, 1 message, 1 exchange, 2 socket calls (read 1, write 1)")


def test_a_broken_rule_is_told_and_is_exit_code_1(start: Start) -> None:
    process = start("--quiet")
    assert process.stdout is not None
    address = process.stdout.readline().removeprefix("listening on ").strip()
    message = EBPFAccessLogMessage()
    message.kernelLogs.add()
    Backend(configure({"address": [address]})).send([message.SerializeToString()])
    out, err = end(process)
    assert process.returncode == 1
    assert "rover: stream 1: node-first:" in err
    assert "3 rules broken (connection-known 1, empty-log 1, node-first 1)" in out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--refuse", "MAYBE"], 2, "MAYBE"),
        (["--cert", "x"], 2, "--key"),
        (["--cert", "/nowhere/x", "--key", "/nowhere/y"], 2, "/nowhere/"),
        (["--listen", "192.0.2.1:1"], 1, "cannot listen on 192.0.2.1:1"),
    ],
)
def test_wrong_use_is_one_line(start: Start, options: list[str], code: int, said: str) -> None:
    process = start(*options)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.count("\n")) == (code, 1)
    assert said in err


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        (["--refuse", "UNAVAILABLE"], "failed_unavailable"),
        (["--reset-after", "1"], "failed_cancelled"),
        (["--authentication", "secret"], "failed_unauthenticated"),
        (["--delay", "60"], "failed_deadline_exceeded"),
    ],
)
def test_faults(
    start: Start, make_sink: Any, traffic: Any, wait_until: Any, options: list[str], failure: str
) -> None:
    process = start("--json", *options)
    assert process.stdout is not None
    sink = make_sink(json.loads(process.stdout.readline())["listening"], timeout=2.0)
    sink.write([traffic.exchange(traffic.connection()) for _ in range(3)])
    wait_until(lambda: sink.counters().get(failure, 0) >= 1)
    out, _ = end(process)
    assert process.returncode == 0
    totals = json.loads(out.splitlines()[-1])["totals"]
    assert (totals["exchanges"], totals["unanswered"] > 0) == (0, True)


def test_the_plugin_is_light_until_it_is_used() -> None:
    code = (
        "import sys, rover_plugin_sink_oap as p; p.register_sinks();"
        "sys.exit(any(module in sys.modules for module in ('grpc', 'h2', 'google.protobuf')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_sender_does_without_grpcio() -> None:
    code = "import sys, rover_plugin_sink_oap.sink; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
