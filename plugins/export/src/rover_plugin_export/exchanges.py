"""Exchanges with their messages, on the way from the hooks to the archive.

The hooks see messages, and no more; an access log comes out of the pipeline right after, or later where
plugins or the pipeline hold it. Here the two come together again.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from rover import (
    AccessLog,
    Closed,
    Connection,
    Detail,
    HttpRequest,
    HttpResponse,
    HttpStream,
    Opened,
    Process,
    ProtocolBreak,
    Role,
    hookimpl,
)
from rover_plugin_export.content import NO_CONTENT
from rover_plugin_export.har import Messages
from rover_plugin_export.http1_contents import content_of_request, content_of_response
from rover_plugin_export.http2_contents import PREFACE, Frames
from rover_plugin_export.kept_bytes import Allowance, KeptBytes

MAX_KEPT = 64 << 20
"""Bytes kept of all connections together, while it is not known which message they belong to."""
MAX_CONNECTIONS = 65_536
"""Whose bytes are kept at once: as many as the pipeline follows (`limits.connections`). The oldest makes
room."""
HEADS = 256 << 10
"""Bytes kept of one direction besides two contents: heads, and requests that follow each other at once."""
MAX_WAITING = 1024
"""Exchanges whose access log has not come: as many as the pipeline holds of one connection."""
MAX_WAITING_BYTES = 64 << 20
PREFACE_WITHIN = 1024
"""Bytes in front of an HTTP/2 client's preface: a PROXY protocol header."""


class _Streams:
    """What is kept of a connection."""

    __slots__ = ("frames", "kept")

    def __init__(self, limit: int, allowance: Allowance) -> None:
        self.kept = tuple(KeptBytes(2 * limit + HEADS, allowance) for _ in range(2))
        """By direction."""
        self.frames: tuple[Frames, Frames] | None = None
        """By direction, of HTTP/2: then the bytes themselves are not kept."""

    def clear(self) -> None:
        for each in (*self.kept, *(self.frames or ())):
            each.clear()


class _Waiting:
    __slots__ = ("connection", "details", "messages", "start")

    def __init__(self, connection: int, details: tuple[Detail, ...], start: int, messages: Messages) -> None:
        self.connection = connection
        self.details = details
        self.start = start
        self.messages = messages

    @property
    def size(self) -> int:
        return len(self.messages.asked.data) + len(self.messages.answered.data)


class Exchanges:
    """A listener of records, and a plugin of hooks."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes kept of the content of a message; 0 for none."""
        self.limit = limit
        self._allowance = Allowance(MAX_KEPT)
        self._streams: dict[int, _Streams] = {}
        self._secret: set[int] = set()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0

    # -- records -------------------------------------------------------------------------------

    def begin(self, epoch: int) -> None:  # noqa: ARG002
        """Another source: connections are numbered anew."""
        for streams in self._streams.values():
            streams.clear()
        self._streams.clear()
        self._secret.clear()

    def process(self, process: Process) -> None:
        """Nothing: access logs tell."""

    def opened(self, opened: Opened) -> None:
        """A connection whose bytes are kept from now on."""
        self.forget(opened.connection)
        if self.limit:
            if len(self._streams) >= MAX_CONNECTIONS:
                self.forget(next(iter(self._streams)))
            self._streams[opened.connection] = _Streams(self.limit, self._allowance)

    def data(self, detail: Detail, payload: bytes) -> None:
        """A call."""
        streams = self._streams.get(detail.connection)
        if streams is not None and detail.connection not in self._secret:
            self._moved(streams, detail, payload)

    def plaintext(self, plaintext: Any, payload: bytes) -> None:
        """A call of a TLS library: what it moved takes the place of the ciphertext."""
        streams = self._streams.get(plaintext.connection)
        if streams is None:
            return
        if plaintext.connection not in self._secret:
            self._secret.add(plaintext.connection)
            streams.clear()
        self._moved(streams, plaintext, payload)

    def closed(self, closed: Closed) -> None:
        """Its end, after all of its exchanges."""
        self.forget(closed.connection)

    def forget(self, connection: int) -> None:
        """Keeps nothing of a connection any more."""
        streams = self._streams.pop(connection, None)
        if streams is not None:
            streams.clear()
        self._secret.discard(connection)

    def _moved(self, streams: _Streams, call: Any, payload: bytes) -> None:
        if streams.frames is not None:
            streams.frames[call.direction].feed(call.position, payload, call.size)
            return
        kept = streams.kept[call.direction]
        kept.add(call.position, payload)
        if payload.startswith(PREFACE) or (call.position < PREFACE_WITHIN and PREFACE in payload):
            self._begin_http2(streams, call.direction, call.position + payload.index(PREFACE))

    def _begin_http2(self, streams: _Streams, direction: int, preface: int) -> None:
        """Frames follow the client's preface, and begin with the server's first byte."""
        begins = [kept.begin for kept in streams.kept]  # after an upgrade it is not 0
        begins[direction] = preface + len(PREFACE)
        streams.frames = made = (
            Frames(begins[0], self.limit, self._allowance),
            Frames(begins[1], self.limit, self._allowance),
        )
        for frames, kept, begin in zip(made, streams.kept, begins, strict=True):
            data = kept.read(begin, begin + 2 * self.limit + HEADS)
            kept.clear()
            frames.feed(begin, data, len(data))

    # -- hooks ---------------------------------------------------------------------------------

    @hookimpl(tryfirst=True)
    def handle_http_data(
        self,
        connection: Connection,
        request: HttpRequest,
        response: HttpResponse | None,
        details: tuple[Detail, ...],
    ) -> None:
        """Of HTTP/1.x."""
        messages = Messages(request, response)
        streams = self._streams.get(connection.id)
        if streams is not None and streams.frames is None:
            egress = connection.role is Role.CLIENT
            asked = content_of_request(streams.kept[egress], request, self.limit)
            answered, reason = NO_CONTENT, ""
            if response is not None:
                answered, reason = content_of_response(streams.kept[not egress], response, self.limit)
            messages = Messages(request, response, asked, answered, reason)
            for detail in details:
                # Its messages end in the last call of each direction, or before it.
                streams.kept[detail.direction].forget(detail.position)
        self._wait(connection, details, messages)

    @hookimpl(tryfirst=True)
    def handle_whole_stream(
        self, connection: Connection, stream: HttpStream, details: tuple[Detail, ...]
    ) -> None:
        """Of HTTP/2."""
        asked = answered = NO_CONTENT
        streams = self._streams.get(connection.id)
        if streams is not None and streams.frames is not None:
            egress = connection.role is Role.CLIENT
            asked = streams.frames[egress].take(stream.owner)
            answered = streams.frames[not egress].take(stream.owner)
        self._wait(connection, details, Messages(stream.request, stream.response, asked, answered))

    @hookimpl(tryfirst=True)
    def handle_exchange(self, connection: Connection) -> None:
        """Of a protocol that the archive has no place for."""
        self.forget(connection.id)

    @hookimpl
    def on_protocol_break(self, connection: Connection, protocol_break: ProtocolBreak) -> None:
        """Nothing more is decoded of the connection, unless another protocol goes on."""
        if not protocol_break.upgrade:
            self.forget(connection.id)

    def _wait(self, connection: Connection, details: tuple[Detail, ...], messages: Messages) -> None:
        waiting = _Waiting(connection.id, details, messages.request.start, messages)
        self._waiting.append(waiting)
        self._waiting_bytes += waiting.size
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._waiting_bytes -= self._waiting.popleft().size

    def messages_of(self, log: AccessLog) -> Messages | None:
        """The messages of an access log, once; None where they are not known."""
        waiting = self._waiting
        for index in range(len(waiting) - 1, -1, -1):
            each = waiting[index]
            if (
                each.connection == log.connection.id
                and each.details is log.details
                and each.start == log.start
            ):
                del waiting[index]
                self._waiting_bytes -= each.size
                return each.messages
        return None
