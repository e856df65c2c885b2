"""What a user is told when it does not work. One line: the thing, and the mend."""

from __future__ import annotations


class RoverError(Exception):
    """It failed. Exit code 1."""


class UsageError(RoverError):
    """It was asked wrongly: an option, a setting, a name. Exit code 2."""


class SinkError(RoverError):
    """A sink cannot pass on what it took: for now, or (`closed`) ever again."""

    def __init__(self, message: str, *, closed: bool = False) -> None:
        super().__init__(message)
        self.closed = closed
