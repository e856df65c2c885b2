"""A worker process as both sides have it after the fork: two pipes, and memory that outlives it.

The parent says when to begin, when to reopen files, when to end; the worker says that it is ready and what it
came to, in lines of JSON. How far it has come is in memory that both have: the worker can be killed at any
moment, and need not wait for a reader.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
import time
from typing import Any

from rover.errors import RoverError
from rover.run.report import Report

BEGIN, REOPEN, END = b"b", b"r", b"e"
DEADLINE = struct.Struct("=d")
"""Follows END: time.monotonic, which all processes of a host share."""
SLOT = 1 << 16
"""Bytes of a report: one is some hundred, and some hundred more for each plugin that fails."""


class Figures:
    """The newest report of a worker, whole also when it died while it wrote one: there are two places,
    and the first byte, written last, says which holds."""

    def __init__(self) -> None:
        """Before the fork."""
        self._memory = mmap.mmap(-1, 1 + 2 * SLOT)
        self._which = 0

    def write(self, report: Report) -> None:
        """Writes a report; in the worker. A report that is too long is left out."""
        text = report.to_json().encode()
        if len(text) > SLOT - 4:
            return
        self._which ^= 1
        start = 1 + self._which * SLOT
        self._memory[start : start + 4 + len(text)] = len(text).to_bytes(4, "little") + text
        self._memory[0] = self._which

    def read(self) -> Report:
        """Reads the newest report; in the parent. It is empty when none was written yet."""
        start = 1 + (self._memory[0] & 1) * SLOT
        length = int.from_bytes(self._memory[start : start + 4], "little")
        return Report.from_json(self._memory[start + 4 : start + 4 + length]) if length else Report()

    def close(self) -> None:
        """Lets go of the memory."""
        self._memory.close()


class Child:
    """A worker process and the pipes to it."""

    def __init__(self, number: int) -> None:
        """Before the fork."""
        self.number = number
        self.pid = 0
        """0 until it is forked, and when it has ended."""
        self.begun = time.monotonic()
        self.ready = False
        self.report: Report | None = None
        """What it said it came to."""
        self.failure = ""
        """What went wrong in it."""
        self.refusal: RoverError | None = None
        """Why it cannot begin, when it says so."""
        self.broken = False
        """Whether that was an internal error, which the next worker may not meet."""
        self.figures = Figures()
        self.commands, self._command_end = os.pipe()
        self.said, self._say_end = os.pipe()
        self._open = {self.commands, self._command_end, self.said, self._say_end}
        self._received = b""

    # -- in the parent -------------------------------------------------------------------------

    def tell(self, command: bytes) -> None:
        """Sends BEGIN, REOPEN or END. It never waits: a worker that does not listen is not told."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self._command_end, command)

    def hear(self) -> list[list[Any]] | None:
        """What the worker has said, waiting for a part of it; None when it has ended."""
        data = os.read(self.said, 1 << 16)
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def keep_parents_ends(self) -> None:
        """Closes the child's ends: when it ends, the pipes do."""
        self._shut(self.commands, self._say_end)
        os.set_blocking(self._command_end, False)

    def wait(self, seconds: float = 0) -> None:
        """Waits until it has ended, and kills it if it has not after so many seconds. A worker that said
        nothing of its end has died."""
        if not self.pid:
            return
        deadline = time.monotonic() + seconds
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
            ended, status = os.waitpid(self.pid, os.WNOHANG)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)  # also one that is stopped
            _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        if self.report is None and not self.failure:
            code = os.waitstatus_to_exitcode(status)
            how = f"died (signal {-code})" if code < 0 else f"died (exit code {code})"
            how = how if ended else "did not end in time"
            self.failure = f"worker {self.number + 1} {how}: the exchanges it had in hand are lost"

    # -- in the child --------------------------------------------------------------------------

    def hear_command(self) -> bytes:
        """Waits for the next command; empty when the parent is gone."""
        return os.read(self.commands, 1)

    def hear_deadline(self) -> float:
        """What follows END."""
        deadline: float = DEADLINE.unpack(os.read(self.commands, DEADLINE.size))[0]
        return deadline

    def say(self, *message: object) -> None:
        """One line to the parent."""
        with contextlib.suppress(BrokenPipeError), open(self._say_end, "wb", closefd=False) as pipe:
            pipe.write(json.dumps(message).encode() + b"\n")

    def keep_childs_ends(self) -> None:
        """Closes the parent's ends: when it ends, the pipes do."""
        self._shut(self._command_end, self.said)

    # -- in either -----------------------------------------------------------------------------

    def close(self) -> None:
        """Closes what is open of the pipes."""
        self._shut(*self._open)
        self.figures.close()

    def _shut(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            self._open.remove(descriptor)
            os.close(descriptor)
