"""What a capture plugin provides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rover.contracts.settings import Setting
from rover.contracts.tls_library import TlsLibrarySpec
from rover.values.records import Direction, Opened, RecordHandler


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """What to watch. Empty means everything; kinds are joined by *and*, values of one by *or*."""

    pids: tuple[int, ...] = ()
    """These processes and their descendants."""
    comms: tuple[str, ...] = ()
    """Processes whose main thread has this name (at most 15 bytes, proc(5))."""
    ports: tuple[int, ...] = ()
    """Connections with this port on either end."""
    cgroups: tuple[str, ...] = ()
    """Processes in these cgroup v2 directories or below."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the installed protocols want of connections from their first call on, before one is recognised."""

    opening: int = 0
    """Bytes of each direction of any connection."""
    ports: frozenset[int] = frozenset()
    """Connections with one of these ports on either end are wanted in full."""


class Source(Protocol):
    """Delivers records. Everything is called from one thread.

    It may be a SkippingSource, a DescribingSource, a DivisibleSource and a TlsSource, too.
    """

    epoch: int
    """Unix time (ns) of the zero of this source's clock."""

    def start(self) -> None:
        """Begins to capture. Raises RoverError: one line, what is missing and the fix."""

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Delivers what there is, or waits up to `timeout` seconds for something.

        Returns after a bounded batch. False when nothing will ever follow (a file's end).
        """

    def now(self) -> int:
        """The source's clock, ns."""

    def set_upload(self, connection: int, limit: int) -> None:
        """From now on deliver at most `limit` bytes of each call; 0 is details only.

        A connection that is gone is no error.
        """

    def is_open(self, connection: int) -> bool:
        """Whether the connection still exists; the core asks when it has been silent for long."""

    def counters(self) -> Mapping[str, int]:
        """Figures for the totals, by name: `uploaded_bytes`, `records_lost`."""

    def stop(self, handler: RecordHandler) -> None:
        """Captures nothing more, and delivers everything that was captured before."""

    def close(self) -> None:
        """Frees everything; called once, also after a failed start."""


@runtime_checkable
class SkippingSource(Protocol):
    """The optional part of a source that can leave out bytes which no decoder needs."""

    def set_unneeded(self, connection: int, direction: Direction, position: int) -> None:
        """From now on only the details are needed of calls that end at or before this position of the
        direction's stream.

        The core calls it in the middle of large bodies. A connection that is gone is no error.
        """


@runtime_checkable
class DescribingSource(Protocol):
    """The optional part of a source that can describe a connection again which it has delivered before."""

    def describe(self, connection: int) -> Opened | None:
        """What `opened` was given when it began; None when it is not known (any more).

        The core asks when data comes of a connection that it does not know: one that was given up
        to make room (`limits.connections`) and goes on, or one of a worker that died.
        """


@runtime_checkable
class InformedSource(Source, Protocol):
    """A source that need not be told of each connection what is wanted of its beginning.

    `set_upload` comes too late for that: the core calls it when the first bytes have been recognised, and by
    then the reply to them may have been captured in part.
    """

    def inform(self, wanted: Wanted) -> None:
        """Called once, before `divide` and `start`. A source may deliver less, where it has limits."""


@runtime_checkable
class TlsSource(Source, Protocol):
    """A source that reads plaintext inside TLS libraries."""

    def read_tls(self, libraries: Sequence[TlsLibrarySpec]) -> None:
        """Called once, before `divide` and `start`: the libraries that are known. What their functions raise
        has been counted as their plugin's failure, and is a reason (text) by then."""


@runtime_checkable
class DivisibleSource(Source, Protocol):
    """A source that several processes can read, each its own connections: `rover run --workers`."""

    def divide(self, count: int) -> Sequence[Source]:
        """Called once, before `start`: a part for each of `count` processes.

        Every connection belongs to one part, chosen by its id. Each part delivers the processes whose
        records it delivers. A part's `start` and everything after it are called in a process of its own,
        which is forked when the whole has started. From then on the whole delivers only losses. Each loss
        is delivered, and counted, by the whole or by a part, never by both. The `stop` of the whole comes
        first: it ends the capture for all parts, whose `stop` then delivers what was captured before.
        """

    def ignore(self, pid: int) -> None:
        """Captures nothing of this process, in which a part is read. Called after `start`."""


@dataclasses.dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source, returned by `register_sources`."""

    name: str
    make: Callable[[Mapping[str, Any], Selection], Source]
    """(settings, selection): a source that has not started."""
    settings: Sequence[Setting] = ()
    """Configured as `source.NAME.SETTING`."""
    live: bool = True
    """True for `rover run`; False for files, read by `rover replay`."""
    check: Callable[[], Sequence[Check]] | None = None
    """For `rover doctor`: can this host run it?"""
    rehearse: Callable[[Mapping[str, Any], Selection], Sequence[Check]] | None = None
    """For `rover doctor`, called for the source that `run.source` names: does what `start` does with these
    settings, and undoes it. It returns a Check with `tried=False` for what it may not do here."""
    check_tls: Callable[[Sequence[TlsLibrarySpec], int | None], Sequence[Check]] | None = None
    """(libraries, pid): for `rover doctor`: what this host's processes have of these TLS libraries, or, for
    `--pid`, what can be read of this process, and why not."""
    opens: Callable[[bytes], bool] | None = None
    """For files: do these first bytes belong to this source? (`rover replay` asks in turn.)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One line of `rover doctor`."""

    subject: str
    ok: bool
    finding: str
    """What was found."""
    fix: str = ""
    """What to do about it, when not ok."""
    required: bool = True
    tried: bool = True
    """False: it could not be tried here. Then `ok` says nothing, and `finding` says why."""
