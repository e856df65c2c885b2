"""Access logs gathered into batches."""

from __future__ import annotations

import contextlib
from collections import Counter

from rover import AccessLog, Connection
from rover.sending.batch import Batch
from rover_plugin_sink_oap.encode import Encoded, Encoder
from rover_plugin_sink_oap.naming import Namer, beyond_proxy
from rover_plugin_sink_oap.node import Node
from rover_plugin_sink_oap.unaddressed import Unaddressed

MAX_BATCH = 8 << 20
"""Bytes of logs in a batch: ten thousand exchanges have some 3 MB, and the server takes this
within a fraction of its deadline."""


class Collector:
    """The batch that is being filled, and those that are full. Not thread-safe.

    Times are time.monotonic() seconds.
    """

    def __init__(self, encoder: Encoder, namer: Namer, node: Node, max_count: int, period: float) -> None:
        """`period`: seconds a log waits for others, at most."""
        self.counters: Counter[str] = Counter()
        self._encoder = encoder
        self._namer = namer
        self._node = node
        self._max_count = max_count
        self._period = period
        self._unaddressed = Unaddressed()
        self._logs: list[tuple[Connection, Encoded]] = []
        self._connections: dict[int, Connection] = {}
        """Every snapshot in the batch, by its id()."""
        self._bytes = 0
        self._since = 0.0
        self._sealed: list[Batch] = []

    @property
    def due(self) -> float | None:
        """When something will have waited enough; None while nothing waits."""
        batch = self._since + self._period if self._logs else None
        held = self._unaddressed.due
        return min((when for when in (batch, held) if when is not None), default=None)

    def add(self, log: AccessLog, now: float) -> None:
        """Takes a log."""
        connection = log.connection
        if connection.local is None or connection.remote is None:
            if self._unaddressed.hold(log, now):
                return
            self.counters["without_address"] += 1
        else:
            for held in self._unaddressed.release(connection):
                self._append(held, now)
        self._append(log, now)

    def ripen(self, now: float | None) -> None:
        """Seals what has waited enough; everything without `now`."""
        for log in self._unaddressed.expired(now):
            self.counters["without_address"] += 1
            self._append(log, now if now is not None else self._since)
        if self._logs and (now is None or now - self._since >= self._period):
            self._seal()

    def take(self) -> list[Batch]:
        """The sealed batches, oldest first."""
        sealed, self._sealed = self._sealed, []
        return sealed

    def _append(self, log: AccessLog, now: float) -> None:
        connection = log.connection
        if id(connection) not in self._connections:
            self._namer.learn(connection)
        try:
            encoded = self._encoder.logs(log)
        except (ValueError, TypeError):
            # A plugin made the log, with figures that are not numbers.
            self.counters["invalid"] += bool(log.protocol)
            return
        if encoded is None:
            return
        # Offsets count from the node's boot time, of which a stream has one.
        if self._logs and connection.epoch != self._logs[0][0].epoch:
            self._seal()
        if not self._logs:
            self._since = now
        self._logs.append((connection, encoded))
        self._connections[id(connection)] = connection
        self._bytes += len(encoded.logs)
        if len(self._logs) >= self._max_count or self._bytes >= MAX_BATCH:
            self._seal()

    def _seal(self) -> None:
        logs, self._logs, self._bytes = self._logs, [], 0
        connections, self._connections = self._connections, {}
        encoded_connections = {}
        for identity, connection in connections.items():
            shown = beyond_proxy(connection)
            # Names are those of now: an end that was seen after the first logs names them too.
            with contextlib.suppress(ValueError, TypeError):  # of a plugin: not a port
                encoded_connections[identity] = self._encoder.connection(shown, self._namer.ends(shown))
        messages = []
        exchanges = calls = 0
        for connection, encoded in logs:
            about = encoded_connections.get(id(connection))
            if about is None:
                self.counters["invalid"] += encoded.exchanges
                continue
            messages.append(about + encoded.logs)
            exchanges += encoded.exchanges
            calls += encoded.calls
        if not messages:
            return
        try:
            node = self._node.message(logs[0][0].epoch)
        except (ValueError, TypeError):
            # A source made the connections, with an epoch no calendar has.
            self.counters["invalid"] += exchanges
            return
        self._sealed.append(Batch(node, messages, exchanges, calls))
