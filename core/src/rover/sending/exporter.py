"""All that is between a sink and its server."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rover.errors import RoverError
from rover.sending.backend import Backend
from rover.sending.backlog import Backlog
from rover.sending.sender import Filling, Sender, batches
from rover.sending.spool import Spool, orphans, spool_of


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """Where batches wait, and how long."""

    queue_bytes: int
    """Of memory."""
    spool: Path | None
    spool_chosen: bool
    """The user named the spool's directory: one that cannot be used is an error."""
    spool_max_bytes: int
    spool_max_age: float
    """Seconds."""
    retry_max: float
    """Longest pause between two attempts, seconds."""
    worker: int = 0
    workers: int = 1
    """Which of how many processes this is. Each has such a sink; memory and disk are for all together."""


Item = TypeVar("Item", contravariant=True)


class Collector(Filling, Protocol[Item]):
    """What a sink gathers access logs with, or what it has made of them."""

    def add(self, item: Item, now: float) -> None:
        """Takes one of them."""


class Exporter(Generic[Item]):
    """Everything that can take long happens in the sender's thread."""

    def __init__(
        self,
        collector: Collector[Item],
        backend: Backend,
        waiting: Waiting,
        *,
        sink: str,
        what: str = "access logs",
    ) -> None:
        """`sink`: its name. `what` is sent, for the lines that say so. Raises RoverError for a spool that
        cannot be used."""
        self._name = sink
        self._what = what
        self._logger = logging.getLogger(f"rover.{sink}")
        self._changed = threading.Condition()
        self._collector = collector
        spool = self._spool = self._open(waiting)
        # A share for each worker; but what workers of before have left, when they were fewer or more, is
        # no more than all may have together, and is not shed for it.
        most, shares = waiting.spool_max_bytes, waiting.workers
        left = sum(stored.size for stored in spool.found()) if spool and shares > 1 else 0
        self._backlog = Backlog(
            waiting.queue_bytes // shares, spool, max(most // shares, min(left, most)), waiting.spool_max_age
        )
        self.sender = Sender(
            self._changed,
            collector,
            self._backlog,
            backend,
            retry_max=waiting.retry_max,
            sink=sink,
            what=what,
            where=str(spool.path) if spool else "memory",
        )
        self.sender.start()

    def write(self, items: Sequence[Item]) -> None:
        """Takes access logs; never waits for the server."""
        with self._changed:
            now = time.monotonic()
            idle = self._collector.due is None
            add = self._collector.add
            for item in items:
                add(item, now)
            if self.sender.gather(now) or idle:
                self._changed.notify_all()

    def counters(self) -> Mapping[str, int]:
        """What was sent, waits, and was shed by cause."""
        with self._changed:
            backlog = self._backlog
            return {
                "waiting_batches": len(backlog),
                "memory_bytes": backlog.memory,
                "spool_bytes": backlog.disk,
                "corrupt_files": self._spool.corrupt if self._spool else 0,
                "shed_calls": backlog.shed_calls,
                **self.sender.counters,
                **{f"shed_{cause}": n for cause, n in backlog.shed.items()},
            }

    def begin_close(self) -> None:
        """Nothing more comes: what there is is sent, while others are waited for."""
        self.sender.begin_stop()

    def close(self, patience: float) -> tuple[int, Counter[str]]:
        """Sends what goes within `patience` seconds, saves the rest.

        Returns the exchanges that were neither, and by cause all that were shed, also those of agents before.
        """
        self.sender.stop(patience)
        with self._changed:
            self.sender.gather(None)
            lost = self._backlog.close()
            if left := len(self._backlog):
                self._logger.warning(
                    "%s: left in the spool for the next start: %s", self._name, batches(left)
                )
            return lost, self._backlog.shed

    def _open(self, waiting: Waiting) -> Spool | None:
        if waiting.spool is None:
            return None
        try:
            spool = Spool(spool_of(waiting.spool, waiting.worker), self._name)
        except RoverError as error:
            if waiting.spool_chosen:
                raise
            self._logger.warning("%s: %s; until then %s wait in memory only", self._name, error, self._what)
            return None
        for orphan in orphans(waiting.spool, waiting.worker, waiting.workers):
            try:
                adopted = batches(spool.adopt(orphan))
                self._logger.info("%s: %s from %s, of a worker there is no more", self._name, adopted, orphan)
            except RoverError as error:
                self._logger.warning("%s: %s", self._name, error)
        return spool
