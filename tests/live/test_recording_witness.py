"""A recording of nginx and gRPC replays to the bytes logged meanwhile; cut off, to a part of them."""

import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from harness import ask_every_kind, counted, free_port, listening, wait_until

pytestmark = pytest.mark.live

PEERS = Path(__file__).parent / "peers"
ROVER = [sys.executable, "-m", "rover"]
CALLS = 20


@pytest.fixture
def grpc_port(start_program):
    port = free_port()
    program = start_program(sys.executable, PEERS / "grpc_server.py", str(port))
    wait_until(lambda: listening(port), f"the server: {program.err}")
    return port


@pytest.fixture
def recorded(nginx, grpc_port, start_program, tmp_path):
    """(recording, the lines logged while it was made)."""
    recording, logged = tmp_path / "run.rec", tmp_path / "live.jsonl"
    recorder = start_program(
        *(*ROVER, "record", recording, "--port", nginx.port, "--port", grpc_port, "--sink", "jsonl"),
        *("--set", f"sink.jsonl.path={logged}", "--set", "sink.jsonl.kernel_logs=true"),
    )
    recorder.wait_for("recording through ebpf")
    ask_every_kind(nginx, tmp_path)
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        both = channel.stream_stream("/test.Witness/Both")
        for n in range(CALLS):
            assert list(both(iter([b"x" * n, b"y"]))) == [b"x" * n, b"y"]
    assert recorder.stop() == 0, recorder.err
    return recording, logged.read_bytes()


def replay(recording: Path) -> subprocess.CompletedProcess[bytes]:
    command = [*ROVER, "replay", str(recording), "--sink", "jsonl", "--set", "sink.jsonl.kernel_logs=true"]
    return subprocess.run(command, capture_output=True, timeout=60)


def complete(lines: bytes) -> list[bytes]:
    """Those of whole exchanges."""
    return [line for line in lines.splitlines() if json.loads(line).get("rover.outcome") == "complete"]


def test_byte_for_byte_and_up_to_where_it_is_cut(recorded, nginx, tmp_path):
    recording, logged = recorded
    whole = replay(recording)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout == logged
    expected = complete(logged)
    assert sum(b'"rpc.method":"test.Witness/Both"' in line for line in expected) == 2 * CALLS
    assert sum(b'"network.protocol.version":"1.' in line for line in expected) == 2 * len(nginx.entries())

    part = tmp_path / "part.rec"
    content = recording.read_bytes()
    found = []
    for size in (len(content) - 1, len(content) // 2, 40):
        part.write_bytes(content[:size])
        cut = replay(part)
        assert cut.returncode == 1
        (error,) = [line for line in cut.stderr.splitlines() if b"part.rec" in line]
        assert error.startswith(b"rover: ")
        lines = complete(cut.stdout)
        assert lines == expected[: len(lines)]
        found.append(len(lines))
    # The last block is lost with the byte; of the first, little more than its header is left.
    assert len(expected) >= found[0] >= found[1] >= found[2] == 0


def test_its_packets_replay_to_the_exchanges_of_one_end(recorded, tmp_path):
    """Both ends were watched of each connection, and a capture has a connection once."""
    recording, logged = recorded
    packets = tmp_path / "run.pcapng"
    exported = subprocess.run(
        [*ROVER, "export", recording, "--pcapng", packets], capture_output=True, text=True, timeout=60
    )
    assert exported.returncode == 0, exported.stderr
    assert "were seen at both ends" in exported.stderr
    ends = [json.loads(line) for line in complete(logged)]
    found = [json.loads(line) for line in complete(replay(packets).stdout)]
    assert counted(found) == counted([line for line in ends if line["rover.role"] == "client"])
    assert {line.get("rpc.status_code") for line in found} == {None, "OK"}
