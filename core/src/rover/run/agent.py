"""Puts the parts together and runs them: source, pipeline, sinks, totals."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rover.contracts.settings import Settings
from rover.contracts.sink import Sink, SinkSpec, Worker
from rover.contracts.source import Source
from rover.errors import NotInstalledError, RoverError, UsageError
from rover.http.export import HeaderExport
from rover.pipeline.outlet import Outlet, figures
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager, first_line
from rover.run.configuration import Catalogue
from rover.run.report import PluginFailure, Report, failures_of
from rover.run.signals import ORDERLY, Signals

POLL_TIMEOUT = 0.1
"""Seconds a poll may wait: how late a signal or a tick can be noticed."""
TICK_INTERVAL = 1_000_000_000
"""ns of the source's own clock between two ticks, so that a file ages its connections as the
live run did, however fast it is read."""
PROGRESS_INTERVAL = 0.5
ALLOCATIONS = 100_000
"""Containers made, less those freed, after which the youngest are looked through. What an exchange is
made of holds no cycles and is freed as soon as its line is written; but while some thousand of them
wait for a sink, the default of 700 has the collector go through all of them for every few."""

logger = logging.getLogger("rover")
T = TypeVar("T")


def relax_collector() -> None:
    """From here on Python looks for cycles of garbage less often. What exists by now is there to stay, and is
    never looked at again."""
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)


def sink_spec(catalogue: Catalogue, name: str) -> SinkSpec:
    """An installed sink. Raises UsageError for an unknown one."""
    spec = catalogue.sinks.get(name)
    if spec is None:
        known = ", ".join(sorted(catalogue.sinks)) or "none"
        raise NotInstalledError(f"unknown sink {name!r}; installed: {known}", f"sink {name}")
    return spec


def factory_for_workers(spec: SinkSpec) -> Callable[[Mapping[str, Any], Worker], Sink]:
    """The factory that opens the sink in one of several processes. Raises UsageError if it has none."""
    if spec.make_for_worker is None:
        raise UsageError(f"sink {spec.name} runs in one process: run it without --workers")
    return spec.make_for_worker


def make_sink(spec: SinkSpec, settings: Settings, worker: Worker | None) -> Sink:
    """Opens a sink, for the only process or for one of several. Raises RoverError."""
    section = settings.section(f"sink.{spec.name}")
    return spec.make(section) if worker is None else factory_for_workers(spec)(section, worker)


def start_source(manager: PluginManager, source: Source) -> None:
    """Starts the source. Raises RoverError for whatever its plugin raises."""
    try:
        source.start()
    except RoverError:
        raise
    except BaseException as error:
        manager.maker(source).failed("start", error)
        raise RoverError(f"the source failed: {type(error).__name__}: {first_line(error)}") from error


def start_plugins(manager: PluginManager, settings: Settings) -> None:
    """Calls `startup` of every plugin. Raises the UsageError of the first that refuses the run; those that
    have started by then are shut down."""
    started = set()
    try:
        for plugin, startup in manager.implementations("startup"):
            startup(settings)
            started.add(plugin.name)
    except UsageError:
        for plugin, shutdown in manager.implementations("shutdown"):
            if plugin.name in started:
                shutdown(None)
        raise


class Agent:
    """One run: of one source, or of several that follow each other, through pipelines to the same sinks."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        source: Source,
        *,
        follow: Iterator[Source] | None = None,
        lossless: bool = False,
        sinks: Sequence[str] | None = None,
        workers: Mapping[str, Worker] | None = None,
        signals: Signals | None = None,
    ) -> None:
        """Opens the sinks and starts the source. Raises RoverError or UsageError.

        `follow`: the sources that are read after it, for a run of several files. Then `source` is started
        already, and so is each that follows. None of them knows of the connections of another.
        `sinks`: names instead of the setting `run.sinks`, for a run that has another purpose
        (a recording): there may be none, and it outlives them. `workers`: what each sink is to know,
        by its name, when this process is one of several. `signals`: what may end the run and have its
        files opened again; see `Signals.watch`.
        """
        manager = catalogue.manager
        names: Sequence[str] = settings["run.sinks"] if sinks is None else sinks
        if not names and sinks is None:
            raise UsageError("no sink; name one with --sink")
        self._outlives_sinks = sinks is not None
        self._manager = manager
        self._catalogue = catalogue
        self._settings = settings
        self._source = source
        self._follow = follow
        self._signals = signals
        self.stop_seconds: int = settings["limits.stop_seconds"]
        self._counted: Mapping[str, int] = {}
        self._past = Report()
        """The figures of the sources that have been read, without the sinks."""
        self.failures: list[str] = []
        """What went wrong, except for what the sinks say."""
        self.broken = False
        """Whether an internal error ended the run."""
        self._deadline: float | None = None
        self._reopen = False
        self.outlets: list[Outlet] = []
        self._share = max((worker.count for worker in (workers or {}).values()), default=1)
        self._headers = HeaderExport(settings["headers.request"], settings["headers.response"])
        begun = follow is not None
        try:
            self._recogniser = Recogniser(
                manager, list(catalogue.protocols.values()), settings.section("ports")
            )
            for name in dict.fromkeys(names):
                self._open(catalogue, settings, name, workers[name] if workers else None, lossless)
            if names and not self.outlets:
                raise RoverError(self.failures[0])
            if not begun:
                begun = True
                start_source(manager, source)
            self.pipeline = self._pipeline()
            start_plugins(manager, settings)
        except BaseException:
            if begun:
                source.close()
            for outlet in self.outlets:
                outlet.discard()
            raise
        for outlet in self.outlets:
            outlet.inform(self.report)
            outlet.start()

    def _open(
        self, catalogue: Catalogue, settings: Settings, name: str, worker: Worker | None, lossless: bool
    ) -> None:
        """The outlet of a sink. A sink that says why it cannot be opened refuses the run. A broken one is
        left out, and that is a failure of its plugin."""
        spec = sink_spec(catalogue, name)
        owner = catalogue.manager.owner(f"sink {name}")
        try:
            sink = make_sink(spec, settings, worker)
            if not callable(getattr(sink, "write", None)):
                raise TypeError(f"made {type(sink).__name__}, which is no sink: it has no method write")
        except RoverError:
            raise
        except BaseException as error:
            self.failures.append(f"sink {name}: {type(error).__name__}: {first_line(error)}")
            if owner is not None:
                owner.failed(f"sink {name}: make", error)
            return
        self.outlets.append(
            Outlet(
                name,
                sink,
                lossless=lossless,
                limit=settings["limits.queue"],
                failed=owner.failed if owner is not None else None,
                attend=self.attend,
            )
        )

    def _pipeline(self) -> Pipeline:
        """The pipeline of the source that is read now."""
        settings, source = self._settings, self._source
        return Pipeline(
            self._manager,
            self._recogniser,
            self.outlets,
            source,
            epoch=source.epoch,
            protocol_settings={
                name: settings.section(f"protocol.{name}") for name in self._catalogue.protocols
            },
            max_connections=settings["limits.connections"],
            max_memory=settings["limits.memory"] // self._share,
            live=self._follow is None,
            headers=self._headers,
        )

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end."""
        return self._deadline is not None

    def stop(self, deadline: float | None = None) -> None:
        """Ends `run` soon; from any thread. What is not finished at the deadline (time.monotonic) is
        lost; without one, the sinks have `limits.stop_seconds`."""
        if self._deadline is None:
            self._deadline = self._latest() if deadline is None else deadline

    def reopen(self) -> None:
        """Makes every sink reopen its files; from any thread."""
        self._reopen = True

    def attend(self) -> float:
        """Does what signals ask of the run, and wakes the sinks. Code that waits in the main thread calls
        it.

        Returns until when that code may wait (time.monotonic): as long as it wants, while no end was asked
        for.
        """
        if self._signals is not None:
            self._signals.pass_on(self)
        if self._reopen:
            self._reopen = False
            for outlet in self.outlets:
                outlet.reopen()
        for outlet in self.outlets:
            outlet.wake()
        return math.inf if self._deadline is None else self._deadline

    def _latest(self) -> float:
        return time.monotonic() + ORDERLY * self.stop_seconds

    def run(self, progress: Callable[[], None] | None = None, interval: float = PROGRESS_INTERVAL) -> str:
        """Runs until the last source ends, `stop` is called, or no sink is left. Then everything is
        flushed.

        `progress` is called each `interval` seconds. Returns what went wrong, empty if nothing did.
        """
        relax_collector()
        while True:
            self._attempt(lambda: self._read(progress, interval), None)
            if not self._attempt(self._go_on, False):
                break
        self._finish()
        failures = [*self.failures, *(f"sink {o.name}: {o.failure}" for o in self.outlets if o.failure)]
        return failures[0] if failures else ""

    def _read(self, progress: Callable[[], None] | None, interval: float) -> None:
        """One source, to its end."""
        source, pipeline = self._source, self.pipeline
        next_tick = source.now() + TICK_INTERVAL
        next_progress = time.monotonic() + interval
        while not self._over and source.poll(pipeline, POLL_TIMEOUT):
            self.attend()
            if (now := source.now()) >= next_tick:
                next_tick = now + TICK_INTERVAL
                pipeline.tick(now)
            if progress is not None and time.monotonic() >= next_progress:
                next_progress = time.monotonic() + interval
                progress()

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be read: an end was asked for, or no sink takes access logs any more."""
        return self.stopping or (not self._outlives_sinks and all(outlet.closed for outlet in self.outlets))

    def _go_on(self) -> bool:
        """Takes the source that follows. False when there is no other, or it is not wanted any more."""
        self.attend()
        source = None if self._follow is None or self._over else next(self._follow, None)
        if source is None:
            return False
        self._finish_source()
        past = self._past + Report.of(self.pipeline.totals, self._counted, (), ())
        self._source = source
        # At once: another thread may ask for the totals (`last_words`).
        self.pipeline, self._past, self._counted = self._pipeline(), past, {}
        return True

    def _went_wrong(self, error: BaseException) -> None:
        message = first_line(error)
        if not isinstance(error, RoverError):
            logger.debug("internal error", exc_info=error)
            message = f"internal error: {type(error).__name__}: {message}"
            self.broken = True
        self.failures.append(message)

    def _attempt(self, step: Callable[[], T], otherwise: T, asked: str = "") -> T:
        """A step of the ending. Whatever it raises, the next step follows. `asked`: the method of the
        source that it calls, if it calls nothing else; then the source's plugin is named."""
        try:
            return step()
        except BaseException as error:
            self._went_wrong(error)
            if asked and not isinstance(error, RoverError):
                self._manager.maker(self._source).failed(asked, error)
            return otherwise

    def _finish_source(self) -> None:
        source, pipeline = self._source, self.pipeline
        if self.stopping:
            self._attempt(lambda: source.stop(pipeline), None)
        now = self._attempt(source.now, 0, "now")
        self._counted = self._attempt(lambda: figures(source.counters()), {}, "counters")
        self._attempt(source.close, None, "close")
        self._attempt(lambda: pipeline.finish(now), None)

    def _finish(self) -> None:
        self._finish_source()
        for outlet in self.outlets:
            outlet.end()
        self._attempt(self._manager.hook.shutdown, None)
        self.attend()
        deadline = self._latest() if self._deadline is None else self._deadline
        for outlet in self.outlets:
            outlet.stop(deadline)

    def report(self, before: Iterable[PluginFailure] = ()) -> Report:
        """The figures of the run; after `run`, or so far. Another process tells the plugins' failures of
        `before`."""
        failures = failures_of(self._manager.plugins, before)
        return self._past + Report.of(self.pipeline.totals, self._counted, self.outlets, failures)

    def last_words(self) -> list[str]:
        """The totals as far as they are known; from any thread, without calling a plugin."""
        return self.report().with_rest_lost("unfinished").lines()
