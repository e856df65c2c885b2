"""Puts probes into the files that have a TLS library, while the source runs; on a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import BinaryIO

from rover.contracts.tls_library import TlsLibrarySpec, TlsProbes
from rover_source_ebpf import tls
from rover_source_ebpf.loader import Program
from rover_source_ebpf.reach import CALM, MANY, MAX_PROCESSES, Ciphertext, Reach, divided
from rover_source_ebpf.ring import RingMap
from rover_source_ebpf.tls_files import Discovery, FileKey, Finding, mappings, processes

logger = logging.getLogger("rover.ebpf")

PATIENCE = 1.0
"""Seconds between two looks at whether the thread shall end."""
LONGEST_BEGINNING = 2.0
"""Seconds that a start waits: some 600 processes take a fifth of one."""
BATCH = 256
"""Records taken at a time."""
PAUSES = (0.001, 0.004, 0.02)
"""Seconds until a process is looked at again that has told of a file, and has it not: it is told of before it
is mapped."""
LATER = 1.0
"""Seconds after which it is looked at once more: the machine may be too busy for it to have mapped it."""
MAX_LATER = 1024
"""Processes that this is kept of."""
UNUSED_INTERVAL = 300.0
"""Seconds between two looks at which files nobody uses any more: to read the mappings of 600 processes takes
a tenth of a second."""


class Attaching:
    """The probes of one source."""

    def __init__(
        self,
        program: Program,
        libraries: Sequence[TlsLibrarySpec],
        watched: Callable[[int], bool] | None,
        calls_of_others: Callable[[], int] | None = None,
    ) -> None:
        """`watched`: whether a process is, by its number; None where all are. `calls_of_others`: how often a
        process that is not has hit a probe; None where it is not seen what processes map, so that the probes
        have to be wherever they might be hit."""
        self._program = program
        self._probes = tls.Probes(program)
        self._ring = program.descriptor("tls_mapped")
        self._discovery = Discovery(libraries)
        self._watched = watched
        self._links: dict[FileKey, Reach] = {}
        self._ciphertext: dict[FileKey, Ciphertext] = {}
        # Before Linux 6.10 probes of one process miss what its other threads do.
        self._may_limit = program.has("tls_session")
        self._installed: set[FileKey] = set()
        self._looked = time.monotonic()
        self._calls_of_others = calls_of_others if watched is not None and self._may_limit else None
        self._calls = (time.monotonic(), 0)
        self._begun = time.monotonic()
        self._later: dict[int, float] = {}
        # Without a lock: a process that is forked meanwhile would have it locked for ever.
        self._ended = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rover-tls", daemon=True)

    def begin(self) -> None:
        """Starts; returns when the libraries that are installed, and those of the processes that run, have
        their probes: what is said then is seen. Where that takes longer, it goes on meanwhile."""
        self._thread.start()
        self._ready.wait(LONGEST_BEGINNING)

    def end(self) -> None:
        """Takes all probes away."""
        self._ended = True
        all_of_them = [*self._links.values(), *self._ciphertext.values()]
        tls.detach([descriptor for reach in all_of_them for descriptor in reach.taken()])

    def _run(self) -> None:
        try:
            self._begin()
            self._ready.set()
            self._follow()
        except Exception:
            logger.exception("no more TLS libraries are looked for")
        finally:
            self._ready.set()

    def _begin(self) -> None:
        # Where processes are named, probes are only in what these have mapped: others pay for them, too.
        if self._watched is None:
            self._attach_all(self._discovery.installed())
            self._installed = set(self._links)
        self._attach_all(self._discovery.running(self._watched))
        users = self._users(self._ciphertext) if self._ciphertext else {}
        for key, pids in users.items():
            with reported():
                self._ciphertext[key].add(pids)

    def _follow(self) -> None:
        ring = RingMap(self._ring, tls.MAPPED_BYTES)
        try:
            while not self._ended:
                ready = ring.wait(PATIENCE)
                self._look_again()
                self._release()
                for each in self._ciphertext.values():
                    with reported():
                        each.prune()
                if not ready:
                    self._narrow()
                    continue
                told: dict[int, set[FileKey]] = {}
                begun = False
                for offset, _ in ring.ring.take(BATCH):
                    inode, device, pid = tls.MAPPED.unpack_from(ring.ring.memory, offset)
                    if not inode and device:
                        begun |= device == tls.BEGUN
                        self._learn(pid, device)
                        continue
                    keys = told.setdefault(pid, set())
                    if inode:
                        keys.add(FileKey(device, inode))
                ring.ring.release()
                if begun or any(self._links.keys() & keys for keys in told.values()):
                    self._begun = time.monotonic()
                    self._widen()
                for pid, keys in told.items():
                    self._look_at(pid, keys)
        finally:
            ring.close()

    def _look_at(self, pid: int, keys: set[FileKey]) -> None:
        """A process has told of files that it is about to map."""
        for pause in (*PAUSES, 0):
            self._attach_all(self._discovery.process(pid))
            if keys <= self._discovery.findings.keys() or self._ended:
                return
            time.sleep(pause)
        if any(mappings(pid)):
            if len(self._later) < MAX_LATER:
                self._later[pid] = time.monotonic() + LATER
            return
        # It has ended meanwhile: the next one that maps them is to tell of them again.
        for key in keys - self._discovery.findings.keys():
            self._tell_again(key)

    def _look_again(self) -> None:
        """At processes that had told of files and not mapped them."""
        now = time.monotonic()
        for pid in [pid for pid, due in self._later.items() if due <= now]:
            del self._later[pid]
            self._attach_all(self._discovery.process(pid))

    def _attach_all(self, found: Iterator[tuple[Finding, BinaryIO]]) -> None:
        for finding, file in found:
            if self._ended:
                return
            if isinstance(finding.outcome, TlsProbes):
                self._attach(finding, finding.outcome, file)

    def _attach(self, finding: Finding, probes: TlsProbes, file: BinaryIO) -> None:
        calls, ciphertext = divided(probes) if self._may_limit else (probes, None)
        try:
            reach = Reach(self._probes, file, calls)
            if ciphertext is not None:
                self._ciphertext[finding.key] = Ciphertext(self._probes, file, ciphertext)
        except (OSError, tls.ManyProbesError) as error:
            logger.warning("%s: its plaintext cannot be read: %s", finding.path, error)
            return
        self._links[finding.key] = reach
        if self._ended:
            self.end()
        logger.debug("%s: %s, %d probes", finding.path, probes.library, len(probes.probes))

    def _release(self) -> None:
        """Takes the probes of files away that no process runs code from any more, such as those of containers
        that have ended."""
        now = time.monotonic()
        lent = self._links.keys() - self._installed
        if not lent or now - self._looked < UNUSED_INTERVAL:
            return
        self._looked = now
        used = {each.key for pid in processes() for each in mappings(pid)}
        for key in lent - used:
            self._links.pop(key).close()
            if key in self._ciphertext:
                self._ciphertext.pop(key).close()
            self._discovery.forget(key)
            self._tell_again(key)
        if lent - used:  # one may have been mapped meanwhile, and not been told of
            self._attach_all(self._discovery.running(self._watched))

    def _narrow(self) -> None:
        """Takes the probes out of processes that are not selected, where they pay for them often."""
        now = time.monotonic()
        before, earlier = self._calls
        if self._calls_of_others is None or now - max(before, self._begun) < CALM:
            return
        calls = self._calls_of_others()
        self._calls = (now, calls)
        if calls - earlier < MANY * (now - before):
            return
        for key in self._links:  # of a process that maps one from now on
            self._tell_again(key)
        users = self._users(self._links)
        for key, reach in self._links.items():
            pids = users.get(key, set())
            if len(pids) <= MAX_PROCESSES:
                with reported():
                    reach.narrow(pids)
                if self._ended:
                    reach.close()

    def _learn(self, pid: int, how: int) -> None:
        """How the connections of a process are found."""
        if how == tls.NESTED:
            for ciphertext in self._ciphertext.values():
                with reported():
                    ciphertext.discard(pid)
        elif how == tls.UNPLACED and self._ciphertext:
            for each in mappings(pid):
                if (found := self._ciphertext.get(each.key)) is not None:
                    with reported():
                        found.need(pid)
        if self._ended:
            self.end()

    def _users(self, files: Container[FileKey]) -> dict[FileKey, set[int]]:
        """The selected processes that run code from these files."""
        users: dict[FileKey, set[int]] = {}
        for pid in processes():
            if self._watched is None or self._watched(pid):
                for each in mappings(pid):
                    if each.key in files:
                        users.setdefault(each.key, set()).add(pid)
        return users

    def _widen(self) -> None:
        """Selected processes have begun, or have a file that they had not before: whole files have probes
        again."""
        for reach in self._links.values():
            with reported():
                reach.widen()
            if self._ended:
                reach.close()

    def _tell_again(self, key: FileKey) -> None:
        """The kernel tells of a file once, unless it is asked to forget it."""
        self._program.remove("tls_files", tls.FILE.pack(key.inode, key.device))


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Probes that cannot be moved stay where they are."""
    try:
        yield
    except (OSError, tls.ManyProbesError) as error:
        logger.debug("probes stay where they are: %s", error)
