"""For plugin authors: plays traffic to a decoder the way the core does.

play = Play(spec.make(connection(), {}, None))
play.send(Direction.EGRESS, b"ping\\n")
play.send(Direction.INGRESS, b"pong\\n")
assert [e.attributes for e in play.exchanges] == [...]
"""

from __future__ import annotations

from collections.abc import Iterable

from rover.contracts.protocol import NEED_MORE, RESYNCHRONISED, AnyExchange, Decoder, Outcomes
from rover.streams.buffer import StreamBuffer
from rover.streams.ledger import Ledger
from rover.values.connection import Connection, ProtocolBreak
from rover.values.records import Address, Detail, Direction, Process, Role, Syscall

MAX_STEPS = 1_000_000
"""Steps of one decoder over one call's bytes after which it is taken to be in an endless loop."""


def connection(role: Role | None = Role.CLIENT) -> Connection:
    """A made-up connection, recognised as nothing yet."""
    return Connection(
        id=1,
        local=Address(host="10.0.0.1", port=40000),
        remote=Address(host="10.0.0.2", port=80),
        role=role,
        process=Process(pid=42, name="app"),
        opened=0,
        epoch=1_700_000_000_000_000_000,
    )


class Play:
    """One connection in one decoder. Each `send` is one socket call; each takes 10 ns."""

    def __init__(self, decoder: Decoder, *, late: bool = False) -> None:
        """`late`: the beginning of the connection was not seen."""
        self.decoder = decoder
        self.exchanges: list[AnyExchange] = []
        self.taken: list[tuple[Detail, ...]] = []
        """The details that went with each exchange."""
        self.alone: list[Detail] = []
        """The details delivered without an exchange."""
        self.protocol_break: ProtocolBreak | None = None
        self.resynchronised = 0
        self.calls: list[Detail] = []
        """Every call made: each ends up in `taken` or `alone`, once."""
        self.time = 0
        self.ledger = Ledger()
        self.buffers = {d: StreamBuffer(d, self.ledger) for d in Direction}
        for buffer in self.buffers.values():
            buffer.late = late
        self._positions = dict.fromkeys(Direction, 0)
        self._sequence = 0
        self._due = 0

    def send(self, direction: Direction, data: bytes, *, captured: int | None = None, size: int = 0) -> None:
        """One call that moved `data` (of which the first `captured` bytes were seen).

        `size` is for a call longer than `data`: sendfile, or above the capture limit.
        """
        moved = max(size, len(data))
        payload = data if captured is None else data[:captured]
        self._call(direction, moved, payload)

    def send_all(self, direction: Direction, pieces: Iterable[bytes]) -> None:
        """A call per piece."""
        for piece in pieces:
            self.send(direction, piece)

    def lose(self, direction: Direction, size: int) -> None:
        """A call of which no record arrives."""
        self._positions[direction] += size
        self._sequence += 1
        self.time += 10

    def end(self, direction: Direction) -> None:
        """The direction's FIN."""
        self.time += 10
        self.buffers[direction].ended = True
        self._decode(direction)

    def expire(self, now: int) -> None:
        """Time passes."""
        self.time = now
        if self.protocol_break is None:
            self._collect(self.decoder.expire(now))

    def close(self) -> None:
        """The connection ends."""
        for direction in Direction:
            if not self.buffers[direction].ended:
                self.end(direction)
        if self.protocol_break is None:
            self._collect(self.decoder.close(self.time))
        for buffer in self.buffers.values():
            buffer.clear()
        self.alone += self.ledger.drain()

    def _call(self, direction: Direction, moved: int, payload: bytes) -> None:
        self.time += 10
        position = self._positions[direction]
        self._positions[direction] += moved
        syscall = Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE
        sequence = self._sequence
        detail = Detail(
            connection=1,
            sequence=sequence,
            start=self.time - 5,
            end=self.time,
            position=position,
            size=moved,
            pid=42,
            fd=3,
            syscall=syscall,
            direction=direction,
            error=0,
        )
        if sequence > self._due:
            self.ledger.miss(self._due, sequence)
        if self.calls and detail.start < self.calls[-1].end:
            self.ledger.overlapping = True
        self._sequence = self._due = sequence + 1
        self.calls.append(detail)
        if self.protocol_break is not None:
            self.alone.append(detail)
            return
        self.buffers[direction].append(detail, payload)
        self._decode(direction)

    def _decode(self, direction: Direction) -> None:
        buffer = self.buffers[direction]
        for _ in range(MAX_STEPS):
            if self.protocol_break is not None:
                return
            result = self.decoder.decode(direction, buffer, self.time)
            if result is NEED_MORE:
                self.alone += self.ledger.take_free()
                return
            if result is RESYNCHRONISED:
                self.resynchronised += 1
            elif isinstance(result, ProtocolBreak):
                self.protocol_break = result
                for each in self.buffers.values():
                    each.clear()
                self.alone += self.ledger.drain()
            elif not isinstance(result, Outcomes):
                self._collect([result])
        raise AssertionError(f"the decoder made {MAX_STEPS} steps over one call")

    def _collect(self, exchanges: Iterable[AnyExchange]) -> None:
        for exchange in exchanges:
            self.exchanges.append(exchange)
            self.taken.append(self.ledger.take(exchange.owner))
        self.alone += self.ledger.take_free()
