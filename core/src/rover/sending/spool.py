"""Batches on disk: one file each, named by their order.

A file appears whole, by a rename, and is removed when the server has answered for it. Nothing is
synced to the disk: the spool is for an agent that ends or is killed, and after a power cut a file
that did not make it is found out by its checksum.

The directory is the agent's own, but whatever is in it is looked at before it is used: only a regular file of
this user is a batch. No link is followed, and nothing is opened that could keep who opens it waiting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from rover.errors import RoverError
from rover.sending.batch import HEADER_SIZE, MAX_FILE, Batch, CorruptBatch, counts, pack, unpack

BATCH, PARTIAL, CORRUPT = ".batch", ".partial", ".corrupt"
LOCK = "lock"
MAX_ASIDE = 10
"""Files set aside that are kept for people to look at; the oldest are deleted."""

# Ours never reach twenty digits: whatever is there, the next number fits.
_NUMBER = re.compile(r"0[0-9]{19}")
_WORKER = re.compile(r"worker-([0-9]{1,9})")


class Stored(NamedTuple):
    """A batch in the spool."""

    sequence: int
    size: int
    """Bytes of its file."""
    time: float
    """Unix time at which it was written."""


def spool_of(path: Path, worker: int) -> Path:
    """The directory of one of several workers, from 0. The first has the directory itself, the others one
    inside it each."""
    return path / f"worker-{worker + 1}" if worker else path


def orphans(path: Path, worker: int, workers: int) -> list[Path]:
    """The spools of workers there are no more, as far as they are this one's to adopt."""
    found = []
    with contextlib.suppress(OSError):
        for entry in path.iterdir():
            match = _WORKER.fullmatch(entry.name)
            number = int(match[1]) - 1 if match else 0
            if number >= workers and number % workers == worker and stat.S_ISDIR(entry.lstat().st_mode):
                found.append((number, entry))
    return [entry for _, entry in sorted(found)]


class Spool:
    """A directory that belongs to one agent."""

    def __init__(self, path: Path, sink: str) -> None:
        """`sink`: its name, for what is said. Raises RoverError: what cannot be done, and the fix."""
        self.path = path
        self.sink = sink
        self._logger = logging.getLogger(f"rover.{sink}")
        self.corrupt = 0
        """Files set aside by this agent."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.scandir(path).close()  # whether it can be read
            self._lock = _open(path / LOCK, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise RoverError(
                f"cannot use {path} for the spool: {error.strerror}; set sink.{sink}.spool_path, or "
                f"sink.{sink}.spool=false"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RoverError(
                f"another rover uses the spool {path}; set sink.{sink}.spool_path to another directory, or "
                f"sink.{sink}.spool=false"
            ) from None

    def warn(self, line: str, *arguments: object) -> None:
        """Says a line of the sink's."""
        self._logger.warning(f"%s: {line}", self.sink, *arguments)

    def adopt(self, path: Path) -> int:
        """Moves the batches of another spool after its own; returns how many.

        Each is in one of the two at any time. Raises RoverError when somebody uses the other one.
        """
        other = Spool(path, self.sink)
        own = self.found()
        moved = 0
        try:
            for sequence, stored in enumerate(other.found(), own[-1].sequence + 1 if own else 0):
                os.rename(other._file(stored.sequence), self._file(sequence))
                moved += 1
            # What is set aside stays, for people to look at.
            (path / LOCK).unlink()
            with contextlib.suppress(OSError):
                path.rmdir()
        except OSError as error:
            self.warn("%s is not emptied: %s; the next start tries again", path, error.strerror)
        finally:
            self.corrupt += other.corrupt
            other.close()
        return moved

    def found(self) -> list[Stored]:
        """What an agent before left, in its order. Files that are half-written are set aside."""
        stored = []
        for entry in sorted(self.path.iterdir()):
            if entry.suffix == PARTIAL:
                self._set_aside(entry, "it was half-written")
            elif entry.suffix == BATCH and _NUMBER.fullmatch(entry.stem):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.lstat()
                    if foreign := _foreign(status):
                        self._set_aside(entry, foreign)
                    else:
                        stored.append(Stored(int(entry.stem), status.st_size, status.st_mtime))
        return stored

    def write(self, sequence: int, batch: Batch) -> Stored:
        """Raises OSError, with nothing left behind."""
        data = pack(batch)
        partial = self.path / f"{sequence:020d}{PARTIAL}"
        try:
            # Never into a file that somebody put there, or a link points at.
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
            os.rename(partial, self._file(sequence))
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        return Stored(sequence, len(data), time.time())

    def read(self, stored: Stored) -> Batch | None:
        """The batch; None for a file that cannot be read or is corrupt, which is set aside."""
        path = self._file(stored.sequence)
        try:
            return unpack(_read(path, MAX_FILE))
        except OSError as error:
            self._set_aside(path, error.strerror or str(error))
        except CorruptBatch as error:
            self._set_aside(path, str(error))
        return None

    def counts(self, stored: Stored) -> tuple[int, int]:
        """(exchanges, calls) of a batch; zeros for a file that does not tell."""
        try:
            return counts(_read(self._file(stored.sequence), HEADER_SIZE))
        except (OSError, CorruptBatch):
            return 0, 0

    def remove(self, stored: Stored) -> None:
        """It was sent, or is not worth it any more."""
        with contextlib.suppress(OSError):
            self._file(stored.sequence).unlink()

    def close(self) -> None:
        """Lets another agent have the directory."""
        os.close(self._lock)

    def _file(self, sequence: int) -> Path:
        return self.path / f"{sequence:020d}{BATCH}"

    def _set_aside(self, path: Path, why: str) -> None:
        self.corrupt += 1
        aside = path.with_suffix(CORRUPT)
        try:
            path.rename(aside)
        except OSError as error:
            self.warn("%s is corrupt (%s), and stays: %s", path, why, error.strerror)
            return
        self.warn("%s is corrupt (%s): set aside as %s; the rest goes on", path, why, aside.name)
        for old in sorted(self.path.glob("*" + CORRUPT))[:-MAX_ASIDE]:
            with contextlib.suppress(OSError):
                old.unlink()


def _foreign(status: os.stat_result) -> str:
    """Why this cannot be a file of ours; empty if it can be."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    if status.st_size > MAX_FILE:
        return f"it has {status.st_size} bytes"
    return ""


def _open(path: Path, flags: int) -> int:
    """Raises OSError, also for what is no file of ours."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if foreign := _foreign(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.EPERM, foreign)
    return descriptor


def _read(path: Path, size: int) -> bytes:
    """The beginning of a file, `size` bytes at most. Raises OSError."""
    with open(_open(path, os.O_RDONLY), "rb") as file:
        return file.read(size)
