"""A request on its way to being an exchange."""

from __future__ import annotations

from rover.http import HttpExchange, HttpRequest, HttpResponse
from rover.values.exchange import Outcome
from rover.values.http import new_exchange, new_request
from rover_plugin_http1.head import RequestHead


class Request:
    """A request, from its head until its exchange is reported."""

    __slots__ = (
        "assumed",
        "complete",
        "content",
        "continued",
        "end",
        "ended",
        "follows",
        "head",
        "last",
        "over",
        "owner",
        "paired",
        "reported",
        "response",
        "sequence",
        "start",
    )

    owner: int
    """Its ordinal on the connection: request and response are consumed under it."""
    head: RequestHead
    start: int
    """ns, first byte."""
    sequence: int
    """Number of the call that moved it."""
    follows: bool
    """Whether bytes before it are missing, or were not understood, that may have been requests."""
    end: int
    """ns, last byte seen."""
    content: int | None
    """Bytes; None when they could not be counted."""
    ended: bool
    """Whether nothing of it follows."""
    complete: bool
    """False when request or response was cut."""
    continued: bool
    """Whether 100 (Continue) was sent."""
    paired: bool
    """False when its response was lost, or will not come."""
    assumed: bool
    """Whether nothing proves that the response is its."""
    over: int
    """ns, when it was given up; 0 when it was not, or its response was lost."""
    last: bool
    """Whether nothing that follows it can be read, for its end cannot be told."""
    reported: bool
    """Whether its exchange went out already, before its response came."""
    response: HttpResponse | None
    """As soon as it has ended, or was cut."""

    def value(self) -> HttpRequest:
        """What is known of it by now."""
        head = self.head
        return new_request(
            method=head.method,
            target=head.target,
            version=head.version,
            headers=head.headers,
            start=self.start,
            end=self.end,
            header_size=head.size,
            body_size=self.content,
            authority="",
            scheme="",
        )

    def exchange(self, outcome: Outcome) -> HttpExchange:
        """What is to be reported of it."""
        self.reported = True
        return new_exchange(
            owner=self.owner,
            request=self.value(),
            response=self.response,
            outcome=outcome,
            end=self.over,
            assumed=self.assumed,
        )


def begun(owner: int, head: RequestHead, start: int, sequence: int, follows: bool) -> Request:
    """One that begins: compiled, a call of C."""
    made = Request.__new__(Request)
    made.owner = owner
    made.head = head
    made.start = made.end = start
    made.sequence = sequence
    made.follows = follows
    made.complete = made.paired = True
    made.ended = made.continued = made.assumed = made.last = made.reported = False
    made.over = 0
    made.content = made.response = None
    return made
