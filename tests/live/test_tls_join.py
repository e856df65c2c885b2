"""Plaintext and the socket calls that carried it, of real programs: in logs and in recordings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import syscalls_of
from tls_peers import COUNT, PEERS, Place, Start, begin, check, curl, expected, run

pytestmark = pytest.mark.live

ROVER = [sys.executable, "-m", "rover"]
READS, WRITES = ("read", "recv"), ("write", "send")
RECORD = {"1.2": 29, "1.3": 22}
"""Bytes of a record besides its plaintext, with AES-GCM or ChaCha20 (21 in 1.2)."""
KEY_UPDATE = 27
"""Bytes of a record with one (RFC 8446 section 4.6.3)."""


def moved(line: dict[str, Any], names: tuple[str, ...]) -> int:
    return sum(call["size"] for call in line["rover.syscalls"] if call["name"].startswith(names))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("server", ["nginx", "python", "apache", "haproxy", "asyncio", "node"])
def test_the_calls_of_an_exchange_carry_its_bytes(
    server: str, version: str, place: Place, start_program: Start, start_agent: Any
) -> None:
    """To the byte: plaintext, and what each record has besides. Tickets come with the first reply."""
    begin(server, place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    curl("--http1.1", "--tls-max", version)(place.port)
    check(agent, ("client", "server"), expected())
    for role in ("client", "server"):
        lines = agent.exchanges(role)
        assert {line["tls.protocol.version"] for line in lines} == {version}
        for line in sorted(lines, key=lambda line: line["timestamp"])[1:]:
            names = (WRITES, READS) if role == "client" else (READS, WRITES)
            for part, calls in zip(("request", "response"), names, strict=True):
                size = line[f"http.{part}.header.size"] + line[f"http.{part}.body.size"]
                more = moved(line, calls) - size
                # Chunks have their own framing, some bytes each.
                assert RECORD[version] - 1 <= more <= 4 * RECORD[version] + 20, (role, part, line)


def test_keys_that_change(place: Place, start_program: Start, start_agent: Any) -> None:
    """KeyUpdate of TLS 1.3 within a connection, of the client's keys and of both ends': its calls are those
    of the exchange that follows."""
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    run(sys.executable, PEERS / "key_update.py", str(place.port), "20")
    check(agent, ("client", "server"), expected(range(1, 21)))
    for role, names in (("client", (WRITES, READS)), ("server", (READS, WRITES))):
        lines = sorted(agent.exchanges(role), key=lambda line: line["timestamp"])
        assert len({line["rover.connection"] for line in lines}) == 1
        assert {line["tls.protocol.version"] for line in lines} == {"1.3"}
        for line in lines[1:]:
            for part, calls in zip(("request", "response"), names, strict=True):
                size = line[f"http.{part}.header.size"] + line[f"http.{part}.body.size"]
                more = moved(line, calls) - size - RECORD["1.3"]
                assert -1 <= more <= 2 * KEY_UPDATE, (role, part, line)


def test_the_name_that_is_asked_for(place: Place, start_program: Start, start_agent: Any) -> None:
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    name = "www.a.example"
    there = f"{name}:{place.port}:127.0.0.1"
    run("curl", "-sSk", "-o", "/dev/null", "--resolve", there, f"https://{name}:{place.port}/[1-3]")
    check(agent, ("client", "server"), expected(range(1, 4)))
    assert {line["tls.server.name"] for line in agent.exchanges()} == {name}


@pytest.mark.parametrize("server", ["nginx", "asyncio"])
def test_a_recording_replays_to_the_same_lines(
    server: str, place: Place, start_program: Start, tmp_path: Path
) -> None:
    begin(server, place, start_program)
    recording, logged = tmp_path / "run.rec", tmp_path / "live.jsonl"
    recorder = start_program(
        *(*ROVER, "record", recording, "--port", str(place.port), "--sink", "jsonl"),
        *("--set", f"sink.jsonl.path={logged}", "--set", "sink.jsonl.kernel_logs=true"),
    )
    recorder.wait_for("recording through ebpf")
    curl("--http1.1")(place.port)
    assert recorder.stop() == 0, recorder.err
    command = [*ROVER, "replay", str(recording), "--sink", "jsonl", "--set", "sink.jsonl.kernel_logs=true"]
    replayed = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert replayed.stdout == logged.read_bytes()
    lines = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert sum(line.get("rover.outcome") == "complete" for line in lines) == 2 * COUNT


def test_what_nothing_reads_is_counted(start_program: Start, start_agent: Any, place: Place) -> None:
    """With probes turned off: kernel logs that say TLS, and its totals."""
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), "--no-tls", "--set", "sink.jsonl.kernel_logs=true")
    curl("--http1.1")(place.port)
    agent.finish()
    assert agent.exchanges() == []
    assert {line["tls"] for line in agent.lines()} == {True, False}
    assert any("2 TLS connections unread" in line for line in agent.err), agent.err
    for connection, numbers in syscalls_of(agent.lines()).items():
        assert sorted(numbers) == list(range(len(numbers))), connection
