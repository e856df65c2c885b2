"""What an exporting plugin provides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rover.contracts.lock import ProcessLock
from rover.contracts.settings import Setting
from rover.values.access_log import AccessLog


class Sink(Protocol):
    """Exports access logs. Everything is called from the sink's own thread, one at a time. Any
    exception except a RoverError, and any result of another type, is a failure of its plugin.

    It may be a PreparingSink, and an InformedSink, too.
    """

    kernel_logs: bool
    """Whether it wants logs without an exchange (those of breaks always come)."""

    def write(self, logs: Sequence[Any]) -> None:
        """Takes a batch of access logs, or of what `prepare` made of them, in order. May block:
        only this sink waits.

        SinkError says that the batch was taken but cannot be passed on: when `closed`, nothing
        ever will be; else `flush` is called each second until it succeeds, and no batch comes
        in between. Any other exception counts the batch as lost, and the next one comes.
        """

    def flush(self) -> None:
        """Passes on what is held; called whenever the queue is empty. Raises like `write`."""

    def reopen(self) -> None:
        """On SIGHUP: files are opened again, after their rotation."""

    def counters(self) -> Mapping[str, int]:
        """Further figures for the totals, by name; called once, after `close`."""

    def close(self) -> int:
        """The end. Returns how many logs were taken and never passed on."""


@runtime_checkable
class PreparingSink(Protocol):
    """The optional part of a sink that makes what it writes as soon as there is a log."""

    def prepare(self, log: AccessLog) -> object:
        """Called in the pipeline's thread. What it returns waits in the queue in place of the log, and
        `write` gets it. None says that the log has been taken, and nothing waits.

        This suits something small that is made fast, like a line of text. Made at once, from values that
        the processor's caches still hold, it costs a third of what it costs a thousand exchanges later.
        It must not block. When it raises, the log is lost, and counted.
        """


class SinkFigures(Protocol):
    """How one sink fares."""

    @property
    def name(self) -> str:
        """As it is registered."""

    @property
    def logged(self) -> int:
        """Exchanges it took."""

    @property
    def lost(self) -> Mapping[str, int]:
        """Exchanges it never passed on, by cause."""


class FailureFigures(Protocol):
    """How often a plugin failed in one way."""

    @property
    def plugin(self) -> str:
        """Its name."""

    @property
    def count(self) -> int:
        """Times."""


class RunFigures(Protocol):
    """How a run fares in one process: the figures of its totals."""

    @property
    def exchanges(self) -> int:
        """Seen."""

    @property
    def unhandled(self) -> int:
        """Exchanges of which no plugin made an access log."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Exchanges whose access logs plugins dropped, by plugin."""

    @property
    def connections(self) -> int:
        """Seen."""

    @property
    def calls(self) -> int:
        """Socket calls."""

    @property
    def breaks(self) -> Mapping[str, int]:
        """By reason."""

    @property
    def records_lost(self) -> Mapping[str, int]:
        """By cause."""

    @property
    def noted(self) -> Mapping[str, int]:
        """What else happened, by a name of a few words."""

    @property
    def sinks(self) -> Iterable[SinkFigures]:
        """Each of the run's."""

    @property
    def failures(self) -> Iterable[FailureFigures]:
        """Of plugins."""


@runtime_checkable
class InformedSink(Protocol):
    """The optional part of a sink that tells how the run fares."""

    def inform(self, figures: Callable[[], RunFigures]) -> None:
        """Called once, before the sink's thread starts, when the source has started. `figures` gives how the
        run fares so far; it may be called from any thread, at any time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """One of several processes that each have a sink of this name, and connections of their own."""

    number: int
    """From 0. The sinks of worker 0 are open before any other worker opens its own."""
    count: int
    lock: ProcessLock
    """The lock of this sink, for what only one of its workers may do at a time."""
    again: bool = False
    """It takes the place of one that died."""


@dataclasses.dataclass(frozen=True, slots=True)
class SinkSpec:
    """A sink, returned by `register_sinks`."""

    name: str
    make: Callable[[Mapping[str, Any]], Sink]
    """Opens the sink. Raises RoverError: one line, what failed and the fix."""
    settings: Sequence[Setting] = ()
    """Configured as `sink.NAME.SETTING`."""
    make_for_worker: Callable[[Mapping[str, Any], Worker], Sink] | None = None
    """Like `make`, for `rover run --workers`. None: several processes cannot share this sink."""
