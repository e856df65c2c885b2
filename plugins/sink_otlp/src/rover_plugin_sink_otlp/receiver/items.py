"""What is in a request, one by one: spans, data points, log records, each with whom it is about.

Ids are hexadecimal, as in OTLP/JSON; attributes are a plain object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
"""By signal."""
Item = dict[str, Any]


def items(signal: str, request: Any) -> Iterator[Item]:
    """The items of a request, in its order."""
    yield from {"traces": _spans, "metrics": _points, "logs": _records}[signal](request)


def _spans(request: Any) -> Iterator[Item]:
    for group in request.resource_spans:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield {
                    "signal": "traces",
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    **({"parent_span_id": span.parent_span_id.hex()} if span.parent_span_id else {}),
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "status": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
                    "resource": resource,
                    "attributes": attributes(span.attributes),
                }


def _points(request: Any) -> Iterator[Item]:
    for group in request.resource_metrics:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data") or "histogram").data_points:
                    yield {
                        "signal": "metrics",
                        "name": metric.name,
                        "unit": metric.unit,
                        "start": point.start_time_unix_nano,
                        "time": point.time_unix_nano,
                        **_figures(point),
                        "resource": resource,
                        "attributes": attributes(point.attributes),
                    }


def _figures(point: Any) -> Item:
    if not hasattr(point, "bucket_counts"):
        return {"value": getattr(point, point.WhichOneof("value") or "as_int")}
    return {
        "count": point.count,
        "sum": point.sum,
        "bounds": list(point.explicit_bounds),
        "counts": list(point.bucket_counts),
        "exemplars": [
            {"trace_id": each.trace_id.hex(), "span_id": each.span_id.hex(), "value": each.as_double}
            for each in point.exemplars
        ],
    }


def _records(request: Any) -> Iterator[Item]:
    for group in request.resource_logs:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
                yield {
                    "signal": "logs",
                    "event": record.event_name,
                    "time": record.time_unix_nano,
                    "severity": record.severity_text,
                    "body": value(record.body),
                    **({"trace_id": record.trace_id.hex()} if record.trace_id else {}),
                    **({"span_id": record.span_id.hex()} if record.span_id else {}),
                    "resource": resource,
                    "attributes": attributes(record.attributes),
                }


def attributes(pairs: Any) -> Item:
    """Of KeyValues; the last of several with one name."""
    return {pair.key: value(pair.value) for pair in pairs}


def value(any_value: Any) -> Any:
    """Of an AnyValue."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value(each) for each in any_value.array_value.values]
    if kind == "kvlist_value":
        return attributes(any_value.kvlist_value.values)
    if kind == "bytes_value":
        return any_value.bytes_value.hex()
    return getattr(any_value, kind)
