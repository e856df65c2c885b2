"""What must hold of every input once it is grown: time per byte stays, memory is bounded.

An input is grown by repeating a part of it. A harness names in `RUNS` what is measured: functions that
take an input to the code under test, compare nothing, and return what keeps something of it, or None. The
memory of the first one is measured; the others take the same bytes in other pieces. What an input comes to
in bytes is the harness's to say, where a step of its script stands for more than itself (`weigh`).
"""

from __future__ import annotations

import gc
import math
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[bytes], Any]
Weigh = Callable[[bytes], int]
"""The bytes that a run hands over of an input."""

LARGEST = 128 << 10
"""Bytes an input grows to: as many as the largest head; what is quadratic takes seconds by then."""
SPAN = 16
"""The sizes that are compared; what is quadratic costs as many times more per byte."""
GROWTH = 6
"""How many times more a byte may cost: caches, hash tables and other load are worth three."""
HALF_GROWTH = 1.5
"""Times that a byte may cost what it does in an input half as long: 2 is what squares come to."""
ROUNDS = 4
"""Of measuring, until a cost is clearly one that does not grow."""
FLOOR = 0.3e-6
"""Seconds that any byte may cost: set-up, and what a call or a message costs at least."""
ENOUGH = 0.1
"""Processor seconds, of bytes that cost twice what the floor lets pass, after which an input need not grow
any more for its cost to be seen."""
KEPT = 1 << 20
"""Bytes kept for a connection."""
PEAK = 4 << 20
PER_BYTE = 150
"""Bytes in use at any time: what a run takes at all, and what a byte may take while it is looked at.
An empty field of a head is 3 bytes and passes through some small objects; a record in a file is 13."""


def check(runs: Sequence[Run], data: bytes, weigh: Weigh = len) -> None:
    """Holds the grown input to both laws."""
    if data:
        start, end = part(data)
        check_memory(runs[0], data, start, end, weigh)
        for run in runs:
            check_time(run, data, start, end)


def check_one(runs: Sequence[Run], data: bytes, weigh: Weigh = len) -> None:
    """One law and one run, chosen by the input: a finding is one again."""
    if data:
        start, end = part(data)
        chosen = zlib.crc32(data[::-1]) % (len(runs) + 1)
        if chosen == len(runs):
            check_memory(runs[0], data, start, end, weigh)
        else:
            check_time(runs[chosen], data, start, end)


def part(data: bytes) -> tuple[int, int]:
    """Of what is to be repeated."""
    rng = random.Random(zlib.crc32(data))
    start = rng.randrange(len(data))
    return start, start + rng.choice((1, 2, 4, 13, 30, 100, len(data)))


def grown(data: bytes, start: int, end: int, size: int) -> bytes:
    """`data` with the part between two indices repeated until it is about `size` bytes long."""
    part = data[start:end]
    return data[:start] + part * max(1, (size - len(data)) // len(part) + 1) + data[end:]


def check_time(run: Run, data: bytes, start: int, end: int) -> None:
    """Time per byte does not grow with the number of bytes."""
    size = max(2048, 2 * len(data))
    large = grown(data, start, end, size)
    while size < LARGEST and _cost(run, large) < max(ENOUGH, 2 * GROWTH * FLOOR * len(large)):
        size *= 2
        large = grown(data, start, end, size)
    small = grown(data, start, end, len(large) // SPAN)
    if len(large) < SPAN * len(small) / 2:
        small = data  # it is large itself
    half = grown(data, start, end, len(large) // 2)
    least: tuple[float, ...] = (math.inf,) * 3
    for _ in range(ROUNDS):
        # Other load only adds, and halves a processor's speed for a while: each is measured in turn.
        least = tuple(
            min(cost, _cost(run, each) / len(each))
            for cost, each in zip(least, (small, half, large), strict=True)
        )
        before, halfway, after = max(FLOOR, least[0]), least[1], least[2]
        if after <= GROWTH / 2 * before:
            return
    # Bytes of another kind than those repeated may have made the small one cheap; what grows
    # faster than its size costs twice as much a byte as half of it does.
    if after <= GROWTH * before or after <= HALF_GROWTH * halfway:
        return
    raise AssertionError(
        f"{len(small)} bytes cost {before * 1e9:.0f} ns each, {len(large)} bytes {after * 1e9:.0f} ns: "
        f"{data[start:end]!r} repeated"
    )


def _cost(run: Run, data: bytes) -> float:
    """Processor seconds, without those of looking for garbage."""
    was_on = gc.isenabled()
    gc.disable()
    begun = time.process_time()
    run(data)
    spent = time.process_time() - begun
    if was_on:
        gc.enable()
    return spent


def check_memory(run: Run, data: bytes, start: int, end: int, weigh: Weigh = len) -> None:
    """What is in use stays in proportion; what is kept in the end stays below a connection's bound."""
    large = grown(data, start, end, LARGEST if len(data) < LARGEST // 2 else 2 * len(data))
    run(data)  # whatever is made once
    gc.collect()
    tracemalloc.start()
    try:
        kept = run(large)
        gc.collect()
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = weigh(large)
    grew = f"{size} bytes, {data[start:end]!r} repeated"
    assert peak <= PEAK + PER_BYTE * size, f"{peak} bytes in use for {grew}"
    assert kept is None or left <= KEPT, f"{left} bytes are kept of {grew}"
