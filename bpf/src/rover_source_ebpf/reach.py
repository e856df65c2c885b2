"""In which processes the probes of a file are: all that run code from it, or only some.

A probe of the whole file is hit by every process, and one that is not selected pays for it, too: a
microsecond for each call of its TLS library. So where others call it often, and the selected processes are
few and have been there for a while, the probes are only in these. A new one is not known before it has begun:
as soon as one does, the probes are in the whole file again.

Of the places where a library hands out ciphertext others know nothing new where the connection is found by a
socket call within the library's call, or by its ClientHello. So the probes are only in processes that had
connections before the agent was there, until that is known of them, and in those where neither was found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection
from typing import BinaryIO

from rover.contracts.tls_library import TlsFunction, TlsProbes
from rover_source_ebpf import tls

EVERYBODY = 0
"""Instead of a process: all, also those that begin later."""
MAX_PROCESSES = 16
"""That a file's probes are limited to. A call passes the probes of each of them, for 50 ns each: with more, a
selected process pays as much as another one saves."""
MAX_UNKNOWN = 64
"""The same, of the places where ciphertext is handed out: most of these processes are known after their first
call."""
MANY = 1000.0
"""Calls of others in a second, from which on it matters: they take a thousandth of a processor."""
CALM = 5.0
"""Seconds since the last selected process began, after which probably none will soon."""


class Reach:
    """The probes of one file."""

    def __init__(
        self, probes: tls.Probes, file: BinaryIO, found: TlsProbes, pids: Collection[int] = (EVERYBODY,)
    ) -> None:
        """Attaches to the file that is open, whatever its path leads to by now. Raises OSError,
        ManyProbesError."""
        self._probes = probes
        self._found = found
        self._links: dict[int, list[int]] = {}
        self._file = [os.dup(file.fileno())]
        try:
            for pid in pids:
                self._add(pid)
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
        """To these processes, any of which may be another one, or run another program, since the last time.
        Raises OSError, ManyProbesError."""
        if self._links.keys() == set(pids):
            return
        before, self._links = self._links, {}
        try:
            for pid in pids:
                self._add(pid)
        except (OSError, tls.ManyProbesError):
            self._links, before = before, self._links
            raise
        finally:
            tls.detach([link for links in before.values() for link in links])

    def close(self) -> None:
        """Leaves the file."""
        tls.detach(self.taken())

    def taken(self) -> list[int]:
        """The descriptors that hold the probes, and the file: whoever takes them closes them. Two threads may
        do so at a time."""
        descriptors = []
        for each in (self._file, *list(self._links.values())):
            while each:
                with contextlib.suppress(IndexError):
                    descriptors.append(each.pop())
        return descriptors

    def _add(self, pid: int) -> None:
        """Into one more process, if it has not ended."""
        for file in self._file[:1]:  # none once it is closed
            with contextlib.suppress(ProcessLookupError):
                self._links[pid] = self._probes.attach(f"/proc/self/fd/{file}", self._found, pid)


class Ciphertext(Reach):
    """The probes where a file's library hands out ciphertext: nowhere at first."""

    def __init__(self, probes: tls.Probes, file: BinaryIO, found: TlsProbes) -> None:
        """Raises OSError."""
        super().__init__(probes, file, found, ())
        self._wanted: set[int] = set()
        self._needed: set[int] = set()

    def add(self, pids: Collection[int]) -> None:
        """Processes of which it is not known how their connections are found. Raises OSError,
        ManyProbesError."""
        self._wanted |= set(pids)
        self._settle()

    def discard(self, pid: int) -> None:
        """Of this one it is known now; it does without, unless it needs them. Raises OSError,
        ManyProbesError."""
        if pid in self._wanted - self._needed:
            self._wanted.discard(pid)
            self._settle()

    def need(self, pid: int) -> None:
        """This one has connections that are not found otherwise. Raises OSError, ManyProbesError."""
        self._needed.add(pid)
        self.add((pid,))

    def prune(self) -> None:
        """Forgets processes that have ended. Raises OSError, ManyProbesError."""
        ended = {pid for pid in self._wanted if not os.path.exists(f"/proc/{pid}")}
        if ended:
            self._wanted -= ended
            self._needed -= ended
            self._settle()

    def _settle(self) -> None:
        reached = {EVERYBODY} if len(self._wanted) > MAX_UNKNOWN else self._wanted
        for pid in reached - self._links.keys():
            self._add(pid)
        tls.detach([link for pid in self._links.keys() - reached for link in self._links.pop(pid)])


def divided(found: TlsProbes) -> tuple[TlsProbes, TlsProbes | None]:
    """The probes of a file, and apart from them those of ciphertext, where connections are found without
    these if their beginning was seen."""
    ciphertext = tuple(each for each in found.probes if each.function == TlsFunction.CIPHERTEXT)
    if not ciphertext or found.bio is None or not found.bio.client_random:
        return found, None
    calls = tuple(each for each in found.probes if each.function != TlsFunction.CIPHERTEXT)
    return dataclasses.replace(found, probes=calls), dataclasses.replace(found, probes=ciphertext)
