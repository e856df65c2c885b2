"""Exactly-once delivery of details: which exchange each socket call belongs to.

A detail enters once, through a `StreamBuffer` or straight as free, and leaves once: taken with
the exchange that first consumed any of its bytes, or free, to be sent alone.
"""

from __future__ import annotations

import operator

from rover.values.records import Detail

MAX_WAITING = 1024
"""Details one connection keeps for exchanges that are not finished. At some 400 bytes each
this is 0.4 MB; a download in 16 kB reads reaches it after 16 MB, and the details beyond it go
out alone instead of with the exchange: never lost, never twice."""
DETAIL_MEMORY = 400
"""Bytes that a detail takes: the tuple, and some six numbers of its own."""


class Ledger:
    """The details of one connection that wait for their exchange."""

    __slots__ = ("_free", "_owned", "missed", "missing", "overlapping", "waiting")

    def __init__(self) -> None:
        self._owned: dict[int, list[Detail]] = {}
        self._free: list[Detail] = []
        self.waiting = 0
        """How many wait for their exchange."""
        self.missing = 0
        """The highest sequence number known to be missing."""
        self.missed = 0
        """How many are."""
        self.overlapping = False
        """Whether a call began before the one with the number before it had ended: then their numbers
        do not tell which moved its bytes first."""

    def miss(self, due: int, sequence: int) -> None:
        """The record `sequence` came where `due` was: those before it are missing, as far as is known."""
        self.missing = sequence - 1
        self.missed += sequence - due

    def assign(self, owner: int, detail: Detail) -> None:
        """The detail waits for the exchange `owner`; beyond MAX_WAITING the oldest go free."""
        owned = self._owned.get(owner)
        if owned is None:
            self._owned[owner] = [detail]
        else:
            owned.append(detail)
        self.waiting += 1
        if self.waiting > MAX_WAITING:
            oldest = next(iter(self._owned))
            released = self._owned.pop(oldest)
            self.waiting -= len(released)
            self._free += released

    def free(self, detail: Detail) -> None:
        """The detail belongs to no exchange."""
        self._free.append(detail)

    def take(self, owner: int) -> tuple[Detail, ...]:
        """Everything that waits for an exchange, in the order it arrived; at most once."""
        owned = self._owned.pop(owner, None)
        if owned is None:
            return ()
        self.waiting -= len(owned)
        return tuple(owned)

    def take_free(self) -> tuple[Detail, ...]:
        """What is to be sent alone now."""
        if not self._free:
            return ()
        free = tuple(self._free)
        self._free.clear()
        return free

    def drain(self) -> tuple[Detail, ...]:
        """Everything, owned or free, in the order of its sequence numbers."""
        if not self.waiting and not self._free:
            return ()
        everything = list(self._free)
        for owned in self._owned.values():
            everything += owned
        self._owned.clear()
        self._free.clear()
        self.waiting = 0
        everything.sort(key=operator.attrgetter("sequence"))
        return tuple(everything)
