"""Damaged files, for tests of whoever reads files that others made."""

from __future__ import annotations

from collections.abc import Iterable


def overwritten(content: bytes, changes: Iterable[tuple[int, bytes]]) -> bytearray:
    """The content with other bytes at these places, which count from its end where they are negative, and go
    round where they are beyond it."""
    damaged = bytearray(content)
    for place, change in changes:
        place %= len(damaged)
        damaged[place : place + len(change)] = change
    return damaged
