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

    __slots__ = (
        "_first",
        "_free",
        "_more",
        "_others",
        "_owner",
        "_second",
        "missed",
        "missing",
        "overlapping",
        "waiting",
    )

    def __init__(self) -> None:
        # Of the exchange that began last, which on most connections is the only one, and in most has two
        # calls. Lists and dictionaries are made where there are more.
        self._owner: int | None = None
        self._first: Detail | None = None
        self._second: Detail | None = None
        self._more: list[Detail] | None = None
        self._others: dict[int, list[Detail]] | None = None  # those before it, the oldest first
        self._free: list[Detail] | None = None
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
        self.waiting += 1
        if owner is self._owner or owner == self._owner:
            if self._second is None:
                self._second = detail
                return
            if self._more is None:
                self._more = [detail]
            else:
                self._more.append(detail)
        elif self._others is not None and owner in self._others:
            self._others[owner].append(detail)
        else:
            before = self._owner
            if before is None:
                self._owner, self._first = owner, detail
                if self._others is None:
                    return
            else:
                if self._others is None:
                    self._others = {}
                self._others[before] = list(self._own())
                self._owner, self._first = owner, detail
        if self.waiting > MAX_WAITING:
            self._release()

    def _own(self) -> tuple[Detail, ...]:
        """The details of the exchange that began last; there is none from here on."""
        first, second, more = self._first, self._second, self._more
        self._owner = self._first = self._second = self._more = None
        if first is None:
            return ()
        if second is None:
            return (first,)
        return (first, second) if more is None else (first, second, *more)

    def _release(self) -> None:
        """Those of the oldest exchange go free."""
        others = self._others
        released = others.pop(next(iter(others))) if others else list(self._own())
        self.waiting -= len(released)
        if self._free is None:
            self._free = released
        else:
            self._free += released

    def free(self, detail: Detail) -> None:
        """The detail belongs to no exchange."""
        if self._free is None:
            self._free = [detail]
        else:
            self._free.append(detail)

    def take(self, owner: int) -> tuple[Detail, ...]:
        """Everything that waits for an exchange, in the order it arrived; at most once."""
        if owner is self._owner or owner == self._owner:
            details = self._own()
        elif self._others is not None and owner in self._others:
            details = tuple(self._others.pop(owner))
        else:
            return ()
        self.waiting -= len(details)
        return details

    def take_free(self) -> tuple[Detail, ...]:
        """What is to be sent alone now."""
        if self._free is None:
            return ()
        free, self._free = self._free, None
        return tuple(free)

    def drain(self) -> tuple[Detail, ...]:
        """Everything, owned or free, in the order of its sequence numbers."""
        if not self.waiting and self._free is None:
            return ()
        everything = [*(self._free or ()), *self._own()]
        for owned in (self._others or {}).values():
            everything += owned
        self._others = self._free = None
        self.waiting = 0
        everything.sort(key=operator.attrgetter("sequence"))
        return tuple(everything)
