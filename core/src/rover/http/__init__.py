"""The vocabulary of HTTP exchanges: what HTTP plugins make and sinks read."""

import contextlib

from rover.http.attributes import HTTP_NAMES, http_attributes, http_cells, split_target
from rover.http.head_fields import HeadFields

with contextlib.suppress(ImportError):  # not compiled
    from rover.http._head_fields import HeadFields  # type: ignore[no-redef]
from rover.http.trace import TraceContext, trace_context
from rover.values.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream, text

__all__ = [
    "HTTP_NAMES",
    "HeadFields",
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
