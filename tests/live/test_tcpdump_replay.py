"""tcpdump beside a live run: its capture replays to the exchanges that the agent logged at either end."""

import collections
import json
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import grpc
import pytest

from harness import ask_every_kind, curl, free_port, listening, wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump"),
]

PEERS = Path(__file__).parent / "peers"
ROVER = [sys.executable, "-m", "rover"]
SAID = ("http.", "url.", "user_agent.", "rpc.", "network.protocol.", "client.", "server.", "rover.outcome")
"""What an access log says of the exchange and its connection, whoever watched it: beside it are the process,
the socket calls, the times, and which end was watched."""


class Tcpdump:
    """Captures what loopback carries to and from a port."""

    def __init__(self, start_program, path: Path, port: int, marker: socket.socket) -> None:
        self.path = path
        self._marker = marker
        own = marker.getsockname()[1]
        self._program = start_program(
            *("tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-U", "--immediate-mode", "-w", path),
            *("tcp", "port", port, "or", "udp", "port", own),
        )
        self._program.wait_for("listening on")

    def finish(self) -> None:
        """Ends it once everything sent so far is in the file."""
        last = uuid.uuid4().bytes
        self._marker.sendto(last, self._marker.getsockname())
        wait_until(lambda: last in self.path.read_bytes(), "tcpdump to write the last packet")
        self._program.stop()
        assert "0 packets dropped by kernel" in self._program.err


@pytest.fixture
def start_tcpdump(start_program, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
        marker.bind(("127.0.0.1", 0))
        yield lambda port: Tcpdump(start_program, tmp_path / "capture.pcap", port, marker)


def replayed(path: Path) -> list[dict]:
    done = subprocess.run(
        [*ROVER, "replay", str(path), "--sink", "jsonl"], check=True, capture_output=True, timeout=60
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line for line in lines if "network.protocol.name" in line]


def by_connection(lines: list[dict]) -> dict[int, list[dict]]:
    """What was said in each connection, in the order logged; connections by the client's port."""
    said = collections.defaultdict(list)
    for line in lines:
        said[line["client.port"]].append({k: v for k, v in line.items() if k.startswith(SAID)})
    return dict(said)


def in_any_order(said: dict[int, list[dict]]) -> dict[int, list[str]]:
    """Streams that run side by side may end in another order at another place."""
    return {port: sorted(json.dumps(line, sort_keys=True) for line in lines) for port, lines in said.items()}


def test_http1(nginx, start_agent, start_tcpdump, tmp_path):
    agent = start_agent("--port", str(nginx.port))
    tcpdump = start_tcpdump(nginx.port)
    ask_every_kind(nginx, tmp_path)
    for n in range(10):
        curl(*(f"{nginx.url}/?kept={n}.{i}" for i in range(5)))
    nginx.program.stop(signal.SIGQUIT)
    tcpdump.finish()
    totals = agent.finish()
    captured = replayed(tcpdump.path)
    assert len(captured) == len(nginx.entries()) > 70
    assert by_connection(agent.exchanges("server")) == by_connection(captured)
    assert by_connection(agent.exchanges("client")) == by_connection(captured)
    assert (totals.records_lost, totals.breaks) == (0, {})


def serve(start_program, port: int, *argv) -> None:
    program = start_program(*argv)
    wait_until(lambda: listening(port), f"{argv[0]}: {program.err}")


def make_calls(port: int) -> int:
    """gRPC calls of every kind, on one connection; how many."""
    made = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary = channel.unary_unary("/test.Witness/Unary")
        upload = channel.stream_unary("/test.Witness/ClientStream")
        download = channel.unary_stream("/test.Witness/ServerStream")
        both = channel.stream_stream("/test.Witness/Both")
        for n in range(10):
            parts = [b"x" * (3000 * i) for i in range(n % 5 + 1)]
            unary(b"question %d" % n)
            upload(iter(parts))
            assert list(download(b"%d" % n)) == [b"part %d" % i for i in range(n)]
            assert list(both(iter(parts))) == parts
            with pytest.raises(grpc.RpcError):
                channel.unary_unary("/test.Witness/Fail")(b"x")
            with pytest.raises(grpc.RpcError):
                channel.unary_unary("/test.Witness/Nowhere")(b"x")
            made += 6
        pending = [unary.future(b"at once %d" % n) for n in range(50)]
        assert [call.result() for call in pending] == [b"AT ONCE %d" % n for n in range(50)]
        return made + len(pending)


def load(port: int) -> int:
    """GETs, up to ten at a time on each of two connections; how many."""
    urls = [f"http://127.0.0.1:{port}/size/{size}" for size in (0, 10, 16000, 100_000)]
    command = ["h2load", "-n", "200", "-c", "2", "-m", "10", *urls]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return 200


def upgrade(port: int) -> int:
    """GETs in HTTP/1.1 that are answered in HTTP/2, each on a connection of its own; logs of both.

    Of answers beyond the first window, curl 7.88 says now and then that their framing is wrong.
    """
    for size in (0, 10, 5000, 16_000):
        curl("--http2", f"http://127.0.0.1:{port}/size/{size}")
    for size in (1, 100_000):
        curl("--http2-prior-knowledge", "-d", "u" * size, f"http://127.0.0.1:{port}/upload")
    return 10


@pytest.mark.parametrize(
    ("peer", "ask", "needs"),
    [
        ("grpc_server.py", make_calls, "python3"),
        ("hypercorn_server.py", load, "h2load"),
        ("hypercorn_server.py", upgrade, "curl"),
    ],
    ids=["grpc", "h2load", "upgrade"],
)
def test_http2(peer, ask, needs, start_program, start_agent, start_tcpdump):
    if shutil.which(needs) is None:
        pytest.skip(f"needs {needs}")
    port = free_port()
    serve(start_program, port, sys.executable, PEERS / peer, str(port))
    agent = start_agent("--port", str(port))
    tcpdump = start_tcpdump(port)
    asked = ask(port)
    tcpdump.finish()
    totals = agent.finish()
    captured = replayed(tcpdump.path)
    assert len(captured) == asked
    expected = in_any_order(by_connection(captured))
    assert in_any_order(by_connection(agent.exchanges("server"))) == expected
    assert in_any_order(by_connection(agent.exchanges("client"))) == expected
    assert (totals.records_lost, totals.breaks) == (0, {})
