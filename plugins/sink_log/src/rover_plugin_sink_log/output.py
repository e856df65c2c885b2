"""Lines to a file descriptor: nothing is written twice, nothing is lost silently."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections import deque
from collections.abc import Sequence

from rover import RoverError, SinkError

STDOUT = 1
BLOCKED = 1.0
"""Seconds to wait at a time for a reader that does not read."""


class Output:
    """A file opened for appending, or standard output (`-`).

    A line that the system took only half of is continued where it stopped, so that a disk
    which fills up and is freed leaves no torn line.
    """

    def __init__(self, path: str) -> None:
        """Raises RoverError naming the file and why it cannot be opened."""
        self.path = path
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
        try:
            while done < len(data):
                done += self._write(data[done:] if done else data)
        except SinkError:
            self._keep(lines, done)
            raise

    def flush(self) -> None:
        """Writes what waits. Raises SinkError when that still fails."""
        while self._waiting:
            line, counts = self._waiting[0]
            written = self._write(line)
            if written == len(line):
                self._waiting.popleft()
            else:
                self._waiting[0] = (line[written:], counts)

    def _keep(self, lines: Sequence[tuple[bytes, bool]], done: int) -> None:
        for line, counts in lines:
            if done >= len(line):
                done -= len(line)
            else:
                self._waiting.append((line[done:], counts))
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
        return sum(1 for _, counts in self._waiting if counts)
