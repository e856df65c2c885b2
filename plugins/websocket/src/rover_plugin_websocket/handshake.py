"""What the HTTP exchange that opened a WebSocket says of it (RFC 6455 section 4)."""

from __future__ import annotations

from rover import AttributeValue, HttpRequest, HttpResponse, http_attributes
from rover_plugin_websocket.frames import RESERVED, RSV1

Attributes = dict[str, AttributeValue]

DEFLATE = "permessage-deflate"
"""RFC 7692: a message whose first frame has RSV1 is compressed."""
TAKEN = (
    "url.original",
    "url.path",
    "url.query",
    "http.request.header.host",
    "user_agent.original",
    "trace.provider",
    "trace_id",
    "span_id",
    "trace.segment_id",
)
"""Of the request's attributes, those that say which endpoint it is and who opened it."""


def endpoint(request: HttpRequest | None, response: HttpResponse | None) -> Attributes:
    """Attributes that all logs of the connection share."""
    attributes: Attributes = {}
    if request is not None:
        every = http_attributes(request, None)
        attributes = {name: every[name] for name in TAKEN if name in every}
    if response is not None and (protocol := response.headers.get("sec-websocket-protocol")):
        attributes["websocket.subprotocol"] = protocol
    return attributes


class Extensions:
    """What was agreed on beyond RFC 6455; without a response nobody knows, and all is allowed."""

    __slots__ = ("compression", "first", "further")

    def __init__(self, response: HttpResponse | None) -> None:
        self.compression: bool | None = None
        """Whether messages may be compressed; None where nobody knows."""
        self.first = self.further = RESERVED
        """Reserved bits that may be set: in the first frame of a message, and in all others."""
        if response is None:
            return
        names = {
            each.partition(";")[0].strip().lower()
            for field in response.headers.get_all("sec-websocket-extensions")
            for each in field.split(",")
        } - {""}
        self.compression = DEFLATE in names
        if not names - {DEFLATE}:  # what another extension does with the bits, it alone knows
            self.first = RSV1 if self.compression else 0
            self.further = 0
