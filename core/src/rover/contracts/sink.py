"""What an exporting plugin provides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rover.contracts.lock import ProcessLock
from rover.contracts.settings import Setting
from rover.values.access_log import AccessLog


class Sink(Protocol):
    """Exports access logs. Everything is called from the sink's own thread, one at a time. Any
    exception except a RoverError, and any result of another type, is a failure of its plugin.

    It may be a PreparingSink, too.
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
        `write` gets it.

        This suits something small that is made fast, like a line of text. Made at once, from values that
        the processor's caches still hold, it costs a third of what it costs a thousand exchanges later.
        It must not block. When it raises, the log is lost, and counted.
        """


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
