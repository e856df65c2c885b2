"""One sink, its bounded queue and its thread. A slow or dead sink delays nobody else."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from rover.access_log import AccessLog
from rover.errors import SinkError
from rover.plugins import first_line
from rover.sink import Sink

QUEUE_LIMIT = 32_768
"""Access logs that may wait for one sink. At some 2 kB each 64 MB, and at 10,000 exchanges a
second three seconds of a sink that does not move."""
BATCH = 512
"""Logs handed to a sink at once: a batch takes a few milliseconds, so stopping is prompt. So many are
not kept waiting for `wake`."""
RETRY = 1.0
"""Seconds between attempts to get a stalled sink going."""
REPORT_INTERVAL = 60.0

logger = logging.getLogger("rover.sink")


class Outlet:
    """Takes access logs from the pipeline's thread and writes them in its own."""

    def __init__(self, name: str, sink: Sink, *, lossless: bool = False, limit: int = QUEUE_LIMIT) -> None:
        """`lossless`: `put` waits when the queue is full (replay), instead of shedding (live)."""
        self.name = name
        self.sink = sink
        self.kernel_logs = sink.kernel_logs
        self.closed = False
        """True when the sink can never take anything again."""
        self.failure = ""
        """The last error, for the end of the run; empty when there was none."""
        self.lost: Counter[str] = Counter()
        """Access logs of exchanges that were not written, by cause."""
        self._prepare: Callable[[AccessLog], object] | None = getattr(sink, "prepare", None)
        self._taken = 0
        self._limit = limit
        self._many = min(BATCH, limit // 2)
        self._lossless = lossless
        # What the sink will get, and whether it tells of an exchange.
        self._queue: deque[tuple[Any, bool]] = deque()
        self._in_hand: list[tuple[Any, bool]] = []
        self._waiting = False
        self._wake = threading.Event()
        self._room = threading.Event()
        self._stopping = False
        self._reopen = False
        self._reported = -REPORT_INTERVAL
        self._thread = threading.Thread(target=self._run, name=f"rover-sink-{name}", daemon=True)

    @property
    def logged(self) -> int:
        """Access logs of exchanges that the sink took and did not give back."""
        return self._taken - self.lost["unwritten"]

    @property
    def waiting(self) -> int:
        """Access logs that were put and are not with the sink yet."""
        return len(self._queue) + len(self._in_hand)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def put(self, log: AccessLog) -> None:
        """Queues one log; sheds it, counted, when the queue is full or the sink is gone."""
        queue = self._queue
        if len(queue) >= self._limit or self.closed:
            if not self._lossless or self.closed:
                if log.protocol:
                    self.lost["closed" if self.closed else "queue_full"] += 1
                return
            self._wait_for_room()
        form: object = log
        if self._prepare is not None:
            try:
                form = self._prepare(log)
            except Exception as error:
                self.lost["unprepared"] += bool(log.protocol)
                self._fail(error)
                return
        queue.append((form, bool(log.protocol)))
        if self._waiting and len(queue) >= self._many:
            self.wake()

    def wake(self) -> None:
        """Has written what was put, if nobody is at it; call it behind a batch of records.

        Not at every `put`: the thread would run at once, and both would fight for the interpreter.
        """
        if self._waiting and self._queue:
            self._waiting = False
            self._wake.set()

    def _wait_for_room(self) -> None:
        while len(self._queue) >= self._limit and not self.closed:
            self._room.clear()
            self._wake.set()
            if len(self._queue) >= self._limit:
                self._room.wait(RETRY)

    def reopen(self) -> None:
        """Has the sink reopen its files, in its own thread."""
        self._reopen = True
        self._wake.set()

    def stop(self, deadline: float) -> None:
        """Writes what waits and closes; at `deadline` (time.monotonic) what is left is lost."""
        self._stopping = True
        self._wake.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._fail(SinkError("did not finish in time"))
            left = [*self._in_hand, *self._queue]
            self.closed = True
            self.lost["unfinished"] += sum(1 for _, counts in left if counts)

    # -- in the sink's thread ----------------------------------------------------------------

    def _run(self) -> None:
        stalled = False
        while True:
            if self._reopen:
                self._reopen = False
                self._attempt(self.sink.reopen)
            if stalled:
                stalled = not self._attempt(self.sink.flush)
                if stalled and not self.closed:
                    if self._stopping:
                        break
                    self._rest(RETRY)
                    continue
            batch = self._take()
            if self.closed:
                break
            if batch:
                stalled = not self._write(batch)
            else:
                stalled = not self._attempt(self.sink.flush)
                if self._stopping and not self._queue:
                    break
                if not stalled:
                    self._rest(None)
        self._finish()

    def _take(self) -> list[tuple[Any, bool]]:
        queue = self._queue
        batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        self._in_hand = batch
        self._room.set()
        return batch

    def _rest(self, timeout: float | None) -> None:
        self._waiting = timeout is None  # a stalled sink is not to be tried at each batch
        if timeout is not None or not (self._queue or self._stopping or self._reopen):
            self._wake.wait(timeout)
        self._waiting = False
        self._wake.clear()

    def _write(self, batch: list[tuple[Any, bool]]) -> bool:
        exchanges = sum(1 for _, counts in batch if counts)
        try:
            self.sink.write([form for form, _ in batch])
        except SinkError as error:
            self._taken += exchanges
            self._in_hand = []
            self._fail(error)
            return False
        except Exception as error:
            self.lost["error"] += exchanges
            self._fail(error)
        else:
            self._taken += exchanges
        self._in_hand = []
        return True

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except SinkError as error:
            self._fail(error)
            return False
        except Exception as error:
            self._fail(error)
        return True

    def _fail(self, error: Exception) -> None:
        message = (
            first_line(error)
            if isinstance(error, SinkError)
            else f"{type(error).__name__}: {first_line(error)}"
        )
        self.failure = message
        if isinstance(error, SinkError) and error.closed:
            self.closed = True
        now = time.monotonic()
        if self.closed or now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            logger.error("sink %s: %s", self.name, message)
            logger.debug("sink %s", self.name, exc_info=error)

    def _finish(self) -> None:
        left, self._in_hand = [*self._in_hand, *self._queue], []
        self._queue.clear()
        self._room.set()
        if exchanges := sum(1 for _, counts in left if counts):
            self.lost["closed" if self.closed else "stalled"] += exchanges
        try:
            if unwritten := self.sink.close():
                self.lost["unwritten"] += unwritten
        except Exception as error:
            self._fail(error)
