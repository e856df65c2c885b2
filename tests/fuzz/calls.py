"""Socket calls as a source numbers them, so that a fuzzer need not find numbers that fit."""

from __future__ import annotations

from rover.values.records import Detail, Direction, Plaintext, Syscall


class Calls:
    """Of any number of connections. Each call takes 10 ns."""

    def __init__(self) -> None:
        self.time = 1000
        self._sequences: dict[int, int] = {}
        self._positions: dict[tuple[int, int], int] = {}
        self._plain_sequences: dict[int, int] = {}
        self._plain_positions: dict[tuple[int, int], int] = {}

    def next(self, connection: int, direction: int, size: int) -> Detail:
        """A read or write of that many bytes."""
        self.time += 10
        sequence = self._sequences.get(connection, 0)
        position = self._positions.get((connection, direction), 0)
        self._sequences[connection] = sequence + 1
        self._positions[connection, direction] = position + size
        call = Syscall.READ if direction == Direction.INGRESS else Syscall.WRITE
        return Detail(
            connection=connection,
            sequence=sequence,
            start=self.time - 5,
            end=self.time,
            position=position,
            size=size,
            pid=42,
            fd=3,
            syscall=call,
            direction=direction,
            error=0,
        )

    def plaintext(self, connection: int, direction: int, size: int) -> Plaintext:
        """A call of a TLS library that moved that many; its ciphertext is what has moved so far."""
        self.time += 10
        sequence = self._plain_sequences.get(connection, 0)
        position = self._plain_positions.get((connection, direction), 0)
        self._plain_sequences[connection] = sequence + 1
        self._plain_positions[connection, direction] = position + size
        return Plaintext(
            connection=connection,
            sequence=sequence,
            start=self.time - 15,
            end=self.time,
            position=position,
            size=size,
            ciphertext=self._positions.get((connection, direction), 0),
            pid=42,
            direction=direction,
        )
