"""A finished stream as an access log."""

from __future__ import annotations

from rover import AccessLog, Connection, Detail
from rover.http import http_attributes
from rover.values.access_log import new_log
from rover.values.http import HttpStream
from rover_plugin_http2.grpc import grpc_attributes

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


def access_log(connection: Connection, stream: HttpStream, details: tuple[Detail, ...]) -> AccessLog:
    """The log of a finished or split stream.

    `error.type` names what a reset or GOAWAY said, where one cut the stream.
    """
    request, response, code = stream.request, stream.response, stream.error_code
    attributes = http_attributes(request, response)
    attributes.update(grpc_attributes(request, response))
    if code:
        attributes["error.type"] = ERROR_CODES[code] if code < len(ERROR_CODES) else f"{code:#x}"
    end = request.end if response is None else max(request.end, response.end)
    return new_log(
        connection=connection,
        start=request.start,
        end=end,
        protocol="http",
        version="2",
        attributes=attributes,
        details=details,
        outcome=stream.outcome,
    )
