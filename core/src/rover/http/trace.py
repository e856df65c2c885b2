"""Trace context that a request carries: SkyWalking sw8, W3C traceparent, B3.

A malformed header is as if absent. Where a request carries several, the first of the order
above wins: sw8 is only ever sent by an agent of the very backend it names.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re

from rover.http.traceparent import traceparent
from rover.values.http import Headers
from rover.values.value import Value

with contextlib.suppress(ImportError):  # not compiled
    from rover.http._traceparent import traceparent  # type: ignore[no-redef]

# https://github.com/openzipkin/b3-propagation: a trace id of 64 or 128 bits.
_B3_SINGLE = re.compile(r"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-[01d](?:-[0-9a-f]{16})?)?")
_B3_TRACE_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}")
_B3_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_MAX_SW8 = 8192
"""Characters of an sw8 value that are looked at; agents send some 300."""


class TraceContext(Value):
    """Where the request's trace comes from."""

    __slots__ = ("provider", "segment_id", "span_id", "trace_id")

    def __init__(
        self,
        *,
        provider: str,
        trace_id: str,
        span_id: str,
        segment_id: str = "",
    ) -> None:
        self.provider = provider
        """`skywalking`, `w3c` or `zipkin`."""
        self.trace_id = trace_id
        self.span_id = span_id
        """The caller's span."""
        self.segment_id = segment_id
        """SkyWalking only: the caller's trace segment."""


def trace_context(headers: Headers) -> TraceContext | None:
    """The trace context of a request's headers, None when it has none that is well-formed."""
    fields = trace_fields(headers)
    if fields is None:
        return None
    provider, trace_id, span_id, segment_id = fields
    return TraceContext(provider=provider, trace_id=trace_id, span_id=span_id, segment_id=segment_id)


def trace_fields(headers: Headers) -> tuple[str, str, str, str] | None:
    """The same as the fields of a TraceContext, in the order of its documentation."""
    if (value := headers.get("sw8")) and (fields := _sw8(value)):
        return fields
    if (value := headers.get("traceparent")) and (ids := traceparent(value)):
        return "w3c", ids[0], ids[1], ""
    if (value := headers.get("b3")) and (match := _B3_SINGLE.fullmatch(value.lower())):
        return "zipkin", match[1], match[2], ""
    if (value := headers.get("x-b3-traceid")) and _B3_TRACE_ID.fullmatch(value.lower()):
        span = (headers.get("x-b3-spanid") or "").lower()
        if _B3_SPAN_ID.fullmatch(span):
            return "zipkin", value.lower(), span, ""
    return None


def _sw8(value: str) -> tuple[str, str, str, str] | None:
    """sample-traceId-segmentId-spanId-service-instance-endpoint-peer, text fields in base64."""
    fields = value[:_MAX_SW8].split("-")
    if len(fields) != 8 or fields[0] not in ("0", "1") or not (fields[3].isascii() and fields[3].isdigit()):
        return None
    try:
        trace_id = base64.b64decode(fields[1], validate=True).decode()
        segment_id = base64.b64decode(fields[2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not trace_id or not segment_id:
        return None
    return "skywalking", trace_id, fields[3], segment_id
