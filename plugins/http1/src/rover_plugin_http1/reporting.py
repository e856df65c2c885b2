"""The exchanges of a connection that are under way, and how each is reported."""

from __future__ import annotations

from collections.abc import Iterable

from rover.contracts.in_place import InPlaceDecoder
from rover.contracts.protocol import Outcomes
from rover.http import HttpExchange, HttpRequest, HttpResponse
from rover.values.connection import ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.http import new_response
from rover_plugin_http1.exchange import Request
from rover_plugin_http1.message_reader import MessageReader
from rover_plugin_http1.pairing import Pairing

COMPLETE = Outcome.COMPLETE


class Reporting(InPlaceDecoder):
    """What a decoder has found, on its way out. It says what begins and ends; here is what comes of it."""

    def _begin(self) -> None:
        """Nothing is under way: only the decoder has `__init__`, as `Search._attach` says."""
        self.role = None
        self._requests: MessageReader | None = None
        self._responses: MessageReader | None = None
        self._pairing = Pairing()
        self._out: list[HttpExchange | Outcomes | ProtocolBreak] = []
        self._asking: Request | None = None  # whose content is coming
        self._answering: Request | None = None  # whose response is coming
        self._tunnel: Request | None = None  # a CONNECT without answer
        self._headed = 0  # ns, when the head came of a response that may be without its content
        self._now = 0
        self._active = 0  # ns, when anything was last seen

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
