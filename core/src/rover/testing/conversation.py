"""What is said over one connection, in which calls, and what the watcher sees of them."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

from rover.values.records import Direction, Role

Conversation = Sequence[tuple[Role, bytes]]
"""Who says what, in order: `[(Role.CLIENT, b"ping\\n"), (Role.SERVER, b"pong\\n")]`."""

SHOWN = 12
"""Calls that a message shows: the end of the longer ones is as the beginning."""
SHOWN_BYTES = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One socket call, as it was made and as it was seen."""

    speaker: Role
    data: bytes
    captured: int | None = None
    """How many of its first bytes were; None for all of them."""
    lost: bool = False
    """Whether no record of it arrives."""

    def direction(self, watched: Role) -> Direction:
        """As the watched end sees it."""
        return Direction.EGRESS if self.speaker is watched else Direction.INGRESS

    def __str__(self) -> str:
        data = self.data if len(self.data) <= SHOWN_BYTES else self.data[:SHOWN_BYTES] + b"..."
        fate = " lost" if self.lost else "" if self.captured is None else f" captured to {self.captured}"
        return f"{self.speaker.value} {data!r}{fate}"


def calls_of(conversation: Conversation) -> list[Call]:
    """A call per entry; one without bytes is none."""
    return [Call(speaker, data) for speaker, data in conversation if data]


def joined(calls: Iterable[Call]) -> list[Call]:
    """Neighbours of one speaker in one call."""
    return [
        Call(speaker, b"".join(call.data for call in group))
        for speaker, group in itertools.groupby(calls, lambda call: call.speaker)
    ]


def single(calls: Iterable[Call]) -> list[Call]:
    """A call per byte."""
    return [Call(call.speaker, bytes([byte])) for call in calls for byte in call.data]


def cut_once(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """One call cut in two, at each place there is."""
    for index, call in enumerate(calls):
        for at in range(1, len(call.data)):
            halves = [Call(call.speaker, call.data[:at]), Call(call.speaker, call.data[at:])]
            yield [*calls[:index], *halves, *calls[index + 1 :]]


def cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """Pieces of `data`, of sizes from 1 up, small ones more often."""
    while data:
        size = int(64 ** rng.random())
        yield data[:size]
        data = data[size:]


def recut(calls: Iterable[Call], rng: random.Random) -> list[Call]:
    """The same bytes in the same order, in other calls."""
    return [Call(call.speaker, piece) for call in joined(calls) for piece in cut(call.data, rng)]


def in_pieces(calls: Iterable[Call], size: int) -> list[Call]:
    """The same bytes, in calls of at most `size` of them."""
    return [
        Call(call.speaker, call.data[at : at + size])
        for call in calls
        for at in range(0, len(call.data), size)
    ]


def damaged(calls: Iterable[Call], rng: random.Random) -> list[Call]:
    """Some calls lost, some captured in part."""
    found = []
    for call in calls:
        fate = rng.randrange(6)
        if fate == 0:
            call = dataclasses.replace(call, lost=True)
        elif fate == 1:
            call = dataclasses.replace(call, captured=rng.randrange(len(call.data)))
        found.append(call)
    return found


def mutated(calls: Iterable[Call], rng: random.Random) -> list[Call]:
    """Some bytes are others: changed, left out, said twice, or anything."""
    found = []
    for call in calls:
        data = bytearray(call.data)
        if rng.randrange(2):
            at = rng.randrange(len(data))
            end = at + rng.randrange(1, 9)
            kind = rng.randrange(5)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at:end]
            elif kind == 2:
                data[at:at] = data[at:end] * rng.randrange(1, 9)
            elif kind == 3:
                data[at:at] = bytes(rng.randrange(256) for _ in range(end - at))
            else:
                data[at] = rng.choice(b"\0\n\r \x7f\x80\xff0129")
        if data:
            found.append(Call(call.speaker, bytes(data)))
    return found


def shown(calls: Sequence[Call]) -> str:
    """For a message."""
    more = f", and {len(calls) - SHOWN} more" if len(calls) > SHOWN else ""
    return ", ".join(str(call) for call in calls[:SHOWN]) + more
