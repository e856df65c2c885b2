"""The receiver at the other end, by gRPC or by HTTP (opentelemetry.io/docs/specs/otlp)."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Mapping, Sequence

from rover.sending import backend
from rover.sending.backend import Failure
from rover.sending.call import TAKEN_EARLY, Call, Status
from rover.sending.grpc_call import ClientCall
from rover.sending.sender import REPORT_INTERVAL, shown
from rover.sending.tls import context_of
from rover_plugin_sink_otlp.answers import partial_success
from rover_plugin_sink_otlp.http_call import RETRYABLE as RETRYABLE_HTTP
from rover_plugin_sink_otlp.http_call import HttpCall
from rover_plugin_sink_otlp.settings import Configuration

METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
ITEMS = {"traces": "spans", "metrics": "metrics", "logs": "log records"}
"""What is sent of a signal, for the lines that say so."""
RETRYABLE = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)
"""gRPC statuses after which a request may be sent again. RESOURCE_EXHAUSTED is one where it says when."""
LEVEL = 1
"""Of gzip: what repeats in spans is near, and higher levels find little more."""

FIXES = {
    "UNIMPLEMENTED": "leave {signal} out of sink.otlp.signals, or name another sink.otlp.{signal}_endpoint",
    "HTTP_404": "leave {signal} out of sink.otlp.signals, or name another sink.otlp.{signal}_endpoint",
    "HTTP_405": "is it a receiver of OTLP? 4318 is the usual port of http/protobuf",
    "HTTP_413": "set sink.otlp.flush_max_count lower, or the receiver's limit higher",
    "HTTP_415": "is sink.otlp.protocol the receiver's?",
    "RESOURCE_EXHAUSTED": "set sink.otlp.flush_max_count lower, or the receiver's limit higher",
    "UNAUTHENTICATED": "set sink.otlp.headers to what it asks for",
    "PERMISSION_DENIED": "set sink.otlp.headers to what may send",
    "HTTP_401": "set sink.otlp.headers to what it asks for",
    "HTTP_403": "set sink.otlp.headers to what may send",
}

logger = logging.getLogger("rover.otlp")


class Backend(backend.Backend):
    """A batch is one request, of one signal."""

    def __init__(self, configuration: Configuration, signal: str) -> None:
        """Raises RoverError for certificates that cannot be used."""
        endpoint, tls = configuration.endpoints[signal], configuration.tls
        self.rejected = 0
        """Spans, points or records of requests that were taken, but for these."""
        self.fixes: Mapping[str, str] = {code: fix.format(signal=signal) for code, fix in FIXES.items()}
        self._signal = signal
        self._path = endpoint.path
        self._headers = configuration.headers
        self._encoding = "gzip" if configuration.gzip else ""
        self._grpc = configuration.grpc
        self._said: dict[str, float] = {}
        super().__init__(
            (endpoint.address,),
            configuration.timeout,
            context_of(tls, "otlp", "h2" if configuration.grpc else "http/1.1") if endpoint.secure else None,
            tls.server_name if endpoint.secure else "",
        )

    def begin(self, messages: Sequence[bytes], authority: str, timeout: float) -> Call:
        """See `backend.Backend`."""
        request = b"".join(messages)
        if self._encoding:
            request = gzip.compress(request, LEVEL, mtime=0)
        if self._grpc:
            return ClientCall(
                METHODS[self._signal],
                [request],
                authority=authority,
                secure=self.secure,
                timeout=timeout,
                metadata=self._headers,
                encoding=self._encoding,
            )
        return HttpCall(
            self._path, request, authority=authority, headers=self._headers, encoding=self._encoding
        )

    def failure(self, status: Status) -> Failure:
        """See `backend.Backend`."""
        if status is TAKEN_EARLY:
            return Failure.FAULT
        code = status.code
        asked = code == "RESOURCE_EXHAUSTED" and status.retry_after is not None
        if asked or code in RETRYABLE or code in {f"HTTP_{each}" for each in RETRYABLE_HTTP}:
            return Failure.AWAY
        return Failure.REJECTED

    def answered(self, answer: bytes) -> None:
        """See `backend.Backend`."""
        if not answer:
            return
        rejected, message = partial_success(self._signal, answer)
        self.rejected += rejected
        if not rejected and not message:
            return
        kind, now = "rejected" if rejected else "warning", time.monotonic()
        if now - self._said.get(kind, -REPORT_INTERVAL) >= REPORT_INTERVAL:
            self._said[kind] = now
            what = f"does not take {rejected} of its {ITEMS[self._signal]}" if rejected else "says"
            logger.warning("otlp: %s %s: %s", self.address, what, shown(message) or "it does not say why")
