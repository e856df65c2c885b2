"""What gRPC adds to an HTTP/2 exchange.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import urllib.parse

from rover.values.grpc import STATUS_CODES
from rover.values.http import HttpRequest, HttpResponse

_CONTENT_TYPE = "application/grpc"
_VARIANTS = (_CONTENT_TYPE + "+", _CONTENT_TYPE + ";")
_MAX_STATUS_DIGITS = 9
"""A status code is an int; codes in use have one or two digits."""
_CODES = {str(code): name for code, name in enumerate(STATUS_CODES)}
"""By what is sent."""

GRPC_NAMES = ("rpc.system.name", "rpc.method", "rpc.status_code", "grpc.status_message")
"""Of what `grpc_cells` has the values."""
_NONE = (None, None, None, None)


def grpc_cells(request: HttpRequest, response: HttpResponse | None) -> tuple[str | int | None, ...]:
    """Attributes of a gRPC call, under OpenTelemetry's names; all absent for anything else.

    `rpc.method` is the fully-qualified name, "package.Service/Method": the path without its first slash.
    `rpc.status_code` is the code's name, or the number of one that has none (OpenTelemetry semantic
    conventions 1.45 for gRPC, the first that are stable).
    """
    headers = request.headers
    content_type = headers.get("content-type") or ""
    # application/grpc-web is another protocol: its status is in the body.
    if content_type != _CONTENT_TYPE and not content_type.startswith(_VARIANTS):
        return _NONE
    target = request.target
    method = (target.removeprefix("/")) or None
    if response is None:
        return "grpc", method, None, None
    headers = response.trailers
    status = headers.get("grpc-status")
    if status is None:
        # "Trailers-Only": a call that fails at once has its status in the only header block.
        headers = response.headers
        status = headers.get("grpc-status")
    if status is None:
        return "grpc", method, None, None
    code = _CODES.get(status)
    if code is None and status.isascii() and status.isdigit() and len(status) <= _MAX_STATUS_DIGITS:
        number = int(status)
        code = STATUS_CODES[number] if number < len(STATUS_CODES) else str(number)
    message = headers.get("grpc-message")
    return "grpc", method, code, urllib.parse.unquote(message) if message else None
