"""Lines to a file descriptor: nothing is written twice, nothing is lost silently."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections import deque
from collections.abc import Iterator, Sequence

from rover import ProcessLock, RoverError, SinkError

STDOUT = 1
BLOCKED = 1.0
"""Seconds to wait at a time for a reader that does not read."""


class Output:
    """A file opened for appending, or standard output (`-`).

    A line that the system took only half of is continued where it stopped, so that a disk
    which fills up and is freed leaves no torn line. Where several processes write to it they take
    turns by a lock; a process keeps its turn as long as a line of it is half written.
    """

    def __init__(self, path: str, lock: ProcessLock | None = None) -> None:
        """`lock`: that of all who write there. Raises RoverError naming the file and why it cannot be
        opened."""
        self.path = path
        self._lock = lock
        self._half = False
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._descriptor = self._open()

    @property
    def name(self) -> str:
        """For messages."""
        return "standard output" if self.path == "-" else self.path

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return os.isatty(self._descriptor)

    def _open(self) -> int:
        if self.path == "-":
            return STDOUT
        try:
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise RoverError(f"cannot open {self.path} for writing: {error.strerror}") from None

    def write(self, lines: Sequence[tuple[bytes, bool]]) -> None:
        """Writes whole lines, each with whether it counts as an exchange.

        Raises SinkError; then the rest waits for `flush`.
        """
        if self._waiting:
            self._waiting.extend(lines)
            self.flush()
            return
        data = b"".join([line for line, _ in lines])
        done = 0
        with self._turn():
            try:
                while done < len(data):
                    done += self._write(data[done:] if done else data)
            except SinkError:
                self._keep(lines, done)
                raise

    def flush(self) -> None:
        """Writes what waits. Raises SinkError when that still fails."""
        if not self._waiting:
            return
        with self._turn():
            while self._waiting:
                line, counts = self._waiting[0]
                written = self._write(line)
                self._half = written < len(line)
                if self._half:
                    self._waiting[0] = (line[written:], counts)
                else:
                    self._waiting.popleft()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """While nobody else writes."""
        if self._lock is None:
            yield
            return
        self._lock.acquire()
        try:
            yield
        finally:
            if not self._half:
                self._lock.release()

    def _keep(self, lines: Sequence[tuple[bytes, bool]], done: int) -> None:
        for line, counts in lines:
            if done >= len(line):
                done -= len(line)
            else:
                self._waiting.append((line[done:], counts))
                self._half |= done > 0
                done = 0

    def _write(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [], BLOCKED)
            except OSError as error:
                if error.errno == errno.EPIPE:
                    raise SinkError(f"{self.name} was closed by its reader", closed=True) from None
                raise SinkError(f"cannot write to {self.name}: {error.strerror}") from None

    def reopen(self) -> None:
        """Opens the path anew, after a rotation. If that fails the old file stays in use."""
        if self.path != "-":
            opened = self._open()
            os.close(self._descriptor)
            self._descriptor = opened

    def close(self) -> int:
        """Returns how many exchanges' lines were never written whole."""
        with contextlib.suppress(SinkError):
            self.flush()
        if self.path != "-":
            os.close(self._descriptor)
        if self._lock is not None:
            self._lock.release()
        return sum(1 for _, counts in self._waiting if counts)
