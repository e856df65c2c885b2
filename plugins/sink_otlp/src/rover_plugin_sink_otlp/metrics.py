"""Histograms of durations as OpenTelemetry's metrics (opentelemetry/proto/metrics/v1/metrics.proto).

They are cumulative, so that a request that is lost costs no count. They are made of protobuf's own objects:
there is one of a series a minute, not one of an exchange.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    HistogramDataPoint,
)

from rover.metrics import Instrument, Pairs, Point, Requests
from rover.sending.batch import Batch
from rover_plugin_sink_otlp.identity import of_hex
from rover_plugin_sink_otlp.request import MAX_BYTES, SCHEMA, SCOPE
from rover_plugin_sink_otlp.wire import any_value, utf8

SECOND = 1_000_000_000
OVERHEAD = 4096
"""Bytes of a resource, a scope and the names of a metric, at most for what is usual; the room between
MAX_BYTES and what receivers take is for more."""


class MetricCollector:
    """A request of all series each period. Times are time.monotonic() seconds."""

    def __init__(self, requests: Requests, nobody: Pairs, version: str, period: float) -> None:
        """`nobody`: the resource of series that are of no process alone. `period`: seconds."""
        self._nobody = nobody
        self._requests = requests
        self._version = version
        self._period = period
        self._due = time.monotonic() + period
        self._ended = False
        self._sealed: list[Batch] = []

    @property
    def due(self) -> float | None:
        """See `rover.sending.sender.Filling`."""
        return None if self._ended else self._due

    def add(self, item: object, now: float) -> None:
        """Never: what there is to count is with `requests`."""

    def ripen(self, now: float | None) -> None:
        """See `rover.sending.sender.Filling`; the end has its request, too."""
        if self._ended or (now is not None and now < self._due):
            return
        if now is None:
            self._ended = True
        else:
            # Not a period after the one that was due, which may be long ago: the host slept.
            self._due = now + self._period
        unix = time.time_ns()
        points = [
            each if each.resource else each._replace(resource=self._nobody)
            for each in self._requests.points(unix)
        ]
        self._sealed += [Batch(b"", [made], 0, 0) for made in encode(points, self._version, unix)]

    def take(self) -> list[Batch]:
        """See `rover.sending.sender.Filling`."""
        sealed, self._sealed = self._sealed, []
        return sealed


def encode(points: Iterable[Point], version: str, now: int) -> Iterator[bytes]:
    """The requests that tell of all of these, each as large as receivers take. `now`: Unix time in ns."""
    request = ExportMetricsServiceRequest()
    size = 0
    resource: Pairs | None = None
    instrument: Instrument | None = None
    scope: Any = None
    metric: Any = None
    for point in sorted(points, key=lambda each: (str(each.resource), each.instrument.name)):
        made = data_point(point, now)
        bytes_of_it = made.ByteSize() + 8
        new = point.resource != resource or scope is None
        if size and size + bytes_of_it + (OVERHEAD if new else 0) > MAX_BYTES:
            yield request.SerializeToString()
            request, size, new = ExportMetricsServiceRequest(), 0, True
        if new:
            resource, instrument = point.resource, None
            group = request.resource_metrics.add(schema_url=SCHEMA)
            group.resource.attributes.extend(key_values(resource))
            scope = group.scope_metrics.add(schema_url=SCHEMA)
            scope.scope.name, scope.scope.version = SCOPE, version
            size += OVERHEAD
        if point.instrument is not instrument:
            instrument = point.instrument
            metric = scope.metrics.add(
                name=instrument.name, description=instrument.description, unit=instrument.unit
            )
            metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            size += 256
        metric.histogram.data_points.append(made)
        size += bytes_of_it
    if size:
        yield request.SerializeToString()


def data_point(point: Point, now: int) -> HistogramDataPoint:
    """A series as it is."""
    made = HistogramDataPoint(
        attributes=key_values(point.attributes),
        start_time_unix_nano=point.start,
        time_unix_nano=now,
        count=sum(point.counts),
        sum=point.sum / SECOND,
        bucket_counts=point.counts,
        explicit_bounds=point.instrument.seconds,
    )
    for exemplar in point.exemplars:
        if exemplar is None:
            continue
        trace, span = of_hex(exemplar.trace_id), of_hex(exemplar.span_id)
        if len(trace) in (8, 16):
            made.exemplars.add(
                time_unix_nano=exemplar.time,
                as_double=exemplar.value / SECOND,
                trace_id=trace.rjust(16, b"\0"),
                span_id=span if len(span) == 8 else b"",
            )
    return made


def key_values(pairs: Iterable[tuple[str, object]]) -> list[KeyValue]:
    """Attributes as messages."""
    made = [(utf8(name).decode(), any_value(value)) for name, value in pairs]
    return [KeyValue(key=name, value=AnyValue.FromString(value)) for name, value in made if value is not None]
