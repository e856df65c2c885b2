"""The content of a message: passed over by length, captured or missing, and never buffered."""

from __future__ import annotations

import re

from rover.http import Headers
from rover_plugin_http1.events import (
    CHUNK,
    CHUNK_END,
    CHUNK_LINE,
    CUT,
    END,
    LENGTH,
    NEED_MORE,
    RESPONSES,
    START,
    TRAILERS,
    Event,
)
from rover_plugin_http1.framing import CHUNKED, MAX_DIGITS, MAX_LENGTH
from rover_plugin_http1.judge import judged_trailers
from rover_plugin_http1.search import Search
from rover_plugin_http1.startline import (
    MAX_METHOD,
    STATUS_PREFIX,
    may_open_request,
    may_open_response,
    split_request_line,
)

MAX_LINE = 4096
"""Bytes of a line that is compared with a request line where content may have been left out."""
BLANK_LINE = re.compile(rb"\n\r{0,2}\n")
"""The end of a head: also a blank line that a stray CR precedes."""
CR, LF = 13, 10
_OPENS = len(b"HTTP/")
_OPENING = 4 + _OPENS  # with two blank lines in front
# RFC 9112 section 7.1; white space before the extension and at the end is common enough.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,%d})[ \t]*+(?:;[^\n]*+)?\r?\n" % MAX_DIGITS)
NO_TRAILERS = Headers()


class ContentReader(Search):
    """Goes on to where the content ends."""

    __slots__ = ("_left", "content", "known", "optional", "owner", "trailers")

    def _reset(self) -> None:
        self.owner: int | None = None
        """The exchange its bytes belong to."""
        self.content = 0
        """Bytes of its content so far, without framing."""
        self.known = True
        """False when a gap has hidden how many there were."""
        self.trailers = NO_TRAILERS
        self.optional = False
        """Whether the content may have been left out, whatever the head says: then the next
        message follows at once."""
        self._left = 0  # bytes still to come of content, of a chunk, or of a chunk's end

    @property
    def unneeded(self) -> int:
        """Bytes after all that came that will be passed over, captured or not."""
        if self.optional or (self.state is not LENGTH and self.state is not CHUNK):
            return 0
        return max(0, self._left - self.unread)

    def leave_out(self) -> None:
        """The optional content will not come."""
        self._end()

    def _read_length(self) -> Event | None:
        passed = self.buffer.pass_over(self._left, self.owner)
        self.content += passed
        self._left -= passed
        if not self._left:
            return self._end()
        return self._starve()

    def _read_to_close(self) -> Event | None:
        buffer = self.buffer
        self.content += buffer.skip(buffer.unread, self.owner)
        return self._end() if buffer.ended else NEED_MORE

    def _read_chunks(self) -> Event | None:
        """Chunks that lie whole in what is there are passed over together."""
        buffer = self.buffer
        data = buffer.data
        offset = here = buffer.offset
        size = len(data)
        examined = self._examined
        while True:
            newline = data.find(b"\n", here + examined)
            if newline < 0:
                buffer.consume(here - offset, self.owner)
                if size - here > self._max_head:
                    return self._cut_misled()
                if buffer.gap:
                    self.known = False
                    return self._cut_by_gap()
                self._examined = size - here
                return self._starve()
            self._examined = examined = 0
            line = _CHUNK.fullmatch(data, here, newline + 1)
            length = int(line[1], 16) if line else -1
            if not 0 <= length <= MAX_LENGTH:
                buffer.consume(here - offset, self.owner)
                return self._cut_misled()
            content = newline + 1
            end = content + length
            if not length:
                buffer.consume(content - offset, self.owner)
                self.state = TRAILERS
                return None
            if end + 2 > size or data[end] != CR or data[end + 1] != LF:
                buffer.consume(content - offset, self.owner)
                self._left = length
                self.state = CHUNK
                return None
            self.content += length
            here = end + 2

    def _read_chunk(self) -> Event | None:
        passed = self.buffer.pass_over(self._left, self.owner)
        self.content += passed
        self._left -= passed
        if self._left:
            return self._starve()
        self._left = 2
        self.state = CHUNK_END
        return None

    def _read_chunk_end(self) -> Event | None:
        """The line end after a chunk: by length where it is missing, so that a gap may span it."""
        buffer = self.buffer
        while self._left:
            if buffer.offset < len(buffer.data):
                byte = buffer.data[buffer.offset]
                if byte == LF:
                    self._left = 1
                elif byte != CR or self._left == 1:
                    return self._cut_misled(ragged=True)
            elif not buffer.gap:
                return self._starve()
            buffer.skip(1, self.owner)
            self._left -= 1
        self.state = CHUNK_LINE
        return None

    def _read_trailers(self) -> Event | None:
        buffer = self.buffer
        data, offset = buffer.data, buffer.offset
        size = len(data) - offset
        if size and data[offset] == LF:
            buffer.consume(1, self.owner)
            return self._end()
        if size > 1 and data[offset] == CR and data[offset + 1] == LF:
            buffer.consume(2, self.owner)
            return self._end()
        if not size and buffer.gap == 2:
            # Nothing fits in there but the line end it must be.
            buffer.skip(2, self.owner)
            return self._end()
        limit = offset + self._max_head
        blank_line = BLANK_LINE.search(data, offset + max(0, self._examined - 3), limit)
        if blank_line is None:
            if size > self._max_head:
                return self._cut_misled()
            if buffer.gap:
                return self._cut_by_gap()
            self._examined = size
            # The last chunk has said that the content is complete.
            return self._end() if buffer.ended and not size else self._starve()
        end = blank_line.end()
        self.trailers = judged_trailers(bytes(data[offset:end]))
        buffer.consume(end - offset, self.owner)
        return self._end()

    def _read_surplus(self) -> Event | None:
        """Tells content that must not be there from the next head: servers send some after answering
        HEAD, or with 204, 304 and interim responses. It belongs to nobody."""
        buffer = self.buffer
        data, offset = buffer.data, buffer.offset
        if data.startswith(STATUS_PREFIX, offset):
            self.state = START
            return None
        size = len(data) - offset
        opening = bytes(data[offset : offset + _OPENING]).lstrip(b"\r\n")
        if may_open_response(opening) and (len(opening) >= _OPENS or size < _OPENING):
            if len(opening) < _OPENS and not buffer.gap:
                return NEED_MORE
            self.state = START
            return None
        self.owner = None
        if self._left > 0:
            self.state = LENGTH
        elif self._left == CHUNKED:
            self.state = CHUNK_LINE
        else:
            self._begin_search(missing=False)
        return None

    def _is_left_out(self) -> Event | None:
        """Whether the next message stands where the content should: END, NEED_MORE to tell, or None."""
        buffer = self.buffer
        data, offset = buffer.data, buffer.offset
        size = len(data) - offset
        if not size and not buffer.gap:
            return self._end() if buffer.ended else NEED_MORE
        opens = may = False
        if self.kind is RESPONSES:
            opening = data[offset : offset + len(STATUS_PREFIX)]
            opens = opening == STATUS_PREFIX
            may = STATUS_PREFIX.startswith(opening)
        elif size:
            newline = data.find(b"\n", offset + self._examined, offset + MAX_LINE)
            if newline >= 0:
                opens = split_request_line(data[offset:newline]) is not None
            elif size < MAX_LINE:
                may = may_open_request(data[offset : offset + MAX_METHOD + 1])
        if opens:
            return self._end()
        if may and size and not buffer.gap and not buffer.ended:
            self._examined = size
            return NEED_MORE
        self._examined = 0
        self.optional = False
        return None

    def _end(self) -> Event | None:
        self.state = START
        self.optional = False
        self._searched = False
        self._examined = 0
        return None if self._surplus else END

    def _starve(self) -> Event | None:
        """A message waits for more; at the end of the stream there will be none."""
        return self._cut_by_gap() if self.buffer.ended else NEED_MORE

    def _cut_by_gap(self) -> Event | None:
        surplus = self._surplus
        self._begin_search(missing=True)
        return None if surplus else CUT

    def _cut_misled(self, *, ragged: bool = False) -> Event | None:
        surplus = self._surplus
        self._misled(ragged=ragged)
        return None if surplus else CUT
