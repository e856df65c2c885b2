"""What is sent at once: spans or log records, sorted by whom they are about."""

from __future__ import annotations

from rover import Process
from rover.sending.batch import Batch
from rover_plugin_sink_otlp.resource import Resources
from rover_plugin_sink_otlp.wire import block, utf8

MAX_BYTES = 3 << 20
"""Bytes of a request. What receivers take at most is 4 MiB, unless they are told otherwise (grpc-go, and
with it the OpenTelemetry Collector)."""
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
SCOPE = "rover"


def scope(version: str) -> bytes:
    """The field `scope` of a ScopeSpans, a ScopeMetrics or a ScopeLogs (InstrumentationScope)."""
    return block(b"\x0a", block(b"\x0a", utf8(SCOPE)) + block(b"\x12", utf8(version)))


class Request:
    """The request that is being filled, and those that are full. ExportTraceServiceRequest and
    ExportLogsServiceRequest have the same numbers, down to their spans and records:

        request 1: per resource { resource 1, per scope 2: { scope 1, items 2, schema_url 3 }, schema_url 3 }
    """

    def __init__(self, resources: Resources, version: str, max_count: int, period: float) -> None:
        """`period`: seconds an item waits for others, at most."""
        self._resources = resources
        self._scope = scope(version)
        self._schema = block(b"\x1a", utf8(SCHEMA))
        self._max_count = max_count
        self._period = period
        self._items: dict[int, tuple[Process | None, list[bytes]]] = {}
        self._count = self._exchanges = self._bytes = 0
        self._since = 0.0
        self._sealed: list[Batch] = []

    @property
    def due(self) -> float | None:
        """When what there is has waited enough; None while there is nothing."""
        return self._since + self._period if self._count else None

    def append(self, process: Process | None, item: bytes, now: float, exchanges: int = 1) -> None:
        """Takes a span or a record, as a field. `exchanges`: of which it tells, 0 or 1."""
        if not self._count:
            self._since = now
        elif self._bytes + len(item) > MAX_BYTES:
            self._seal()
            self._since = now
        found = self._items.get(id(process))
        if found is None:
            self._bytes += len(self._resources.of(process)) + len(self._scope) + 2 * len(self._schema) + 16
            found = self._items[id(process)] = (process, [])
        found[1].append(item)
        self._bytes += len(item)
        self._count += 1
        self._exchanges += exchanges
        if self._count >= self._max_count:
            self._seal()

    def ripen(self, now: float | None) -> None:
        """Seals what has waited enough; everything without `now`."""
        if self._count and (now is None or now - self._since >= self._period):
            self._seal()

    def take(self) -> list[Batch]:
        """The sealed batches, oldest first."""
        sealed, self._sealed = self._sealed, []
        return sealed

    def _seal(self) -> None:
        groups = []
        for process, items in self._items.values():
            scoped = b"".join([self._scope, *items, self._schema])
            group = self._resources.of(process) + block(b"\x12", scoped) + self._schema
            groups.append(block(b"\x0a", group))
        self._sealed.append(Batch(b"", [b"".join(groups)], self._exchanges, 0))
        self._items, self._count, self._exchanges, self._bytes = {}, 0, 0, 0
