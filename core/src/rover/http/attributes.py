"""HTTP messages as access-log attributes, under OpenTelemetry's names."""

from __future__ import annotations

from rover.http.trace import trace_context
from rover.values.http import HttpRequest, HttpResponse

Attributes = dict[str, str | int | bool]


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


def http_attributes(request: HttpRequest, response: HttpResponse | None) -> Attributes:
    """What an access log says of an exchange; what is not known is absent."""
    method, target, headers, body_size = request.method, request.target, request.headers, request.body_size
    path, query = split_target(target)
    attributes: Attributes = {"http.request.method": method, "url.original": target}
    if path:
        attributes["url.path"] = path
    if query:
        attributes["url.query"] = query
    if host := request.authority or headers.get("host"):
        attributes["http.request.header.host"] = host
    if agent := headers.get("user-agent"):
        attributes["user_agent.original"] = agent
    attributes["http.request.header.size"] = request.header_size
    if body_size is not None:
        attributes["http.request.body.size"] = body_size
    if response is not None:
        body_size = response.body_size
        attributes["http.response.status_code"] = response.status
        attributes["http.response.header.size"] = response.header_size
        if body_size is not None:
            attributes["http.response.body.size"] = body_size
    if trace := trace_context(headers):
        attributes["trace.provider"] = trace.provider
        attributes["trace_id"] = trace.trace_id
        attributes["span_id"] = trace.span_id
        if trace.segment_id:
            attributes["trace.segment_id"] = trace.segment_id
    return attributes
