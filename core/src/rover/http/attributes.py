"""HTTP messages as access-log attributes, under OpenTelemetry's names."""

from __future__ import annotations

from rover.http.trace import trace_fields
from rover.values.attributes import AttributeValue, Cell
from rover.values.http import HttpRequest, HttpResponse

Attributes = dict[str, AttributeValue]


def split_target(target: str) -> tuple[str, str]:
    """(path, query) of a request target, empty where it has none (RFC 9112 section 3.2).

    Only origin and absolute form have them; `*` and `host:port` do not.
    """
    if not target.startswith("/"):
        _, separator, rest = target.partition("://")
        if not separator:
            return "", ""
        slash, question = rest.find("/"), rest.find("?")
        if slash < 0 or 0 <= question < slash:
            return "/", rest[question + 1 :] if question >= 0 else ""
        target = rest[slash:]
    question = target.find("?")
    if question < 0:
        return target, ""
    return target[:question], target[question + 1 :]


HTTP_NAMES = (
    "http.request.method",
    "url.original",
    "url.path",
    "url.query",
    "http.request.header.host",
    "user_agent.original",
    "http.request.header.size",
    "http.request.body.size",
    "http.response.status_code",
    "http.response.header.size",
    "http.response.body.size",
    "trace.provider",
    "trace_id",
    "span_id",
    "trace.segment_id",
)
"""Of what `http_cells` has the values."""


def http_attributes(request: HttpRequest, response: HttpResponse | None) -> Attributes:
    """What an access log says of an exchange; what is not known is absent."""
    cells = http_cells(request, response)
    return {name: cell for name, cell in zip(HTTP_NAMES, cells, strict=True) if cell is not None}


def http_cells(request: HttpRequest, response: HttpResponse | None) -> tuple[Cell, ...]:
    """The same for a `Shape` that begins with HTTP_NAMES: a value for each, None where it is absent."""
    headers = request.headers
    path, query = split_target(request.target)
    host = request.authority or headers.get("host")
    agent = headers.get("user-agent")
    status: int | None = None
    size: int | None = None
    body: int | None = None
    if response is not None:
        status, size, body = response.status, response.header_size, response.body_size
    provider: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    segment_id: str | None = None
    trace = trace_fields(headers)
    if trace is not None:
        provider, trace_id, span_id, segment_id = trace
    return (
        request.method,
        request.target,
        path or None,
        query or None,
        (host,) if host else None,
        agent or None,
        request.header_size,
        request.body_size,
        status,
        size,
        body,
        provider,
        trace_id,
        span_id,
        segment_id or None,
    )
