"""Puts the parts together and runs them: source, pipeline, sinks, signals, totals."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from rover.collector import relax_collector
from rover.configuration import Catalogue
from rover.errors import RoverError, UsageError
from rover.pipeline.dispatch import Pipeline
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.pipeline.totals import Totals
from rover.plugins import first_line
from rover.report import PluginFailure, Report, failures_of
from rover.settings import Settings
from rover.sink import Sink, SinkSpec, Worker
from rover.source import Source

POLL_TIMEOUT = 0.1
"""Seconds a poll may wait: how late a signal or a tick can be noticed."""
TICK_INTERVAL = 1_000_000_000
"""ns of the source's own clock between two ticks, so that a file ages its connections as the
live run did, however fast it is read."""
PROGRESS_INTERVAL = 0.5

logger = logging.getLogger("rover")


def sink_spec(catalogue: Catalogue, name: str) -> SinkSpec:
    """An installed sink. Raises UsageError for an unknown one."""
    spec = catalogue.sinks.get(name)
    if spec is None:
        known = ", ".join(sorted(catalogue.sinks)) or "none"
        raise UsageError(f"unknown sink {name!r}; installed: {known}")
    return spec


def factory_for_workers(spec: SinkSpec) -> Callable[[Mapping[str, Any], Worker], Sink]:
    """What opens the sink in one of several processes. Raises UsageError if nothing does."""
    if spec.make_for_worker is None:
        raise UsageError(f"sink {spec.name} runs in one process: leave --workers away")
    return spec.make_for_worker


def make_sink(spec: SinkSpec, settings: Settings, worker: Worker | None) -> Sink:
    """Opens a sink, for the only process or for one of several. Raises RoverError."""
    section = settings.section(f"sink.{spec.name}")
    return spec.make(section) if worker is None else factory_for_workers(spec)(section, worker)


class Agent:
    """One run of one source through the pipeline."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        source: Source,
        *,
        lossless: bool = False,
        sinks: Sequence[str] | None = None,
        workers: Mapping[str, Worker] | None = None,
    ) -> None:
        """Opens the sinks and starts the source. Raises RoverError or UsageError.

        `sinks`: names instead of the setting `run.sinks`, for a run that has another purpose
        (a recording): there may be none, and it outlives them. `workers`: what each sink is to know,
        by its name, when this process is one of several.
        """
        manager = catalogue.manager
        names: Sequence[str] = settings["run.sinks"] if sinks is None else sinks
        if not names and sinks is None:
            raise UsageError("no sink; name one with --sink")
        self._outlives_sinks = sinks is not None
        self._manager = manager
        self._source = source
        self._stop_seconds: int = settings["limits.stop_seconds"]
        self._counted: Mapping[str, int] = {}
        self.stopping = False
        """Whether it was asked to end."""
        recogniser = Recogniser(manager, list(catalogue.protocols.values()), settings.section("ports"))
        self.outlets: list[Outlet] = []
        for name in dict.fromkeys(names):
            sink = make_sink(sink_spec(catalogue, name), settings, workers[name] if workers else None)
            self.outlets.append(Outlet(name, sink, lossless=lossless, limit=settings["limits.queue"]))
        try:
            source.start()
        except BaseException:
            source.close()
            for outlet in self.outlets:
                outlet.sink.close()
            raise
        self.pipeline = Pipeline(
            manager,
            recogniser,
            self.outlets,
            source,
            epoch=source.epoch,
            protocol_settings={name: settings.section(f"protocol.{name}") for name in catalogue.protocols},
            max_connections=settings["limits.connections"],
        )
        manager.hook.startup(settings=settings)
        for outlet in self.outlets:
            outlet.start()

    def stop(self) -> None:
        """Ends `run` soon; safe in a signal handler."""
        self.stopping = True

    def reopen(self) -> None:
        """Has every sink reopen its files."""
        for outlet in self.outlets:
            outlet.reopen()

    def run(self, progress: Callable[[Totals], None] | None = None) -> str:
        """Until the source ends, `stop` is called, or no sink is left. Everything is flushed.

        Returns what went wrong, empty if nothing did.
        """
        source, pipeline = self._source, self.pipeline
        failure = ""
        relax_collector()
        next_tick = source.now() + TICK_INTERVAL
        next_progress = time.monotonic() + PROGRESS_INTERVAL
        try:
            while not self.stopping:
                if not source.poll(pipeline, POLL_TIMEOUT):
                    break
                for outlet in self.outlets:
                    outlet.wake()
                if (now := source.now()) >= next_tick:
                    next_tick = now + TICK_INTERVAL
                    pipeline.tick(now)
                if not self._outlives_sinks and all(outlet.closed for outlet in self.outlets):
                    break
                if progress is not None and time.monotonic() >= next_progress:
                    next_progress = time.monotonic() + PROGRESS_INTERVAL
                    progress(pipeline.totals)
        except RoverError as error:
            failure = first_line(error)
        finally:
            unread = self._finish()
        return (
            failure or unread or next((f"sink {o.name}: {o.failure}" for o in self.outlets if o.failure), "")
        )

    def _finish(self) -> str:
        """Returns why what was captured last could not be delivered, empty if it could."""
        source, pipeline = self._source, self.pipeline
        failure = ""
        try:
            if self.stopping:
                source.stop(pipeline)
        except RoverError as error:
            failure = first_line(error)
        finally:
            now = source.now()
            self._counted = dict(source.counters())
            source.close()
        pipeline.finish(now)
        self._manager.hook.shutdown()
        deadline = time.monotonic() + self._stop_seconds
        for outlet in self.outlets:
            outlet.stop(deadline)
        return failure

    def report(self, before: Iterable[PluginFailure] = ()) -> Report:
        """What it came to; after `run`. Plugins' failures of `before` are another process's to tell."""
        failures = failures_of(self._manager.plugins, before)
        return Report.of(self.pipeline.totals, self._counted, self.outlets, failures)


class Running(Protocol):
    """What signals are for."""

    def stop(self) -> None:
        """Ends soon."""

    def reopen(self) -> None:
        """Opens the files anew."""


@contextmanager
def signals(agent: Running) -> Iterator[None]:
    """SIGINT and SIGTERM stop the agent, SIGHUP reopens its files; a second SIGINT ends at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        agent.stop()
        signal.signal(number, signal.SIG_DFL)

    def reopen(_number: int, _frame: FrameType | None) -> None:
        agent.reopen()

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: reopen}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
