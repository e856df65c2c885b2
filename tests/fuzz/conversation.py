"""A script played to a decoder the way the core does, in two ways that must tell the same.

The settings of a script are the seed of the cuts and what the harness makes of the other byte. A
step's control: bit 0 is the direction, bits 1 to 3 what happens, bits 4 to 7 how much (see `SIZES`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from rover.access_log import AccessLog
from rover.decoder import Decoder, Verdict
from rover.http.values import HttpExchange, HttpStream
from rover.records import Detail, Direction
from rover.testing import Play

from .script import SIZES, Step, cut

SEND, UNSEEN, LOST, FIN, LATER = 0, 4, 5, 6, 7
"""Bits 1 to 3; 0 to 3 send. UNSEEN: the call moved more than was captured. LOST: its record is."""
UP, DOWN = Direction.EGRESS, Direction.INGRESS
LONG = 1000 * 1_000_000_000
"""ns that pass in LATER: beyond every timeout."""
OPENING = 64
"""Bytes on which a sniff must have decided."""


def control(direction: Direction, action: int = SEND, size: int = 0) -> int:
    """The control byte; `size` is an index of SIZES."""
    return direction | action << 1 | size << 4


def play(decoder: Decoder, steps: Sequence[Step], seed: int | None) -> Play:
    """Neighbours of one direction in one call; or, with a seed, every call cut."""
    played = Play(decoder)
    for sends, group in itertools.groupby(steps, lambda s: s.control & 1 if s.bits(1, 3) < UNSEEN else None):
        if sends is not None:
            data = b"".join(step.payload for step in group)
            played.send_all(Direction(sends), [data] if seed is None and data else cut(data, seed or 0))
            continue
        for step in group:
            _do(played, step, seed)
    played.close()
    return played


def _do(played: Play, step: Step, seed: int | None) -> None:
    direction, action, size = Direction(step.bits(0, 1)), step.bits(1, 3), SIZES[step.bits(4, 4)]
    if action == LATER:
        played.expire((played.time // LONG + 1) * LONG)
    elif action == LOST:
        played.lose(direction, size)
    elif action == UNSEEN:
        *pieces, last = [step.payload] if seed is None or not step.payload else cut(step.payload, seed)
        played.send_all(direction, pieces)
        played.send(direction, last, size=len(last) + size)
    elif not played.buffers[direction].ended:
        played.end(direction)


def check(
    steps: Sequence[Step],
    seed: int,
    make: Callable[[], Decoder],
    log: Callable[[Any, tuple[Detail, ...]], AccessLog | None],
) -> None:
    """`log` makes the access log of an exchange."""
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
    assert told(pieces) == told(whole), f"whole: {told(whole)}\nin pieces: {told(pieces)}"
    for exchange, details in zip(whole.exchanges, whole.taken, strict=True):
        made = log(exchange, details)
        assert made is not None
        json.dumps(made.attributes, ensure_ascii=False).encode()


def check_delivery(played: Play) -> None:
    """Every call's detail was delivered once, and nothing is kept."""
    delivered = [detail for details in played.taken for detail in details] + played.alone
    assert sorted(delivered) == played.calls, "each detail exactly once"
    for buffer in played.buffers.values():
        assert buffer.size == len(buffer) == 0


def told(played: Play) -> list[Any]:
    """What does not depend on when which bytes came."""
    found: list[Any] = [_timeless(exchange) for exchange in played.exchanges]
    if played.protocol_break is not None:
        found.append((played.protocol_break.reason, played.protocol_break.upgrade))
    return found


def _timeless(exchange: Any) -> Any:
    assert isinstance(exchange, HttpExchange | HttpStream)
    messages = [m and m._replace(start=0, end=0) for m in (exchange.request, exchange.response)]
    for message in messages:
        assert message is None or (message.header_size >= 0 and (message.body_size or 0) >= 0), message
    return exchange._replace(request=messages[0], response=messages[1])


def check_sniff(sniff: Callable[[bytes], Verdict], data: bytes) -> None:
    """YES or NO stays so, however many bytes follow."""
    verdict = Verdict.MAYBE
    for size in range(1, min(len(data), OPENING) + 1):
        said = sniff(data[:size])
        assert verdict in (Verdict.MAYBE, said), f"{verdict}, and {said} after {size} bytes"
        verdict = said
