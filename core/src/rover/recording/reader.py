"""Reads a recording: a source without a host. One block is in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rover.errors import RoverError, UsageError, file_error
from rover.files.byte_stream import ByteStream, UnpackError
from rover.recording import format as form
from rover.recording import framing
from rover.recording.format import Call, Clock, End, TlsCall
from rover.recording.framing import DamageError
from rover.values.records import Closed, Loss, Opened, Process, RecordHandler

PATIENCE = 1.0
"""Seconds a pipe is waited for at a time."""


class Recording:
    """Delivers what was recorded, in its order, and everything in front of damage."""

    def __init__(self, path: str) -> None:
        """`path`: a file, or `-` for standard input."""
        self.epoch = 0
        """Known when it has started."""
        self._path = path
        self._name = "standard input" if path == "-" else path
        self._stream: ByteStream | None = None
        self._chunks: deque[bytes] = deque()  # read from the stream, and not looked at
        self._size = 0  # of them all
        self._file_ended = False
        self._offset = 0  # of what is looked at next in the file
        self._block: tuple[int, int] | None = None  # size and checksum of the block whose entries are next
        self._entries = b""
        self._at = 0  # of the next entry in them
        self._end = 0  # offset of what follows the end, once that was read
        self._clock = 0
        self._gone: frozenset[int] = frozenset()
        self._latest = 0
        self._causes: set[str] = set()

    def start(self) -> None:
        """Reads the header. Raises UsageError for an empty file."""
        try:
            self._stream = ByteStream(self._path)
        except OSError as error:
            raise file_error(f"cannot read {self._name}", error) from None
        try:
            while not self._has(framing.HEADER_SIZE, PATIENCE):
                pass
            if not self._size:
                raise UsageError(f"{self._name} is empty")
            self.epoch, self._clock = framing.unpack_header(self._take(framing.HEADER_SIZE))
        except DamageError as damage:
            raise self._error(0, damage) from None
        self._latest = self._clock

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Delivers up to the end of a block, or to where a tick must follow.

        Raises RoverError where the file is damaged or cut off; all before it was delivered.
        """
        try:
            if self._end:
                return self._look_after_end(timeout)
            if self._at >= len(self._entries) and not self._next_block(timeout):
                return True
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
            elif isinstance(record, TlsCall):
                self._latest = record.plaintext.end
                handler.plaintext(record.plaintext, record.payload)
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
                self._end = self._offset - len(entries) + at
                if at < len(entries):
                    raise self._more()
                return self._look_after_end(0)
        return True

    def _look_after_end(self, timeout: float) -> bool:
        """Whether the file, a pipe say, may hold more than it should: False once it has ended."""
        if not self._has(1, timeout):
            return True
        if self._size:
            raise self._more()
        return False

    def _more(self) -> RoverError:
        return self._error(self._end, DamageError("more bytes after the end"))

    def _check_cause(self, cause: str) -> None:
        self._causes.add(cause)
        if len(self._causes) > form.MAX_CAUSES:
            raise DamageError(f"more than {form.MAX_CAUSES} causes of loss")

    def _next_block(self, timeout: float) -> bool:
        """False when it is not there yet."""
        self._entries, self._at = b"", 0
        offset = self._offset - (framing.BLOCK_HEADER_SIZE if self._block else 0)
        try:
            if self._block is None:
                if not self._has(framing.BLOCK_HEADER_SIZE, timeout):
                    return False
                if not self._size:
                    raise DamageError("no end: the recorder was killed, or the file is cut off here")
                if self._size < framing.BLOCK_HEADER_SIZE:
                    raise DamageError("cut off within a block")
                self._block = framing.unpack_block_header(self._take(framing.BLOCK_HEADER_SIZE))
            size, checksum = self._block
            if not self._has(size, timeout):
                return False
            if self._size < size:
                raise DamageError("cut off within a block")
            entries = self._take(size)
            framing.check_block(entries, checksum)
        except DamageError as damage:
            raise self._error(offset, damage) from None
        self._entries, self._at, self._block = entries, 0, None
        return True

    def _has(self, size: int, timeout: float) -> bool:
        """Whether so many bytes of the file wait here, or all that are left of it. False when they did not
        come in time."""
        assert self._stream is not None  # noqa: S101
        while self._size < size and not self._file_ended:
            try:
                chunk = self._stream.read(timeout)
            except OSError as error:
                raise file_error(f"cannot read {self._name}", error) from None
            except UnpackError as damage:
                raise self._error(damage.offset, DamageError(damage.what)) from None
            if chunk is None:
                return False
            if chunk:
                self._chunks.append(chunk)
                self._size += len(chunk)
            else:
                self._file_ended = True
        return True

    def _take(self, size: int) -> bytes:
        """So many of the bytes that wait, or all there are."""
        size = min(size, self._size)
        self._size -= size
        self._offset += size
        taken = []
        while size:
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            taken.append(chunk)
            size -= len(chunk)
        return b"".join(taken)

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
        if self._stream is not None:
            self._stream.close()
