"""A lock between processes that dies with its holder."""

from __future__ import annotations

import fcntl
import mmap
import os
from types import TracebackType


class ProcessLock:
    """Held by one process at a time: a record lock (fcntl(2)) on a byte of a file without a name.

    It belongs to the process, not to a thread: use it from one thread. Made before the processes are
    forked; a process that ends, however suddenly, lets go of it.
    """

    def __init__(self, descriptor: int, memory: mmap.mmap, byte: int) -> None:
        """A byte of an open file, which is nobody's name, and of its memory: see `locks`."""
        self._descriptor = descriptor
        self._memory = memory
        self._byte = byte

    @property
    def mark(self) -> int:
        """What the last holder left here for the next, 0 to 255; 0 at first. One that dies leaves it as it
        was, so the next can know what it has to bring in order."""
        return self._memory[self._byte]

    @mark.setter
    def mark(self, value: int) -> None:
        self._memory[self._byte] = value

    def acquire(self) -> None:
        """Waits until no other process holds it. Held already: nothing happens."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, self._byte)

    def release(self) -> None:
        """Lets another process have it. Not held: nothing happens."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._byte)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def locks(number: int) -> list[ProcessLock]:
    """So many, for this process and those it forks."""
    descriptor = os.memfd_create("rover-locks")
    os.ftruncate(descriptor, max(number, 1))
    memory = mmap.mmap(descriptor, max(number, 1))
    return [ProcessLock(descriptor, memory, byte) for byte in range(number)]
