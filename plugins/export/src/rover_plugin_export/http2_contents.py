"""The content of HTTP/2 streams: DATA frames, by stream (RFC 9113 section 6.1). HPACK is not needed for
it."""

from __future__ import annotations

from rover_plugin_export.content import NO_CONTENT, Content
from rover_plugin_export.kept_bytes import Allowance

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113 section 3.4)."""
MAX_STREAMS = 1000
"""Streams of which content is kept at once: a server allows some hundred."""
_HEADER = 9
_DATA = 0
_PADDED = 0x8


class Frames:
    """The frames of one direction, from the first one on. After bytes that are missing between two frames
    nothing more is found: nobody knows where the next one begins."""

    def __init__(self, position: int, limit: int, allowance: Allowance) -> None:
        """`limit`: bytes kept of each stream's content."""
        self._allowance = allowance
        self.lost = False
        """Whether frames cannot be told apart any more."""
        self._limit = limit
        self._position = position
        self._header = b""
        self._left = 0  # of the payload of a frame
        self._padding = 0  # of that, at its end
        self._padded = False  # whether its next byte tells the padding
        self._stream = 0  # whose content it is; 0 for none
        self._kept: dict[int, bytearray] = {}
        self._sizes: dict[int, int] = {}

    def feed(self, position: int, data: bytes, size: int) -> None:
        """`size` bytes that moved at a position, of which `data` was captured."""
        if self.lost:
            return
        if position != self._position:
            self._miss(position - self._position)
        self._position = position + size
        at = 0
        while at < len(data) and not self.lost:
            at = self._frame(data, at)
        self._miss(size - len(data))

    def take(self, stream: int) -> Content:
        """What was found of a stream, once."""
        size = self._sizes.pop(stream, None)
        data = self._kept.pop(stream, b"")
        self._allowance.left += len(data)
        return NO_CONTENT if size is None else Content(bytes(data), size)

    def clear(self) -> None:
        """Forgets everything; frames cannot be told apart any more."""
        self.lost = True
        for stream in list(self._sizes):
            self.take(stream)

    def _frame(self, data: bytes, at: int) -> int:
        """Takes a part of a frame that is there as a whole; returns where the next part begins."""
        if not self._left:
            taken = data[at : at + _HEADER - len(self._header)]
            self._header += taken
            if len(self._header) == _HEADER:
                self._begin(self._header)
                self._header = b""
            return at + len(taken)
        if self._padded:
            self._padded = False
            self._padding = min(data[at], self._left - 1)
            self._left -= 1
            return at + 1
        taken = data[at : at + self._left]
        content = min(len(taken), max(self._left - self._padding, 0))
        self._left -= len(taken)
        if content and self._stream:
            kept = self._kept[self._stream]
            room = min(content, self._limit - len(kept), self._allowance.left)
            if room > 0:
                kept += taken[:room]
                self._allowance.left -= room
            self._sizes[self._stream] += content
        return at + len(taken)

    def _begin(self, header: bytes) -> None:
        self._left = int.from_bytes(header[:3], "big")
        self._padding = self._stream = 0
        self._padded = False
        if header[3] == _DATA:
            stream = int.from_bytes(header[5:], "big") & 0x7FFF_FFFF
            if stream in self._kept or len(self._kept) < MAX_STREAMS:
                self._kept.setdefault(stream, bytearray())
                self._sizes.setdefault(stream, 0)
                self._stream = stream
            self._padded = bool(header[4] & _PADDED) and self._left > 0

    def _miss(self, size: int) -> None:
        """Bytes that were not captured."""
        if not size:
            return
        if size < 0 or self._header or self._padded or size > self._left:
            self.clear()
            return
        if self._stream:
            self.take(self._stream)
            self._stream = 0
        self._left -= size
