"""Which request a response answers.

Responses come in the order of their requests (RFC 9112 section 9.3), so as long as no message
went unseen, the oldest request that waits is the one. Where bytes were lost, and messages may
have been lost with them, counting is over: pairing is *in doubt*, and a response is rather left
without its request than given to another's.

Doubt ends where a request begins on a quiet line and the client is known to take turns: it sends
a request when the answer before is complete, so that whatever was lost is over and done with.
That is known of a client that has taken many turns, or else once it has taken one turn since the
loss: one request, one answer, then the next. A client that pipelines does not get there while
answers are still on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rover_plugin_http1.exchange import Request

SETTLED = 8
"""Turns in a row after which a client is taken to go on like that. Pipelining begins with a
client's second request, if it ever does."""


class Pairing:
    """The requests of a connection that wait for their response."""

    __slots__ = ("_answers", "_probing", "_turns", "size", "sure", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        """In the order sent. Empty while in doubt."""
        self.size = 0
        """Bytes of their heads."""
        self.sure = True
        """False while in doubt."""
        self._turns = 0  # in a row
        self._probing = False  # whether, in doubt, the newest request began on a quiet line
        self._answers = 0  # in doubt: final responses since that request

    def begin(self, request: Request, *, quiet: bool) -> bool:
        """A request begins. `quiet`: no response is under way. False: no response will be its."""
        if not self.sure:
            if not quiet:
                self._turns = 0
            elif self._probing:
                self._turns = self._turns + 1 if self._answers == 1 else 0
            self._probing = quiet
            self._answers = 0
            if not quiet or not self._turns:
                return False
            self.sure = True
        self.waiting.append(request)
        self.size += request.head.size
        return True

    def answerable(self, start: int) -> bool:
        """Whether a response whose first byte moved at `start` (ns) can answer what waits."""
        return bool(self.waiting) and (not start or start >= self.waiting[0].start)

    def answer(self) -> Request:
        """The request that the response beginning now answers."""
        request = self.waiting.pop(0)
        self.size -= request.head.size
        return request

    def answered(self, *, paired: bool) -> None:
        """A final response has ended."""
        if not self.sure:
            self._answers += 1
        elif paired:
            self._turns = 0 if self.waiting else self._turns + 1

    def lose(self) -> list[Request]:
        """Messages may have been lost. Returns the requests that wait no more."""
        lost = list(self.waiting)
        self.waiting.clear()
        self.size = 0
        self.sure = False
        self._probing = False
        if self._turns < SETTLED:
            self._turns = 0
        return lost
