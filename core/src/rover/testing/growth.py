"""What must hold of a decoder however much it is sent: time grows as the bytes do, memory is bounded or told.

Time is measured as processor time, the least of several rounds, since other load only adds to it.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from rover.streams.ledger import DETAIL_MEMORY
from rover.testing.conversation import Call
from rover.testing.play import LawError, Play
from rover.values.records import Role

LARGE = 1 << 16
"""Bytes that are sent: as lines of 8 bytes some 8,000, eight times as deep as Python calls go."""
SPAN = 16
"""How many times fewer they are compared with: what is quadratic costs as many times less per byte."""
GROWTH = 6
"""How many times more a byte may cost: caches, hash tables and other load are worth three."""
UNNOTICED = 0.05
"""Processor seconds that any run may take."""
ROUNDS = 4
READ = 1000
PIECES = (1 << 20, READ, 1)
"""Bytes of a call: all at once, as one reads them, and one by one (of a sixteenth of the bytes)."""
UNTOLD = 64 << 10
"""Bytes that a decoder may keep without telling: 65,536 connections of such would take 4 GB."""
TOLD = 4
"""How many times what it tells of it may keep: a text of 20 bytes takes 70."""
PEAK, PEAK_PER_BYTE = 4 << 20, 200
"""Bytes in use at any time: what a play takes at all, and what a byte may while it is looked at."""
CONNECTIONS = 30
LEFT = 300
"""Bytes that a connection may leave behind: fewer than anything that is made for it."""
MAX_KINDS = 4
"""Calls of a conversation that are each repeated without end."""


class MakePlay(Protocol):
    """A new connection."""

    def __call__(self, role: Role | None, *, keep: bool = True) -> Play: ...


def check_growth(make: MakePlay, calls: Sequence[Call], what: str) -> None:
    """Sends parts of a conversation over and over. Raises LawError."""
    for name, sent in _floods(calls):
        where = f"\n{what}, {name}"
        for piece in PIECES:
            _check_time(make, sent, piece, where)
        _check_memory(make, sent, where)
    _check_left(make, calls, f"\n{what}")


Sent = Callable[[int], list[Call]]
"""Calls of about so many bytes."""


def _floods(calls: Sequence[Call]) -> Iterator[tuple[str, Sent]]:
    for speaker in Role:
        if said := b"".join(call.data for call in calls if call.speaker is speaker):
            silent = "server" if speaker is Role.CLIENT else "client"
            yield f"what the {speaker.value} says, the {silent} silent", _repeated(Call(speaker, b""), said)
    length = sum(len(call.data) for call in calls)
    yield "over and over", lambda size: list(calls) * (size // length + 1)
    kinds = {(call.speaker, call.data[:1]): call for call in reversed(calls)}
    for call in list(kinds.values())[-MAX_KINDS:]:
        middle = len(call.data) // 2
        byte = call.data[middle : middle + 1]
        before = Call(call.speaker, call.data[:middle])
        yield f"{call.speaker.value} {call.data[:20]!r} with {byte!r} repeated", _repeated(before, byte)


def _repeated(before: Call, part: bytes) -> Sent:
    """One call, with a part at its end as often as it takes."""
    return lambda size: [Call(before.speaker, before.data + part * (size // len(part) + 1))]


def _play(make: MakePlay, calls: Sequence[Call], piece: int, where: str) -> Play:
    """Watched at the server; calls of at most `piece` bytes."""
    try:
        play = make(Role.SERVER, keep=False)
        for call in calls:
            direction = call.direction(Role.SERVER)
            for at in range(0, len(call.data), piece):
                play.send(direction, call.data[at : at + piece])
    except Exception as error:
        raise LawError(
            f"no exception: {type(error).__name__}: {str(error)[:200]}{where}, "
            f"in calls of at most {piece} bytes"
        ) from error
    return play


def _cost(make: MakePlay, calls: Sequence[Call], piece: int, where: str) -> float:
    """Processor seconds, without those of looking for garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        begun = time.process_time()
        _play(make, calls, piece, where)
        return time.process_time() - begun
    finally:
        if was_on:
            gc.enable()


def _check_time(make: MakePlay, sent: Sent, piece: int, where: str) -> None:
    size = LARGE if piece > 1 else LARGE // SPAN
    small, large = sent(size // SPAN), sent(size)
    few, many = (sum(len(call.data) for call in calls) for calls in (small, large))
    least = [float("inf")] * 2
    for _ in range(ROUNDS):
        for index, calls in ((1, large), (0, small)):
            least[index] = min(least[index], _cost(make, calls, piece, where))
            if least[1] <= UNNOTICED:
                return
        if least[1] / many <= GROWTH * least[0] / few:
            return
    raise LawError(
        f"time grows as the bytes do: of {few} bytes each costs {least[0] / few * 1e9:.0f} ns, of {many} "
        f"{least[1] / many * 1e9:.0f} ns{where}, in calls of at most {piece} bytes"
    )


class _Traced:
    """Counts the bytes that Python takes meanwhile, also where somebody else does."""

    def __init__(self) -> None:
        gc.collect()
        self._was_on = tracemalloc.is_tracing()
        if not self._was_on:
            tracemalloc.start()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._was_on:
            tracemalloc.stop()

    def now(self) -> tuple[int, int]:
        """(bytes that are kept, the most there were)"""
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
        return kept - self._before, peak - self._before


def _check_memory(make: MakePlay, sent: Sent, where: str) -> None:
    calls = sent(LARGE)
    size = sum(len(call.data) for call in calls)
    _play(make, calls, READ, where)  # whatever is made once
    with _Traced() as traced:
        play = _play(make, calls, READ, where)
        left, peak = traced.now()
    if peak > PEAK + PEAK_PER_BYTE * size:
        raise LawError(f"memory stays in proportion: {peak} bytes are in use for {size}{where}")
    if play.protocol_break is not None or play.decoder is None:
        return  # then the core keeps no decoder
    kept = left - play.waiting * DETAIL_MEMORY - 2 * sum(buffer.size for buffer in play.buffers.values())
    told = getattr(play.decoder, "memory", 0)
    if kept > UNTOLD + TOLD * told:
        raise LawError(
            f"memory is bounded or told: about {kept} bytes are kept of {size}, and the decoder tells of "
            f"{told}. Bound what may wait, or tell with a property `memory`{where}"
        )


def _check_left(make: MakePlay, calls: Sequence[Call], where: str) -> None:
    """Nothing is kept after the end, however many connections there were."""

    def connect(times: int) -> None:
        for _ in range(times):
            play = make(Role.SERVER, keep=False)
            for call in calls:
                play.send(call.direction(Role.SERVER), call.data)
            play.close()

    connect(CONNECTIONS)
    with _Traced() as traced:
        connect(CONNECTIONS)
        before, _ = traced.now()
        connect(CONNECTIONS)
        after, _ = traced.now()
    if after - before > CONNECTIONS * LEFT:
        raise LawError(
            f"nothing kept: each connection leaves {(after - before) // CONNECTIONS} bytes behind{where}"
        )
