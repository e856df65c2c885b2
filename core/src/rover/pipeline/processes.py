"""The processes whose connections are watched, as sources and plugins tell of them."""

from __future__ import annotations

import types
from collections.abc import Sequence

from rover.plugins.guard import checked_description
from rover.plugins.manager import Implementation
from rover.values.attributes import AttributeValue
from rover.values.records import Process

MAX_PROCESSES = 32_768
"""Processes kept, the least recently used one goes first: the default of kernel.pid_max."""


class Processes:
    """By number. Each is described once by the plugins that have something to say of it, when it is
    first asked for: a process that has no connection is never asked for."""

    __slots__ = ("_describers", "_known", "_live", "_newest", "_undescribed")

    def __init__(self, describers: Sequence[Implementation], *, live: bool) -> None:
        """`describers`: of the hook `describe_process`. `live`: whether they run here and now."""
        self._describers = describers
        self._live = live
        self._known: dict[int, Process] = {}
        self._undescribed: set[int] = set()
        self._newest: Process | None = None  # what was asked for last: a server's connections ask for one

    def learn(self, process: Process) -> None:
        """A process as it is from now on."""
        self._newest = None
        self._known.pop(process.pid, None)
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
        self._keep(process)
        self._newest = process
        return process

    def _keep(self, process: Process) -> None:
        known = self._known
        if len(known) >= MAX_PROCESSES:
            oldest = next(iter(known))
            del known[oldest]
            self._undescribed.discard(oldest)
        known[process.pid] = process

    def _described(self, process: Process) -> Process:
        """With what plugins say of it; of an attribute, the first one is believed."""
        merged: dict[str, AttributeValue] = {}
        for function, chosen, failed in self._describers:
            try:
                arguments = (process, self._live)
                said = function(*(arguments if chosen is None else [arguments[index] for index in chosen]))
                if said is not None:
                    merged = {**checked_description(said), **merged}
            except BaseException as error:
                failed(error)
        return process.replace(attributes=types.MappingProxyType(merged)) if merged else process
