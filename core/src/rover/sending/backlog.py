"""The batches that wait, in order: in memory, then on disk, both bounded."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque

from rover.sending.batch import Batch
from rover.sending.spool import Spool, Stored

DISK_PAUSE = 60.0
"""Seconds before a disk that refused a batch is tried again, and complained of again."""


class Entry:
    """A batch that waits; on disk, in memory, or (while it is sent) both."""

    __slots__ = ("batch", "calls", "exchanges", "here", "sequence", "size", "stored")

    def __init__(self, sequence: int, batch: Batch | None, stored: Stored | None) -> None:
        self.sequence = sequence
        self.batch = batch
        self.stored = stored
        self.exchanges = batch.exchanges if batch else 0
        self.calls = batch.calls if batch else 0
        self.size = batch.size if batch else 0
        """Bytes of memory; 0 once it is on disk."""
        self.here = batch is not None
        """Made by this agent, not left by one before it."""


class Backlog:
    """Bounded: what is too much is shed, the oldest first, and counted. Not thread-safe."""

    def __init__(self, queue_bytes: int, spool: Spool | None, spool_bytes: int, spool_age: float) -> None:
        """`spool_age`: seconds."""
        self.away = False
        """The server does not take batches: they go to disk at once, so that the end of this
        agent, however sudden, loses none of them."""
        self.shed: Counter[str] = Counter()
        """Exchanges by cause."""
        self.shed_calls = 0
        self.lost = 0
        """Exchanges of this agent that were shed."""
        self._queue_bytes = queue_bytes
        self._spool = spool
        self._spool_bytes = spool_bytes
        self._spool_age = spool_age
        self._memory = 0
        self._disk = 0
        self._disk_refused = -DISK_PAUSE
        self._in_hand: Entry | None = None
        found = spool.found() if spool else []
        self._entries = deque(Entry(stored.sequence, None, stored) for stored in found)
        self._disk = sum(stored.size for stored in found)
        self._sequence = itertools.count(found[-1].sequence + 1 if found else 0)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def memory(self) -> int:
        """Bytes of batches in memory."""
        return self._memory

    @property
    def disk(self) -> int:
        """Bytes of batches in the spool."""
        return self._disk

    @property
    def left_before(self) -> int:
        """Batches that an agent before this one left."""
        return sum(1 for entry in self._entries if not entry.here)

    def put(self, batch: Batch) -> None:
        """Takes a batch; it, or others before it, may go to disk or be shed for it."""
        entry = Entry(next(self._sequence), batch, None)
        self._entries.append(entry)
        self._memory += entry.size
        self.settle()

    def first(self) -> tuple[Entry, Batch] | None:
        """The batch that is to be sent next, and stays until `sent` or `refuse`."""
        self._age()
        while self._entries:
            entry = self._entries[0]
            batch = entry.batch
            if batch is None and entry.stored is not None and self._spool is not None:
                batch = self._spool.read(entry.stored)
            if batch is not None:
                self._in_hand = entry
                return entry, batch
            self._drop(entry, "corrupt")
        return None

    def sent(self, entry: Entry) -> None:
        """The server has answered for it."""
        self._in_hand = None
        self._forget(entry)

    def put_back(self) -> None:
        """The one in hand was not taken: it stays the first."""
        self._in_hand = None

    def refuse(self, entry: Entry) -> None:
        """The server will never take it."""
        self._in_hand = None
        self._drop(entry, "refused")

    def settle(self) -> None:
        """Moves to disk what is due there, and sheds what is too much."""
        limit = 0 if self.away else self._queue_bytes
        if self._spool is not None and self._memory > limit:
            self._spill(limit)
        while self._memory > self._queue_bytes and (entry := self._oldest(on_disk=False)):
            self._drop(entry, "queue_full")
        while self._disk > self._spool_bytes and (entry := self._oldest(on_disk=True)):
            self._drop(entry, "spool_full")
        self._age()

    def close(self) -> int:
        """Saves what can be; returns how many exchanges of this agent were neither sent nor saved."""
        self._in_hand = None
        self.away = True
        self._disk_refused = -DISK_PAUSE
        self.settle()
        while entry := self._oldest(on_disk=False):
            self._drop(entry, "unsent")
        if self._spool is not None:
            self._spool.close()
        return self.lost

    def _spill(self, limit: int) -> None:
        if time.monotonic() - self._disk_refused < DISK_PAUSE or self._spool is None:
            return
        for entry in self._entries:
            if self._memory <= limit:
                return
            if entry.batch is None:
                continue
            # The one in hand as well: what is on disk is the oldest, so that a sudden end loses the newest.
            try:
                entry.stored = self._spool.write(entry.sequence, entry.batch)
            except OSError as error:
                self._disk_refused = time.monotonic()
                self._spool.warn("cannot write to the spool %s: %s", self._spool.path, error.strerror)
                return
            self._memory -= entry.size
            self._disk += entry.stored.size
            entry.batch, entry.size = None, 0

    def _age(self) -> None:
        oldest = time.time() - self._spool_age
        while (entry := self._oldest(on_disk=True)) and entry.stored and entry.stored.time < oldest:
            self._drop(entry, "spool_age")

    def _oldest(self, *, on_disk: bool) -> Entry | None:
        return next(
            (e for e in self._entries if (e.stored is not None) is on_disk and e is not self._in_hand), None
        )

    def _drop(self, entry: Entry, cause: str) -> None:
        exchanges, calls = entry.exchanges, entry.calls
        if not entry.here and entry.stored is not None and self._spool is not None:
            exchanges, calls = self._spool.counts(entry.stored)
        self.shed[cause] += exchanges
        self.shed_calls += calls
        if entry.here:
            self.lost += exchanges
        self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self._memory -= entry.size
        if entry.stored is not None and self._spool is not None:
            self._disk -= entry.stored.size
            self._spool.remove(entry.stored)
