"""The vocabulary of HTTP exchanges: what HTTP plugins make and sinks read."""

from rover.http.attributes import HTTP_NAMES, http_attributes, http_cells, split_target
from rover.http.methods import KNOWN_METHODS
from rover.http.trace import TraceContext, trace_context
from rover.values.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream, text

__all__ = [
    "HTTP_NAMES",
    "KNOWN_METHODS",
    "Headers",
    "HttpExchange",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "TraceContext",
    "http_attributes",
    "http_cells",
    "split_target",
    "text",
    "trace_context",
]
