"""What the installed protocols want of a connection's beginning, honoured before user space has seen it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from rover.contracts.source import Selection, Wanted
from rover.values.records import Direction

pytestmark = pytest.mark.live

Start = Callable[..., Any]

CONNECTIONS = 20
REQUEST = b"ask\n"
REPLY = b"\xff" * 65_536 + b"\n"
"""No HTTP, and more than the opening bytes that the source captures by itself."""
OPENING = 4096
"""Those: the default of source.ebpf.opening_bytes."""

CLIENT = """
for n in range(int(sys.argv[2])):
    s = connect(int(sys.argv[1])); s.sendall(b"ask\\n"); exactly(s, int(sys.argv[3])); s.close()
"""


def reply(connection: socket.socket) -> None:
    connection.recv(len(REQUEST))
    connection.sendall(REPLY)


def captured(watch: Any, port: int, run: Start, listen: Start, connections: int = CONNECTIONS) -> list[int]:
    """Of each connection, how many bytes of the first reply. Nobody reads a record before all have ended, so
    user space can have told the kernel nothing of any of them."""
    listen(port, reply)
    assert run(CLIENT, port, connections, len(REPLY)).end() == 0
    seen = watch.ended(port, connections)
    replies = [each.moved(Direction.INGRESS) for each in seen]
    return [sum(len(payload) for _, _, payload in calls) for calls in replies]


def test_a_first_reply_is_captured_as_far_as_some_protocol_wants(
    start_watch: Start, ports: Start, run: Start, listen: Start
) -> None:
    (port,) = ports(1)
    watch = start_watch(Selection(ports=(port,)), Wanted(opening=len(REPLY)))
    assert captured(watch, port, run, listen) == [len(REPLY)] * CONNECTIONS


def test_connections_of_a_protocols_own_port_are_captured_in_full(
    start_watch: Start, ports: Start, run: Start, listen: Start
) -> None:
    """At either end, and no others."""
    own, other = ports(2)
    watch = start_watch(Selection(ports=(own, other)), Wanted(ports=frozenset({1, 65_535, own})))
    assert captured(watch, own, run, listen) == [len(REPLY)] * CONNECTIONS
    assert captured(watch, other, run, listen, 2) == [OPENING] * 2


SERVER = """
listener = socket.create_server(("127.0.0.1", int(sys.argv[1]))); say()
s, _ = listener.accept(); s.recv(4); s.sendall(b"\\xff" * int(sys.argv[2])); s.recv(1); s.close()
"""


def test_so_are_those_that_are_accepted_there(start_watch: Start, ports: Start, run: Start) -> None:
    (own,) = ports(1)
    watch = start_watch(Selection(ports=(own,)), Wanted(ports=frozenset({own})))
    server = run(SERVER, own, len(REPLY))
    server.hear()
    with socket.create_connection(("127.0.0.1", own)) as connection:
        connection.sendall(REQUEST)
        left = len(REPLY)
        while left:
            left -= len(connection.recv(left))
    assert server.end() == 0
    (seen,) = watch.ended(own)
    assert sum(len(payload) for _, _, payload in seen.moved(Direction.EGRESS)) == len(REPLY)


def test_a_setting_may_ask_for_more_than_any_protocol(
    start_watch: Start, ports: Start, run: Start, listen: Start
) -> None:
    (port,) = ports(1)
    watch = start_watch(Selection(ports=(port,)), Wanted(opening=64), opening_bytes=10_000)
    assert captured(watch, port, run, listen, 2) == [10_000] * 2
