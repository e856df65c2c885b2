"""In which processes the probes of a file are: all that run code from it, or only some.

A probe of the whole file is hit by every process, and one that is not selected pays for it, too: a
microsecond for each call of its TLS library. So where others call it often, and the selected processes are
few and have been there for a while, the probes are only in these. A new one is not known before it has begun:
as soon as one does, the probes are in the whole file again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import BinaryIO

from rover.contracts.tls_library import TlsProbes
from rover_source_ebpf import tls

EVERYBODY = 0
"""Instead of a process: all, also those that begin later."""
MAX_PROCESSES = 16
"""That a file's probes are limited to. A call passes the probes of each of them, for 50 ns each: with more, a
selected process pays as much as another one saves."""
MANY = 1000.0
"""Calls of others in a second, from which on it matters: they take a thousandth of a processor."""
CALM = 5.0
"""Seconds since the last selected process began, after which probably none will soon."""


class Reach:
    """The probes of one file."""

    def __init__(self, probes: tls.Probes, file: BinaryIO, found: TlsProbes) -> None:
        """Attaches to the file that is open, whatever its path leads to by now. Raises OSError,
        ManyProbesError."""
        self._probes = probes
        self._found = found
        self._links: dict[int, list[int]] = {}
        self._file = [os.dup(file.fileno())]
        try:
            self._add(EVERYBODY)
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> Collection[int]:
        """Where the probes are."""
        return self._links.keys()

    def widen(self) -> None:
        """To all processes. Those that the probes were limited to keep theirs, because a call that has begun
        is seen to end only by probes that it was seen to begin by. To be seen twice changes nothing. Raises
        OSError, ManyProbesError."""
        if EVERYBODY not in self._links:
            self._add(EVERYBODY)

    def narrow(self, pids: Collection[int]) -> None:
        """To these processes. Raises OSError, ManyProbesError."""
        for pid in pids:
            if pid not in self._links:
                with contextlib.suppress(ProcessLookupError):
                    self._add(pid)
        for pid in self._links.keys() - set(pids):
            self.forget(pid)

    def forget(self, pid: int) -> None:
        """The process of this number is another one now, or runs another program."""
        tls.detach(self._links.pop(pid, []))

    def close(self) -> None:
        """Leaves the file. Two threads may do so at a time."""
        tls.detach(self._file)
        for links in list(self._links.values()):
            tls.detach(links)

    def _add(self, pid: int) -> None:
        if self._file:
            self._links[pid] = self._probes.attach(f"/proc/self/fd/{self._file[0]}", self._found, pid)
