"""The end of the pipeline: what comes is counted at once, in the pipeline's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rover import AccessLog


class CountingSink:
    """A sink that hands each log to a function, and holds none."""

    kernel_logs = False

    def __init__(self, add: Callable[[AccessLog], object]) -> None:
        self._add = add

    def prepare(self, log: AccessLog) -> None:
        """Counts it."""
        self._add(log)

    def write(self, logs: Sequence[Any]) -> None:
        """They have been counted."""

    def flush(self) -> None:
        """Nothing is held."""

    def reopen(self) -> None:
        """There is no file."""

    def counters(self) -> Mapping[str, int]:
        """Nothing to add."""
        return {}

    def close(self) -> int:
        """Nothing is left."""
        return 0
