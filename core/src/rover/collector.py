"""How often Python looks for cycles of garbage."""

from __future__ import annotations

import gc

ALLOCATIONS = 100_000
"""Containers made, less those freed, after which the youngest are looked through. What an exchange is
made of holds no cycles and is freed as soon as its line is written; but while some thousand of them
wait for a sink, the default of 700 has the collector go through all of them for every few."""


def relax_collector() -> None:
    """For the life of the process. What exists by now is there to stay, and is never looked at again."""
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)
