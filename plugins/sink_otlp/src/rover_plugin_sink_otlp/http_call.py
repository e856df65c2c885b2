"""One request of OTLP/HTTP, on a connection of its own, without I/O (opentelemetry.io/docs/specs/otlp,
OTLP/HTTP)."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Sequence

import h11

from rover.sending.call import TAKEN_EARLY, Status
from rover_plugin_sink_otlp.answers import message_of

RETRYABLE = frozenset((429, 502, 503, 504))
"""Status codes after which the request may be sent again; after no other one it may."""
ROUND = 1 << 18
"""Bytes of the body handed out at once."""
MAX_ANSWER = 1 << 16
"""Bytes of an answer that are kept: one is some words."""
MAX_READ = 1 << 22
"""Bytes of an answer that are read at all."""
MAX_HEAD = 1 << 16


class HttpCall:
    """Alternately give it what the socket read, and write what it gives."""

    def __init__(
        self,
        path: str,
        body: bytes,
        *,
        authority: str,
        headers: Sequence[tuple[str, str]] = (),
        encoding: str = "",
    ) -> None:
        """`headers`: further ones. `encoding`: how the body is compressed already."""
        self.answer = b""
        self.status: Status | None = None
        """Set when the call is over."""
        self._body = body
        self._position = 0
        self._finished = False
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._response: h11.Response | None = None
        self._kept = bytearray()
        self._read = 0
        self._out = self._h11.send(
            h11.Request(
                method="POST",
                target=path,
                headers=[
                    ("host", authority),
                    ("user-agent", "rover"),
                    ("content-type", "application/x-protobuf"),
                    ("content-length", str(len(body))),
                    ("connection", "close"),
                    *((("content-encoding", encoding),) if encoding else ()),
                    *headers,
                ],
            )
        )

    def output(self) -> bytes:
        """What is to be written next."""
        out, self._out = self._out or b"", b""
        if self.status is None and not self._finished:
            piece = self._body[self._position : self._position + ROUND]
            self._position += len(piece)
            out += self._h11.send(h11.Data(data=piece)) or b""
            if self._position == len(self._body):
                out += self._h11.send(h11.EndOfMessage()) or b""
                self._finished = True
        return out

    def input(self, data: bytes) -> None:
        """What was read; empty says that the connection is closed."""
        if self.status is not None:
            return
        self._read += len(data)
        try:
            self._h11.receive_data(data)
            while self.status is None:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._handle(event)
        except h11.RemoteProtocolError as error:
            if not data and self._response is None:
                self._end("UNAVAILABLE", "the connection was closed before the answer")
            else:
                self._end("UNAVAILABLE", f"what answers breaks HTTP/1.1: {error}")
        if self._read > MAX_READ and self.status is None:
            self._end("UNAVAILABLE", "the answer has no end")

    def _handle(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._response = event
        elif isinstance(event, h11.Data):
            if len(self._kept) <= MAX_ANSWER:
                self._kept += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._answered()
        elif isinstance(event, h11.ConnectionClosed):
            self._end("UNAVAILABLE", "the connection was closed before the answer")

    def _answered(self) -> None:
        response = self._response
        if response is None:
            return
        code = response.status_code
        headers = {bytes(name).lower(): bytes(value) for name, value in response.headers}
        if len(self._kept) <= MAX_ANSWER:
            self.answer = bytes(self._kept)
        if 200 <= code < 300:
            self.status = Status("OK") if self._finished else TAKEN_EARLY
            return
        words = message_of(self.answer, headers.get(b"content-type", b""))
        said = f"HTTP status {code}{': ' if words else ''}{words}"
        if code in RETRYABLE:
            asked = retry_after(headers.get(b"retry-after"))
            self.status = Status(f"HTTP_{code}", said, retry_after=asked)
        else:
            self.status = Status(f"HTTP_{code}", said)

    def _end(self, code: str, message: str) -> None:
        if self.status is None:
            self.status = Status(code, message)


def retry_after(value: bytes | None) -> float | None:
    """Seconds of a Retry-After (RFC 9110 section 10.2.3), which has them, or a date."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
