"""The processes whose connections are watched, as sources and plugins tell of them."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence

from rover.contracts.hooks import Provisional
from rover.plugins.guard import checked_description
from rover.plugins.manager import Implementation
from rover.values.attributes import AttributeValue
from rover.values.records import NO_ATTRIBUTES, Process

MAX_PROCESSES = 32_768
"""Processes kept, the least recently used one goes first: the default of kernel.pid_max."""
MAX_AGAIN = 256
"""Processes described again at a time, which is once a second: a plugin that reads a file of /proc for each
takes some 10 ms."""


class Processes:
    """By number. Each is described once by the plugins that have something to say of it, when it is
    first asked for: a process that has no connection is never asked for."""

    __slots__ = ("_describers", "_known", "_live", "_newest", "_provisional", "_told", "_undescribed")

    def __init__(
        self,
        describers: Sequence[Implementation],
        *,
        live: bool,
        told: Callable[[Process], None] | None = None,
    ) -> None:
        """`describers`: of the hook `describe_process`. `live`: whether they run here and now. `told`: is
        called with each process that they say something of."""
        self._describers = describers
        self._told = told
        self._live = live
        self._known: dict[int, Process] = {}
        self._undescribed: set[int] = set()
        self._provisional: dict[int, None] = {}  # of which a plugin has more to say; longest waiting first
        self._newest: Process | None = None  # what was asked for last: a server's connections ask for one

    def learn(self, process: Process) -> None:
        """A process as it is from now on."""
        self._newest = None
        self._known.pop(process.pid, None)
        self._provisional.pop(process.pid, None)
        self._keep(process)
        if self._describers:
            self._undescribed.add(process.pid)

    def get(self, pid: int) -> Process:
        """The process of this number, from now on the most recently used one."""
        newest = self._newest
        if newest is not None and newest.pid == pid:
            return newest
        process = self._known.pop(pid, None)
        if process is None:
            process = Process(pid=pid, name="")
            if self._describers and pid:
                self._undescribed.add(pid)
        if pid in self._undescribed:
            self._undescribed.discard(pid)
            process = self._described(process)
            if process.attributes:
                self._tell(process)
        self._keep(process)
        self._newest = process
        return process

    def successor(self, pid: int, previous: Process | None) -> Process:
        """The process of this number, which goes on with a connection that `previous` had.

        A server's child that serves one connection has often ended when plugins are first asked about it, so
        that they can say nothing of it. One that has its parent's name has executed nothing since it was
        forked: what is said of the parent holds.
        """
        process = self.get(pid)
        if previous is None or process.attributes or not previous.attributes:
            return process
        if not process.name or process.name != previous.name:
            return process
        heir = process.replace(attributes=previous.attributes)
        self._known[pid] = self._newest = heir
        return heir

    def describe_again(self) -> None:
        """Asks of those again of which a plugin had more to say. Called about once a second."""
        for pid in list(self._provisional)[:MAX_AGAIN]:
            del self._provisional[pid]
            known = self._known[pid]
            described = self._described(known.replace(attributes=NO_ATTRIBUTES))
            # Where nothing is said any more, what was said holds.
            if described.attributes and described != known:
                self._known[pid] = described
                self._newest = None
                self._tell(described)

    def as_described(self, process: Process) -> Process:
        """The same process with what is said of it now; one that has executed another program meanwhile is
        left as it was."""
        known = self._known.get(process.pid)
        if known is None or known is process or known.name != process.name:
            return process
        if process.pid in self._undescribed:
            # A recording has told what was said of it; else it has executed its program again.
            return self.get(process.pid) if known.attributes else process
        return known

    def _keep(self, process: Process) -> None:
        known = self._known
        if len(known) >= MAX_PROCESSES:
            oldest = next(iter(known))
            del known[oldest]
            self._undescribed.discard(oldest)
            self._provisional.pop(oldest, None)
        known[process.pid] = process

    def _described(self, process: Process) -> Process:
        """With what plugins say of it; of an attribute, the first one is believed, and in a replay a plugin
        that is asked now before one that was asked then."""
        merged: dict[str, AttributeValue] = {}
        for function, chosen, failed in self._describers:
            try:
                arguments = (process, self._live)
                said = function(*(arguments if chosen is None else [arguments[index] for index in chosen]))
                if said is not None:
                    merged = {**checked_description(said), **merged}
                    if isinstance(said, Provisional):
                        self._provisional[process.pid] = None
            except BaseException as error:
                failed(error)
        if not merged:
            return process
        merged = {**process.attributes, **merged}
        return process.replace(attributes=types.MappingProxyType(merged))

    def _tell(self, process: Process) -> None:
        if self._told is not None:
            self._told(process)
