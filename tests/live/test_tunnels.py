"""Where HTTP ends: an upgrade that nobody claims, and a CONNECT tunnel. One exchange, one break, then TCP."""

import socket
import sys
from pathlib import Path

import pytest

from harness import Program, free_port, listening, syscalls_of, tcp_connection, wait_until

pytestmark = pytest.mark.live

PEERS = Path(__file__).parent / "peers"
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x-echo\r\n\r\n"
CONNECT = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
MESSAGES = 200


@pytest.fixture
def server(start_program) -> int:
    port = free_port()
    program: Program = start_program(sys.executable, PEERS / "switching_server.py", str(port))
    wait_until(lambda: listening(port), f"the server: {program.err}")
    return port


def converse(connection: socket.socket, opening: bytes) -> None:
    connection.sendall(opening)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    for n in range(MESSAGES):
        # Looks like a request to a decoder that did not give up.
        message = b"GET /inside/%d HTTP/1.1\r\n\r\n" % n
        connection.sendall(message)
        received = b""
        while len(received) < len(message):
            received += connection.recv(65536)


@pytest.mark.parametrize(
    ("opening", "target", "status", "reason"),
    [(UPGRADE, "/chat", 101, "upgrade"), (CONNECT, "example.com:443", 200, "tunnel")],
    ids=["upgrade", "connect"],
)
def test_one_exchange_one_break_then_every_call_once(server, start_agent, opening, target, status, reason):
    agent = start_agent("--port", str(server), "--set", "sink.jsonl.kernel_logs=true")
    with tcp_connection(server) as connection:
        converse(connection, opening)
    wait_until(
        lambda: (
            sum(c["name"] == "close" for line in agent.lines() for c in line.get("rover.syscalls", ())) == 2
        ),
        "both ends to close",
    )
    totals = agent.finish()
    lines = agent.lines()
    exchanges = [line for line in lines if "http.request.method" in line]
    assert sorted(
        (line["rover.role"], line["url.original"], line["http.response.status_code"]) for line in exchanges
    ) == [("client", target, status), ("server", target, status)]
    breaks = [line for line in lines if line.get("rover.outcome") == "break"]
    assert [line["rover.break.reason"] for line in breaks] == [reason, reason]
    assert len({line["rover.connection"] for line in breaks}) == 2
    assert totals.breaks == {reason: 2}
    assert totals.records_lost == 0
    by_connection = syscalls_of(lines)
    assert len(by_connection) == 2
    for sequences in by_connection.values():
        assert sorted(sequences) == list(range(len(sequences)))
        assert len(sequences) >= 2 * MESSAGES


def test_other_connections_go_on(server, nginx, nginx_like_exchange, start_agent):
    agent = start_agent("--port", str(server), "--port", str(nginx.port))
    with tcp_connection(server) as connection:
        converse(connection, UPGRADE)
        nginx_like_exchange()
        lines = agent.wait_for_exchanges(4)
    assert sorted(line["url.original"] for line in lines) == ["/beside", "/beside", "/chat", "/chat"]


@pytest.fixture
def nginx_like_exchange(nginx):
    """An ordinary exchange with another server at the same time."""

    def exchange() -> None:
        with tcp_connection(nginx.port) as connection:
            connection.sendall(b"GET /beside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass

    return exchange
