"""A script played to a decoder the way the core does, in two ways that must tell the same.

The settings of a script are the seed of the cuts and what the harness makes of the other byte. A
step's control: bit 0 is the direction, bits 1 to 3 what happens, bits 4 to 7 how much (see `SIZES`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rover.contracts.protocol import Decoder
from rover.plugins.guard import checked_log
from rover.testing import Play, check_delivery, connection
from rover.values.access_log import AccessLog
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpExchange, HttpStream
from rover.values.records import Detail, Direction

from .script import SIZES, Step, cut

SEND, UNSEEN, LOST, FIN, LATER = 0, 4, 5, 6, 7
"""Bits 1 to 3; 0 to 3 send. UNSEEN: the call moved more than was captured. LOST: its record is."""
UP, DOWN = Direction.EGRESS, Direction.INGRESS
LONG = 1000 * 1_000_000_000
"""ns that pass in LATER: beyond every timeout."""


def log_of(exchange: Exchange, details: tuple[Detail, ...]) -> AccessLog | None:
    """What the core logs of an exchange that no hook makes a log of."""
    return checked_log(
        AccessLog(
            connection=connection(),
            start=exchange.start,
            end=exchange.end,
            protocol=exchange.name,
            attributes=exchange.attributes,
            details=details,
        )
    )


def control(direction: Direction, action: int = SEND, size: int = 0) -> int:
    """The control byte; `size` is an index of SIZES."""
    return direction | action << 1 | size << 4


def play(decoder: Decoder, steps: Sequence[Step], seed: int | None) -> Play:
    """Neighbours of one direction in one call; or, with a seed, every call cut.

    But a call is not cut while bytes of the other direction wait to be read: how many of these bytes
    they met with is a matter of time.
    """
    played = Play(decoder)
    for sends, group in itertools.groupby(steps, lambda s: s.control & 1 if s.bits(1, 3) < UNSEEN else None):
        if sends is not None:
            direction = Direction(sends)
            data = b"".join(step.payload for step in group)
            played.send_all(direction, _pieces(played, direction, data, seed))
            continue
        for step in group:
            _do(played, step, seed)
    played.close()
    return played


def _pieces(played: Play, direction: Direction, data: bytes, seed: int | None) -> list[bytes]:
    other = played.buffers[Direction(1 - direction)]
    if seed is None or not data or other.end != other.position:
        return [data]
    return list(cut(data, seed))


def _do(played: Play, step: Step, seed: int | None) -> None:
    direction, action, size = Direction(step.bits(0, 1)), step.bits(1, 3), SIZES[step.bits(4, 4)]
    if action == LATER:
        played.expire((played.time // LONG + 1) * LONG)
    elif action == LOST:
        played.lose(direction, size)
    elif action == UNSEEN:
        *pieces, last = _pieces(played, direction, step.payload, seed)
        played.send_all(direction, pieces)
        played.send(direction, last, size=len(last) + size)
    elif not played.buffers[direction].ended:
        played.end(direction)


def pass_on(decoder: Decoder, steps: Iterable[Step], piece: int) -> Play | None:
    """What the decoder keeps at the end of a script whose calls are cut to at most `piece` bytes: after a
    break, nothing, for the core keeps no decoder."""
    played = Play(decoder, keep=False)
    for step in steps:
        if step.bits(1, 3) >= UNSEEN:
            _do(played, step, None)
            continue
        for at in range(0, len(step.payload), piece):
            if played.protocol_break is not None:
                return None
            played.send(Direction(step.bits(0, 1)), step.payload[at : at + piece])
    return played if played.protocol_break is None else None


PIECES = (1000, 1 << 20, 1)


def runs(decoder_of: Callable[[bytes], tuple[Decoder, Sequence[Step]]]) -> tuple[Callable[[bytes], Any], ...]:
    """What is measured: calls as one reads them, large ones, and calls of one byte. `decoder_of` gives the
    decoder of an input, and its steps."""

    def run(piece: int) -> Callable[[bytes], Any]:
        return lambda data: pass_on(*decoder_of(data), piece)

    return tuple(run(piece) for piece in PIECES)


def check(
    steps: Sequence[Step],
    seed: int,
    make: Callable[[], Decoder],
    log: Callable[[Any, tuple[Detail, ...]], AccessLog | None],
    counts: Callable[[Play, Play], Callable[[Play], list[Any]]] = lambda _whole, _pieces: told,
) -> int:
    """The number of exchanges. `log` makes the access log of one. `counts` chooses what is to be the same in
    one piece and cut."""
    ended: set[int] = set()
    alive = []
    for step in steps:
        # What follows a FIN of its direction does not exist.
        if step.bits(1, 3) == LATER or step.bits(0, 1) not in ended:
            alive.append(step)
        if step.bits(1, 3) == FIN:
            ended.add(step.bits(0, 1))
    whole = play(make(), alive, None)
    pieces = play(make(), alive, seed)
    for played in (whole, pieces):
        check_delivery(played)
    tell = counts(whole, pieces)
    assert tell(pieces) == tell(whole), f"whole: {tell(whole)}\nin pieces: {tell(pieces)}"
    for exchange, details in zip(whole.exchanges, whole.taken, strict=True):
        made = log(exchange, details)
        assert made is not None
        json.dumps(dict(made.attributes), ensure_ascii=False).encode()
    return len(whole.exchanges)


def told(played: Play) -> list[Any]:
    """What does not depend on when which bytes came."""
    broke = played.protocol_break
    found: list[Any] = [_told(exchange, broken=broke is not None) for exchange in played.exchanges]
    if broke is not None:
        found.append((broke.reason, broke.upgrade))
    return found


def _told(exchange: Any, *, broken: bool) -> Any:
    """Without times. Where a break of one direction met the content of the other is a matter of time."""
    if isinstance(exchange, Exchange):
        return exchange.replace(start=0, end=0)
    assert isinstance(exchange, HttpExchange | HttpStream)
    messages: list[Any] = []
    for message in (exchange.request, exchange.response):
        if message is not None:
            assert message.header_size >= 0
            assert (message.body_size or 0) >= 0
            message = message.replace(start=0, end=0)
            if broken and exchange.outcome is Outcome.ABORTED:
                message = message.replace(body_size=None)
        messages.append(message)
    return exchange.replace(request=messages[0], response=messages[1], end=0)
