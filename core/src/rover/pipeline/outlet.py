"""One sink, its bounded queue and its thread. A slow, dead or broken sink delays no other.

A sink is a plugin's: whatever it raises or returns is its own failure, which is told to `failed`. A
RoverError is not a failure of the plugin, but of the disk or the peer.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from rover.contracts.sink import InformedSink, PreparingSink, RunFigures, Sink
from rover.errors import ReaderLeftError, RoverError, SinkError
from rover.plugins.manager import first_line
from rover.values.access_log import AccessLog

QUEUE_LIMIT = 32_768
"""Access logs that may wait for one sink. At some 2 kB each 64 MB, and at 10,000 exchanges a
second three seconds of a sink that does not move."""
BATCH = 512
"""Logs handed to a sink at once: a batch takes a few milliseconds, so stopping is prompt. When so many
wait, `put` does not wait for `wake`."""
RETRY = 1.0
"""Seconds between attempts to get a stalled sink going."""
REPORT_INTERVAL = 60.0

logger = logging.getLogger("rover.sink")


MAX_COUNTERS = 100
"""Figures of one sink: what a plugin counts by a name that strangers choose has no end."""


def never() -> float:
    """Until when a wait may last that nothing ends: no time at all is too long."""
    return math.inf


class Bell:
    """Rings for one thread that waits. A threading.Event does it for many, and in Python: to wake a sink's
    thread by this takes a quarter less."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Ends the wait, or the next one; from any thread."""
        with contextlib.suppress(RuntimeError):  # it has rung already
            self._silence.release()

    def wait(self, timeout: float | None) -> None:
        """Returns when it has rung, at the latest after `timeout` seconds."""
        self._silence.acquire(timeout=-1 if timeout is None else timeout)

    def hush(self) -> None:
        """What has rung so far does not end the next wait."""
        self._silence.acquire(blocking=False)


class Outlet:
    """Takes access logs from the pipeline's thread and writes them in its own."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        lossless: bool = False,
        limit: int = QUEUE_LIMIT,
        failed: Callable[[str, BaseException], object] | None = None,
        attend: Callable[[], float] = never,
    ) -> None:
        """`lossless`: `put` waits when the queue is full (replay), instead of shedding (live).

        `failed`: told where the sink failed, and of what it raised. `attend`: called again and again
        while `put` waits; says until when it may (time.monotonic).
        """
        self.name = name
        self.sink = sink
        self.closed = False
        """True when the sink can never take anything again."""
        self.failure = ""
        """The last error, for the end of the run; empty when there was none."""
        self.reader_left = False
        """Whether it is closed because its reader left; that is told at the end, if there is more to end."""
        self.lost: Counter[str] = Counter()
        """Access logs of exchanges that were not written, by cause."""
        self.counters: Mapping[str, int] = {}
        """The sink's own figures, once it is closed."""
        self._failed = failed
        self._attend = attend
        self._reported = -REPORT_INTERVAL
        self._taken = 0
        self._limit = limit
        self._many = min(BATCH, limit // 2)
        self._lossless = lossless
        # What the sink will get, and whether it tells of an exchange.
        self._queue: deque[tuple[Any, bool]] = deque()
        self._in_hand: list[tuple[Any, bool]] = []
        self._waiting = False
        self._bell = Bell()
        self._room = threading.Event()
        self._stopping = False
        self._given_up = False
        self._account = threading.Lock()
        self._reopen = False
        self.kernel_logs = self._read_kernel_logs()
        self._prepare = self._read_prepare()
        self._thread = threading.Thread(target=self._run, name=f"rover-sink-{name}", daemon=True)

    def _read_kernel_logs(self) -> bool:
        try:
            return getattr(self.sink, "kernel_logs", False) is True
        except BaseException as error:
            self._fail("kernel_logs", error)
            return False

    def _read_prepare(self) -> Callable[[AccessLog], object] | None:
        try:
            return self.sink.prepare if isinstance(self.sink, PreparingSink) else None
        except BaseException as error:
            self._fail("prepare", error)
            return None

    @property
    def logged(self) -> int:
        """Access logs of exchanges that the sink took and did not give back."""
        return self._taken - self.lost["unwritten"]

    @property
    def waiting(self) -> int:
        """Access logs that were put and are not with the sink yet."""
        return len(self._queue) + len(self._in_hand)

    def inform(self, figures: Callable[[], RunFigures]) -> None:
        """Tells an InformedSink where it gets the run's figures; before `start`."""
        try:
            if isinstance(self.sink, InformedSink):
                self.sink.inform(figures)
        except BaseException as error:
            self._fail("inform", error)

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
            if not self._wait_for_room():
                self.lost["closed" if self.closed else "unfinished"] += bool(log.protocol)
                return
        form: object = log
        counts = bool(log.protocol)
        if self._prepare is not None:
            try:
                form = self._prepare(log)
            except BaseException as error:
                self.lost["unprepared"] += counts
                self._fail("prepare", error)
                return
            if form is None:
                with self._account:
                    self._taken += counts
                return
        queue.append((form, counts))
        if self._waiting and len(queue) >= self._many:
            self.wake()

    def wake(self) -> None:
        """Wakes the sink's thread, if it waits and something was put; call it after a batch of records.

        Do not call it at every `put`: the thread would run at once, and both would fight for the
        interpreter.
        """
        if self._waiting and self._queue:
            self._waiting = False
            self._bell.ring()

    def _wait_for_room(self) -> bool:
        while not self.closed:
            self._room.clear()
            self._bell.ring()
            if len(self._queue) < self._limit:
                return True
            left = self._attend() - time.monotonic()
            if left <= 0:
                return False
            self._room.wait(min(RETRY, left))
        return False

    def reopen(self) -> None:
        """Makes the sink reopen its files, in its own thread."""
        self._reopen = True
        self._bell.ring()

    def end(self) -> None:
        """Makes the sink write what waits, and close."""
        self._stopping = True
        self._bell.ring()

    def stop(self, deadline: float) -> None:
        """Waits for the sink's end; what is left at `deadline` (time.monotonic) is lost."""
        self.end()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if not self._thread.is_alive():
            return
        with self._account:
            self._given_up = self.closed = True
            left = [*self._in_hand, *self._queue]
            self._in_hand = []
            self._queue.clear()
            self.lost["unfinished"] += sum(1 for _, counts in left if counts)
        self._report(f"sink {self.name}: did not finish in time", None)
        self.failure = "did not finish in time"

    def discard(self) -> None:
        """Closes the sink of an outlet that was never started."""
        self._close()

    # -- in the sink's thread ----------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # a bug, not the sink's: nobody else would hear of it
            self.closed = True
            self.failure = f"its thread died: {type(error).__name__}: {first_line(error)}"
            self._report(f"sink {self.name}: {self.failure}", error, at_once=True)
        finally:
            self._finish()

    def _work(self) -> None:
        stalled = False
        while True:
            if self._reopen:
                self._reopen = False
                self._attempt("reopen")
            if stalled:
                stalled = not self._attempt("flush")
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
                stalled = not self._attempt("flush")
                if self._stopping and not self._queue:
                    break
                if not stalled:
                    self._rest(None)

    def _take(self) -> list[tuple[Any, bool]]:
        queue = self._queue
        batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        self._in_hand = batch
        if self._lossless:  # else nobody waits for it
            self._room.set()
        return batch

    def _rest(self, timeout: float | None) -> None:
        self._waiting = timeout is None  # a stalled sink is not to be tried at each batch
        if timeout is not None or not (self._queue or self._stopping or self._reopen):
            self._bell.wait(timeout)
        self._waiting = False
        self._bell.hush()

    def _write(self, batch: list[tuple[Any, bool]]) -> bool:
        exchanges = sum(1 for _, counts in batch if counts)
        error: BaseException | None = None
        try:
            self.sink.write([form for form, _ in batch])
        except BaseException as raised:
            error = raised
        with self._account:
            if self._given_up:  # they are counted as lost already
                return False
            if error is None or isinstance(error, SinkError):
                self._taken += exchanges
            else:
                self.lost["error"] += exchanges
            self._in_hand = []
        if error is not None:
            self._fail("write", error)
        return not isinstance(error, SinkError)

    def _attempt(self, method: str) -> bool:
        """Calls it; False when the sink says that it is stalled."""
        try:
            getattr(self.sink, method)()
        except SinkError as error:
            self._fail(method, error)
            return False
        except BaseException as error:
            self._fail(method, error)
        return True

    def _fail(self, method: str, error: BaseException) -> None:
        closes = not self.closed and isinstance(error, SinkError) and getattr(error, "closed", False) is True
        self.closed |= closes
        if isinstance(error, RoverError):
            self.failure = first_line(error)
            if isinstance(error, ReaderLeftError):
                self.reader_left = True
                return
            self._report(f"sink {self.name}: {self.failure}", error, at_once=closes)
            return
        self.failure = f"{type(error).__name__}: {first_line(error)}"
        if self._failed is not None:
            self._failed(f"sink {self.name}: {method}", error)
        else:
            self._report(f"sink {self.name}: {self.failure}", error)

    def _report(self, message: str, error: BaseException | None, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            logger.error("%s", message)
            logger.debug("sink %s", self.name, exc_info=error)

    def _finish(self) -> None:
        with self._account:
            left, self._in_hand = [*self._in_hand, *self._queue], []
            self._queue.clear()
            if exchanges := sum(1 for _, counts in left if counts):
                self.lost["closed" if self.closed else "stalled"] += exchanges
        self._room.set()
        self._close()

    def _close(self) -> None:
        try:
            unwritten = self.sink.close()
            if unwritten is not None and (type(unwritten) is not int or unwritten < 0):
                raise TypeError(f"returned {unwritten!r:.100} where a number of logs is due")
            if unwritten and not self._given_up:
                # It may speak of what it found from a run before, too.
                self.lost["unwritten"] += min(unwritten, self._taken)
        except BaseException as error:
            self._fail("close", error)
        try:
            self.counters = figures(self.sink.counters())
        except BaseException as error:
            self._fail("counters", error)


def figures(counters: object) -> dict[str, int]:
    """What `counters` of a plugin returned, as what it has to be. Raises TypeError."""
    if not isinstance(counters, Mapping):
        raise TypeError(f"returned {counters!r:.100} where figures by name are due")
    found = dict(counters)
    if len(found) > MAX_COUNTERS:
        raise TypeError(f"returned {len(found)} figures, more than {MAX_COUNTERS}")
    for name, figure in found.items():
        if type(name) is not str or not name.isprintable() or type(figure) is not int or abs(figure) >> 64:
            raise TypeError(f"returned {name!r:.100}: {figure!r:.100} where a name and a number are due")
    return found
