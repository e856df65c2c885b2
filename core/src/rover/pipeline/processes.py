"""The processes that a source has told of."""

from __future__ import annotations

from rover.values.records import Process

MAX_PROCESSES = 32_768
"""Processes kept, the least recently used one goes first: the default of kernel.pid_max."""


class Processes:
    """By number."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, Process] = {}

    def learn(self, process: Process) -> None:
        """A process as it is from now on."""
        known = self._known
        if known.pop(process.pid, None) is None and len(known) >= MAX_PROCESSES:
            del known[next(iter(known))]
        known[process.pid] = process

    def get(self, pid: int) -> Process:
        """The process of this number, from now on the most recently used one; without a name, if the
        source has told none."""
        known = self._known.pop(pid, None)
        if known is None:
            return Process(pid=pid, name="")
        self._known[pid] = known
        return known
