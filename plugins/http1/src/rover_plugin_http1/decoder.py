"""HTTP/1.x on one connection: two readers, and the pairing of what they find."""

from __future__ import annotations

from collections.abc import Iterable

from rover.contracts.protocol import NEED_MORE, RESYNCHRONISED, Outcomes
from rover.http import HttpExchange, HttpRequest, HttpResponse
from rover.streams.buffer import StreamBuffer
from rover.values.connection import ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.http import new_response
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
from rover_plugin_http1.exchange import Request
from rover_plugin_http1.framing import (
    INVALID,
    NOTHING,
    UNSEEN,
    UNTIL_CLOSE,
    request_content,
    response_content,
)
from rover_plugin_http1.head import ResponseHead
from rover_plugin_http1.heads import MessageReader
from rover_plugin_http1.pairing import Pairing
from rover_plugin_http1.startline import MAX_METHOD, may_open_request

COMPLETE = Outcome.COMPLETE
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


class Http1Decoder:
    """Implements `rover.contracts.protocol.Decoder`.

    A response that is complete before its request is (an early refusal) waits for the rest of
    the request; the connection's end makes that an aborted exchange, unless the request asked
    for 100 (Continue) and, refused, sent no content at all.
    """

    def __init__(self, max_head: int, exchange_timeout: int) -> None:
        """`max_head` in bytes; `exchange_timeout` in seconds, 0 for none."""
        self.role: Role | None = None
        self._max_head = max_head
        self._timeout = exchange_timeout * SECOND
        self._readers: list[MessageReader | None] = [None, None]  # by direction
        self._requests: MessageReader | None = None
        self._responses: MessageReader | None = None
        self._pairing = Pairing()
        self._out: list[HttpExchange | Outcomes | ProtocolBreak] = []
        self._asking: Request | None = None  # whose content is coming
        self._answering: Request | None = None  # whose response is coming
        self._tunnel: Request | None = None  # a CONNECT without answer
        self._headed = 0  # ns, when the head came of a response that may be without its content
        self._explained = -1  # the number of a record that was lost, and was a response's
        self._owners = 0
        self._now = 0
        self._active = 0  # ns, when anything was last seen

    # -- what the core calls -----------------------------------------------------------------

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> HttpExchange | Outcomes | ProtocolBreak:
        """One step: what it found, or what an earlier step found and left for this one."""
        out = self._out
        if not out:
            self._now = self._active = now
            here: int = direction  # compiled, a plain number: to reckon with an enumeration is slow
            reader = self._readers[here]
            if reader is None:
                reader = self._add(direction, buffer)
            if buffer.position < buffer.end or buffer.ended:
                self._run(reader)
            # What this direction has brought may be what the other one waits for.
            other = self._readers[1 - here]
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
        reader = self._readers[direction]
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

    @property
    def memory(self) -> int:
        """Bytes kept besides those of the stream buffers, about: requests that wait."""
        return 2 * self._pairing.size + REQUEST_SIZE * len(self._pairing.waiting)

    def close(self, now: int) -> Iterable[HttpExchange]:
        """Reports what is unfinished, as aborted."""
        self._now = now
        left = [found for found in self._out if isinstance(found, HttpExchange)]
        return left + self._abandon()

    # -- reading -----------------------------------------------------------------------------

    def _add(self, direction: Direction, buffer: StreamBuffer) -> MessageReader:
        other = self._readers[1 - direction]
        kind = None
        if other is not None and other.kind is not None:
            kind = RESPONSES if other.kind is REQUESTS else REQUESTS
        reader = self._readers[direction] = MessageReader(buffer, kind, self._max_head)
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
        other = self._readers[1 - reader.buffer.direction]
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
        request = Request(self._owners, head, reader.start, reader.buffer.sequence, reader.skipped > 0)
        if request.follows:
            reader.note()
        reader.forget()
        self._owners += 1
        request.paired = pairing.begin(request)
        self._asking = request
        if request.paired and head.method == "CONNECT":
            self._tunnel = request
        content = request_content(head.content)
        if content == UNTIL_CLOSE:
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
            method = request.head.method
            if request.assumed and (head.content or method == "CONNECT"):
                method, optional = self._guess_method(method, head.content)
        self._answering = request
        content = response_content(head.content, status, method)
        self._headed = self._now if optional else 0
        if content == INVALID:
            reader.refuse(owner)
            self._break(reader, "framing", "a response whose Content-Length cannot be trusted")
            return
        event = reader.accept(owner, content, optional=optional)
        if event is END or event is CUT:
            self._end_response(reader, event)

    def _guess_method(self, method: str, content: int) -> tuple[str | None, bool]:
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
        if whole and (head.status == 101 or (request and request.head.method == "CONNECT")):
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

    # -- losses and endings ------------------------------------------------------------------

    def _note_loss(self, reader: MessageReader) -> None:
        """Bytes were passed over that may have held responses."""
        lost = []
        if reader.moved:
            until = self._now if reader.buffer.overlapping else 0
            lost = self._pairing.lose(
                reader.moved,
                reader.lost,
                reader.records,
                until,
                boundary=reader.boundary,
                passed=reader.skipped,
                reached=reader.reached,
            )
        else:
            self._pairing.pass_over(reader.reached)
        reader.note()
        self._give_up(lost)

    def _give_up(self, requests: Iterable[Request], over: int = 0) -> None:
        """No response to them will be seen. `over`: when that was clear, if none was sent."""
        for request in requests:
            request.paired = False
            request.over = over
            if request is self._tunnel:
                self._tunnel = None
            if request.ended and not request.reported:
                self._report(request)

    def _over(self, reader: MessageReader | None) -> int:
        """Now, unless a response may have been lost; 0 then. `reader`: of the newest bytes there are."""
        pairing = self._pairing
        if reader is None or reader.buffer.missed or pairing.low or pairing.high:
            return 0
        return self._now

    def _abandon(self) -> list[HttpExchange]:
        """What is unfinished is over."""
        unfinished = self._unfinished()
        if unfinished:
            over = self._over(self._responses or self._requests)
            for request in self._pairing.waiting:
                request.over = over
        return [self._abort(request) for request in unfinished]

    def _response(self, reader: MessageReader) -> HttpResponse:
        head = reader.response
        content = reader.content if reader.known else None
        end = self._headed if self._headed and not reader.content else self._active
        return new_response(
            status=head.status,
            version=head.version,
            headers=head.headers,
            start=reader.start,
            end=end,
            header_size=head.size,
            body_size=content,
            trailers=reader.trailers,
        )

    def _report(self, request: Request) -> None:
        complete = request.complete and request.paired
        self._out.append(request.exchange(COMPLETE if complete else Outcome.ABORTED))
        if request.last and self._requests is not None:
            self._break(self._requests, "framing", "where the content of a request ends cannot be told")

    def _unfinished(self) -> list[Request]:
        """What was not reported yet, oldest first."""
        if not self._pairing.waiting and self._asking is None and self._answering is None:
            return []
        found = {request.owner: request for request in self._pairing.waiting}
        for request in (self._asking, self._answering):
            if request is not None:
                found[request.owner] = request
        return [found[owner] for owner in sorted(found) if not found[owner].reported]

    def _abort(self, request: Request) -> HttpExchange:
        """Reports what is known by now."""
        if request is self._asking and self._requests is not None:
            request.content = self._requests.content if self._requests.known else None
            request.end = self._active
        responses = self._responses
        if request is self._answering and responses is not None:
            request.response = self._response(responses)
        return request.exchange(Outcome.ABORTED)

    def _break(
        self,
        reader: MessageReader,
        reason: str,
        found: str,
        *,
        upgrade: str = "",
        request: HttpRequest | None = None,
        response: HttpResponse | None = None,
    ) -> None:
        """Reports what is unfinished; then decoding ends."""
        for unfinished in self._unfinished():
            self._out.append(self._abort(unfinished))
        self._out.append(
            ProtocolBreak(
                reason=reason,
                detail=found,
                direction=reader.buffer.direction,
                position=reader.buffer.position,
                upgrade=upgrade,
                request=request,
                response=response,
            )
        )
