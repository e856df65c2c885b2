"""One direction of a connection: where its messages begin and end.

A reader does not know what the other direction carries. It stops at each head, so that whoever
pairs requests with responses can say whose bytes these are and how long the content is; content
is then passed over by length, captured or missing, and never buffered.
"""

from __future__ import annotations

import contextlib
import enum
import re

from rover.http import Headers
from rover.streams.buffer import StreamBuffer
from rover_plugin_http1.framing import CHUNKED, MAX_DIGITS, MAX_LENGTH, UNSEEN
from rover_plugin_http1.head import NO_REQUEST, NO_RESPONSE
from rover_plugin_http1.judge import (
    cut_request,
    cut_response,
    doubtful_request,
    judged_request,
    judged_response,
    judged_trailers,
)
from rover_plugin_http1.ordinary import ordinary_request, ordinary_response
from rover_plugin_http1.startline import (
    MAX_METHOD,
    STATUS_PREFIX,
    may_open_request,
    may_open_response,
    split_doubtful_line,
    split_request_line,
    split_status_line,
    start_ahead,
)

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http1._ordinary import (  # type: ignore[no-redef]
        ordinary_request,
        ordinary_response,
    )

MAX_SCAN = 1 << 20
"""Bytes passed over in search of a start where nothing was missing: as many as a buffer may hold.
What has shown no message by then speaks another protocol."""
MAX_LINE = 4096
"""Bytes of a line that is compared with a request line where content may have been left out."""

SHORTEST = len(b"HTTP/1.0 200\n\n")
"""Bytes of the shortest head, of either kind."""
_OPENS = len(b"HTTP/")
_OPENING = 4 + _OPENS  # with two blank lines in front
_CR, _LF = 13, 10
_BLANK_LINE = re.compile(rb"\n\r{0,2}\n")  # also one that a stray CR precedes
_NOT_BLANK = re.compile(rb"[^\r\n]")
# RFC 9112 section 7.1; white space before the extension and at the end is common enough.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,%d})[ \t]*+(?:;[^\n]*+)?\r?\n" % MAX_DIGITS)
_NO_TRAILERS = Headers()


class Kind(enum.Enum):
    """What a direction carries."""

    REQUESTS = "requests"
    RESPONSES = "responses"


REQUESTS, RESPONSES = Kind  # once, not at each look: what an enumeration holds is slow to ask for


class Event(enum.Enum):
    """What a reader came upon."""

    NEED_MORE = "need more"
    HEAD = "head"
    """`Reader.head` is complete and still unread: `Reader.accept` it."""
    END = "end"
    """The message that was accepted last is complete."""
    CUT = "cut"
    """It goes no further, incomplete; `Reader.known` tells whether its content was counted."""
    JUMPED = "jumped"
    """After a search, a message may begin here."""
    FAILED = "failed"
    """No message begins here, nothing is missing, and the one search has been made."""


NEED_MORE, HEAD, END, CUT, JUMPED, FAILED = Event


class State(enum.Enum):
    """Where in its messages a reader is."""

    START = "start"
    HELD = "held"
    """At a head that was not accepted yet."""
    DOUBTED = "doubted"
    """At a line that is no request line: a response that answers nothing else may show that it
    was meant as one."""
    LENGTH = "length"
    CHUNK_LINE = "chunk line"
    CHUNK = "chunk"
    CHUNK_END = "chunk end"
    TRAILERS = "trailers"
    CLOSE = "close"
    SURPLUS = "surplus"
    """After a response that must have no content: there may be some all the same."""
    SEARCH = "search"
    FAILED = "failed"


START, HELD, DOUBTED, LENGTH, CHUNK_LINE, CHUNK, CHUNK_END, TRAILERS, CLOSE, SURPLUS, SEARCH, _ = State


class Reader:
    """The messages of one direction. It leaves at most `max_head` bytes unread for want of more."""

    __slots__ = (
        "_examined",
        "_left",
        "_line_seen",
        "_max_head",
        "_missing",
        "_ragged",
        "_scanned",
        "_searched",
        "_size",
        "_surplus",
        "boundary",
        "buffer",
        "content",
        "fresh",
        "kind",
        "known",
        "lost",
        "moved",
        "optional",
        "owner",
        "records",
        "request",
        "response",
        "skipped",
        "start",
        "state",
        "trailers",
    )

    def __init__(self, buffer: StreamBuffer, kind: Kind | None, max_head: int) -> None:
        self.buffer = buffer
        self.kind = kind
        """None until a message of either direction shows it."""
        self.state = START
        self.request = NO_REQUEST
        """Of the message that is being read, from its HEAD until `forget`."""
        self.response = NO_RESPONSE
        """The same, in the other kind of direction."""
        self.fresh = True
        """Whether no message was found yet: bytes that cannot be read are then none either."""
        self.start = 0
        """ns, when its first byte moved; 0 if unknown."""
        self.owner: int | None = None
        """The exchange its bytes belong to."""
        self.content = 0
        """Bytes of its content so far, without framing."""
        self.known = True
        """False when a gap has hidden how many there were."""
        self.trailers = _NO_TRAILERS
        self.optional = False
        """Whether the content may have been left out, whatever the head says: then the next
        message follows at once."""
        self.skipped = 0
        """Bytes passed over outside of messages that may have held some, since `note`."""
        self.moved = 0
        """Calls of this number or higher were made after the missing ones of these had moved, and
        those that could not be read; 0 when neither were among them."""
        self.lost = 0
        """How many of these are missing."""
        self.records = 0
        """Calls that may have moved the missing ones (`StreamBuffer.gap_records`)."""
        self.boundary = False
        """Whether the first of them began a message."""
        self._size = 0  # bytes of the head
        self._left = 0  # bytes still to come of content, of a chunk, or of a chunk's end
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

    @property
    def unneeded(self) -> int:
        """Bytes after all that came that will be passed over, captured or not."""
        if self.optional or (self.state is not LENGTH and self.state is not CHUNK):
            return 0
        return max(0, self._left - self.unread)

    def read(self) -> Event:
        """Goes on to the next event."""
        while True:
            if self.optional and (left_out := self._is_left_out()) is not None:
                return left_out
            state = self.state
            if state is START:
                event = self._read_head()
            elif state is LENGTH:
                event = self._read_length()
            elif state is CHUNK_LINE:
                event = self._read_chunks()
            elif state is CHUNK:
                event = self._read_chunk()
            elif state is CHUNK_END:
                event = self._read_chunk_end()
            elif state is TRAILERS:
                event = self._read_trailers()
            elif state is CLOSE:
                event = self._read_to_close()
            elif state is SURPLUS:
                event = self._read_surplus()
            elif state is SEARCH:
                event = self._search()
            elif state is HELD:
                event = HEAD
            elif state is DOUBTED:
                event = self._doubt()
            else:
                event = FAILED
            if event is not None:
                return event

    def accept(self, owner: int | None, content: int, *, optional: bool = False) -> Event:
        """Takes the head, on behalf of `owner`. END when the message is complete with it, CUT
        when nothing more of it can be read.

        `content` is a length, CHUNKED, UNTIL_CLOSE or UNSEEN. With `optional` the next bytes tell
        whether there is any.
        """
        size = self._size
        self.owner = owner
        self.content = 0
        self.known = True
        self.trailers = _NO_TRAILERS
        if content == 0:
            self.buffer.consume(size, owner)
            self._end()
            if self.kind is RESPONSES and self.response.content != 0:
                self._left = self.response.content
                self._surplus = True
                self.state = SURPLUS
            return END
        self.optional = optional
        if content > 0 and not optional:
            left = size + content
            left -= self.buffer.skip(left, owner)
            if not left:
                self.content = content
                self._end()
                return END
            self.content = content - left
            self._left = left
            self.state = LENGTH
            return NEED_MORE
        self.buffer.consume(size, owner)
        if content == UNSEEN:
            self.known = self.optional = False
            self._begin_search(missing=True)
            return CUT
        if content > 0:
            self._left = content
            self.state = LENGTH
        else:
            self.state = CHUNK_LINE if content == CHUNKED else CLOSE
        return NEED_MORE

    def refuse(self, owner: int | None) -> None:
        """Takes the head, on behalf of `owner`; where its content ends cannot be told."""
        self.buffer.consume(self._size, owner)
        self.owner = owner
        self.content = 0
        self.known = False
        self.state = State.FAILED

    def leave_out(self) -> None:
        """The optional content will not come."""
        self._end()

    def forget(self) -> None:
        """Lets go of the head, before many other connections have had their turn: its memory is still
        in the processor's caches, and theirs stays there."""
        self.request = NO_REQUEST
        self.response = NO_RESPONSE

    def note(self) -> None:
        """What was passed over has been taken account of."""
        self.skipped = self.moved = self.lost = self.records = 0
        self.boundary = False

    # -- heads -------------------------------------------------------------------------------

    def _read_head(self) -> Event | None:
        buffer = self.buffer
        data, offset = buffer.data, buffer.offset
        size = len(data) - offset
        if not size:
            return self._wait_or_search()
        examined = self._examined
        if not examined and data[offset] in (_CR, _LF):
            # RFC 9112 section 2.2: blank lines before a request do not count. Nor elsewhere.
            found = _NOT_BLANK.search(data, offset)
            buffer.consume((found.start() if found else len(data)) - offset)
            return None
        kind = self.kind
        if kind is None:
            if not STATUS_PREFIX.startswith(data[offset : offset + len(STATUS_PREFIX)]):
                kind = REQUESTS
            elif size >= len(STATUS_PREFIX):
                kind = RESPONSES
            else:
                return self._wait_or_search()
        requests = kind is REQUESTS
        limit = min(len(data), offset + self._max_head)
        end = offset
        if examined:  # it comes in pieces: it is read once, when it is whole
            blank_line = _BLANK_LINE.search(data, offset + max(0, examined - 3), limit)
            if blank_line is None:
                return self._await_head(size, requests=requests)
            limit = end = blank_line.end()
        if limit - offset >= SHORTEST:
            if requests:
                if request := ordinary_request(data, offset, limit):
                    self.request = request
                    self.kind = kind
                    self._found(request.size)
                    return HEAD
            elif response := ordinary_response(data, offset, limit):
                self.response = response
                self.kind = kind
                self._found(response.size)
                return HEAD
        if not examined:
            blank_line = _BLANK_LINE.search(data, offset, limit)
            if blank_line is None:
                return self._await_head(size, requests=requests)
            end = blank_line.end()
        if not self._judge(bytes(data[offset:end]), requests=requests):
            self._begin_doubt(requests=requests)
            return None
        self.kind = kind
        self._found(end - offset)
        return HEAD

    def _found(self, size: int) -> None:
        """A head of `size` bytes is next."""
        self.start = self.buffer.since
        self.state = HELD
        self.fresh = False
        self._size = size
        self._examined = 0
        self._line_seen = False
        self._surplus = False

    def _judge(self, head: bytes, *, requests: bool) -> bool:
        """Reads a head that is not ordinary; False when it is none."""
        if requests:
            request = judged_request(head)
            if request is not None:
                self.request = request
            return request is not None
        response = judged_response(head)
        if response is not None:
            self.response = response
        return response is not None

    def _await_head(self, size: int, *, requests: bool) -> Event | None:
        """No head ends within bounds: is one to be waited for?"""
        buffer = self.buffer
        data, offset = buffer.data, buffer.offset
        if not self._line_seen:
            newline = data.find(b"\n", offset + self._examined, offset + self._max_head)
            if newline >= 0:
                line = data[offset:newline]
                opens = (split_request_line(line) if requests else split_status_line(line)) is not None
                self._line_seen = opens
            else:
                opening = data[offset : offset + MAX_METHOD + 1]
                opens = may_open_request(opening) if requests else may_open_response(opening)
            if not opens:
                self._begin_doubt(requests=requests and newline >= 0)
                return None
        if size > self._max_head:
            self._pass_over(self._max_head)
            self.skipped += 1  # one message at least, even if it is the first
            self._misled(ragged=True)
            return None
        self._examined = size
        if buffer.gap and self._cut_head(bytes(data[offset:]), requests=requests):
            return HEAD
        return self._wait_or_search()

    def _cut_head(self, start: bytes, *, requests: bool) -> bool:
        """Takes the beginning of a head for it, the rest being missing. False if it tells too little."""
        if requests:
            request = cut_request(start)
            if request is None:
                return False
            self.request = request
            self.kind = Kind.REQUESTS
        else:
            response = cut_response(start)
            if response is None:
                return False
            self.response = response
            self.kind = Kind.RESPONSES
        self._found(len(start))
        return True

    # -- doubtful heads ----------------------------------------------------------------------

    def _begin_doubt(self, *, requests: bool) -> None:
        """No message begins here, unless, with `requests`, the answer tells otherwise."""
        data, offset = self.buffer.data, self.buffer.offset
        end = data.find(b"\n", offset, offset + self._max_head) + 1 if requests else 0
        if end and split_doubtful_line(data[offset:end]):
            self.state = DOUBTED
            self._examined = 0
        else:
            self._misled()

    def _doubt(self) -> Event | None:
        if self.unread <= self._max_head:
            return NEED_MORE
        self._misled()
        return None

    def disbelieve(self) -> None:
        """The doubtful line was no request."""
        self._misled()

    def believe(self) -> bool:
        """The doubtful line was a request: its head is next. False when its end is not in sight."""
        data, offset = self.buffer.data, self.buffer.offset
        blank_line = _BLANK_LINE.search(data, offset + max(0, self._examined - 3))
        if blank_line is None and self._examined:
            self._examined = len(data) - offset
            return False
        end = blank_line.end() if blank_line else data.find(b"\n", offset) + 1
        head = doubtful_request(bytes(data[offset:end]))
        if head is None or (head.version and blank_line is None):
            self._examined = len(data) - offset
            return False
        self.request = head
        self._found(end - offset)
        return True

    # -- content -----------------------------------------------------------------------------

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

    def _read_length(self) -> Event | None:
        passed = self.buffer.skip(self._left, self.owner)
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
            if end + 2 > size or data[end] != _CR or data[end + 1] != _LF:
                buffer.consume(content - offset, self.owner)
                self._left = length
                self.state = CHUNK
                return None
            self.content += length
            here = end + 2

    def _read_chunk(self) -> Event | None:
        passed = self.buffer.skip(self._left, self.owner)
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
                if byte == _LF:
                    self._left = 1
                elif byte != _CR or self._left == 1:
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
        if size and data[offset] == _LF:
            buffer.consume(1, self.owner)
            return self._end()
        if size > 1 and data[offset] == _CR and data[offset + 1] == _LF:
            buffer.consume(2, self.owner)
            return self._end()
        if not size and buffer.gap == 2:
            # Nothing fits in there but the line end it must be.
            buffer.skip(2, self.owner)
            return self._end()
        limit = offset + self._max_head
        blank_line = _BLANK_LINE.search(data, offset + max(0, self._examined - 3), limit)
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

    # -- endings -----------------------------------------------------------------------------

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

    # -- losses ------------------------------------------------------------------------------

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
            self.state = State.FAILED
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
                    self.state = State.FAILED
                    return FAILED
                return NEED_MORE

    def _pass_over(self, size: int) -> None:
        """Bytes that belong to nobody."""
        buffer, left = self.buffer, size
        if size > len(buffer):
            self.moved = max(self.moved, buffer.gap_moved)
            self.lost += buffer.gap
            self.records += buffer.gap_records
        elif size and not self._missing and not self.fresh:
            buffer.skip(size - 1)  # its last byte's call: how many moved those before is a matter of cuts
            self.moved = max(self.moved, buffer.sequence)
            left = 1
        buffer.skip(left)
        self._scanned += size
        self._examined = 0
        # What precedes the first message of all, with nothing missing, is no message: a PROXY
        # protocol header, a banner. Nor is content that must not be there.
        if self._missing or not (self.fresh or self._surplus):
            self.skipped += size
