"""Writes a recording: entries gathered into blocks, blocks appended to its target."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from rover.recording import format as form
from rover.recording import framing
from rover.recording.target import Target
from rover.values.records import Closed, Detail, Loss, Opened, Plaintext, Process

Value = TypeVar("Value")


class Writer:
    """Takes records as a source delivers them; implements `rover.values.records.RecordHandler`.

    Never raises while it takes them, as a handler is called from the depths of a source: what
    goes wrong is kept in `failure`, and nothing is written from then on. What was written
    before is a readable recording.
    """

    def __init__(self, path: str, *, replace: bool = False) -> None:
        """`path`: a file, or `-` for standard output; `begin` opens it. `replace`: a file that exists."""
        self.target = Target(path, replace=replace)
        self.name = self.target.name
        self.failure = ""
        """Why it stopped writing; empty while all is well."""
        self.records = 0
        """Records taken, without those lost by a failure."""
        self.size = 0
        """Bytes written in whole blocks."""
        self._entries = bytearray()
        self._waiting = 0
        self._open = False

    def begin(self, epoch: int, clock: int) -> None:
        """Opens the file. Raises RoverError, or UsageError where one is that is not to be replaced."""
        header = framing.pack_header(framing.Header(epoch, clock))
        self.target.open(header)
        self.size = len(header)
        self._open = True

    # -- records -----------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """Takes a process."""
        self._add(form.pack_process, process)

    def opened(self, opened: Opened) -> None:
        """Takes an opening."""
        self._add(form.pack_opened, opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        """Takes a call; its payload must not be longer than `format.MAX_PAYLOAD`."""
        self._add_with(form.pack_call, detail, payload)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        """Takes a call of a TLS library, and its payload as of `data`."""
        self._add_with(form.pack_plaintext, plaintext, payload)

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
        if len(self._entries) >= framing.BLOCK_SIZE:
            self.flush()

    def _add_with(self, pack: Callable[[Value, bytes], bytes], value: Value, payload: bytes) -> None:
        try:
            entries = self._entries
            entries += pack(value, payload)
            entries += payload
        except (struct.error, ValueError) as error:
            self._refuse(value, error)
            return
        self._waiting += 1
        if len(entries) >= framing.BLOCK_SIZE:
            self.flush()

    def _refuse(self, value: object, error: Exception) -> None:
        self.flush()
        self._fail(f"a recording cannot hold {value!r:.200}: {error}")

    # -- blocks ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Ends the block."""
        entries = self._entries
        if entries:
            self._write(framing.pack_block_header(entries), entries)
            entries.clear()
            if not self.failure:
                self.records += self._waiting
            self._waiting = 0

    def end(self, time: int) -> None:
        """Marks the orderly end and lets go of the file. Without `begin` there is nothing to do."""
        if not self._open:
            return
        self._add(form.pack_end, form.End(time), 0)
        self.flush()
        try:
            self.target.close()
        except OSError as error:
            self._fail(f"cannot write to {self.name}: {error.strerror}")
        self._open = False

    def _write(self, *parts: bytes | bytearray) -> None:
        if self.failure or not self._open:
            return
        data = b"".join(parts)
        try:
            self.target.write(data)
        except BrokenPipeError:
            self._fail(f"{self.name} was closed by its reader")
        except OSError as error:
            # A torn block would read as damage.
            self.target.truncate(self.size)
            self._fail(
                f"cannot write to {self.name}: {error.strerror}; "
                f"the recording is good up to there, {self.size} bytes"
            )
        else:
            self.size += len(data)

    def _fail(self, message: str) -> None:
        self.failure = self.failure or message
