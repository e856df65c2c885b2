"""What gRPC adds to an HTTP/2 exchange.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import urllib.parse

from rover.http import HttpRequest, HttpResponse

_CONTENT_TYPE = "application/grpc"
_VARIANTS = (_CONTENT_TYPE + "+", _CONTENT_TYPE + ";")
_MAX_STATUS_DIGITS = 9
"""A status code is an int; codes in use have one or two digits."""


def grpc_attributes(request: HttpRequest, response: HttpResponse | None) -> dict[str, str | int]:
    """Attributes of a gRPC call, under OpenTelemetry's names; empty for anything else.

    `rpc.method` is the fully-qualified name, "package.Service/Method" (OpenTelemetry semantic
    conventions for gRPC): the path without its first slash.
    """
    content_type = request.headers.get("content-type") or ""
    # application/grpc-web is another protocol: its status is in the body.
    if content_type != _CONTENT_TYPE and not content_type.startswith(_VARIANTS):
        return {}
    attributes: dict[str, str | int] = {"rpc.system": "grpc"}
    if method := request.target.removeprefix("/"):
        attributes["rpc.method"] = method
    if response is None:
        return attributes
    headers = response.trailers
    status = headers.get("grpc-status")
    if status is None:
        # "Trailers-Only": a call that fails at once has its status in the only header block.
        headers = response.headers
        status = headers.get("grpc-status")
    if status is None:
        return attributes
    if status.isascii() and status.isdigit() and len(status) <= _MAX_STATUS_DIGITS:
        attributes["rpc.grpc.status_code"] = int(status)
    if message := headers.get("grpc-message"):
        attributes["rpc.grpc.status_message"] = urllib.parse.unquote(message)
    return attributes
