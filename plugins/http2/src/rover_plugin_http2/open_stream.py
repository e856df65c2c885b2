"""A stream that is open: what is known of its two messages."""

from __future__ import annotations

import contextlib

from rover.http import Headers, HttpStream
from rover.values.exchange import Outcome
from rover.values.http import new_request, new_response, new_stream
from rover_plugin_http2.fields import packed_headers, status_of, value_of

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http2._fields import (  # type: ignore[no-redef]
        packed_headers,
        status_of,
        value_of,
    )

STREAM_MEMORY = 416
"""Bytes an open stream takes while nothing is known of it: itself, its two messages, its place
in the table. Measured with tracemalloc, and rounded up."""
MESSAGE_MEMORY = 160
"""What a message whose head is known takes more, besides its fields: times, counts, two objects."""
_NO_HEADERS = Headers()


class Message:
    """One direction of a stream, as far as it was seen."""

    __slots__ = (
        "body_size",
        "end",
        "ended",
        "fields",
        "gaps",
        "header_size",
        "known",
        "pseudo",
        "start",
        "trailers",
    )

    def __init__(self) -> None:
        self.known = False
        """Whether the head has been seen."""
        self.pseudo = b""
        """Packed pseudo-header fields."""
        self.fields = b""
        self.trailers = b""
        self.start = 0
        self.end = 0
        self.header_size = 0
        self.body_size: int | None = 0
        """None when the number of padding bytes was not captured, or whole frames may be missing."""
        self.ended = False
        self.gaps = 0
        """How many gaps its direction had when a frame of it was seen last."""

    def begin(self, pseudo: bytes, fields: bytes, size: int, start: int, now: int) -> None:
        """The head has been seen."""
        self.known = True
        self.pseudo = pseudo
        self.fields = fields
        self.body_size = 0  # what may be missing was before it
        self.header_size = size
        self.start = start
        self.end = now

    def miss(self, hiding: int) -> None:
        """Gap number `hiding` of its direction was the last that may have hidden content."""
        if not self.ended and self.gaps < hiding:
            self.body_size = None

    def restart(self) -> None:
        """A part of the message was logged; what follows is counted from zero."""
        self.header_size = 0
        self.body_size = 0


class Stream:
    """An open stream that will be logged."""

    __slots__ = ("error", "memory", "number", "request", "response", "since")

    def __init__(self, number: int, since: int) -> None:
        self.number = number
        self.since = since
        """When it was opened, or logged last."""
        self.request = Message()
        self.response = Message()
        self.error: int | None = None
        """Error code of a reset that was seen before the request."""
        self.memory = STREAM_MEMORY
        """Bytes it takes, at most."""

    @property
    def size(self) -> int:
        """Bytes of its fields."""
        return sum(
            len(message.pseudo) + len(message.fields) + len(message.trailers)
            for message in (self.request, self.response)
        )

    def value(self, outcome: Outcome, error: int | None, end: int) -> HttpStream:
        """What is known, as hooks see it. The request's head has been seen. `end`: see HttpStream."""
        sent, answer = self.request, self.response
        pseudo = sent.pseudo
        authority = value_of(pseudo, ":authority") or ""
        request = new_request(
            method=value_of(pseudo, ":method") or "",
            target=value_of(pseudo, ":path") or authority,
            version="2",
            headers=packed_headers(sent.fields),
            start=sent.start,
            end=sent.end,
            header_size=sent.header_size,
            body_size=sent.body_size,
            authority=authority,
            scheme=value_of(pseudo, ":scheme") or "",
        )
        response = None
        if answer.known:
            response = new_response(
                status=status_of(answer.pseudo),
                version="2",
                headers=packed_headers(answer.fields),
                start=answer.start,
                end=answer.end,
                header_size=answer.header_size,
                body_size=answer.body_size,
                trailers=packed_headers(answer.trailers) if answer.trailers else _NO_HEADERS,
            )
        return new_stream(
            owner=self.number, request=request, response=response, outcome=outcome, error_code=error, end=end
        )
