"""Where a message may begin: the search for it after a gap, or where bytes cannot be read.

What is passed over on the way is counted, with all that is known of when it moved: whoever pairs requests
with responses is to know how many messages it may have held.
"""

from __future__ import annotations

from rover.streams.buffer import StreamBuffer
from rover_plugin_http1.events import (
    FAILED,
    JUMPED,
    LOST,
    NEED_MORE,
    REQUESTS,
    RESPONSES,
    SEARCH,
    START,
    Event,
    Kind,
)
from rover_plugin_http1.startline import start_ahead

MAX_SCAN = 1 << 20
"""Bytes passed over in search of a start where nothing was missing: as many as a buffer may hold.
What has shown no message by then speaks another protocol."""


class Search:
    """One direction of a connection. It leaves at most `max_head` bytes unread for want of more."""

    __slots__ = (
        "_examined",
        "_line_seen",
        "_max_head",
        "_missing",
        "_ragged",
        "_scanned",
        "_searched",
        "_surplus",
        "boundary",
        "buffer",
        "fresh",
        "kind",
        "lost",
        "moved",
        "reached",
        "records",
        "skipped",
        "state",
    )

    def _attach(self, buffer: StreamBuffer, kind: Kind | None, max_head: int) -> None:
        """Begins with the buffer: of a reader's parts only the last has `__init__`, since each call of one
        takes longer than what it sets."""
        self.buffer = buffer
        self.kind = kind
        """None until a message of either direction shows it."""
        self.state = START
        self.fresh = True
        """Whether no message was found yet: bytes that cannot be read are then none either."""
        self.skipped = 0
        """Bytes passed over outside of messages that may have held some, since `note`."""
        self.moved = 0
        """Calls of this number or higher were made after the missing ones of these had moved, and
        those that could not be read; 0 when neither were among them."""
        self.reached = 0
        """The number of the call that moved the last captured one of them; 0 when none was captured."""
        self.lost = 0
        """How many of these are missing."""
        self.records = 0
        """Calls that may have moved the missing ones (`StreamBuffer.gap_records`)."""
        self.boundary = False
        """Whether the first of them began a message."""
        self._examined = 0  # unread bytes in which an end of line or head was searched in vain
        self._line_seen = False  # whether the incomplete head begins with a start line
        self._missing = False  # whether a gap led to the search
        self._ragged = False  # whether the search stands where a line may have begun unseen
        self._searched = False  # whether the one search without a gap was made since the last message
        self._scanned = 0  # bytes it has passed over
        self._surplus = False  # whether what comes may be content that must not be there
        self._max_head = max_head
        if buffer.hidden:
            self.skipped = self.lost = buffer.hidden
            self.moved, self.records = buffer.hidden_moved, buffer.hidden_records
            self.boundary = not buffer.late
            self._begin_search(missing=True)
            self._ragged = True

    @property
    def unread(self) -> int:
        """Bytes known of, captured or missing, that were not passed over yet."""
        return self.buffer.unread

    def note(self) -> None:
        """What was passed over has been taken account of."""
        self.skipped = self.moved = self.reached = self.lost = self.records = 0
        self.boundary = False

    def _wait_or_search(self) -> Event | None:
        """A head waits for more, unless a gap hides the rest of it: then search goes on after it."""
        buffer = self.buffer
        if not buffer.gap:
            return NEED_MORE
        # What is missing after an answer to HEAD may be content that must not be there, and no message.
        self.boundary |= not self.skipped and not self._surplus
        self._begin_search(missing=True)
        self._pass_over(len(buffer) + buffer.gap)
        self._ragged = True
        return None

    def _misled(self, *, ragged: bool = False) -> None:
        """Here a message had to begin, or go on, and does not: one search, then no more.

        `ragged`: this is in the middle of a line.
        """
        self._begin_search(missing=False)
        self._ragged = ragged
        if self._surplus:
            return
        if self._searched:
            self.state = LOST
        self._searched = True

    def _begin_search(self, *, missing: bool) -> None:
        self.state = SEARCH
        self._missing = missing
        self._surplus = self._surplus and not missing
        self._scanned = 0
        self._examined = 0
        self._line_seen = False

    def _search(self) -> Event:
        """To the next plausible start; only whole lines are judged."""
        buffer, kind = self.buffer, self.kind
        while True:
            data, offset = buffer.data, buffer.offset
            size = len(data) - offset
            lines = data.rfind(b"\n", offset + self._examined) + 1
            if lines:
                found = start_ahead(
                    data,
                    offset,
                    lines,
                    requests=kind is not RESPONSES,
                    responses=kind is not REQUESTS,
                    ragged=self._ragged,
                )
                self._pass_over((found if found >= 0 else lines) - offset)
                self._ragged = False
                if found >= 0:
                    self.state = START
                    return JUMPED
            elif buffer.gap:
                self._missing = self._ragged = True
                self._surplus = False
                self._pass_over(size + buffer.gap)
            else:
                if size > self._max_head:
                    self._pass_over(size - self._max_head)
                    self._ragged = True
                self._examined = len(buffer)
                if self._scanned + self._examined > MAX_SCAN and not (self._missing or self._surplus):
                    self.state = LOST
                    return FAILED
                return NEED_MORE

    def _pass_over(self, size: int) -> None:
        """Bytes that belong to nobody."""
        buffer, left = self.buffer, size
        if size > len(buffer):
            self.moved = max(self.moved, buffer.gap_moved)
            self.lost += buffer.gap
            self.records += buffer.gap_records
        elif size and (self._missing or not self.fresh):
            buffer.skip(size - 1)  # its last byte's call: how many moved those before is a matter of cuts
            self.reached = buffer.sequence
            if not self._missing:
                self.moved = max(self.moved, self.reached)
            left = 1
        buffer.skip(left)
        self._scanned += size
        self._examined = 0
        # What precedes the first message of all, with nothing missing, is no message: a PROXY
        # protocol header, a banner. Nor is content that must not be there.
        if self._missing or not (self.fresh or self._surplus):
            self.skipped += size
