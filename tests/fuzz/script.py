"""What a fuzzer's bytes mean: settings, then steps. A mutation within a step leaves the others be."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MARK = b"\xff\xfe"
"""Between steps. Real traffic hardly has it, and the fuzzer gets it as a word."""
SETTINGS = 2
"""Bytes in front of the steps."""
SIZES = (1, 2, 3, 5, 8, 9, 17, 40, 200, 1000, 5000, 16384, 65_536, 1 << 20, 1 << 31, 1 << 40)
"""Lengths that four bits choose from: of what was not captured, or was lost."""


class Step(NamedTuple):
    """What happens next. The harness says what the bits of `control` mean."""

    control: int
    payload: bytes

    def bits(self, low: int, number: int) -> int:
        """`number` bits of the control, from bit `low` on."""
        return self.control >> low & (1 << number) - 1


def read(data: bytes) -> tuple[bytes, list[Step]]:
    """Settings, filled up with zeros, and steps."""
    settings = data[:SETTINGS].ljust(SETTINGS, b"\0")
    return settings, [Step(part[0], part[1:]) for part in data[SETTINGS:].split(MARK) if part]


def write(settings: bytes, steps: Iterable[tuple[int, bytes]]) -> bytes:
    """The input that `read` reads so. For seeds."""
    assert len(settings) == SETTINGS
    return settings + MARK.join(bytes([control]) + payload for control, payload in steps)


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """Pieces of `data`: single bytes for seed 0, else of sizes from 1 up, small ones more often."""
    sizes = random.Random(seed)
    while data:
        size = int(64 ** sizes.random()) if seed else 1
        yield data[:size]
        data = data[size:]
