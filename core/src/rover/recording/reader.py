"""Reads a recording: a source without a host. One block is in memory at a time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import BinaryIO

from rover.errors import RoverError
from rover.recording import format as form
from rover.recording.format import Call, Clock, DamageError, End
from rover.records import Closed, Loss, Opened, Process, RecordHandler


class Recording:
    """Delivers what was recorded, in its order, and everything in front of damage."""

    def __init__(self, path: str) -> None:
        """`path`: a file, or `-` for standard input."""
        self.epoch = 0
        """Known when it has started."""
        self._path = path
        self._name = "standard input" if path == "-" else path
        self._file: BinaryIO | None = None
        self._offset = 0  # of what is read next from the file
        self._entries = b""
        self._at = 0  # of the next entry in them
        self._clock = 0
        self._gone: frozenset[int] = frozenset()
        self._latest = 0
        self._causes: set[str] = set()

    def start(self) -> None:
        """Reads the header."""
        try:
            self._file = sys.stdin.buffer if self._path == "-" else open(self._path, "rb")  # noqa: SIM115
        except OSError as error:
            raise RoverError(f"cannot read {self._name}: {error.strerror}") from None
        try:
            self.epoch, self._clock = form.unpack_header(self._read(form.HEADER_SIZE))
        except DamageError as damage:
            raise self._error(0, damage) from None
        self._latest = self._clock

    def poll(self, handler: RecordHandler, timeout: float) -> bool:  # noqa: ARG002
        """Delivers up to the end of a block, or to where a tick must follow.

        Raises RoverError where the file is damaged or cut off; all before it was delivered.
        """
        try:
            if self._at >= len(self._entries):
                self._next_block()
            return self._deliver(handler)
        except RoverError:
            self._give_up()
            raise

    def _deliver(self, handler: RecordHandler) -> bool:
        entries, at = self._entries, self._at
        while at < len(entries):
            try:
                record, after = form.unpack_entry(entries, at)
                if isinstance(record, Loss):
                    self._check_cause(record.cause)
            except DamageError as damage:
                raise self._error(self._offset - len(entries) + at, damage) from None
            self._at = at = after
            if isinstance(record, Call):
                self._latest = record.detail.end
                handler.data(record.detail, record.payload)
            elif isinstance(record, Opened):
                self._latest = record.time
                handler.opened(record)
            elif isinstance(record, Closed):
                self._latest = record.time
                handler.closed(record)
            elif isinstance(record, Process):
                handler.process(record)
            elif isinstance(record, Loss):
                handler.lost(record)
            elif isinstance(record, Clock):
                self._clock, self._gone = record.time, frozenset(record.gone)
                return True
            elif isinstance(record, End):
                self._clock = record.time
                end = self._offset - len(entries) + at
                if at < len(entries) or self._read(1):
                    raise self._error(end, DamageError("more bytes after the end"))
                return False
        return True

    def _check_cause(self, cause: str) -> None:
        self._causes.add(cause)
        if len(self._causes) > form.MAX_CAUSES:
            raise DamageError(f"more than {form.MAX_CAUSES} causes of loss")

    def _next_block(self) -> None:
        offset = self._offset
        try:
            header = self._read(form.BLOCK_HEADER_SIZE)
            if not header:
                raise DamageError("no end: the recorder was killed, or the file is cut off here")
            if len(header) < form.BLOCK_HEADER_SIZE:
                raise DamageError("cut off within a block")
            size, checksum = form.unpack_block_header(header)
            entries = self._read(size)
            if len(entries) < size:
                raise DamageError("cut off within a block")
            form.check_block(entries, checksum)
        except DamageError as damage:
            raise self._error(offset, damage) from None
        self._entries, self._at = entries, 0

    def _read(self, size: int) -> bytes:
        """Fewer bytes only at the end of the file."""
        assert self._file is not None  # noqa: S101
        try:
            data = self._file.read(size)
        except OSError as error:
            raise RoverError(f"cannot read {self._name}: {error.strerror}") from None
        self._offset += len(data)
        return data

    def _error(self, offset: int, damage: DamageError) -> RoverError:
        return RoverError(f"{self._name}, byte {offset}: {damage}")

    def _give_up(self) -> None:
        """What is unfinished is so at the end of what was read, not at the last tick."""
        self._clock = max(self._clock, self._latest)

    def now(self) -> int:
        """The clock of the recorded source at the newest tick: between two it stands still."""
        return self._clock

    def set_upload(self, connection: int, limit: int) -> None:
        """What was uploaded is what was recorded."""

    def is_open(self, connection: int) -> bool:
        """What the recorded source answered in the same tick."""
        return connection not in self._gone

    def counters(self) -> Mapping[str, int]:
        """Nothing beyond the records."""
        return {}

    def stop(self, handler: RecordHandler) -> None:  # noqa: ARG002
        """A file has captured nothing that it would still have to deliver."""
        self._give_up()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None and self._path != "-":
            self._file.close()
