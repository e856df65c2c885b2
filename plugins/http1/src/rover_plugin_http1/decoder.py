"""HTTP/1.x on one connection: two readers, and the pairing of what they find."""

from __future__ import annotations

from collections.abc import Iterable

from rover.contracts.protocol import NEED_MORE, RESYNCHRONISED, Outcomes
from rover.http import HttpExchange
from rover.streams.buffer import StreamBuffer
from rover.values.connection import ProtocolBreak
from rover.values.records import Direction, Role
from rover_plugin_http1.events import (
    CUT,
    DOUBTED,
    END,
    FAILED,
    HEAD,
    HELD,
    JUMPED,
    REQUESTS,
    RESPONSES,
    START,
    Event,
)
from rover_plugin_http1.exchange import Request, begun
from rover_plugin_http1.framing import (
    INVALID,
    NOTHING,
    UNSEEN,
    UNTIL_CLOSE,
    request_content,
    response_content,
)
from rover_plugin_http1.head import ResponseHead
from rover_plugin_http1.message_reader import MessageReader
from rover_plugin_http1.reporting import Reporting
from rover_plugin_http1.startline import MAX_METHOD, may_open_request

_, EGRESS = Direction
CLIENT, SERVER = Role
SECOND = 1_000_000_000
MAX_WAITING = 1000
"""Requests without response on one connection. Servers stop reading long before (nginx answers
one after the other), load generators pipeline some tens."""
MAX_WAITING_SIZE = 128 << 10
"""Bytes of their heads, unless it is one; ten times what load generators pipeline. In memory a head takes
twice its size, and four times where its target is nothing but a long text outside of Latin-1."""
REQUEST_SIZE = 400
"""Bytes that a request takes besides its head, measured."""
HOLD = SECOND
"""ns a response waits for its request. Where one thread writes and another reads, the record of
the read may come before that of the write: by the time a call takes to return, which is far
below this even on a crowded machine."""


class Http1Decoder(Reporting):
    """Implements `rover.contracts.protocol.Decoder`.

    A response that is complete before its request is (an early refusal) waits for the rest of
    the request; the connection's end makes that an aborted exchange, unless the request asked
    for 100 (Continue) and, refused, sent no content at all.
    """

    def __init__(self, max_head: int, exchange_timeout: int) -> None:
        """`max_head` in bytes; `exchange_timeout` in seconds, 0 for none."""
        self._begin()
        self._max_head = max_head
        self._timeout = exchange_timeout * SECOND
        self._ingress: MessageReader | None = None  # of one direction, and of the other
        self._egress: MessageReader | None = None
        self._explained = -1  # the number of a record that was lost, and was a response's
        self._owners = 0

    # -- what the core calls -----------------------------------------------------------------

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> HttpExchange | Outcomes | ProtocolBreak:
        """One step: what it found, or what an earlier step found and left for this one."""
        out = self._out
        if not out:
            self._now = self._active = now
            egress = direction is EGRESS or direction == EGRESS
            reader = self._reader(egress)
            if reader is None:
                reader = self._add(direction, buffer)
            if buffer.position < buffer.end or buffer.ended:
                self._run(reader)
            # What this direction has brought may be what the other one waits for.
            other = self._reader(not egress)
            if not out and other is not None and other.buffer.position < other.buffer.end:
                self._run(other)
                while out and out[0] is RESYNCHRONISED:  # the core looks for it in this direction
                    out.pop(0)
                    self._run(other)
        if not out:
            return NEED_MORE
        found = out[0]
        del out[0]  # compiled, a third of what it takes to pop it
        return found

    def unneeded(self, direction: Direction) -> int:
        """What is to come of content whose length is known."""
        reader = self._reader(direction == EGRESS)
        return reader.unneeded if reader is not None and not self._out else 0

    def expire(self, now: int) -> Iterable[HttpExchange]:
        """Reports exchanges on a connection that has been silent for too long, as aborted."""
        self._now = now
        responses = self._responses
        if responses is not None and responses.state is HELD and now - self._active > HOLD:
            self._run(responses)
        if not self._timeout or now - self._active <= self._timeout:
            return []
        expired = self._abandon()
        # Their responses may come yet, and then belong to nobody; they are counted all the same.
        for reader in (self._requests, self._responses):
            if reader is not None:
                reader.owner = None
        return expired

    def reads_in_place(self) -> bool:
        """Heads that are ordinary and whole; all else is passed over, or kept first."""
        return True

    def kept(self) -> int:
        """Bytes besides those of the stream buffers, about: requests that wait."""
        return 2 * self._pairing.size + REQUEST_SIZE * len(self._pairing.waiting)

    def close(self, now: int) -> Iterable[HttpExchange]:
        """Reports what is unfinished, as aborted."""
        self._now = now
        left = [found for found in self._out if isinstance(found, HttpExchange)]
        return left + self._abandon()

    # -- reading -----------------------------------------------------------------------------

    def _reader(self, egress: bool) -> MessageReader | None:
        return self._egress if egress else self._ingress

    def _add(self, direction: Direction, buffer: StreamBuffer) -> MessageReader:
        egress = direction == EGRESS
        other = self._reader(not egress)
        kind = None
        if other is not None and other.kind is not None:
            kind = RESPONSES if other.kind is REQUESTS else REQUESTS
        reader = MessageReader(buffer, kind, self._max_head)
        if egress:
            self._egress = reader
        else:
            self._ingress = reader
        self._pairing.unknown |= buffer.late
        if kind is not None:
            self._assign(reader)
        return reader

    def _assign(self, reader: MessageReader) -> None:
        if reader.kind is REQUESTS:
            self._requests = reader
            self.role = CLIENT if reader.buffer.direction == EGRESS else SERVER
        else:
            self._responses = reader
            self.role = SERVER if reader.buffer.direction == EGRESS else CLIENT

    def _learn(self, reader: MessageReader) -> None:
        """The first head of all shows which direction is which."""
        self._assign(reader)
        if reader.skipped:  # it may be content, and the directions the other way round
            self._pairing.unknown = self._pairing.gapped = True
        other = self._reader(reader is self._ingress)
        if other is not None:
            other.kind = RESPONSES if reader.kind is REQUESTS else REQUESTS
            self._assign(other)

    def _run(self, reader: MessageReader) -> None:
        """Reads on until something is found, or more is needed, of either direction."""
        out = self._out
        buffer = reader.buffer
        before = buffer.position
        while not out:
            if self._pairing.waiting and self._is_early(reader):
                return
            event = reader.read()
            if event is HEAD:
                if self.role is None:
                    self._learn(reader)
                if reader is self._requests:
                    goes_on = self._begin_request(reader)
                else:
                    goes_on = self._begin_response(reader)
                if not goes_on:
                    return
            elif event is END or event is CUT:
                if reader is self._requests:
                    self._end_request(reader, event)
                else:
                    self._end_response(reader, event)
            elif event is JUMPED:
                if buffer.position != before:
                    out.append(RESYNCHRONISED)
            elif event is FAILED:
                self._break(reader, "framing", "no message begins here, and none was found after it")
            elif reader.state is DOUBTED and not self._pairing.whole:
                reader.disbelieve()
                continue
            else:
                self._pause(reader)
                return
            if buffer.position == buffer.end and not buffer.ended:
                return

    def _is_early(self, reader: MessageReader) -> bool:
        """Whether its bytes may be of what a request asks for that was not answered yet: a CONNECT's tunnel,
        or the protocol of an upgrade where they open no request. The 101 comes first, but a server may write
        it in one thread and read in another: the record of the read may then be the first."""
        if reader is not self._requests or self._asking is not None or reader.unread > self._max_head:
            return False
        if self._tunnel is not None:
            return True
        reader.buffer.keep()
        data, offset = reader.buffer.data, reader.buffer.offset
        if data[offset : offset + 2].isalnum() or reader.state is not START:
            return False
        opening = data[offset : offset + MAX_METHOD + 1]
        if not opening or may_open_request(opening):
            return False
        newest: Request = self._pairing.waiting[-1]
        return newest.head.headers.get("upgrade") is not None

    def _pause(self, reader: MessageReader) -> None:
        """All there is of this direction has been read."""
        if reader is self._responses:
            if reader.skipped:
                self._note_loss(reader)
            if reader.buffer.ended:
                self._give_up(self._pairing.end(), self._over(reader))

    # -- requests ----------------------------------------------------------------------------

    def _begin_request(self, reader: MessageReader) -> bool:
        """A request's head is there. False when something else must be passed on first."""
        head = reader.request
        pairing = self._pairing
        responses = self._responses
        if responses is not None:
            if responses.state is HELD and not self._release(responses, reader):
                return False
            if responses.optional and pairing.turns and not responses.unread:
                # It answered HEAD, if its content has not come by now.
                responses.leave_out()
                self._end_response(responses, END)
        waiting = pairing.size
        if len(pairing.waiting) >= MAX_WAITING or (waiting and waiting + head.size > MAX_WAITING_SIZE):
            found = f"{len(pairing.waiting)} requests wait for a response"
            self._break(reader, "overflow", found)
            return False
        request = begun(self._owners, head, reader.start, reader.buffer.sequence, reader.skipped > 0)
        if request.follows:
            reader.note()
        reader.forget()
        self._owners += 1
        request.paired = pairing.begin(request)
        self._asking = request
        if head.special and request.paired and head.method == "CONNECT":
            self._tunnel = request
        content = request_content(head.content)
        if content < 0 and content == UNTIL_CLOSE:
            # RFC 9112 section 6.3: the server answers and closes. So does decoding.
            request.last = True
            reader.accept(request.owner, content)
            self._finish_request(request, None)
        elif (event := reader.accept(request.owner, content)) is END:
            self._finish_request(request, reader.content)
        elif event is CUT:
            self._end_request(reader, event)
        return True

    def _end_request(self, reader: MessageReader, event: Event) -> None:
        request = self._asking
        if request is None:
            return
        if event is CUT:
            request.complete = False
        self._finish_request(request, reader.content if reader.known else None)

    def _finish_request(self, request: Request, content: int | None) -> None:
        self._asking = None
        request.content = content
        request.end = self._now
        request.ended = True
        if not request.reported and (request.response is not None or not request.paired):
            self._report(request)

    # -- responses ---------------------------------------------------------------------------

    def _begin_response(self, reader: MessageReader) -> bool:
        """A response's head is there. False when it is to wait for its request."""
        if reader.skipped:
            self._note_loss(reader)
        pairing = self._pairing
        start = self._begun(reader)
        if not pairing.answerable(start):
            believed = self._believe(start)
            if reader.state is not HELD:  # what was believed has had this one read, too
                return True
            if not believed and self._may_overtake(reader):
                return False
        if pairing.low or pairing.high:
            hidden = self._may_hide_requests()
            early = self._may_be_early(reader)
            self._give_up(pairing.narrow(start, hidden=hidden, early=early))
            if early and not pairing.answerable(start) and self._may_overtake(reader):
                return False
        self._accept_response(reader, pairing.oldest(start))
        return True

    def _begun(self, reader: MessageReader) -> int:
        """When the response at hand began (ns). Where calls have one time, as those of a capture that waited
        for a hole together, their numbers tell: it is then put before a request that came later."""
        start = reader.start
        waiting = self._pairing.waiting
        if waiting and start:
            request = waiting[0]
            if request.start == start and request.sequence > reader.buffer.sequence:
                return start - 1
        return start

    def _may_be_early(self, reader: MessageReader) -> bool:
        """Whether the record of a response may come before that of its request (see `HOLD`)."""
        return self.role is CLIENT and reader.buffer.overlapping

    def _may_hide_requests(self) -> bool:
        """Whether requests may have been lost since the last one that was seen, and before the response
        that begins now. A single record that was lost where bytes of responses are missing was theirs."""
        requests = self._requests
        if requests is None:
            return False
        missed, missing, pairing = requests.buffer.missed, requests.buffer.missing, self._pairing
        if missed == pairing.records == 1 and pairing.moved == missing:
            self._explained = missing
        return requests.skipped > 0 or missed > 1 or (missed == 1 and missing != self._explained)

    def _accept_response(self, reader: MessageReader, request: Request | None) -> None:
        head = reader.response
        status = head.status
        owner = None if request is None or request.reported else request.owner
        if status < 200 and status != 101:
            reader.accept(owner, UNSEEN if head.content == UNSEEN else 0)
            self._pairing.interim = True
            if request is not None:
                request.continued = True
            return
        method, optional = None, False
        if request is None:
            hidden = self._may_hide_requests() or self._may_be_early(reader)
            self._pairing.unasked(reader.start, hidden=hidden)
            # Not knowing what it answers is not knowing whether it answers HEAD.
            optional = True
        else:
            self._pairing.answer()
            if request is self._tunnel:
                self._tunnel = None
            if request.head.special:
                method = request.head.method
            if request.assumed and (head.content or method == "CONNECT"):
                method, optional = self._guess_method(method, head.content)
        self._answering = request
        content = response_content(head.content, status, method)
        self._headed = self._now if optional else 0
        if content < 0 and content == INVALID:
            reader.refuse(owner)
            self._break(reader, "framing", "a response whose Content-Length cannot be trusted")
            return
        event = reader.accept(owner, content, optional=optional)
        if event is END or event is CUT:
            self._end_response(reader, event)

    def _guess_method(self, method: str | None, content: int) -> tuple[str | None, bool]:
        """What a response of an assumed pair is read as an answer to, and whether the bytes that follow
        are to tell if it has the `content` it declares: a body read as messages, or messages as a body,
        cost more than the pair.
        """
        pairing = self._pairing
        if method == "CONNECT":
            # RFC 9110 section 9.3.6: what opens a tunnel declares no content.
            return (method, False) if content in (NOTHING, UNSEEN) else (None, False)
        if not pairing.mixed:
            return method, False
        pairing.unknown = True  # if it was read wrongly, so is what is counted from here on
        return (method, False) if pairing.turns else (None, True)

    def _believe(self, start: int) -> bool:
        """Takes a doubtful line for a request when nothing else can be what a response answers.

        Nothing that came after the response's first byte can (RFC 9112 section 9.2).
        """
        requests, pairing = self._requests, self._pairing
        if requests is None or requests.state is not DOUBTED or pairing.waiting or not pairing.whole:
            return False
        if (start and requests.buffer.since > start) or not requests.believe():
            return False
        self._run(requests)
        return bool(pairing.waiting)

    def _may_overtake(self, reader: MessageReader) -> bool:
        """Whether a response that answers nothing may be early, its request's record being late.

        Only a client's record can be: a server's response is written after the request is read.
        """
        return (
            not self._pairing.waiting
            and self.role is CLIENT
            and not reader.buffer.ended
            and reader.unread <= self._max_head
            and self._now - reader.start <= HOLD
        )

    def _release(self, responses: MessageReader, requests: MessageReader) -> bool:
        """Reads on where responses wait for a request, but are older than the one that begins now.
        False when that has found something to pass on first."""
        now = requests.start, requests.buffer.sequence
        while responses.state is HELD and not self._out:
            if (responses.start, responses.buffer.sequence) >= now:
                break
            if not self._pairing.answerable(self._begun(responses)):
                self._accept_response(responses, None)
            self._run(responses)
            while self._out and self._out[-1] is RESYNCHRONISED:  # see `decode`
                self._out.pop()
                self._run(responses)
        return not self._out

    def _end_response(self, reader: MessageReader, event: Event) -> None:
        request, self._answering = self._answering, None
        head = reader.response
        if request is not None and not request.reported:
            request.response = self._response(reader)
            if event is CUT or (head.status == 101 and not request.ended):
                request.complete = False
            if request.ended or head.status == 101:
                self._report(request)
            elif request.head.expects and not request.continued and self._requests is not None:
                self._requests.optional = not self._requests.content
                self._pairing.gapped |= request.assumed  # what comes then may be content all the same
        whole = event is END or head.content == UNSEEN
        if whole and (
            head.status == 101 or (request and request.head.special and request.head.method == "CONNECT")
        ):
            self._switch(reader, head, request)
        reader.forget()

    def _switch(self, reader: MessageReader, head: ResponseHead, request: Request | None) -> None:
        """Breaks where what follows a response is not HTTP/1.x any more."""
        asked = request.value() if request is not None and not request.assumed else None
        granted = self._response(reader)
        if head.status == 101:
            # RFC 9110 section 7.8: the protocols switched to, the lowest layer first.
            token = (head.headers.get("upgrade") or "").partition(",")[0].strip().lower()
            found = f"to {token}" if token else ""
            self._break(reader, "upgrade", found, upgrade=token, request=asked, response=granted)
        elif request is not None and head.status < 300:
            self._break(reader, "tunnel", f"to {request.head.target}", request=asked, response=granted)
