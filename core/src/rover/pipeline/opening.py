"""The opening of a connection: a PROXY protocol header, and the bytes that tell the protocol."""

from __future__ import annotations

from rover.contracts.protocol import ProtocolSpec, Verdict
from rover.pipeline.proxy_header import FIRST_V1, FIRST_V2, SECOND_V1, ProxyHeader, read_header
from rover.pipeline.recognition import MAX_GREETING, MAX_ONE_WAY, Recogniser
from rover.pipeline.tls_handshake import begins_record
from rover.streams.buffer import StreamBuffer
from rover.values.connection import Connection

MAYBE = Verdict.MAYBE


class Opening:
    """Takes the bytes before the protocol's own off the buffers."""

    __slots__ = ("_header_end", "given_up", "header", "late", "pinned", "tls")

    def __init__(self, late: bool) -> None:
        self.late = late
        """Its beginning was not seen: recognition never gives up on it."""
        self.pinned: ProtocolSpec | None = None
        """The protocol that the user pinned to its port."""
        self.header: ProxyHeader | None = None
        """The PROXY protocol header that it began with."""
        self.given_up = False
        """Whether nothing that it could still say would be recognised."""
        self.tls = False
        """Whether a TLS record comes next."""
        self._header_end = 0  # the position of the first byte after it, in the direction of the requests

    def recognise(
        self,
        recogniser: Recogniser,
        connection: Connection,
        buffer: StreamBuffer,
        other: StreamBuffer,
        requests: bool,
    ) -> ProtocolSpec | None:
        """The protocol, once it is known. `requests`: these bytes, the newest, come from the client."""
        self._pass_gap(buffer)
        if requests and not self.late and not self._passed_header(buffer):
            return None
        if self.pinned is not None:
            self.tls = begins_record(buffer.data, buffer.offset)
            return None if self.tls else self.pinned
        while len(buffer):
            verdict, spec = recogniser.sniff(buffer, connection)
            if spec is None and begins_record(buffer.data, buffer.offset):
                self.tls = True
                return None
            if spec is not None or verdict is MAYBE:
                return spec
            # A message may begin where a call does: what only seemed to open one hides none, neither
            # here, nor in the other direction, where it was answered by what is none.
            buffer.hide_call()
            if not self.late:
                other.hide(other.unread)
            self._pass_gap(buffer)
        buffer.clear()
        one, two = buffer.end, other.end
        self.given_up = not self.late and (min(one, two) >= MAX_GREETING or max(one, two) >= MAX_ONE_WAY)
        return None

    def _pass_gap(self, buffer: StreamBuffer) -> None:
        """Where the next bytes were lost, or not captured, whatever follows is mid-stream."""
        if buffer.at_gap and buffer.hide(buffer.gap) > 0 and len(buffer):
            self.late = True

    def _passed_header(self, buffer: StreamBuffer) -> bool:
        """Takes a PROXY protocol header from the front. False while more of it is due, and when nothing
        has come after it yet."""
        if buffer.position >= self._header_end:
            if buffer.position or not len(buffer):
                return True
            first = buffer.data[0]
            if first != FIRST_V1 and first != FIRST_V2:
                return True
            if first == FIRST_V1 and len(buffer) > 1 and buffer.data[1] != SECOND_V1:
                return True  # POST, PUT and PATCH begin like such a line
            header = read_header(buffer.data)
            if header is None:
                return True
            if not isinstance(header, ProxyHeader):
                return buffer.gap > 0 or buffer.ended  # no more of it will come
            self.header = header
            self._header_end = header.size
        buffer.skip(self._header_end - buffer.position)
        return buffer.unread > 0
