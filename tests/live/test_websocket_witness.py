"""WebSockets of the `websockets` library: what its server counts is what is logged, at both ends."""

import collections
import json
import sys
import threading
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from harness import free_port, listening, syscalls_of, wait_until

pytestmark = pytest.mark.live

SERVER = Path(__file__).parent / "peers/websocket_server.py"
CONNECTIONS = 6
"""Each with its own kind of compression and its own path."""
MESSAGES = [
    "",
    "héllo",
    b"\0" * 200,
    "x" * 70_000,
    b"GET / HTTP/1.1\r\n\r\n",
    ["in ", "three ", "parts"],
    [b"a" * 40_000] * 5,
    b"\xff" * 3_000_000,
]


@pytest.fixture
def server(start_program):
    port = free_port()
    program = start_program(sys.executable, SERVER, str(port))
    wait_until(lambda: listening(port), f"the server: {program.err}")
    program.port = port
    return program


def converse(port, path, compression):
    with connect(
        f"ws://127.0.0.1:{port}{path}", compression=compression, proxy=None, max_size=None, ping_interval=None
    ) as connection:
        if path.startswith("/greet"):
            assert connection.recv() == "welcome"
        for message in MESSAGES:
            connection.send(message)
            whole = type(message[0])().join(message) if isinstance(message, list) else message
            connection.ping()
            assert connection.recv() == whole


def converse_all(port):
    """On several connections at once; a failure of one is raised."""
    raised = []

    def run(number):
        try:
            path = f"/{'greet' if number & 1 else 'chat'}/{number}?room={number}"
            converse(port, path, "deflate" if number & 2 else None)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not raised


def witnessed(server):
    """(path, sender, type, size, compressed) of every message, as the server counted them."""
    return collections.Counter(tuple(json.loads(line)) for line in server.out)


def expected_count():
    greeted = CONNECTIONS // 2
    return CONNECTIONS * 2 * len(MESSAGES) + greeted


def test_every_message_of_both_sides_is_logged_once(server, start_agent):
    agent = start_agent("--port", str(server.port), "--set", "sink.jsonl.kernel_logs=true")
    converse_all(server.port)
    counted = expected_count() + 2 * CONNECTIONS  # and the handshakes that open and close
    for role in ("client", "server"):
        agent.wait_for_exchanges(counted, role)
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks) == (0, {})
    told = witnessed(server)
    assert sum(told.values()) == expected_count()
    lines = agent.lines()
    for role in ("client", "server"):
        messages = [line for line in lines if "websocket.message.type" in line and line["rover.role"] == role]
        assert told == collections.Counter(
            (
                line["url.original"],
                line["websocket.message.sender"],
                line["websocket.message.type"],
                line["websocket.message.size"],
                line.get("websocket.message.compressed", False),
            )
            for line in messages
        )
        assert {line["network.protocol.name"] for line in messages} == {"websocket"}
        assert {line["rover.outcome"] for line in messages} == {"complete"}
        fragments = collections.Counter(line["websocket.message.frames"] for line in messages)
        assert fragments[4] == CONNECTIONS  # the library ends a message of three parts with an empty frame
        closed = [line for line in lines if "websocket.close.code" in line and line["rover.role"] == role]
        assert [
            (line["websocket.close.sender"], line["websocket.close.code"], line["rover.outcome"])
            for line in closed
        ] == [("client", 1000, "complete")] * CONNECTIONS
    for sequences in syscalls_of(lines).values():
        assert sorted(sequences) == list(range(len(sequences)))


def test_a_connection_may_have_one_log(server, start_agent):
    agent = start_agent("--port", str(server.port), "--set", "protocol.websocket.log=connection")
    converse_all(server.port)
    bye = connect(f"ws://127.0.0.1:{server.port}/bye", proxy=None, compression=None)
    with bye as connection, pytest.raises(ConnectionClosedError):
        connection.recv()
    agent.wait_for_exchanges(4 * (CONNECTIONS + 1))
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks) == (0, {})
    expected = collections.Counter()
    for (path, sender, _, size, _), count in witnessed(server).items():
        expected[path, sender, "messages"] += count
        expected[path, sender, "size"] += size * count
    for role in ("client", "server"):
        logs = [line for line in agent.exchanges(role) if line["network.protocol.name"] == "websocket"]
        assert +expected == +collections.Counter(
            {
                (line["url.original"], sender, what): line[f"websocket.{sender}.{what}"]
                for line in logs
                for sender in ("client", "server")
                for what in ("messages", "size")
            }
        )
        assert {line["rover.outcome"] for line in logs} == {"complete"}
        (bye,) = [line for line in logs if line["url.path"] == "/bye"]
        assert [bye[f"websocket.close.{what}"] for what in ("sender", "code", "reason")] == [
            "server", 4001, "not today",
        ]  # fmt: skip
