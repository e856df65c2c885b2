"""Hostile connections of every kind beside an ordinary one, in a process of their own with both versions of
HTTP: its exchanges come, and resident memory stays below `limits.memory`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 24 << 20
SLACK = 12 << 20
"""The allocator's own: what is free between what is not, and what it has not given back."""
CONNECTIONS = 500


def exchange(traffic: Traffic) -> None:
    traffic.call(1, 0, b"GET /ordinary HTTP/1.1\r\nHost: a\r\n\r\n")
    traffic.call(1, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
FIELD = b"\x00\x03x-a\x7f\xc1\x3e" + b"v" * 8000
"""A literal field of 8,000 bytes (RFC 7541 section 6.2.2)."""


def unfinished_head(traffic: Traffic, connection: int) -> None:
    traffic.call(connection, 0, b"GET / HTTP/1.1\r\n")
    for _ in range(28):
        traffic.call(connection, 0, b"X: " + b"a" * 4096 + b"\r\n")


def unanswered_requests(traffic: Traffic, connection: int) -> None:
    for _ in range(3):
        traffic.call(connection, 0, b"GET / HTTP/1.1\r\n\r\n" * 50)


def unanswered_large_requests(traffic: Traffic, connection: int) -> None:
    for _ in range(4):
        traffic.call(connection, 0, b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000 + b"\r\n\r\n")


def body_in_bytes(traffic: Traffic, connection: int) -> None:
    traffic.call(connection, 0, b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(300):
        traffic.call(connection, 0, b"x")


def pieces_behind_gaps(traffic: Traffic, connection: int) -> None:
    traffic.call(connection, 0, b"GET / HTTP/1.1\r\nX: ")
    for _ in range(300):
        traffic.call(connection, 0, b"x", 2)


def exchanges_that_are_held(traffic: Traffic, connection: int) -> None:
    for _ in range(10):
        traffic.call(connection, 0, b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n\r\n")
        traffic.call(connection, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def openings(traffic: Traffic, connection: int) -> None:
    for _ in range(200):
        traffic.call(connection, 0, b"P")


def unfinished_header_block(traffic: Traffic, connection: int) -> None:
    traffic.call(connection, 0, OPENING + frame(1, 0, 1, b"\x82"))
    for _ in range(6):
        traffic.call(connection, 0, frame(9, 0, 1, b"a" * 16_000))


def open_streams(traffic: Traffic, connection: int) -> None:
    traffic.call(connection, 0, OPENING)
    for stream in range(1, 61, 2):
        traffic.call(connection, 0, frame(1, 5, stream, b"\x82\x84\x86" + FIELD))


KINDS = {
    kind.__name__: kind
    for kind in (
        unfinished_head,
        unanswered_requests,
        unanswered_large_requests,
        body_in_bytes,
        pieces_behind_gaps,
        exchanges_that_are_held,
        openings,
        unfinished_header_block,
        open_streams,
    )
}


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_and_ordinary_traffic_goes_on(kind):
    command = [sys.executable, __file__, kind]
    ran = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, text=True, timeout=110, check=True)
    grown, logged = map(int, ran.stdout.split())
    assert logged == CONNECTIONS + 2
    assert grown < LIMIT + SLACK


# -- in the process of its own ---------------------------------------------------------------------


class Traffic:
    """Records of connections, into a real pipeline."""

    def __init__(self) -> None:
        from rover.pipeline.recognition import Recogniser
        from rover.pipeline.table import Pipeline
        from rover.plugins.manager import PluginManager
        from rover.run.configuration import Catalogue

        manager = PluginManager()
        manager.load_entry_points()
        catalogue = Catalogue(manager)
        settings = catalogue.settings(None, (), {})
        self.logged = 0
        self.clock = 0
        self.name, self.kernel_logs = "count", True
        self._sequences: dict[int, int] = {}
        self._positions: dict[tuple[int, int], int] = {}
        self.pipeline = Pipeline(
            manager,
            Recogniser(manager, list(catalogue.protocols.values()), {}),
            [self],  # type: ignore[list-item]  # an outlet without queue
            self,
            epoch=0,
            protocol_settings={name: settings.section(f"protocol.{name}") for name in catalogue.protocols},
            max_memory=LIMIT,
        )

    def put(self, log: object) -> None:
        self.logged += log.connection.id == 1 and log.outcome.value == "complete" and bool(log.protocol)  # type: ignore[attr-defined]

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True

    def open(self, connection: int) -> None:
        from rover import Address, Opened, Role

        here, there = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=4000)
        self.pipeline.opened(
            Opened(
                connection=connection,
                time=self.clock,
                local=here,
                remote=there,
                role=Role.SERVER,
                pid=42,
                late=False,
                detail=None,
            )
        )

    def call(self, connection: int, direction: int, data: bytes, size: int | None = None) -> None:
        from rover import Detail, Syscall

        self.clock += 1000
        sequence = self._sequences.get(connection, 0)
        position = self._positions.get((connection, direction), 0)
        size = len(data) if size is None else size
        self._sequences[connection] = sequence + 1
        self._positions[connection, direction] = position + size
        syscall = Syscall.WRITE if direction else Syscall.READ
        detail = Detail(
            connection=connection,
            sequence=sequence,
            start=self.clock - 500,
            end=self.clock,
            position=position,
            size=size,
            pid=42,
            fd=3,
            syscall=syscall,
            direction=direction,
            error=0,
        )
        self.pipeline.data(detail, data)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(name: str) -> None:
    kind = KINDS[name]
    traffic = Traffic()
    traffic.open(1)
    exchange(traffic)
    kind(traffic, 2)  # what is imported or cached at first
    exchange(traffic)
    start = most = resident()
    for connection in range(3, CONNECTIONS + 3):
        if kind is not exchanges_that_are_held:
            traffic.open(connection)
        kind(traffic, connection)
        exchange(traffic)
        if connection % 20 == 0:
            most = max(most, resident())
    sys.stdout.write(f"{most - start} {traffic.logged}\n")


if __name__ == "__main__":
    if os.environ.get("ROVER_PLAIN"):
        import plain

        plain.install()
    main(sys.argv[1])
