"""Plaintext that came before it was known which connection it is of.

A program that encrypts into memory, and was joined late, reads plaintext before it writes any ciphertext, and
only that tells where it goes to. Until then its plaintext waits here by a serial number of the kernel's. It
waits at each reader, because nobody knows yet whose connection it is.
"""

from __future__ import annotations

from rover.values.records import MAX_NUMBER, Plaintext

MAX_BYTES = 4 << 20
"""Of payload that waits, of all objects: the kernel sends 64 KiB of one at most."""
MAX_RECORDS = 4096
PATIENCE = 30_000_000_000
"""ns that it waits: as long as a slow server may take for its first response."""
UNKNOWN = (1 << 64) - 1
"""A count of ciphertext that is none."""


class Waiting:
    """All that waits at one reader."""

    def __init__(self) -> None:
        self._records: dict[int, list[tuple[Plaintext, bytes]]] = {}
        """By serial, in order of arrival. Of a Plaintext here `connection` is the serial, and `ciphertext` is
        the library's count."""
        self._bytes = 0
        self._count = 0

    def add(self, plaintext: Plaintext, payload: bytes) -> int:
        """Keeps a record; returns how many others were given up for it."""
        given_up = self.expire(plaintext.end - PATIENCE)
        while self._records and (self._bytes + len(payload) > MAX_BYTES or self._count >= MAX_RECORDS):
            given_up += self._forget(next(iter(self._records)))
        self._records.setdefault(plaintext.connection, []).append((plaintext, payload))
        self._bytes += len(payload)
        self._count += 1
        return given_up

    def placed(
        self,
        serial: int,
        connection: int,
        sequence: int,
        positions: tuple[int, int],
        offsets: tuple[int | None, int | None],
    ) -> list[tuple[Plaintext, bytes]]:
        """What waited under the serial, now of this connection, whose next record has this sequence number
        and is at these positions, by direction. `offsets`: from the library's count to a position of the
        socket's, where that is known."""
        records = self._records.get(serial, [])
        self._forget(serial)
        return [
            (
                plaintext.replace(
                    connection=connection,
                    sequence=sequence + plaintext.sequence,
                    position=positions[plaintext.direction] + plaintext.position,
                    ciphertext=moved_by(plaintext.ciphertext, offsets[plaintext.direction]),
                ),
                payload,
            )
            for plaintext, payload in records
        ]

    def expire(self, time: int) -> int:
        """Gives up what has waited since before this time, ns; returns how many records that were."""
        given_up = 0
        while self._records:
            serial, records = next(iter(self._records.items()))
            if records[0][0].end > time:
                break
            given_up += self._forget(serial)
        return given_up

    def clear(self) -> int:
        """Gives up everything; returns how many records that were."""
        return sum(self._forget(serial) for serial in list(self._records))

    def _forget(self, serial: int) -> int:
        records = self._records.pop(serial, [])
        self._bytes -= sum(len(payload) for _, payload in records)
        self._count -= len(records)
        return len(records)


def moved_by(counted: int, offset: int | None) -> int:
    """A count plus an offset, both modulo 2^64; -1 where that is no position. The count is from the memory of
    a process, so that it may be anything."""
    if offset is None or counted < 0:
        return -1
    position = (counted + offset) % (1 << 64)
    return position if position <= MAX_NUMBER else -1
