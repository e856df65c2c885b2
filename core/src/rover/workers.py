"""Several processes that share a source: each reads its own connections, and has a pipeline and sinks of
its own. They share nothing but a lock for each sink; at the end their reports are added up.

The parent starts the source, forks, and waits: it captures nothing itself. Two pipes join it to each child:
what that is told (a byte to begin, one to end), and what it says (lines of JSON: that it is ready, what it
came to).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import selectors
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from rover.agent import POLL_TIMEOUT, Agent, factory_for_workers, signals, sink_spec
from rover.configuration import Catalogue
from rover.errors import RoverError, UsageError
from rover.lock import ProcessLock, locks
from rover.pipeline.recognition import Recogniser
from rover.plugins import first_line
from rover.records import Closed, Detail, Loss, Opened, Process
from rover.report import Report, failures_of
from rover.settings import Settings
from rover.sink import Worker
from rover.source import DivisibleSource, Source

MAX_WORKERS = 8
"""Each has a ring, queues and a core of its own. Where eight are not enough, watching less of the host
helps more: the watched programs need its cores too."""
BEGIN, END = b"b", b"e"
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
) -> tuple[Report, str]:
    """Runs a source that has not started, until it ends or a signal says so, in `count` processes.

    Call it before this process has threads. `ready` is called once all of them capture. Returns what
    they came to together, and what went wrong, empty if nothing did. Raises UsageError or RoverError
    when it cannot start.
    """
    names, divisible = check(catalogue, settings, source, count)
    parts = divisible.divide(count)
    try:
        divisible.start()
        crew = Crew(catalogue, settings, divisible, names, count, lossless=lossless)
        with signals(crew):
            try:
                crew.start(parts)
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
    """What can be known to be wrong before anything starts. Raises UsageError."""
    names = list(dict.fromkeys(settings["run.sinks"]))
    if not names:
        raise UsageError("no sink; name one with --sink")
    if not 1 <= count <= MAX_WORKERS:
        raise UsageError(f"run.workers = {count}: must be from 1 to {MAX_WORKERS}")
    if not isinstance(source, DivisibleSource):
        raise UsageError(f"source {settings['run.source']} is read by one process: leave --workers away")
    for name in names:
        factory_for_workers(sink_spec(catalogue, name))
    Recogniser(catalogue.manager, list(catalogue.protocols.values()), settings.section("ports"))
    return names, source


class Losses:
    """Takes what a divided source tells: what was lost."""

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

    def closed(self, closed: Closed) -> None:
        """Told to the parts."""


class Child:
    """A worker process and the pipes to it, as both sides have them after the fork."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        """0 until it is forked, and when it has ended."""
        self.report: Report | None = None
        self.failure = ""
        """What went wrong in it."""
        self.commands, self._command_end = os.pipe()
        self.said, self._say_end = os.pipe()
        self._open = {self.commands, self._command_end, self.said, self._say_end}
        self._received = b""

    # -- in the parent -------------------------------------------------------------------------

    def tell(self, command: bytes) -> None:
        """BEGIN or END."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `hear` finds out
            os.write(self._command_end, command)

    def hear(self) -> list[Any] | None:
        """What it says next, waiting for it; None when it has ended."""
        while b"\n" not in self._received:
            data = os.read(self.said, 65536)
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: list[Any] = json.loads(line)
        return message

    def keep_parents_ends(self) -> None:
        """Closes the child's ends: when it ends, the pipes do."""
        self._shut(self.commands, self._say_end)

    def wait(self) -> None:
        """Until it has ended. One that said nothing of its end died."""
        if not self.pid:
            return
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        if self.report is None and not self.failure:
            code = os.waitstatus_to_exitcode(status)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.failure = f"worker {self.number + 1} died ({how}): the exchanges it had in hand are lost"

    # -- in the child --------------------------------------------------------------------------

    def hear_command(self) -> bytes:
        """The next command, waiting for it; nothing when the parent is gone."""
        return os.read(self.commands, 1)

    def say(self, *message: object) -> None:
        """One line to the parent."""
        with contextlib.suppress(BrokenPipeError), open(self._say_end, "wb", closefd=False) as pipe:
            pipe.write(json.dumps(message).encode() + b"\n")

    def keep_childs_ends(self) -> None:
        """Closes the parent's ends: when it ends, the pipes do."""
        self._shut(self._command_end, self.said)

    # -- in either -----------------------------------------------------------------------------

    def close(self) -> None:
        """Closes what is open of the pipes."""
        self._shut(*self._open)

    def _shut(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            self._open.remove(descriptor)
            os.close(descriptor)


class Crew:
    """The parent of the workers."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        source: DivisibleSource,
        names: Sequence[str],
        count: int,
        *,
        lossless: bool,
    ) -> None:
        self.stopping = False
        self._reopen = False
        self._catalogue = catalogue
        self._settings = settings
        self._source = source
        self._lossless = lossless
        self._locks: Mapping[str, ProcessLock] = dict(zip(names, locks(len(names)), strict=True))
        self._losses = Losses()
        self._ended = False
        self._children = [Child(number) for number in range(count)]

    def stop(self) -> None:
        """Ends `run` soon; safe in a signal handler."""
        self.stopping = True

    def reopen(self) -> None:
        """Has the sinks of every worker reopen their files; safe in a signal handler."""
        self._reopen = True

    def start(self, parts: Sequence[Source]) -> None:
        """Forks, and opens the sinks of one worker after the other. Raises UsageError or RoverError."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what is in a buffer would be written by every process
        for child, part in zip(self._children, parts, strict=True):
            try:
                pid = os.fork()
            except OSError as error:
                raise RoverError(f"cannot start worker {child.number + 1}: {error.strerror}") from None
            if pid == 0:
                self._live(child, part)
            child.pid = pid
        for child in self._children:
            child.keep_parents_ends()
            self._source.ignore(child.pid)
        for child in self._children:
            child.tell(BEGIN)
            match child.hear():
                case ["ready"]:
                    continue
                case ["refused", bool(wrong_use), str(message)]:
                    child.failure = message
                    raise UsageError(message) if wrong_use else RoverError(message)
                case ["failed", str(message)]:
                    child.failure = message
            child.wait()
            raise RoverError(child.failure)

    def run(self) -> tuple[Report, str]:
        """Until all of them have ended."""
        failure = ""
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                selector.register(child.said, selectors.EVENT_READ, child)
            while selector.get_map():
                if self._reopen:
                    self._reopen = False
                    self._signal(signal.SIGHUP)
                if self.stopping:
                    trouble = self._end()  # whatever the failure: it has to be called
                    failure = failure or trouble
                for key, _ in selector.select(POLL_TIMEOUT):
                    child = key.data
                    match child.hear():
                        case ["ended", str(message), str(report)]:
                            child.report = Report.from_json(report)
                            child.failure = message
                        case ["failed", str(message)]:
                            child.failure = message
                        case None:
                            selector.unregister(child.said)
                            child.wait()
                    if child.failure:
                        failure = failure or child.failure
                        self.stopping = True  # nobody watches its connections any more
        trouble = self._end()
        failure = failure or trouble
        own = Report(
            source=dict(self._source.counters()),
            records_lost=dict(self._losses.records),
            failures=failures_of(self._catalogue.manager.plugins),
        )
        return sum((child.report for child in self._children if child.report), Report()) + own, failure

    def close(self) -> None:
        """No worker is left behind."""
        self._end()
        for child in self._children:
            child.wait()
            child.close()

    def _end(self) -> str:
        """Ends the capture, then the workers; once. Returns what went wrong, empty if nothing did."""
        if self._ended:
            return ""
        self._ended = True
        failure = ""
        try:
            self._source.stop(self._losses)
        except RoverError as error:
            failure = first_line(error)
        for child in self._children:
            child.tell(END)
        return failure

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)

    # -- in a child ----------------------------------------------------------------------------

    def _live(self, child: Child, part: Source) -> NoReturn:
        """The child's whole life. It ends without the parent's exit handlers."""
        code = 1
        try:
            # Ctrl-C and a service manager mean every process of the group; the parent says when.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            die_with_parent()
            for other in self._children:
                if other is child:
                    other.keep_childs_ends()
                else:
                    other.close()
            if child.hear_command() == BEGIN:
                self._work(child, part)
            code = 0
        except BaseException as error:
            logger.debug("worker %d", child.number + 1, exc_info=error)
            kind = type(error).__name__
            child.say("failed", f"worker {child.number + 1}: internal error: {kind}: {first_line(error)}")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            os._exit(code)

    def _work(self, child: Child, part: Source) -> None:
        before = failures_of(self._catalogue.manager.plugins)
        count = len(self._children)
        workers = {name: Worker(child.number, count, lock) for name, lock in self._locks.items()}
        try:
            agent = Agent(self._catalogue, self._settings, part, lossless=self._lossless, workers=workers)
        except RoverError as error:
            child.say("refused", isinstance(error, UsageError), first_line(error))
            return
        signal.signal(signal.SIGHUP, lambda _number, _frame: agent.reopen())
        if self._reopen:  # the parent's handler heard it until now
            agent.reopen()

        def obey() -> None:
            child.hear_command()
            agent.stop()

        threading.Thread(target=obey, name="rover-obey", daemon=True).start()
        child.say("ready")
        failure = agent.run()
        child.say("ended", failure, agent.report(before).to_json())


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that comes (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
