"""Records are really lost, while clients pipeline or not: no pair is wrong without a mark.

The agent is stopped until the ring overflows, then it goes on. The server answers `/N` with N bytes.
"""

import signal
import socket
import sys
import textwrap
import threading

import pytest

from harness import DEADLINE, free_port, listening, tcp_connection, wait_until

pytestmark = pytest.mark.live

SERVER = """
    import socket, sys, threading

    def serve(connection):
        held = b""
        while data := connection.recv(65536):
            held += data
            while (end := held.find(b"\\r\\n\\r\\n")) >= 0:
                size = int(held.split(b" ", 2)[1][1:])
                held = held[end + 4 :]
                # An answer per call, and nothing in it that could be taken for another.
                head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % size
                connection.sendall(head + b"}" * size)

    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as listener:
        while True:
            threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"""
RING = 1 << 20
"""Bytes: the smallest there is."""
DEPTHS = (1, 1, 2, 4, 8)
"""Requests each client has open at a time."""
MOST = 4000
"""Bytes of an answer."""


class Client(threading.Thread):
    """Asks for `/N` with ever another N on one connection, and counts what came back."""

    def __init__(self, port: int, depth: int, first: int) -> None:
        super().__init__(daemon=True)
        self._port, self._depth, self._next = port, depth, first
        self._end = threading.Event()
        self.moved = 0
        """Bytes of answers so far."""

    def run(self) -> None:
        with tcp_connection(self._port) as connection:
            due: list[int] = []
            while True:
                while len(due) < self._depth and not self._end.is_set():
                    self._next = self._next % MOST + 7
                    connection.sendall(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % self._next)
                    due.append(self._next)
                if not due:
                    return
                self._receive(connection, due.pop(0))

    def _receive(self, connection: socket.socket, size: int) -> None:
        left = len(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size) + size
        while left:
            got = len(connection.recv(left))
            assert got
            left -= got
            self.moved += got

    def stop(self) -> None:
        self._end.set()


def test_while_records_are_lost_no_pair_is_wrong_without_a_mark(start_agent, start_program):
    port = free_port()
    start_program(sys.executable, "-c", textwrap.dedent(SERVER), str(port))
    wait_until(lambda: listening(port), "the server")
    agent = start_agent("--port", str(port), "--set", "source.ebpf.ring_size=1")
    clients = [Client(port, depth, first) for first, depth in enumerate(DEPTHS * 2, 1)]
    for client in clients:
        client.start()

    def moved() -> int:
        return sum(client.moved for client in clients)

    for _ in range(5):
        before = moved()
        wait_until(lambda at=before: moved() > at + RING // 4, "traffic that is seen")
        agent.process.send_signal(signal.SIGSTOP)
        before = moved()
        # Both ends are watched, and heads and accounts come on top: the ring is full long before.
        wait_until(lambda at=before: moved() > at + 2 * RING, "traffic that is lost")
        agent.process.send_signal(signal.SIGCONT)
    before = len(agent.exchanges())
    wait_until(lambda: len(agent.exchanges()) > before + 1000, "exchanges after the losses")
    for client in clients:
        client.stop()
    for client in clients:
        client.join(DEADLINE)
    totals = agent.finish()
    assert totals.records_lost > 100, "nothing was lost, so this has shown nothing"

    complete = [line for line in agent.exchanges() if line["rover.outcome"] == "complete"]
    marked = [line for line in complete if line.get("rover.pairing") == "assumed"]
    wrong = [
        line
        for line in complete
        if line["url.path"] != f"/{line['http.response.body.size']}" and "rover.pairing" not in line
    ]
    assert not wrong, f"{len(wrong)} of {len(complete)}"
    assert len(marked) < len(complete), "what was seen before anything was lost is proven"
