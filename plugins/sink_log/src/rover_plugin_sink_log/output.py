"""Lines to a file descriptor: nothing is written twice, nothing is lost silently, no line is torn."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections import deque
from collections.abc import Iterator, Sequence

from rover import ProcessLock, RoverError, SinkError
from rover.errors import ReaderLeftError, file_error

STDOUT = 1
UNKNOWN = 80
"""Columns of a terminal that does not tell."""
BLOCKED = 1.0
"""Seconds to wait at a time for a reader that does not read."""
GONE = {
    errno.EPIPE: "was closed by its reader",
    errno.EIO: "is a terminal that was closed",
    errno.EBADF: "is not open",
}
"""Errors after which nobody will ever read what is written there; EIO is a terminal's only."""
WHOLE, BEGUN, HALF = range(3)
"""A lock's mark: its last holder wrote whole lines; it was at it; it was in the middle of a line."""


class Output:
    """A file opened for appending, or standard output (`-`).

    A line that the system took only half of is continued where it stopped, so that a disk
    which fills up and is freed leaves no torn line. Where several processes write to it they take
    turns by a lock; a process keeps its turn as long as a line of it is half written. What one that
    was killed left half written is ended by the next that writes: it spoils no other line.
    """

    def __init__(self, path: str, lock: ProcessLock | None = None) -> None:
        """`lock`: that of all who write there. Raises RoverError naming the file and why it cannot be
        opened."""
        self.path = path
        self._lock = lock
        self._half = False
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._reopen = False
        self._descriptor = -1
        self._use(self._open())

    @property
    def name(self) -> str:
        """For messages."""
        return "standard output" if self.path == "-" else self.path

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return os.isatty(self._descriptor)

    def columns(self) -> int:
        """Of the terminal that it is, at this moment. One that does not tell is taken for one of 80, as a
        serial line is."""
        try:
            return os.get_terminal_size(self._descriptor).columns or UNKNOWN
        except OSError:
            return UNKNOWN

    def _open(self) -> int:
        if self.path == "-":
            return STDOUT
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        try:
            descriptor = os.open(self.path, flags | os.O_NONBLOCK, 0o640)
            os.set_blocking(descriptor, True)
        except OSError as error:
            what = f"cannot open {self.path} for writing"
            if error.errno == errno.ENXIO:
                raise RoverError(f"{what}: it is a pipe or a device that nobody reads") from None
            raise file_error(what, error) from None
        return descriptor

    def _use(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._new = True
        try:
            self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except OSError:
            self._regular = False

    def write(self, lines: Sequence[tuple[bytes, bool]]) -> None:
        """Writes whole lines, each with whether it counts as an exchange.

        Raises SinkError; then the rest waits for `flush`.
        """
        if self._waiting:
            self._waiting.extend(lines)
            self.flush()
            return
        done = 0
        with self._turn():
            try:
                for piece in self._pieces(lines):
                    left = piece
                    while left:
                        written = self._write(left)
                        done += written
                        left = left[written:]
            except SinkError:
                self._keep(lines, done)
                raise

    def _pieces(self, lines: Sequence[tuple[bytes, bool]]) -> Iterator[bytes]:
        """What is written at once: all, or, where a process that is killed must not leave a part of a
        line before another's, what a pipe takes whole or not at all (pipe(7))."""
        if self._lock is None or self._regular:
            yield b"".join([line for line, _ in lines])
            return
        gathered: list[bytes] = []
        size = 0
        for line, _ in lines:
            if gathered and size + len(line) > select.PIPE_BUF:
                yield b"".join(gathered)
                gathered, size = [], 0
            if len(line) <= select.PIPE_BUF:
                gathered.append(line)
                size += len(line)
                continue
            for start in range(0, len(line), select.PIPE_BUF):
                yield line[start : start + select.PIPE_BUF]
                self._lock.mark = HALF if start + select.PIPE_BUF < len(line) else BEGUN
        if gathered:
            yield b"".join(gathered)

    def flush(self) -> None:
        """Writes what waits. Raises SinkError when that still fails."""
        if not self._waiting:
            return
        with self._turn():
            while self._waiting:
                line, counts = self._waiting[0]
                written = self._write(line if self._lock is None else line[: select.PIPE_BUF])
                self._half = written < len(line)
                if self._lock is not None:
                    self._lock.mark = HALF if self._half else BEGUN
                if self._half:
                    self._waiting[0] = (line[written:], counts)
                else:
                    self._waiting.popleft()
        if self._reopen:
            self.reopen()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """While nobody else writes."""
        lock = self._lock
        if lock is not None:
            lock.acquire()
        try:
            if self._new or (lock is not None and lock.mark != WHOLE and not self._half):
                self._end_torn_line(HALF if lock is None else lock.mark)
            if lock is not None:
                lock.mark = HALF if self._half else BEGUN
            yield
        finally:
            if lock is not None:
                lock.mark = HALF if self._half else WHOLE
                if not self._half:
                    lock.release()

    def _end_torn_line(self, mark: int) -> None:
        """What a process that died has left, in this run or in one before."""
        torn = not self._new and mark == HALF
        if self._regular:
            torn = ends_within_line(self._descriptor)
        if torn and not self._half:
            self._write(b"\n")
        self._new = False

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
                reason = GONE.get(error.errno or 0)
                if error.errno == errno.EPIPE and self.path == "-":
                    raise ReaderLeftError(f"{self.name} {reason}") from None
                if reason and not (error.errno == errno.EIO and self._regular):
                    raise SinkError(f"{self.name} {reason}", closed=True) from None
                raise SinkError(f"cannot write to {self.name}: {error.strerror}") from None

    def reopen(self) -> None:
        """Opens the path again, after a rotation. If that fails the old file stays in use, and as long as
        a line of it is half written."""
        self._reopen = self._half
        if self.path != "-" and not self._half:
            opened = self._open()
            os.close(self._descriptor)
            self._use(opened)

    def close(self) -> int:
        """Returns how many exchanges' lines were never written whole."""
        with contextlib.suppress(SinkError, RoverError):
            self.flush()
        if self.path != "-":
            os.close(self._descriptor)
        if self._lock is not None:
            self._lock.release()
        return sum(1 for _, counts in self._waiting if counts)


def ends_within_line(descriptor: int) -> bool:
    """Whether the last byte of a regular file is no end of a line. False when it cannot be read."""
    try:
        with open(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # an empty file, or one that may only be written
        return False
