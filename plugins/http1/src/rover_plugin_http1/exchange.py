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

    def __init__(self, owner: int, head: RequestHead, start: int, sequence: int, follows: bool) -> None:
        self.owner = owner
        """Its ordinal on the connection: request and response are consumed under it."""
        self.head = head
        self.start = start
        """ns, first byte."""
        self.sequence = sequence
        """Number of the call that moved it."""
        self.follows = follows
        """Whether bytes before it are missing, or were not understood, that may have been requests."""
        self.end = start
        """ns, last byte seen."""
        self.content: int | None = None
        """Bytes; None when they could not be counted."""
        self.ended = False
        """Whether nothing of it follows."""
        self.complete = True
        """False when request or response was cut."""
        self.continued = False
        """Whether 100 (Continue) was sent."""
        self.paired = True
        """False when its response was lost, or will not come."""
        self.assumed = False
        """Whether nothing proves that the response is its."""
        self.over = 0
        """ns, when it was given up; 0 when it was not, or its response was lost."""
        self.last = False
        """Whether nothing that follows it can be read, for its end cannot be told."""
        self.reported = False
        """Whether its exchange went out already, before its response came."""
        self.response: HttpResponse | None = None
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
