"""Where a recording goes, or what is exported of one: a new file, or a pipe or device that is there.

A recording holds what went over the wire, passwords and all, and root writes it, often where others can write
too. So a file is always a new one, its owner's alone, and takes the place of an old one only when that is
wanted; a link that stands there is replaced or refused, and not followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import select
import stat
from collections.abc import Callable

from rover.errors import RoverError, UsageError, file_error

STDOUT, STDERR = 1, 2
MODE = 0o600
BLOCKED = 1.0
"""Seconds to wait at a time for a reader that does not read."""
LAST_WAIT = 2.0
"""Seconds to wait for it once the recorder is to end: well within limits.stop_seconds."""
PIECE = select.PIPE_BUF
"""Bytes a pipe takes without waiting when it takes any (pipe(7))."""

# Names of what this process was handed open, by a shell for example. They are links: no others are followed.
_STREAMS = {"-": STDOUT, "/dev/stdout": STDOUT, "/dev/stderr": STDERR}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


class Target:
    """A file (its path), a pipe, a device, or standard output (`-`)."""

    def __init__(self, path: str, *, replace: bool = False) -> None:
        """`replace`: a file that exists. Nothing is opened yet."""
        self.name = "standard output" if path == "-" else path
        self.ending: Callable[[], bool] = lambda: False
        """Whether the recorder is to end: then a reader that does not read is not waited for."""
        match = _DESCRIPTOR.fullmatch(path)
        self.handed = int(match[1]) if match else _STREAMS.get(path)
        """The descriptor this process has of it already, None for a path."""
        self._path = path
        self._replace = replace
        self._descriptor = -1
        self._made = self._waits = False

    def check(self) -> None:
        """Raises UsageError for what is not to be replaced, or must not be written to."""
        if self.handed is None:
            self._kind()
        else:
            self._refuse_terminal(self.handed)

    def open(self, beginning: bytes) -> None:
        """Opens it, and writes the beginning; a file is in its place only then.

        Raises RoverError or UsageError, and leaves everything as it was.
        """
        made = ""
        try:
            if self.handed is not None:
                self._descriptor = _again(self.handed)
            elif self._kind() in (None, stat.S_IFREG, stat.S_IFLNK):
                path = self._beside() if self._replace else self._path
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(path, flags, MODE)
                made = path
            else:
                # A FIFO that nobody reads would keep us waiting; a link may have come in its place.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags)
            self._begin(beginning)
            if made and made != self._path:
                os.rename(made, self._path)
            self._made = bool(made)
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.close()
            if made:
                with contextlib.suppress(OSError):
                    os.unlink(made)
            if isinstance(error, FileExistsError):
                raise self._exists() from None
            if isinstance(error, OSError):
                what = f"cannot open {self.name} for writing"
                if error.errno == errno.ENXIO:
                    raise RoverError(f"{what}: nobody reads it") from None
                raise file_error(what, error) from None
            raise

    def write(self, data: bytes | bytearray) -> None:
        """Raises OSError; what was written of it before stays, see `truncate`."""
        view = memoryview(data)
        while view:
            if self._waits:
                self._wait()
            try:
                view = view[os.write(self._descriptor, view[:PIECE] if self._waits else view) :]
            except BlockingIOError:
                self._wait()

    def truncate(self, size: int) -> None:
        """Takes back what is beyond, in a file that was made here."""
        if self._made:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Raises OSError: where writing is put off (NFS), this is when a full disk shows."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _kind(self) -> int | None:
        """What is there, None for nothing. Raises UsageError for what must not be touched."""
        try:
            status = os.lstat(self._path)
        except (OSError, ValueError):
            return None  # to open it says why
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFBLK:
            raise UsageError(f"{self._path} is a block device: what it holds would be overwritten")
        if self._replace:
            return kind
        if kind == stat.S_IFREG:
            raise self._exists()
        if kind == stat.S_IFLNK:
            raise UsageError(f"{self._path} is a symbolic link, and is not followed; --force replaces it")
        if kind == stat.S_IFIFO and status.st_uid != os.geteuid():
            raise UsageError(f"{self._path} is a FIFO of user {status.st_uid}; --force writes to it")
        return kind

    def _exists(self) -> UsageError:
        return UsageError(f"{self._path} exists; --force replaces it")

    def _beside(self) -> str:
        """A name nobody has or can guess, in the same directory."""
        directory, name = os.path.split(self._path)
        return os.path.join(directory, f".{name[:100]}.{secrets.token_hex(8)}")

    def _begin(self, beginning: bytes) -> None:
        is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._waits = not is_file and os.get_blocking(self._descriptor)
        self._refuse_terminal(self._descriptor)
        try:
            self.write(beginning)
        except OSError as error:
            raise RoverError(f"cannot write to {self.name}: {error.strerror}") from None

    def _refuse_terminal(self, descriptor: int) -> None:
        if os.isatty(descriptor):
            raise UsageError(
                f"{self.name} is a terminal, and what is written is not for one: name a file, or use a pipe"
            )

    def _wait(self) -> None:
        """Until something can be written; to a pipe whose reader has gone it can, and fails."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while not poll.poll(BLOCKED * 1000):
            if self.ending() and not poll.poll(LAST_WAIT * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")


def _again(descriptor: int) -> int:
    """The same file, pipe or device. A pipe is opened again where that works: so writes to it need not wait,
    and who shares the old descriptor notices nothing."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(descriptor)
