"""One direction of a connection: where its messages begin and end.

A reader does not know what the other direction carries. It stops at each head, so that whoever
pairs requests with responses can say whose bytes these are and how long the content is.
"""

from __future__ import annotations

import contextlib
import re

from rover.streams.buffer import StreamBuffer
from rover_plugin_http1.content import BLANK_LINE, CR, LF, NO_TRAILERS, ContentReader
from rover_plugin_http1.events import (
    CHUNK,
    CHUNK_END,
    CHUNK_LINE,
    CLOSE,
    CUT,
    DOUBTED,
    END,
    FAILED,
    HEAD,
    HELD,
    LENGTH,
    LOST,
    NEED_MORE,
    REQUESTS,
    RESPONSES,
    SEARCH,
    START,
    SURPLUS,
    TRAILERS,
    Event,
    Kind,
)
from rover_plugin_http1.framing import CHUNKED, UNSEEN
from rover_plugin_http1.head import NO_REQUEST, NO_RESPONSE
from rover_plugin_http1.judge import (
    cut_request,
    cut_response,
    doubtful_request,
    judged_request,
    judged_response,
)
from rover_plugin_http1.ordinary import (
    next_request,
    next_response,
    ordinary_request,
    ordinary_response,
)
from rover_plugin_http1.startline import (
    MAX_METHOD,
    STATUS_PREFIX,
    may_open_request,
    may_open_response,
    split_doubtful_line,
    split_request_line,
    split_status_line,
)

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http1._ordinary import (  # type: ignore[no-redef]
        next_request,
        next_response,
        ordinary_request,
        ordinary_response,
    )

SHORTEST = len(b"HTTP/1.0 200\n\n")
"""Bytes of the shortest head, of either kind."""
_NOT_BLANK = re.compile(rb"[^\r\n]")


class MessageReader(ContentReader):
    """The messages of one direction."""

    __slots__ = ("_size", "request", "response", "start")

    def __init__(self, buffer: StreamBuffer, kind: Kind | None, max_head: int) -> None:
        self._attach(buffer, kind, max_head)
        self._reset()
        self.request = NO_REQUEST
        """Of the message that is being read, from its HEAD until `forget`."""
        self.response = NO_RESPONSE
        """The same, in the other kind of direction."""
        self.start = 0
        """ns, when its first byte moved; 0 if unknown."""
        self._size = 0  # bytes of the head

    def read(self) -> Event:
        """Goes on to the next event."""
        while True:
            if self.optional:
                self.buffer.keep()
                if (left_out := self._is_left_out()) is not None:
                    return left_out
            state = self.state
            if state is START:
                event = self._read_head()
            elif state is LENGTH:
                event = self._read_length()
            elif state is HELD:
                event = HEAD
            else:
                self.buffer.keep()
                event = self._go_on()
            if event is not None:
                return event

    def _go_on(self) -> Event | None:
        """In a state that most messages never come to."""
        state = self.state
        if state is CHUNK_LINE:
            return self._read_chunks()
        if state is CHUNK:
            return self._read_chunk()
        if state is CHUNK_END:
            return self._read_chunk_end()
        if state is TRAILERS:
            return self._read_trailers()
        if state is CLOSE:
            return self._read_to_close()
        if state is SURPLUS:
            return self._read_surplus()
        if state is SEARCH:
            return self._search()
        return self._doubt() if state is DOUBTED else FAILED

    def accept(self, owner: int | None, content: int, *, optional: bool = False) -> Event:
        """Takes the head, on behalf of `owner`. END when the message is complete with it, CUT
        when nothing more of it can be read.

        `content` is a length, CHUNKED, UNTIL_CLOSE or UNSEEN. With `optional` the next bytes tell
        whether there is any.
        """
        size, buffer = self._size, self.buffer
        self.owner = owner
        self.content = 0
        self.known = True
        self.trailers = NO_TRAILERS
        if content == 0:
            buffer.pass_over(size, owner)
            self._end()
            if self.kind is RESPONSES and self.response.content != 0:
                self._left = self.response.content
                self._surplus = True
                self.state = SURPLUS
            return END
        self.optional = optional
        if content > 0 and not optional:
            here = buffer.end - buffer.position - size
            if content <= here:
                buffer.pass_over(size + content, owner)
                self.content = content
                self._end()
                return END
            buffer.pass_over(size + here, owner)
            self.content = here
            self._left = content - here
            self.state = LENGTH
            return NEED_MORE
        buffer.pass_over(size, owner)
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
        self.buffer.pass_over(self._size, owner)
        self.owner = owner
        self.content = 0
        self.known = False
        self.state = LOST

    def forget(self) -> None:
        """Lets go of the head, before many other connections have had their turn: its memory is still
        in the processor's caches, and theirs stays there."""
        self.request = NO_REQUEST
        self.response = NO_RESPONSE

    # -- heads -------------------------------------------------------------------------------

    def _read_head(self) -> Event | None:
        if not self._examined and self.buffer.here >= SHORTEST:
            # Most heads are ordinary, and come in one piece.
            kind = self.kind
            if kind is not RESPONSES:
                request = next_request(self.buffer, self._max_head)
                if request is not None:
                    self.request = request
                    self.kind = REQUESTS
                    self._found(request.size)
                    return HEAD
            if kind is not REQUESTS:
                response = next_response(self.buffer, self._max_head)
                if response is not None:
                    self.response = response
                    self.kind = RESPONSES
                    self._found(response.size)
                    return HEAD
        return self._read_odd_head()

    def _read_odd_head(self) -> Event | None:
        """One that is not ordinary, or comes in pieces, or none."""
        buffer = self.buffer
        buffer.keep()
        data, offset, size = buffer.data, buffer.offset, buffer.here
        if not size:
            return self._wait_or_search()
        examined = self._examined
        if not examined and data[offset] in (CR, LF):
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
        blank_line = BLANK_LINE.search(data, offset + max(0, examined - 3), limit)
        if blank_line is None:
            return self._await_head(size, requests=requests)
        end = blank_line.end()
        if not (examined and self._read_whole(data, offset, end, requests=requests)):
            if not self._judge(bytes(data[offset:end]), requests=requests):
                self._begin_doubt(requests=requests)
                return None
            self._found(end - offset)
        self.kind = kind
        return HEAD

    def _read_whole(self, data: bytes | bytearray, start: int, end: int, *, requests: bool) -> bool:
        """Reads a head that came in pieces, once it is whole; False when it is not ordinary."""
        if end - start < SHORTEST:
            return False
        if requests:
            request = ordinary_request(data, start, end)
            if request is None:
                return False
            self.request = request
            self._found(request.size)
        else:
            response = ordinary_response(data, start, end)
            if response is None:
                return False
            self.response = response
            self._found(response.size)
        return True

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
            self.kind = REQUESTS
        else:
            response = cut_response(start)
            if response is None:
                return False
            self.response = response
            self.kind = RESPONSES
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
        blank_line = BLANK_LINE.search(data, offset + max(0, self._examined - 3))
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
