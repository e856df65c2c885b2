"""A connection that is given up for room and goes on keeps its facts: the kernel side is asked again."""

from __future__ import annotations

import http.client
import time

import pytest

pytestmark = pytest.mark.live

ROOM = 3
DELAY = 2.0


def test_one_connection_more_than_there_is_room_for(nginx, start_agent):
    """Each in turn, so that the one that is used next is always the one that has been given up."""
    agent = start_agent("--port", str(nginx.port), "--comm", "nginx", "--set", f"limits.connections={ROOM}")
    clients = [http.client.HTTPConnection("127.0.0.1", nginx.port) for _ in range(ROOM + 1)]
    ports = []
    for _ in range(3):
        for number, client in enumerate(clients):
            client.request("GET", f"/?{number}")
            assert client.getresponse().read() is not None
            ports.append(client.sock.getsockname()[1])
    time.sleep(DELAY)  # how long a connection was idle must not show as an exchange's duration
    clients[0].request("GET", "/?last")
    clients[0].getresponse().read()
    lines = agent.wait_for_exchanges(len(ports) + 1)
    for client in clients:
        client.close()
    agent.finish()
    assert len(lines) == len(ports) + 1
    assert [line["client.port"] for line in lines[:-1]] == ports
    assert {line["server.port"] for line in lines} == {nginx.port}
    assert {line["rover.role"] for line in lines} == {"server"}
    assert {line["process.executable.name"] for line in lines} == {"nginx"}
    assert {line["rover.outcome"] for line in lines} == {"complete"}
    assert max(line["duration_ns"] for line in lines) < DELAY * 1e9
    (totals,) = [line for line in agent.err if line.startswith("rover: seen")]
    assert f"; {ROOM + 1} connections, " in totals
    assert any(line.endswith(" connections evicted") for line in agent.err)
    assert any(line.endswith(" connections returned") for line in agent.err)
