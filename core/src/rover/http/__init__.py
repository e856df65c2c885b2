"""The vocabulary of HTTP exchanges: what HTTP plugins make and sinks read."""

from rover.http.attributes import http_attributes, split_target
from rover.http.trace import TraceContext, trace_context
from rover.http.values import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream, text

__all__ = [
    "Headers",
    "HttpExchange",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "TraceContext",
    "http_attributes",
    "split_target",
    "text",
    "trace_context",
]
