"""The first bytes of a file or of standard input, by which sources know their own."""

from __future__ import annotations

import io
import math
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rover.errors import RoverError, UsageError, file_error

SIZE = 512
"""Bytes of a file that the sources may look at."""
STDIN = 0
PATIENCE = 0.1
"""Seconds a pipe is waited for at a time: how late an end that was asked for is noticed."""


def opening_of(file: str, recognised: Callable[[bytes], bool], attend: Callable[[], float]) -> bytes | None:
    """The first bytes, as many as are `recognised`, at most SIZE; fewer only of a file that ends before.

    What is read of standard input (`-`) is there to be read again. A pipe may be slow: `attend` is called
    while it is waited for; when that sets a time (other than infinity), the answer is None. Raises
    RoverError.
    """
    if file == "-":
        return _of_standard_input(recognised, attend)
    try:
        if Path(file).is_fifo():
            # It can be read once only, and the source opens it by its name again.
            raise UsageError(f"{file} is a pipe: give it as standard input, rover replay - < {file}")
        with open(file, "rb") as opened:
            opening = opened.read(SIZE)
    except OSError as error:
        raise file_error(f"cannot read {file}", error) from None
    recognised(opening)
    return opening


def _of_standard_input(recognised: Callable[[bytes], bool], attend: Callable[[], float]) -> bytes | None:
    if sys.stdin is None:
        raise RoverError("cannot read standard input: it is not open")
    opening = b""
    try:
        while not (opening and recognised(opening)) and len(opening) < SIZE:
            while not select.select([STDIN], [], [], PATIENCE)[0]:
                if attend() < math.inf:
                    return None
            more = os.read(STDIN, SIZE - len(opening))
            if not more:
                break
            opening += more
    except OSError as error:
        raise file_error("cannot read standard input", error) from None
    sys.stdin = io.TextIOWrapper(io.BufferedReader(ReadAgain(opening)))
    return opening


class ReadAgain(io.RawIOBase):
    """Standard input with what was read of it in front again."""

    def __init__(self, opening: bytes) -> None:
        self._opening = opening

    def readable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Also for whoever waits for it: what is in front is there at once."""
        return STDIN

    def readinto(self, buffer: Any) -> int:
        """What is in front, then what comes."""
        size = len(buffer)
        data = self._opening[:size] or os.read(STDIN, size)
        self._opening = self._opening[size:]
        buffer[: len(data)] = data
        return len(data)
