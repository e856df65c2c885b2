"""Writes a recording: entries gathered into blocks, blocks appended to a file."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from rover.errors import RoverError
from rover.recording import format as form
from rover.records import Closed, Detail, Loss, Opened, Process

STDOUT = 1
MODE = 0o600
"""A recording holds what went over the wire, passwords and all: its owner's business."""
BLOCKED = 1.0
"""Seconds to wait at a time for a reader that does not read."""

Value = TypeVar("Value")


class Writer:
    """Takes records as a source delivers them; implements `rover.records.RecordHandler`.

    Never raises while it takes them, as a handler is called from the depths of a source: what
    goes wrong is kept in `failure`, and nothing is written from then on. What was written
    before is a readable recording.
    """

    def __init__(self, path: str) -> None:
        """`path`: a file, or `-` for standard output. It is opened by `begin`."""
        self.name = "standard output" if path == "-" else path
        self.failure = ""
        """Why it stopped writing; empty while all is well."""
        self.records = 0
        """Records taken, without those lost by a failure."""
        self.size = 0
        """Bytes written in whole blocks."""
        self._path = path
        self._entries = bytearray()
        self._waiting = 0
        self._descriptor: int | None = None

    def begin(self, epoch: int, clock: int) -> None:
        """Opens the file, replacing one that is there. Raises RoverError if that fails."""
        if self._path == "-":
            self._descriptor = STDOUT
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            try:
                self._descriptor = os.open(self._path, flags, MODE)
            except OSError as error:
                raise RoverError(f"cannot open {self._path} for writing: {error.strerror}") from None
        self._write(form.pack_header(form.Header(epoch, clock)))
        if self.failure:
            raise RoverError(self.failure)

    # -- records -----------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """Takes a process."""
        self._add(form.pack_process, process)

    def opened(self, opened: Opened) -> None:
        """Takes an opening."""
        self._add(form.pack_opened, opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        """Takes a call; its payload must not be longer than `format.MAX_PAYLOAD`."""
        try:
            entries = self._entries
            entries += form.pack_call(detail, payload)
            entries += payload
        except (struct.error, ValueError) as error:
            self._refuse(detail, error)
            return
        self._waiting += 1
        if len(entries) >= form.BLOCK_SIZE:
            self.flush()

    def closed(self, closed: Closed) -> None:
        """Takes a closing."""
        self._add(form.pack_closed, closed)

    def lost(self, loss: Loss) -> None:
        """Takes a loss."""
        self._add(form.pack_loss, loss)

    def clock(self, time: int, gone: Sequence[int]) -> None:
        """Takes the moment of a tick; see `format.Clock`."""
        self._add(form.pack_clock, form.Clock(time, gone), 0)

    def _add(self, pack: Callable[[Value], bytes], value: Value, counts: int = 1) -> None:
        try:
            self._entries += pack(value)
        except (struct.error, ValueError) as error:
            self._refuse(value, error)
            return
        self._waiting += counts
        if len(self._entries) >= form.BLOCK_SIZE:
            self.flush()

    def _refuse(self, value: object, error: Exception) -> None:
        self.flush()
        self._fail(f"a recording cannot hold {value!r:.200}: {error}")

    # -- blocks ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Ends the block."""
        entries = self._entries
        if entries:
            self._write(form.pack_block_header(entries), entries)
            entries.clear()
            if not self.failure:
                self.records += self._waiting
            self._waiting = 0

    def end(self, time: int) -> None:
        """Marks the orderly end and lets go of the file. Without `begin` there is nothing to do."""
        if self._descriptor is None:
            return
        self._add(form.pack_end, form.End(time), 0)
        self.flush()
        if self._path != "-":
            try:
                os.close(self._descriptor)
            except OSError as error:
                # Where writing is put off (NFS), this is when a full disk shows.
                self._fail(f"cannot write to {self.name}: {error.strerror}")
        self._descriptor = None

    def _write(self, *parts: bytes | bytearray) -> None:
        if self.failure or self._descriptor is None:
            return
        data = memoryview(b"".join(parts))
        done = 0
        try:
            while done < len(data):
                done += self._write_some(self._descriptor, data[done:])
        except BrokenPipeError:
            self._fail(f"{self.name} was closed by its reader")
        except OSError as error:
            self._drop_torn_block()
            good = f"; the recording is good up to there, {self.size} bytes" if self.size else ""
            self._fail(f"cannot write to {self.name}: {error.strerror}{good}")
        else:
            self.size += len(data)

    def _write_some(self, descriptor: int, data: memoryview) -> int:
        while True:
            try:
                return os.write(descriptor, data)
            except BlockingIOError:
                select.select([], [descriptor], [], BLOCKED)

    def _drop_torn_block(self) -> None:
        if self._path == "-" or self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                os.ftruncate(self._descriptor, self.size)

    def _fail(self, message: str) -> None:
        self.failure = self.failure or message
