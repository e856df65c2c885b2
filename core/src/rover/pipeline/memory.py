"""What the connections of a pipeline take, in bytes, and what they may."""

from __future__ import annotations

CONNECTION_MEMORY = 3072
"""Bytes that any connection takes: its state and its decoder's, measured for both versions of HTTP."""
GRAIN = 2048
"""Bytes beyond these that are accounted for. An ordinary connection stays below, and costs nothing."""


class MemoryBudget:
    """One sum for all connections; each charges it with what it takes beyond CONNECTION_MEMORY."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
