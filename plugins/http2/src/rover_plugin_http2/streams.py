"""Streams: which are open, what is known of their messages, and when each has ended.

This file knows header blocks as field lines and bodies as numbers of bytes. It does not know
frames, positions or HPACK.
"""

from __future__ import annotations

import contextlib
import heapq

from rover.http import HttpRequest, HttpStream
from rover.values.exchange import Outcome
from rover.values.records import Direction
from rover_plugin_http2.fields import ABSENT, needed, status_of, value_of
from rover_plugin_http2.open_stream import MESSAGE_MEMORY, STREAM_MEMORY, Message, Stream
from rover_plugin_http2.undecodable import Undecodable
from rover_plugin_http2.upgrade import fields_of

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http2._fields import status_of, value_of  # type: ignore[no-redef]

INGRESS, EGRESS = Direction
COMPLETE, ABORTED, SPLIT = Outcome.COMPLETE, Outcome.ABORTED, Outcome.SPLIT

MAX_GOAWAYS = 16
"""GOAWAY frames of one side that are acted on, each of which looks at every open stream. An endpoint
sends two: one that warns and one that ends (RFC 9113 section 6.8)."""
AHEAD = 4_096
"""How far above the highest stream seen one may be whose opening was lost; besides, each stream takes
two numbers and at least ten of the bytes that are missing."""

NO_ERROR = 0x0


class Streams:
    """The open streams of one connection."""

    def __init__(self, split_after: int) -> None:
        """`split_after`: ns a stream may be open before it is logged for the first time."""
        self.client: Direction | None = None
        """The direction of the requests; None until something has shown it."""
        self.preface = False
        """Whether the client's beginning was seen."""
        self.opened = [False, False]
        """By direction: whether its first frame was SETTINGS. A client's never is, after the
        preface; a server's may be one from the middle, so that it tells only with the preface."""
        self.lost = [False, False]
        """By direction: whether frames of it may be missing."""
        self.memory = 0
        """Bytes the open streams take, at most."""
        self.tight = False
        """Whether of each message only what its log needs is kept."""
        self._split_after = split_after
        self._open: dict[int, Stream] = {}  # oldest `since` first
        self._last_request = 0
        self._last_promise = 0
        self._last_odd = 0
        """The highest client-initiated stream of which any header block was seen."""
        self._unasked: list[int] = []  # a heap: streams that were answered, or reset, and not yet requested
        self._request_gaps = self._request_hiding = 0
        self._response_gaps = self._response_hiding = 0
        """How often frames were missing among the requests, or responses; and which time was the last
        that may have hidden content (see `Message.miss`)."""
        self._loose = False
        """Whether the client may still send on a stream that is not in the table."""
        self._goaways = [0, 0]

    # -- what is open ------------------------------------------------------------------------

    def get(self, number: int) -> Stream | None:
        """The stream, when it is open and will be logged."""
        return self._open.get(number)

    def is_late(self, direction: Direction) -> bool:
        """Whether something may have been sent in a direction before we looked."""
        way = int(direction)
        if not self.preface or self.lost[way]:
            return True
        return direction is not self.client and not self.opened[way]

    def found_client(self, direction: Direction) -> None:
        """The requests go this way. Raises Undecodable when it is known that they do not."""
        if self.client is None:
            self.client = direction
        elif self.client is not direction:
            raise Undecodable("framing", "sent by the wrong side")

    def _message(self, stream: Stream, direction: Direction) -> Message:
        """The message of which a frame is seen."""
        if direction is self.client:
            message = stream.request
            if message.gaps != self._request_gaps:
                message.miss(self._request_hiding)
                message.gaps = self._request_gaps
        else:
            message = stream.response
            if message.gaps != self._response_gaps:
                message.miss(self._response_hiding)
                message.gaps = self._response_gaps
        return message

    def _add(self, number: int, now: int) -> Stream:
        stream = self._open[number] = Stream(number, now)
        stream.request.gaps = self._request_gaps
        stream.response.gaps = self._response_gaps
        self.memory += STREAM_MEMORY
        return stream

    def _add_unasked(self, number: int, now: int) -> Stream:
        """A stream whose request may come yet."""
        if len(self._unasked) > 2 * len(self._open) + 16:  # most are gone
            self._unasked = sorted(waiting for waiting in self._unasked if waiting in self._open)
        heapq.heappush(self._unasked, number)
        return self._add(number, now)

    def _asked(self, number: int) -> None:
        """Requests come in the order of their streams: one below `number` that was not seen is lost."""
        while self._unasked and self._unasked[0] <= number:
            stream = self._open.get(heapq.heappop(self._unasked))
            if stream is not None and stream.number != number and not stream.request.known:
                self._remove(stream)

    def _charge(self, stream: Stream, size: int) -> None:
        stream.memory += size
        self.memory += size

    def _remove(self, stream: Stream) -> None:
        del self._open[stream.number]
        self.memory -= stream.memory
        if not stream.request.ended:
            self._loose = True

    # -- what may be missing -----------------------------------------------------------------

    def hide(self, direction: Direction, content: bool) -> bool:
        """Bytes are missing between two frames, enough for `content` or only for a frame without.

        Returns whether the next request will tell if header blocks are missing: see `opened_nothing`.
        """
        self.lost[direction] = True
        if self.client is None:
            return False
        if direction is not self.client:
            self._response_gaps += 1
            if content:
                self._response_hiding = self._response_gaps
            return False
        self._request_gaps += 1
        if content:
            self._request_hiding = self._request_gaps
        return self.preface and not self._loose

    def opened_nothing(self, number: int) -> bool:
        """Whether no header block of the client can be missing before the one of stream `number`, the
        first request after a gap.

        Each side numbers its streams upwards (RFC 9113 section 5.1.1): stream 7 after stream 5 says
        that nothing was opened between them. Besides requests a client sends trailers, at the end of
        a request that is open.
        """
        if self._loose or number != (self._last_request + 2 if self._last_request else 1):
            self._loose = True
            return False
        for stream in self._open.values():
            request = stream.request
            if not request.ended and request.gaps != self._request_gaps and stream.number != number:
                return False
        return True

    def is_new(self, direction: Direction, number: int) -> bool:
        """Whether a header block of stream `number` opens a request."""
        return direction is self.client and number > self._last_request

    def may_exist(self, number: int, missing: int) -> bool:
        """Whether a stream may have been opened, `missing` bytes having been lost."""
        highest = self._last_odd if number & 1 else self._last_promise
        return number <= highest + AHEAD + missing or (highest == 0 and not self.preface)

    def _may_be_over(self, stream: Stream) -> bool:
        """Whether the end of one of its messages may have been among what is missing."""
        request, response = stream.request, stream.response
        return (not request.ended and request.gaps != self._request_gaps) or (
            not response.ended and response.gaps != self._response_gaps
        )

    # -- header blocks -----------------------------------------------------------------------

    def headers(
        self,
        direction: Direction,
        number: int,
        pseudo: bytes,
        fields: bytes,
        size: int,
        start: int,
        now: int,
        end: bool,
    ) -> Stream | None:
        """A header block, packed: a request, a response or trailers, as its fields tell.

        Returns the stream when it is to be logged. Raises Undecodable.
        """
        if (method := value_of(pseudo, ":method")) is not None:
            self.found_client(direction)
            stream = self._requested(number, now)
            message = self._message(stream, direction)
            if not message.known and not _well_formed(pseudo, method):
                # RFC 9113 section 8.1.1: the server will refuse it. There is no exchange to log.
                message.ended = end
                self._remove(stream)
                return None
        elif (status := status_of(pseudo)) != ABSENT:
            self.found_client(_opposite(direction))
            if status < 0:
                raise Undecodable("framing", f"status {(value_of(pseudo, ':status') or '')[:20]!r}")
            answered = self._answered(number, now)
            if answered is None:
                return None
            stream, message = answered, self._message(answered, direction)
            self._check_open(message)
            if 100 <= status < 200:  # not the answer
                message.ended = end
                return stream
        else:
            return self._trailers(direction, number, fields, size, now, end)
        if message.known:
            raise Undecodable("framing", "a second one")
        if self.tight:
            pseudo, fields = needed(pseudo), needed(fields)
        message.begin(pseudo, fields, size, start, now)
        message.ended = end
        self._charge(stream, MESSAGE_MEMORY + len(pseudo) + len(fields))
        return stream

    def _check_open(self, message: Message) -> None:
        if message.ended:
            raise Undecodable("framing", "sent after END_STREAM")

    def _requested(self, number: int, now: int) -> Stream:
        if not number & 1:
            raise Undecodable("framing", "a request on a stream of the server's")
        if self._unasked:
            self._asked(number)
        stream = self._open.get(number)
        if stream is None or not stream.request.known:
            if number <= self._last_request:
                raise Undecodable("framing", f"opened after stream {self._last_request}")
            self._last_request = number
            self._last_odd = max(self._last_odd, number)
        # The answer may have been recorded first: a reader's call returned before the writer's.
        return stream or self._add(number, now)

    def _answered(self, number: int, now: int) -> Stream | None:
        stream = self._open.get(number)
        if stream is not None:
            return stream
        if not number & 1:
            if number > self._last_promise and not self._server_is_late():
                raise Undecodable("framing", "a response on a stream that was not promised")
            return None
        opened_before = number <= self._last_odd or (self._last_request == 0 and not self.preface)
        self._last_odd = max(self._last_odd, number)
        return None if opened_before else self._add_unasked(number, now)

    def _trailers(
        self, direction: Direction, number: int, fields: bytes, size: int, now: int, end: bool
    ) -> Stream | None:
        stream = self._open.get(number)
        if stream is None:
            self.check_opened(direction, number, "framing", "neither a request nor a response")
            return None
        message = self._message(stream, direction)
        self._check_open(message)
        if not message.known and not self.is_late(direction):
            raise Undecodable("framing", "trailers before a message")
        if message.trailers:
            raise Undecodable("framing", "trailers a second time")
        if self.tight:
            fields = needed(fields)
        message.trailers = fields
        message.header_size += size
        message.end = now
        message.ended = end
        self._charge(stream, len(fields))
        return stream

    def promised(
        self,
        direction: Direction,
        number: int,
        pseudo: bytes,
        fields: bytes,
        size: int,
        start: int,
        now: int,
    ) -> Stream | None:
        """A PUSH_PROMISE: the request that stream `number` will answer, complete."""
        self.found_client(_opposite(direction))
        if number & 1 or number <= self._last_promise:
            raise Undecodable("framing", f"stream {number} promised after stream {self._last_promise}")
        self._last_promise = number
        if not _well_formed(pseudo, value_of(pseudo, ":method")):
            return None
        if self.tight:
            pseudo, fields = needed(pseudo), needed(fields)
        stream = self._add(number, now)
        stream.request.begin(pseudo, fields, size, start, now)
        stream.request.ended = True
        self._charge(stream, MESSAGE_MEMORY + len(pseudo) + len(fields))
        return stream

    def upgraded(self, request: HttpRequest) -> None:
        """Stream 1 answers a request that came as HTTP/1.1 (RFC 7540 section 3.2)."""
        stream = self._add(1, request.end)
        pseudo, fields = fields_of(request)
        message = stream.request
        message.begin(pseudo, fields, request.header_size, request.start, request.end)
        message.body_size = request.body_size
        message.ended = True
        self._last_request = self._last_odd = 1
        self._charge(stream, MESSAGE_MEMORY + len(pseudo) + len(fields))

    # -- data --------------------------------------------------------------------------------

    def check_opened(self, direction: Direction, number: int, reason: str, found: str) -> None:
        """For a stream that is not open: raises Undecodable unless it was, once.

        Each side numbers its streams upwards, so every stream opened before we looked is below
        the first one seen being opened.
        """
        if self.client is None:
            return
        if number & 1:
            opened = number <= self._last_odd or (self._last_request == 0 and not self.preface)
            opened = opened or self.lost[0] or self.lost[1]
        elif direction is self.client:
            opened = False
        else:
            opened = number <= self._last_promise or (self._last_promise == 0 and self._server_is_late())
            opened = opened or self.lost[direction]
        if not opened:
            raise Undecodable(reason, found)

    def _server_is_late(self) -> bool:
        return self.client is None or self.is_late(_opposite(self.client))

    def data_begins(self, direction: Direction, number: int) -> Stream | None:
        """A DATA frame. Raises Undecodable (`unknown-stream`) for a stream never opened."""
        stream = self._open.get(number)
        if stream is None:
            self.check_opened(direction, number, "unknown-stream", "never opened")
        else:
            message = self._message(stream, direction)
            self._check_open(message)
            if not message.known and not self.is_late(direction):
                raise Undecodable("unknown-stream", "no header block came before")
        return stream

    def data(self, direction: Direction, stream: Stream, size: int | None, now: int) -> None:
        """Content bytes; None when their number is hidden."""
        message = self._message(stream, direction)
        message.end = now
        if size is None or message.body_size is None:
            message.body_size = None
        else:
            message.body_size += size

    # -- endings -----------------------------------------------------------------------------

    def end(self, direction: Direction, stream: Stream) -> HttpStream | None:
        """END_STREAM on DATA: the exchange, when the other side has ended too."""
        self._message(stream, direction).ended = True
        return self.finished(stream)

    def finished(self, stream: Stream) -> HttpStream | None:
        """The exchange, when both sides of the stream have ended."""
        request, response = stream.request, stream.response
        if request.known and stream.error is not None:
            return self._finish(stream, ABORTED, stream.error, 0)
        if not (request.ended and response.ended):
            return None
        return self._finish(stream, COMPLETE if response.known else ABORTED, None, 0)

    def reset(self, direction: Direction, number: int, error: int | None, now: int) -> HttpStream | None:
        """RST_STREAM. `error`: None when it was not captured."""
        stream = self._open.get(number)
        if stream is None:
            if self._last_odd < number and number & 1 and self.preface and error is not None:
                self._last_odd = number
                self._add_unasked(number, now).error = error
            return None
        message = self._message(stream, direction)
        (message if message.known else stream.request).end = now
        if error == NO_ERROR and stream.response.ended and stream.response.known:
            # RFC 9113 section 8.1: a server that has answered asks for no more of the request.
            return self._finish(stream, COMPLETE, error, 0)
        if not stream.request.known:
            stream.error = error
            return None
        if direction is self.client:
            stream.request.ended = True  # nothing of it will follow
        return self._finish(stream, ABORTED, error, now)

    def going_away(self, direction: Direction, last: int, error: int, now: int) -> list[HttpStream]:
        """GOAWAY: the other side's streams above `last` will not be answered."""
        if self.client is None or self._goaways[direction] >= MAX_GOAWAYS:
            return []
        self._goaways[direction] += 1
        parity = 0 if direction is self.client else 1
        cut = [s for s in self._open.values() if s.number > last and s.number & 1 == parity]
        return self._cut(cut, error, now)

    def _cut(self, streams: list[Stream], error: int | None, now: int) -> list[HttpStream]:
        """They are over, unfinished; since when is not known of those whose end may be missing."""
        values = []
        for stream in streams:
            over = 0 if self._may_be_over(stream) else now
            if (value := self._finish(stream, ABORTED, error, over)) is not None:
                values.append(value)
        return values

    def _finish(self, stream: Stream, outcome: Outcome, error: int | None, end: int) -> HttpStream | None:
        self._remove(stream)
        self._count_missing(stream)
        return stream.value(outcome, error, end) if stream.request.known else None

    def _count_missing(self, stream: Stream) -> None:
        if stream.request.gaps < self._request_hiding:
            stream.request.miss(self._request_hiding)
        if stream.response.gaps < self._response_hiding:
            stream.response.miss(self._response_hiding)

    def split(self, now: int) -> list[HttpStream]:
        """What is known of streams open for long; they go on, counted from zero."""
        old = []
        for stream in self._open.values():
            if now - stream.since < self._split_after:
                break
            old.append(stream)
        values = []
        for stream in old:
            if not stream.request.known:
                # Its request was lost. What calls it has been given go out when the connection ends.
                self._remove(stream)
                continue
            if self._may_be_over(stream) and now - _last_seen(stream) > self._split_after >> 1:
                # Half of that time silent, and its end may be missing: it will not be heard of again.
                values += self._cut([stream], None, now)
                continue
            self._count_missing(stream)
            values.append(stream.value(SPLIT, None, 0))
            stream.since = now
            stream.request.restart()
            stream.response.restart()
            self._open[stream.number] = self._open.pop(stream.number)
        return values

    def close(self, now: int) -> list[HttpStream]:
        """Nothing more is seen of the connection: everything open is cut."""
        return self._cut(list(self._open.values()), None, now)

    def relieve(self, now: int) -> list[HttpStream]:
        """Makes room. Those that may be over are cut; of the others, and of all that come until it is no
        longer `tight`, what their logs need is kept."""
        over = [stream for stream in self._open.values() if self._may_be_over(stream)]
        values = self._cut(over, None, now)
        if not self.tight:
            self.tight = True
            for stream in self._open.values():
                before = stream.size
                for message in (stream.request, stream.response):
                    message.pseudo, message.fields = needed(message.pseudo), needed(message.fields)
                    message.trailers = needed(message.trailers)
                self._charge(stream, stream.size - before)
        return values


def _opposite(direction: Direction) -> Direction:
    return INGRESS if direction is EGRESS else EGRESS


def _last_seen(stream: Stream) -> int:
    """When a frame of it was seen last."""
    return max(stream.request.end, stream.response.end)


def _well_formed(pseudo: bytes, method: str | None) -> bool:
    """Whether a request says what it wants: a method, and a path or (CONNECT) an authority."""
    if not method:
        return False
    if value_of(pseudo, ":path"):
        return True
    return b"\n:method\0CONNECT" in pseudo and bool(value_of(pseudo, ":authority"))
