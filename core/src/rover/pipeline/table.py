"""The pipeline: records in, access logs out. One thread; no I/O but the source's upload switch.

Here is the table of connections: which there are, how long, how many, how large. What is said on one of
them is that connection's matter (`tracked_connection`).
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from rover.http.export import HeaderExport
from rover.pipeline.decoders import Decoders
from rover.pipeline.delivery import Delivery
from rover.pipeline.memory import CONNECTION_MEMORY, MemoryBudget
from rover.pipeline.outlet import Outlet
from rover.pipeline.processes import Processes
from rover.pipeline.recognition import Recogniser
from rover.pipeline.source_side import SourceSide, UploadSwitch
from rover.pipeline.surroundings import Surroundings
from rover.pipeline.tls_connection import TlsConnection
from rover.pipeline.totals import Totals
from rover.pipeline.tracked_connection import TrackedConnection
from rover.plugins.manager import PluginManager
from rover.values.connection import Connection, new_connection
from rover.values.exchange import Outcome
from rover.values.records import Closed, Detail, Loss, Opened, Plaintext, Process

SECOND = 1_000_000_000
HELD_FOR = 10 * SECOND
"""How long logs wait for the record that opens their connection: it follows at once or never will."""
BREAK_KEPT_FOR = 60 * SECOND
"""How long the break of a connection that is not built is remembered."""
IDLE_CHECK = 60 * SECOND
"""Silence after which the source is asked whether a connection still exists: the record of its
end may have been lost."""
SWEEP_SLICE = 1024
"""Connections looked at per tick, so that a tick stays under a few milliseconds."""
EVICTION_BATCH = 64
"""Of so many connections one is found idle enough to make room, at a time: to find the idlest takes a
look at all of them, some ten milliseconds where there are 65,536."""
RELIEF = 16
"""When the limit of memory is reached, a sixteenth of it is freed: to find the largest takes a look at
all connections, and that is then done once for every 16 MB that come."""

ABORTED = Outcome.ABORTED  # once: what an enumeration holds is slow to ask for


class Pipeline:
    """Implements `rover.values.records.RecordHandler`."""

    def __init__(
        self,
        manager: PluginManager,
        recogniser: Recogniser,
        outlets: Sequence[Outlet],
        source: UploadSwitch,
        *,
        epoch: int,
        protocol_settings: Mapping[str, Mapping[str, Any]],
        max_connections: int = 65_536,
        max_memory: int = 256 << 20,
        live: bool = True,
        headers: HeaderExport | None = None,
    ) -> None:
        """`protocol_settings`: by protocol name. `epoch`: see `Connection.epoch`. `max_memory`: bytes for
        all connections, with what they have buffered and what their decoders keep. `live`: whether the
        source tells of this host, now. `headers`: see `Delivery`."""
        self.totals = Totals()
        self._source = SourceSide(source, manager)
        describers = manager.first_result("describe_process")
        self._processes = Processes(describers, live=live, told=self._source.described)
        self._budget = MemoryBudget(max_memory)
        self._surroundings = Surroundings(
            recogniser,
            Decoders(manager, protocol_settings),
            Delivery(manager, outlets, self.totals, headers),
            self._source,
            self._budget,
            self._processes,
            self.totals,
        )
        self._epoch = epoch
        self._max_connections = max(1, min(max_connections, max_memory // CONNECTION_MEMORY))
        self._idlest: list[tuple[int, int]] = []  # (when last seen, which), the idlest last
        self._connections: dict[int, TrackedConnection] = {}
        self._sweep: list[int] = []
        # Of the newest call: the next one is often of the same connection.
        self._newest: TrackedConnection | None = None
        self._newest_id = 0

    # -- records -----------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """A process as it is from now on."""
        self._processes.learn(process)

    def opened(self, opened: Opened) -> None:
        """A connection that is new to the source; builds one whose data came first."""
        self.totals.connections += 1
        identity, time, late, detail = opened.connection, opened.time, opened.late, opened.detail
        facts = self._facts(opened)
        connection = self._connections.get(identity)
        if connection is None:
            connection = self._add(TrackedConnection(self._surroundings, facts, late, True))
        elif connection.outbox.holds:
            connection.build(facts)
        if detail is not None:
            connection.account(detail)
        connection.pin(time)

    def data(self, detail: Detail, payload: bytes) -> None:
        """One socket call."""
        connection = self._connection_of(detail)
        budget = self._budget
        if connection.data(detail, payload):
            if connection.begins_tls:
                self._encrypted(connection, detail.end)
            if budget.taken > budget.limit:
                self._relieve(detail.end)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        """One call of a TLS library."""
        connection = self._tls_connection_of(plaintext)
        budget = self._budget
        if connection.plaintext(plaintext, payload) and budget.taken > budget.limit:
            self._relieve(plaintext.end)

    def _tls_connection_of(self, plaintext: Plaintext) -> TlsConnection:
        found: TrackedConnection | None
        if self._newest is not None and plaintext.connection == self._newest_id:
            found = self._newest
        else:
            found = self._connections.get(plaintext.connection)
        if found is None:
            unknown = self._unknown(plaintext.connection, plaintext.pid, plaintext.start)
            connection = self._encrypted(self._add(unknown), plaintext.end)
            connection.forget_sockets()
        elif isinstance(found, TlsConnection):
            connection = found
        else:
            connection = self._encrypted(found, plaintext.end)
        self._newest, self._newest_id = connection, plaintext.connection
        return connection

    def lend(self, detail: Detail, memory: bytes, captured: int) -> None:
        """The same, for a source that is compiled, too: the payload is the first `captured` bytes of memory
        that is the source's again when this returns."""
        connection = self._connection_of(detail)
        budget = self._budget
        if connection.lend(detail, memory, captured):
            if connection.begins_tls:
                self._encrypted(connection, detail.end)
            if budget.taken > budget.limit:
                self._relieve(detail.end)

    def lend_plaintext(self, plaintext: Plaintext, memory: bytes, captured: int) -> None:
        """The same of plaintext."""
        connection = self._tls_connection_of(plaintext)
        budget = self._budget
        if connection.lend_plaintext(plaintext, memory, captured) and budget.taken > budget.limit:
            self._relieve(plaintext.end)

    def _connection_of(self, detail: Detail) -> TrackedConnection:
        newest = self._newest
        if newest is not None and detail.connection == self._newest_id:
            return newest
        connection = self._connections.get(detail.connection)
        if connection is None:
            connection = self._add_unbuilt(detail)
        self._newest, self._newest_id = connection, detail.connection
        return connection

    def closed(self, closed: Closed) -> None:
        """The end of a connection."""
        if closed.unseen:
            self.totals.unseen_bytes += closed.unseen
            self.totals.unseen_connections += 1
        detail = closed.detail
        connection = self._remove(closed.connection)
        if connection is None:
            if detail is None:
                return
            facts = self._provisional(detail.connection, detail.pid, detail.start)
            connection = TrackedConnection(self._surroundings, facts, True, True)
        connection.finish(closed.time, closed.reset)
        if detail is not None:
            connection.account(detail)
        connection.release()

    def lost(self, loss: Loss) -> None:
        """Records the source could not deliver."""
        self.totals.records_lost[loss.cause] += loss.records

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Looks at a slice of the connections; call it about once a second."""
        self._processes.describe_again()
        if not self._sweep:
            self._sweep = list(self._connections)
        for _ in range(min(SWEEP_SLICE, len(self._sweep))):
            connection = self._connections.get(self._sweep.pop())
            if connection is not None:
                self._age(connection, now)

    def finish(self, now: int) -> None:
        """The end of the run: what is under way on any connection stays unfinished."""
        for identity in list(self._connections):
            self._drop(identity, now, Outcome.UNFINISHED)

    def _age(self, connection: TrackedConnection, now: int) -> None:
        connection.describe()
        facts, outbox = connection.connection, connection.outbox
        silent = now - connection.seen
        if outbox.holds:
            if silent > (BREAK_KEPT_FOR if facts.protocol_break else HELD_FOR):
                self._drop(facts.id, now, ABORTED)
                return
            if (since := outbox.since) is not None and now - since > HELD_FOR:
                connection.send_held()
        connection.expire(now)
        if silent > IDLE_CHECK and not self._source.is_open(facts.id):
            self._drop(facts.id, now, ABORTED)

    # -- the table ---------------------------------------------------------------------------

    def _add(self, connection: TrackedConnection) -> TrackedConnection:
        if len(self._connections) >= self._max_connections:
            self._evict(connection.seen)
        self._connections[connection.connection.id] = connection
        connection.listed = True
        self._budget.taken += CONNECTION_MEMORY
        return connection

    def _remove(self, identity: int) -> TrackedConnection | None:
        connection = self._connections.pop(identity, None)
        self._newest = None
        if connection is not None:
            self._budget.taken -= CONNECTION_MEMORY + connection.memory
            connection.memory = 0
            connection.listed = False
        return connection

    def _drop(self, identity: int, now: int, outcome: Outcome) -> None:
        """A connection ends for us: what is under way on it ends like this."""
        connection = self._remove(identity)
        if connection is not None:
            connection.cut(now, outcome)
            connection.release()

    def _evict(self, now: int) -> None:
        """The idlest connection makes room."""
        while True:
            if not self._idlest:
                seen = [(connection.seen, identity) for identity, connection in self._connections.items()]
                self._idlest = heapq.nsmallest(max(1, len(seen) // EVICTION_BATCH), seen)
                self._idlest.reverse()
            when, identity = self._idlest.pop()
            connection = self._connections.get(identity)
            if connection is not None and connection.seen == when:  # it was idle since it was found to be
                break
        self.totals.evicted += 1
        self._drop(identity, now, ABORTED)

    def _relieve(self, now: int) -> None:
        """The largest connections break, until there is room again."""
        budget = self._budget
        enough = budget.limit - budget.limit // RELIEF
        holders = [connection for connection in self._connections.values() if connection.memory]
        holders.sort(key=operator.attrgetter("memory"))
        all_of_them = budget.taken
        while holders and budget.taken > enough:
            connection = holders.pop()
            taken = connection.memory
            connection.relieve(f"all connections take {all_of_them} bytes of memory, this one {taken}", now)

    # -- building ----------------------------------------------------------------------------

    def _facts(self, opened: Opened) -> Connection:
        return new_connection(
            id=opened.connection,
            local=opened.local,
            remote=opened.remote,
            role=opened.role,
            process=self._processes.get(opened.pid),
            opened=opened.time,
            epoch=self._epoch,
            tls=False,
            protocol="",
            protocol_break=None,
            proxied=None,
            tls_version="",
            server_name="",
        )

    def _provisional(self, identity: int, pid: int, start: int) -> Connection:
        return Connection(
            id=identity,
            local=None,
            remote=None,
            role=None,
            process=self._processes.get(pid),
            opened=start,
            epoch=self._epoch,
        )

    def _add_unbuilt(self, detail: Detail) -> TrackedConnection:
        connection = self._unknown(detail.connection, detail.pid, detail.start)
        connection.join(detail)
        return self._add(connection)

    def _unknown(self, identity: int, pid: int, start: int) -> TrackedConnection:
        """A connection of which a call came first: the source may know it, one that was evicted."""
        opened = self._source.describe(identity)
        if opened is None:
            facts = self._provisional(identity, pid, start)
            return TrackedConnection(self._surroundings, facts, True, False)
        self.totals.returned += 1
        return TrackedConnection(self._surroundings, self._facts(opened), True, True)

    def _encrypted(self, connection: TrackedConnection, now: int) -> TlsConnection:
        """The connection, from where it is known to be TLS."""
        encrypted = TlsConnection(connection, now)
        self._connections[connection.connection.id] = encrypted
        self._newest = None
        return encrypted
