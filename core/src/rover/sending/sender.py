"""The thread that sends batches, one after the other, and waits when the server does not take them."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import Counter
from typing import Protocol

from rover.sending.backend import Backend, BackendError, Failure
from rover.sending.backlog import Backlog, Entry
from rover.sending.batch import Batch
from rover.sending.call import Status

RETRY_FIRST = 0.5
"""Seconds before the second attempt; doubled from there up to the setting retry_max."""
MAX_FAULTS = 30
"""Attempts after which a batch that the server fails on, but not for being away, is given up:
some five minutes. A server in trouble gets the time to recover; a batch it cannot take must not
hold up the others for ever."""
MAX_ASKED = 300.0
"""Seconds that are waited, at most, because a server asks for it."""
REPORT_INTERVAL = 60.0
"""Seconds between two lines about the same trouble."""
MAX_MESSAGE = 200
"""Characters of the server's own words."""
DEFECT = "DEFECT"
"""In place of a gRPC status: the call raised what it never should."""
OWN_FAULT = "this is a fault of rover's own, please report it; what waits is tried again"


class Filling(Protocol):
    """Where a sink gathers what becomes a batch. It is called with the lock held.

    Times are time.monotonic() seconds.
    """

    @property
    def due(self) -> float | None:
        """When something will have waited enough; None while nothing waits."""

    def ripen(self, now: float | None) -> None:
        """Seals what has waited enough; everything without `now`."""

    def take(self) -> list[Batch]:
        """The sealed batches, oldest first."""


class Sender:
    """Shares collector and backlog with the sink, under one lock."""

    def __init__(
        self,
        changed: threading.Condition,
        filling: Filling,
        backlog: Backlog,
        backend: Backend,
        *,
        retry_max: float,
        sink: str,
        what: str,
        where: str,
    ) -> None:
        """`sink`: its name. `what` is sent, and `where` it waits, for the lines that say so."""
        self.counters: Counter[str] = Counter()
        self._changed = changed
        self._filling = filling
        self._backlog = backlog
        self._backend = backend
        self._retry_max = retry_max
        self._sink = sink
        self._what = what
        self._where = where
        self._logger = logging.getLogger(f"rover.{sink}")
        self._failures = 0
        self._faults = 0
        self._retry_at = 0.0
        self._stopping = False
        self._ended = False
        self._said: dict[str, float] = {}
        self._said_away = self._said_refused = False
        self._random = random.Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._thread = threading.Thread(target=self._run, name=f"rover-{sink}", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Sends what is there as long as that goes well, and no more after that."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self, patience: float) -> None:
        """Waits for that `patience` seconds at most; then the call under way is cut off, and its batch
        stays."""
        self.begin_stop()
        self._thread.join(patience)
        self._backend.cancel()
        self._thread.join(1.0)
        with self._changed:
            self._ended = True

    def gather(self, now: float | None) -> bool:
        """Moves sealed batches to the backlog; with the lock held. `now`: see Collector.ripen."""
        self._filling.ripen(now)
        sealed = self._filling.take()
        for batch in sealed:
            self._backlog.put(batch)
        return bool(sealed)

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        """Ends with the agent and for no other reason: nobody else would send what waits."""
        steps = itertools.chain([self._look], itertools.repeat(self._step))
        for step in steps:
            try:
                if not step():
                    return
            except Exception as error:
                self._defect(error)

    def _step(self) -> bool:
        """One attempt; whether more may follow."""
        first = self._next()
        if first is None:
            return False
        entry, batch = first
        try:
            self._backend.send(batch.stream())
        except BackendError as error:
            self._failed(entry, error)
        except Exception as error:
            # No server can make it raise anything else, as far as its author knows.
            self._failed(entry, BackendError(Status(DEFECT, f"{type(error).__name__}: {error}")))
        else:
            self._sent(entry, batch)
        return True

    def _defect(self, error: Exception) -> None:
        """What failed was no call; it is tried again after a pause, as a call is."""
        with self._changed:
            self._backlog.put_back()
            self.counters["defects"] += 1
            self._retry_at = time.monotonic() + self._retry_max
            self._say(type(error).__name__, f"{shown(f'{type(error).__name__}: {error}')}; {OWN_FAULT}")
            if not self._ended:
                self._changed.wait(self._retry_max)

    def _look(self) -> bool:
        failure = self._backend.probe()
        with self._changed:
            left = self._backlog.left_before
            if left:
                self._logger.info(
                    "%s: %s left by an agent before this one: %s", self._sink, self._what, batches(left)
                )
            if failure:
                self._backlog.away = True
                self._say_away(failure)
        return True

    def _next(self) -> tuple[Entry, Batch] | None:
        """Waits for a batch that is to be sent now; None at the end."""
        with self._changed:
            while not self._ended:
                now = time.monotonic()
                self.gather(None if self._stopping else now)
                if self._stopping and (self._failures >= self._backend.choices or not self._backlog):
                    break  # nobody takes them, or there is nothing left
                if now >= self._retry_at and (first := self._backlog.first()):
                    return first
                self._changed.wait(self._patience(now))
        return None

    def _patience(self, now: float) -> float | None:
        times = [due] if (due := self._filling.due) is not None else []
        if self._backlog:
            times.append(self._retry_at)
        return max(0.0, min(times) - now) if times else None

    def _sent(self, entry: Entry, batch: Batch) -> None:
        with self._changed:
            if self._ended:
                return
            self._backlog.sent(entry)
            self._backlog.away = False
            self._failures = self._faults = 0
            self.counters["sent_batches"] += 1
            self.counters["sent_exchanges"] += batch.exchanges
            self.counters["sent_calls"] += batch.calls
            if self._said_away or self._said_refused:
                self._said_away = self._said_refused = False
                taker, left = self._backend.address, batches(len(self._backlog))
                self._say(None, f"{taker} takes {self._what} now; {left} to go")

    def _failed(self, entry: Entry, error: BackendError) -> None:
        with self._changed:
            if self._ended:
                return
            self.counters[f"failed_{error.code.lower()}"] += 1
            self._backlog.put_back()
            if error.failure is Failure.REJECTED:
                self._backlog.refuse(entry)
                self._failures = self._faults = 0
            else:
                if error.failure is Failure.FAULT:
                    self._faults += 1
                    if self._faults >= MAX_FAULTS:
                        self._faults = 0
                        self._backlog.refuse(entry)
                self._failures += 1
                rounds, remaining = divmod(self._failures, self._backend.choices)
                if remaining and error.retry_after is None:
                    return  # the next address is asked at once
                self._retry_at = time.monotonic() + self._pause(rounds, error.retry_after)
                self._backlog.away = True
                self._backlog.settle()
        if self._backend.cancelled:
            return
        message = shown(str(error))
        if error.code == DEFECT:
            self._said_refused |= self._say(DEFECT, f"{message}; {OWN_FAULT}")
        elif error.failure is Failure.AWAY:
            self._say_away(f"{error.code}: {message}")
        else:
            fix = self._backend.fixes.get(error.code, "its own log may say why")
            then = "of this batch are lost" if error.failure is Failure.REJECTED else f"wait in {self._where}"
            self._said_refused |= self._say(
                error.code,
                f"{', '.join(self._backend.addresses)} refuses: {error.code}: {message}; {fix}; "
                f"{self._what} {then}",
            )

    def _pause(self, rounds: int, asked: float | None = None) -> float:
        """Seconds. What the server asks for is the least, as far as it is sensible."""
        longest: float = min(self._retry_max, RETRY_FIRST * 2 ** min(max(rounds - 1, 0), 16))
        return max(longest * self._random.uniform(0.5, 1.0), min(asked or 0.0, MAX_ASKED))

    def _say_away(self, why: str) -> None:
        """Once per outage, and not again each minute."""
        if not self._said_away:
            self._said_away = self._say(
                "away",
                f"{', '.join(self._backend.addresses)} takes no {self._what} ({why}); "
                f"{self._what} wait in {self._where}",
            )

    def _say(self, kind: str | None, line: str) -> bool:
        """Says a line; with a `kind` one of it each minute at most. Returns whether it was said."""
        now = time.monotonic()
        if kind is not None:
            if now - self._said.get(kind, -REPORT_INTERVAL) < REPORT_INTERVAL:
                return False
            self._said[kind] = now
        self._logger.warning("%s: %s", self._sink, line)
        return True


def shown(message: str) -> str:
    """Somebody else's words, for one line of a terminal."""
    return "".join(c if c.isprintable() else " " for c in message[:MAX_MESSAGE]).strip()


def batches(number: int) -> str:
    """ "1 batch", "2 batches"."""
    return f"{number} batch{'es' * (number != 1)}"
