"""One client-streaming gRPC call, on a connection of its own, without I/O.

After "gRPC over HTTP2" (PROTOCOL-HTTP2.md of the gRPC project). The grpcio library spends 55 to
80 us of the processor on every message of a stream, which at ten thousand exchanges a
second is more than there is, and would be taken from the capture. Here a batch is one body, cut
into frames of 16 kB: less than 3 us a message.

GOAWAY is kept from h2, to which it ends the connection. To HTTP/2 (RFC 9113 section 6.8) the streams up
to the one it names go on, and a server that is restarted with grace answers them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from rover.sending.call import TAKEN_EARLY, Status
from rover.sending.rpc_status import of_trailer
from rover.values.grpc import STATUS_CODES

# What a proxy or another kind of server answers ("HTTP to gRPC Status Code Mapping").
_HTTP_CODES = {
    "400": "INTERNAL",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
}
_RESET_CODES = {
    ErrorCodes.REFUSED_STREAM: "UNAVAILABLE",
    ErrorCodes.CANCEL: "CANCELLED",
    ErrorCodes.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
    ErrorCodes.INADEQUATE_SECURITY: "PERMISSION_DENIED",
}
ROUND = 1 << 18
"""Bytes of the body handed out at once."""
STREAM = 1
SETTINGS, GOAWAY = 4, 7
TYPE_AT, FRAME_HEADER = 3, 9
MAX_FRAME = 1 << 14
"""Bytes of a frame's payload a server may send: what HTTP/2 begins with, and this end never raises."""
MAX_ANSWER = 1 << 16
"""Bytes of an answer that are kept: one is some words."""
_PREFIX = struct.Struct(">BI")  # whether it is compressed, length


class ClientCall:
    """Alternately give it what the socket read, and write what it gives."""

    def __init__(
        self,
        method: str,
        messages: Iterable[bytes],
        *,
        authority: str,
        secure: bool,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        encoding: str = "",
    ) -> None:
        """`timeout`: seconds, told to the server. `metadata`: lower-case names. `encoding`: how all messages
        are compressed already, as gRPC names it."""
        self.answer = b""
        """The message that was answered; empty where it is longer than MAX_ANSWER."""
        self.status: Status | None = None
        """Set when the call is over."""
        self._secure = secure
        self._body = b"".join(
            [b"%b%b" % (_PREFIX.pack(bool(encoding), len(each)), each) for each in messages]
        )
        self._position = 0
        self._finished = False
        self._http = ""
        self._begun = False
        self._answer = bytearray()
        self._received = bytearray()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.initiate_connection()
        self._h2.send_headers(
            STREAM,
            [
                (":method", "POST"),
                (":scheme", "https" if secure else "http"),
                (":path", method),
                (":authority", authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "rover"),
                ("grpc-timeout", f"{max(1, round(timeout * 1000))}m"),
                *((("grpc-encoding", encoding),) if encoding else ()),
                *metadata,
            ],
        )

    def output(self) -> bytes:
        """What is to be written next; nothing while the server's windows are full."""
        if self.status is None and not self._finished:
            window = self._h2.local_flow_control_window(STREAM)
            end = min(len(self._body), self._position + min(window, ROUND))
            while self._position < end:
                size = min(end - self._position, self._h2.max_outbound_frame_size)
                self._h2.send_data(STREAM, self._body[self._position : self._position + size])
                self._position += size
            if self._position == len(self._body):
                self._h2.end_stream(STREAM)
                self._finished = True
        return self._h2.data_to_send()

    def input(self, data: bytes) -> None:
        """What was read; empty says that the connection is closed."""
        if not data:
            self._end("UNAVAILABLE", self._closed())
            return
        self._received += data
        try:
            for event in self._h2.receive_data(self._frames()):
                self._handle(event)
        except H2Error as error:
            self._end("UNAVAILABLE", f"what answers breaks HTTP/2: {error}")

    def _frames(self) -> bytes:
        """The whole frames of what was read, for h2."""
        received = self._received
        frames = bytearray()
        at = 0
        while len(received) - at > TYPE_AT:
            kind = received[at + TYPE_AT]
            if not self._begun and kind != SETTINGS:
                # A server begins with SETTINGS (RFC 9113 section 3.4); anything else would be read
                # as the header of a frame that is long in coming.
                self._end("UNAVAILABLE", "what answers speaks no HTTP/2")
                return b""
            self._begun = True
            length = int.from_bytes(received[at : at + TYPE_AT])
            if length > MAX_FRAME:
                self._end("UNAVAILABLE", f"what answers breaks HTTP/2: a frame of {length} bytes")
                return b""
            after = at + FRAME_HEADER + length
            if after > len(received):
                break
            if kind == GOAWAY:
                self._goes_away(received[at + FRAME_HEADER : after])
            else:
                frames += received[at:after]
            at = after
        del received[:at]
        return bytes(frames)

    def _goes_away(self, payload: bytes | bytearray) -> None:
        # One that names this stream or a later one lets it end; a second one may name less.
        if int.from_bytes(payload[:4]) & 0x7FFF_FFFF < STREAM:
            self._end("UNAVAILABLE", "the server goes away", unprocessed=True)

    def _closed(self) -> str:
        if self._begun:
            return "the connection was closed before the answer"
        wanted = "a client certificate" if self._secure else "TLS"
        return f"the connection was closed without a word; does the server want {wanted}?"

    def _handle(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, STREAM)
            if len(self._answer) <= MAX_ANSWER:
                self._answer += event.data or b""
        elif isinstance(event, ResponseReceived | TrailersReceived):
            self._headers({_text(name): _text(value) for name, value in event.headers or ()})
        elif isinstance(event, StreamEnded):
            code = _HTTP_CODES.get(self._http, "UNKNOWN")
            self._end(code, f"no gRPC status, HTTP status {self._http or 'unknown'}")
        elif isinstance(event, StreamReset):
            name = getattr(event.error_code, "name", str(event.error_code))
            code = _RESET_CODES.get(event.error_code, "INTERNAL")  # type: ignore[call-overload]
            unprocessed = event.error_code == ErrorCodes.REFUSED_STREAM
            self._end(code, f"the stream was reset: {name}", unprocessed=unprocessed)

    def _headers(self, headers: dict[str, str]) -> None:
        self._http = headers.get(":status", self._http)
        number = headers.get("grpc-status")
        if number is None:
            return
        if number == "0" and not self._finished:
            self.status = self.status or TAKEN_EARLY
        else:
            known = (
                number.isascii() and number.isdigit() and len(number) < 3 and int(number) < len(STATUS_CODES)
            )
            self._end(
                STATUS_CODES[int(number)] if known else "UNKNOWN",
                unquote(headers.get("grpc-message", "")),
                retry_after=of_trailer(headers.get("grpc-status-details-bin", "")).retry_delay,
            )
            self._read_answer()

    def _read_answer(self) -> None:
        answer = self._answer
        if _PREFIX.size <= len(answer) <= MAX_ANSWER:
            compressed, size = _PREFIX.unpack_from(answer)
            if not compressed and len(answer) == _PREFIX.size + size:
                self.answer = bytes(answer[_PREFIX.size :])

    def _end(
        self, code: str, message: str, *, unprocessed: bool = False, retry_after: float | None = None
    ) -> None:
        if self.status is None:
            self.status = Status(code, message, unprocessed, retry_after)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
