"""What a receiver says of a request: that it took a part of it, or why it took nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from rover.sending.rpc_status import of_message

RESPONSES: dict[str, Any] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}
MAX_WORDS = 500
"""Characters of what a server says that are looked at."""


class PartialSuccess(NamedTuple):
    """What was not taken of a request that was."""

    rejected: int
    message: str


def partial_success(signal: str, answer: bytes) -> PartialSuccess:
    """Nothing, of an answer that cannot be read: the request was taken."""
    response, field = RESPONSES[signal]
    try:
        partial = response.FromString(answer).partial_success
    except DecodeError:
        return PartialSuccess(0, "")
    return PartialSuccess(max(0, getattr(partial, field)), partial.error_message)


def message_of(answer: bytes, content_type: bytes) -> str:
    """The words in the answer to a request that was refused: of a google.rpc.Status, or of a text."""
    if content_type.startswith(b"application/x-protobuf"):
        return of_message(answer).message[:MAX_WORDS]
    if content_type.startswith((b"text/plain", b"application/json")):
        return answer[:MAX_WORDS].decode("utf-8", "replace")
    return ""
