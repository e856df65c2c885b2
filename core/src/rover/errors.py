"""What a user is told when something does not work. One line: the thing, and what to do about it."""

from __future__ import annotations

import errno

WRONG_NAME = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of open(2) that mean that the name is wrong, and not the file or the disk."""


class RoverError(Exception):
    """Something failed. Exit code 1."""


class UsageError(RoverError):
    """The user asked wrongly: an option, a setting, a name, a file that does not exist. Exit code 2."""


class NotInstalledError(UsageError):
    """Nothing installed has this name."""

    def __init__(self, message: str, named: str) -> None:
        """`named`: what kind of thing and its name, such as "sink jsonl"."""
        super().__init__(message)
        self.named = named


class SinkError(RoverError):
    """A sink cannot pass on what it took: for now, or (`closed`) ever again."""

    def __init__(self, message: str, *, closed: bool = False) -> None:
        super().__init__(message)
        self.closed = closed


class ReaderLeftError(SinkError):
    """The reader of what the sink writes has left, and the sink is closed. A run whose other sinks are
    closed like this, too, ends as quietly as other programs in a pipe do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, closed=True)


def file_error(what: str, error: OSError) -> RoverError:
    """Why a file that the user named cannot be used: `what`, such as "cannot read x", and the system's words.
    A UsageError where there is no such file."""
    kind = UsageError if error.errno in WRONG_NAME else RoverError
    return kind(f"{what}: {error.strerror or error}")
