"""A finished stream as an access log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rover import AccessLog, Connection, Detail
from rover.http import HTTP_NAMES
from rover.http.attributes import http_cells
from rover.values.access_log import new_log
from rover.values.attributes import Attributes, AttributeValue, Shape
from rover.values.http import HttpStream
from rover_plugin_http2.grpc import GRPC_NAMES, grpc_cells

ERROR_CODES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
"""By number, RFC 9113 section 7."""
_NO_ERROR = (None,)
SHAPE = Shape((*HTTP_NAMES, *GRPC_NAMES, "error.type"))


def access_log(connection: Connection, stream: HttpStream, details: tuple[Detail, ...]) -> AccessLog:
    """The log of a finished or split stream.

    `error.type` names what a reset or GOAWAY said, where one cut the stream.
    """
    request, response, code = stream.request, stream.response, stream.error_code
    error = None
    if code:
        error = ERROR_CODES[code] if code < len(ERROR_CODES) else f"{code:#x}"
    cells = http_cells(request, response) + grpc_cells(request, response) + ((error,) if error else _NO_ERROR)
    end = request.end if response is None else max(request.end, response.end)
    return new_log(
        connection=connection,
        start=request.start,
        end=end,
        protocol="http",
        version="2",
        attributes=cast("Mapping[str, AttributeValue]", Attributes(SHAPE, cells)),
        details=details,
        outcome=stream.outcome,
    )
