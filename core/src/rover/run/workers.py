"""Several processes that share a source: each reads its own connections, and has a pipeline and sinks of
its own. They share nothing but a lock for each sink; at the end their reports are added up.

The parent starts the source, forks, and waits: it captures nothing itself. It starts a worker that died
again: what the source has for it waits meanwhile.
"""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from rover.contracts.lock import ProcessLock, locks
from rover.contracts.settings import Settings
from rover.contracts.sink import Worker
from rover.contracts.source import DivisibleSource, Source
from rover.errors import RoverError, UsageError
from rover.pipeline.recognition import Recogniser
from rover.plugins.manager import first_line
from rover.run.agent import POLL_TIMEOUT, Agent, factory_for_workers, sink_spec
from rover.run.configuration import MAX_WORKERS, Catalogue
from rover.run.report import Report, failures_of
from rover.run.signals import ORDERLY, Signals
from rover.run.worker import BEGIN, DEADLINE, END, REOPEN, Child
from rover.values.records import Closed, Detail, Loss, Opened, Plaintext, Process

FIGURES_INTERVAL = 0.2
"""Seconds between two reports of a worker. A worker that is killed loses the counts of this time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
"""Seconds before a worker that died is started again; twice as many each time, when it dies at once."""
STEADY = 60.0
"""Seconds after which the death of a worker is not one at once any more."""
PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h"""

logger = logging.getLogger("rover.workers")


def run(
    catalogue: Catalogue,
    settings: Settings,
    source: Source,
    count: int,
    *,
    lossless: bool = False,
    ready: Callable[[], None] | None = None,
    signals: Signals | None = None,
) -> tuple[Report, str]:
    """Runs a source that has not started in `count` processes, until it ends or a signal says so.

    Call it before this process has threads. `ready` is called once all of them capture. Returns the figures
    of all together, and what went wrong, empty if nothing did. Raises UsageError or RoverError when it
    cannot start.
    """
    signals = signals or Signals()
    names, divisible = check(catalogue, settings, source, count)
    parts = divisible.divide(count)
    try:
        divisible.start()
        crew = Crew(catalogue, settings, divisible, names, parts, signals, lossless=lossless)
        try:
            crew.start()
            with signals.watch(crew.stop_seconds, crew.last_words):
                if ready is not None:
                    ready()
                return crew.run()
        finally:
            crew.close()
    finally:
        divisible.close()


def check(
    catalogue: Catalogue, settings: Settings, source: Source, count: int
) -> tuple[list[str], DivisibleSource]:
    """Checks what can be wrong before anything starts. Raises UsageError."""
    names = list(dict.fromkeys(settings["run.sinks"]))
    if not names:
        raise UsageError("no sink; name one with --sink")
    if not 1 <= count <= MAX_WORKERS:
        raise UsageError(f"run.workers = {count}: must be from 1 to {MAX_WORKERS}")
    if not isinstance(source, DivisibleSource):
        raise UsageError(f"source {settings['run.source']} is read by one process: run it without --workers")
    for name in names:
        factory_for_workers(sink_spec(catalogue, name))
    Recogniser(catalogue.manager, list(catalogue.protocols.values()), settings.section("ports"))
    return names, source


class Losses:
    """Takes the losses that a divided source delivers."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()

    def lost(self, loss: Loss) -> None:
        """Counted."""
        self.records[loss.cause] += loss.records

    def process(self, process: Process) -> None:
        """Told to the parts."""

    def opened(self, opened: Opened) -> None:
        """Told to the parts."""

    def data(self, detail: Detail, payload: bytes) -> None:
        """Told to the parts."""

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        """Told to the parts."""

    def closed(self, closed: Closed) -> None:
        """Told to the parts."""


class Crew:
    """The parent of the workers."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        source: DivisibleSource,
        names: Sequence[str],
        parts: Sequence[Source],
        signals: Signals,
        *,
        lossless: bool,
    ) -> None:
        self.stop_seconds: int = settings["limits.stop_seconds"]
        self._deadline: float | None = None
        self._reopen = False
        self._catalogue = catalogue
        self._settings = settings
        self._source = source
        self._parts = parts
        self._signals = signals
        self._lossless = lossless
        self._locks: Mapping[str, ProcessLock] = dict(zip(names, locks(len(names)), strict=True))
        self._losses = Losses()
        self._ended = False
        self._failure = ""
        self._children: list[Child] = []
        self._gone_ones = Report()
        """The figures of the workers that are gone."""
        self._pauses = [0.0] * len(parts)
        self._due: dict[int, float] = {}
        """When a worker that died is started again (time.monotonic)."""
        self._selector = selectors.DefaultSelector()
        self._counts: Counter[str] = Counter()

    def stop(self, deadline: float | None = None) -> None:
        """Ends `run` soon. What is not finished at the deadline (time.monotonic) is lost."""
        if self._deadline is None:
            latest = time.monotonic() + ORDERLY * self.stop_seconds
            self._deadline = latest if deadline is None else deadline

    def reopen(self) -> None:
        """Makes the sinks of every worker reopen their files."""
        self._reopen = True

    def start(self) -> None:
        """Forks, and opens the sinks of one worker after the other. Raises UsageError or RoverError."""
        for number in range(len(self._parts)):
            child = self._fork(number)
            child.tell(BEGIN)
            while not child.ready:
                if self._listen(child):
                    continue
                child.wait(self.stop_seconds)
                raise child.refusal or RoverError(child.failure)

    def _fork(self, number: int, *, again: bool = False) -> Child:
        """A new worker, which waits for BEGIN. Raises RoverError."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what is in a buffer would be written by every process
        child = Child(number)
        # A signal to the whole group would be noted by the child in what is the parent's still.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            with warnings.catch_warnings():
                # Of threads: the only other one of this process holds no lock, it waits for signals.
                warnings.simplefilter("ignore", DeprecationWarning)
                child.pid = os.fork()
            if child.pid == 0:
                self._live(child, again=again)
        except OSError as error:
            child.close()
            raise RoverError(f"cannot start worker {number + 1}: {error.strerror}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child.keep_parents_ends()
        self._children.append(child)
        self._source.ignore(child.pid)
        return child

    def run(self) -> tuple[Report, str]:
        """Waits until all of them have ended."""
        for child in self._children:
            self._selector.register(child.said, selectors.EVENT_READ, child)
        while self._selector.get_map() or (self._due and self._deadline is None):
            self._signals.pass_on(self)
            if self._reopen:
                self._reopen = False
                for child in self._children:
                    child.tell(REOPEN)
            if self._deadline is not None:
                self._end()  # whatever the failure: it has to be called
                if time.monotonic() >= self._deadline:
                    break
            else:
                self._start_again()
            for key, _ in self._selector.select(POLL_TIMEOUT):
                if not self._listen(key.data):
                    self._gone(key.data, 1.0)
        self._end()
        for child in list(self._children):
            self._gone(child)
        return self.report(), self._failure

    def _listen(self, child: Child) -> bool:
        """Takes what a worker says; False when it has ended."""
        messages = child.hear()
        for message in messages or ():
            match message:
                case ["ready"]:
                    child.ready = True
                case ["ended", str(failure), bool(broken), str(report)]:
                    child.report = Report.from_json(report)
                    child.failure = failure
                    child.broken = broken
                case ["refused", bool(wrong_use), str(failure)]:
                    child.failure = failure
                    child.refusal = UsageError(failure) if wrong_use else RoverError(failure)
                case ["failed", str(failure)]:
                    child.failure = failure
        return messages is not None

    def _gone(self, child: Child, seconds: float = 0) -> None:
        """Deals with a worker whose pipe has ended, or whose time is up."""
        child.wait(seconds)
        died = child.broken or child.report is None
        self._gone_ones += child.figures.read() if child.report is None else child.report
        self._failure = self._failure or child.failure
        self._selector.unregister(child.said)
        self._children.remove(child)
        child.close()
        if died:
            self._counts["died"] += 1
        if self._deadline is not None:
            return
        if died:
            self._plan(child)
        elif child.failure:
            self.stop()  # what it says of its source or its sinks holds for the others, too

    def _plan(self, child: Child) -> None:
        """Plans to start the worker again, a while from now."""
        now, number = time.monotonic(), child.number
        steady = now - child.begun >= STEADY or not self._pauses[number]
        pause = FIRST_PAUSE if steady else min(2 * self._pauses[number], LONGEST_PAUSE)
        self._pauses[number] = pause
        self._due[number] = now + pause
        logger.error("%s; it is started again in %g s", child.failure, pause)

    def _start_again(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            try:
                child = self._fork(number, again=True)
            except RoverError as error:
                self._pauses[number] = pause = min(2 * self._pauses[number], LONGEST_PAUSE)
                self._due[number] = now + pause
                logger.error("%s; tried again in %g s", first_line(error), pause)
                continue
            self._counts["started_again"] += 1
            self._selector.register(child.said, selectors.EVENT_READ, child)
            child.tell(BEGIN)

    def report(self) -> Report:
        """The figures of the workers that have ended, together."""
        try:
            source = dict(self._source.counters())
        except Exception as error:
            self._failure = self._failure or first_line(error)
            source = {}
        own = Report(
            source=source,
            records_lost=dict(self._losses.records),
            failures=failures_of(self._catalogue.manager.plugins),
            workers=dict(self._counts),
        )
        return self._gone_ones + own

    def last_words(self) -> list[str]:
        """The totals of all workers as far as they are known; from any thread, without calling a plugin."""
        reports = [child.report or child.figures.read() for child in list(self._children)]
        return sum(reports, self._gone_ones).lines()

    def close(self) -> None:
        """No worker is left behind."""
        self._end()
        deadline = time.monotonic() + self.stop_seconds if self._deadline is None else self._deadline
        for child in self._children:
            child.wait(deadline - time.monotonic())
            child.close()
        self._children.clear()
        self._selector.close()

    def _end(self) -> None:
        """Ends the capture, then the workers; once."""
        if self._ended:
            return
        self._ended = True
        self.stop()
        assert self._deadline is not None  # noqa: S101
        errors: list[BaseException] = []

        def stop() -> None:
            try:
                self._source.stop(self._losses)
            except BaseException as error:
                errors.append(error)

        # The workers are to end also when the source does not.
        thread = threading.Thread(target=stop, name="rover-stop", daemon=True)
        thread.start()
        thread.join(max(0.0, self._deadline - time.monotonic()) / 2)
        if thread.is_alive():
            errors.append(RoverError("the source did not stop in time"))
        if errors:
            self._failure = self._failure or first_line(errors[0])
        left = max(0.0, self._deadline - time.monotonic())
        for child in self._children:
            child.tell(END + DEADLINE.pack(time.monotonic() + ORDERLY * left))

    # -- in a child ----------------------------------------------------------------------------

    def _live(self, child: Child, *, again: bool) -> NoReturn:
        """The whole life of the child. It ends without the parent's exit handlers."""
        code = 1
        try:
            # Ctrl-C and a service manager mean every process of the group; the parent says when.
            self._signals.forget()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            die_with_parent()
            self._selector.close()
            for other in self._children:
                other.close()
            child.keep_childs_ends()
            if child.hear_command() == BEGIN:
                self._work(child, again=again)
            code = 0
        except BaseException as error:
            logger.debug("worker %d", child.number + 1, exc_info=error)
            kind = type(error).__name__
            child.say("failed", f"worker {child.number + 1}: internal error: {kind}: {first_line(error)}")
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except BaseException as error:
                    logger.debug("worker %d", child.number + 1, exc_info=error)
            os._exit(code)

    def _work(self, child: Child, *, again: bool) -> None:
        before = failures_of(self._catalogue.manager.plugins)
        count = len(self._parts)
        workers = {name: Worker(child.number, count, lock, again) for name, lock in self._locks.items()}
        part = self._parts[child.number]
        try:
            agent = Agent(self._catalogue, self._settings, part, lossless=self._lossless, workers=workers)
        except RoverError as error:
            child.say("refused", isinstance(error, UsageError), first_line(error))
            return

        def obey() -> None:
            while (command := child.hear_command()) == REOPEN:
                agent.reopen()
            agent.stop(child.hear_deadline() if command == END else None)

        threading.Thread(target=obey, name="rover-obey", daemon=True).start()
        child.say("ready")

        def so_far() -> None:
            child.figures.write(agent.report(before).with_rest_lost("died"))

        failure = agent.run(so_far, FIGURES_INTERVAL)
        if agent.broken:
            failure = f"worker {child.number + 1}: {failure}"
        child.say("ended", failure, agent.broken, agent.report(before).to_json())


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that comes (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
