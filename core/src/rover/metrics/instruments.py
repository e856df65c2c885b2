"""The instruments, as OpenTelemetry's semantic conventions 1.44 define them."""

from __future__ import annotations

import dataclasses

SECOND = 1_000_000_000


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """A histogram of durations. There is one object of each, compared by identity."""

    name: str
    description: str
    bounds: tuple[int, ...]
    """Of the buckets, in nanoseconds, ascending: a bucket holds what is at most its bound, and more than the
    bound before. One more bucket follows, for what is longer than the last bound."""
    unit: str = "s"
    """In UCUM, of what is exported: `seconds` has the bounds in it."""

    @property
    def seconds(self) -> tuple[float, ...]:
        """The bounds in seconds."""
        return tuple(bound / SECOND for bound in self.bounds)


_MILLISECONDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000)
REQUESTS = tuple(bound * SECOND // 1000 for bound in _MILLISECONDS)
"""Advised for HTTP and RPC (http/http-metrics, rpc/rpc-metrics)."""
OPERATIONS = tuple(bound * SECOND // 1000 for bound in (1, 5, 10, 50, 100, 500, 1000, 5000, 10_000))
"""Advised for databases (database/database-metrics)."""

HTTP_SERVER = Instrument("http.server.request.duration", "Duration of HTTP server requests.", REQUESTS)
HTTP_CLIENT = Instrument("http.client.request.duration", "Duration of HTTP client requests.", REQUESTS)
RPC_SERVER = Instrument("rpc.server.call.duration", "Duration of incoming remote procedure calls.", REQUESTS)
RPC_CLIENT = Instrument("rpc.client.call.duration", "Duration of outgoing remote procedure calls.", REQUESTS)
DB_CLIENT = Instrument("db.client.operation.duration", "Duration of database client operations.", OPERATIONS)

INSTRUMENTS = (HTTP_SERVER, HTTP_CLIENT, RPC_SERVER, RPC_CLIENT, DB_CLIENT)
