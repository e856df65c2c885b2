"""What is counted of each exchange and each break, at the speed at which they come.

There is a tally (a cell) for all exchanges that no table tells apart, and one for each connection. A table
is put together of these when somebody looks (`tables`). Where there are too many cells, what would need
another is counted without what tells it apart: its path and host are `(other)`, its process, peer and status
are right.
"""

from __future__ import annotations

from typing import Any

from rover import Outcome, Role
from rover.values.access_log import AccessLog
from rover.values.connection import Connection
from rover_plugin_top.bounds import (
    DETAIL_MEMORY,
    KEPT,
    KEPT_CALLS,
    KEPT_MEMORY,
    KEPT_OF_CONNECTION,
    KEPT_TEXT,
    LOG_MEMORY,
    MAX_CELLS,
    MAX_CONNECTIONS,
    MAX_KNOWN,
)
from rover_plugin_top.facts import Facts

MAGNITUDE = 5
"""Bits of a duration after its highest one that tell its bucket: see `histogram`."""
EXACT = 2 << MAGNITUDE
OTHER = "(other)"
OTHERS = (0, 0, 0)
"""The key of all connections that found no place."""
NONE = "-"
BREAK = Outcome.BREAK


def bucket_of(duration: int) -> int:
    """The bucket of a duration (ns): see `histogram`. A negative one is as if 0: clocks of captures go
    backwards."""
    if duration < EXACT:
        return max(0, duration)
    shift = duration.bit_length() - MAGNITUDE - 1
    return (shift << MAGNITUDE) + (duration >> shift)


def middle(bucket: int) -> int:
    """The duration (ns) in the middle of a bucket."""
    if bucket < EXACT:
        return bucket
    shift = (bucket >> MAGNITUDE) - 1
    least = (bucket - (shift << MAGNITUDE)) << shift
    one = 1
    return least + (one << shift >> 1)


class Tally:
    """The figures of some exchanges, and the last of them."""

    __slots__ = (
        "at",
        "breaks",
        "bytes",
        "count",
        "earlier",
        "errors",
        "histogram",
        "kept",
        "names",
        "recent",
        "room",
        "weight",
        "weights",
    )

    def __init__(self, names: tuple[str, ...], room: int = 0) -> None:
        """`room`: how many logs it keeps."""
        self.names = names
        """What it is called in each table: see `choices.GROUPS`."""
        self.count = 0
        self.errors = 0
        self.breaks = 0
        self.bytes = 0
        self.histogram: dict[int, int] = {}
        self.room = room
        self.kept: list[AccessLog | None] = [None] * room
        self.weights = [0] * room
        self.at = 0
        """Where in `kept` the next log goes."""
        self.weight = 0
        self.earlier = 0
        """The count at the beginning of the time that a rate is of."""
        self.recent = 0
        """The count at the beginning of the next such time."""

    def count_one(self, log: AccessLog, facts: Facts) -> None:
        """One more exchange or break."""
        if facts.broken:
            self.breaks += 1
            return
        self.count += 1
        self.bytes += facts.size
        if facts.failed:
            self.errors += 1
        histogram = self.histogram
        bucket = bucket_of(log.end - log.start)
        histogram[bucket] = histogram.get(bucket, 0) + 1

    def keep(self, log: AccessLog, weight: int) -> int:
        """Keeps the log in place of the oldest. Returns how much more memory that is."""
        at = self.at
        more = weight - self.weights[at]
        self.kept[at] = log
        self.weights[at] = weight
        self.at = at + 1 if at + 1 < self.room else 0
        self.weight += more
        return more

    def shed(self, all_: bool) -> int:
        """Keeps the newest log alone, or none. Returns how much less memory that is."""
        at = self.at - 1 if self.at else self.room - 1
        newest, weight, before = self.kept[at], self.weights[at], self.weight
        self.kept = [None] * self.room
        self.weights = [0] * self.room
        self.weight = 0
        if not all_:
            self.kept[at], self.weights[at] = newest, weight
            self.weight = weight
        return before - self.weight


class Ends:
    """Of a connection, what its logs have in common."""

    __slots__ = ("by", "epoch", "opened", "peer", "process", "server", "tally")

    def __init__(self, connection: Connection, tally: Tally) -> None:
        self.opened = connection.opened
        self.epoch = connection.epoch
        self.by = connection.process
        self.process = process_of(connection)
        self.peer = peer_of(connection)
        server = connection.server or connection.remote
        self.server = NONE if server is None else server.host
        self.tally = tally


class Counting:
    """Counts. It is used by one thread at a time; who looks at what was counted holds the same lock."""

    def __init__(self) -> None:
        self.cells: dict[tuple[Any, ...], Tally] = {}
        self.connections: dict[tuple[int, int, int], Tally] = {}
        self.first = 1 << 62
        """Unix time (ns) of the beginning of the first exchange."""
        self.last = 0
        """Of the end of the last."""
        self._known: dict[int, Ends] = {}
        self._facts = Facts()
        self._weight = 0

    def add(self, log: AccessLog) -> None:
        """One exchange or break."""
        connection = log.connection
        ends = self._known.get(connection.id)
        if (
            ends is None
            or ends.by is not connection.process  # it may have executed another program
            or ends.opened != connection.opened
            or ends.epoch != connection.epoch
        ):
            ends = self._know(connection)
        facts = self._facts
        facts.read(log)
        key = (
            ends.process,
            ends.peer,
            log.outcome,
            log.protocol,
            facts.method,
            facts.subject,
            facts.host or ends.server,
            facts.status,
            facts.rpc,
            facts.error,
        )
        cell = self.cells.get(key)
        if cell is None:
            cell = self._cell(key)
        tally = ends.tally
        cell.count_one(log, facts)
        tally.count_one(log, facts)
        if not facts.broken:
            epoch = connection.epoch
            start = epoch + log.start
            if start < self.first:
                self.first = start
            end = epoch + log.end
            if end > self.last:
                self.last = end
        text = facts.text
        calls = len(log.details)
        if text > KEPT_TEXT or calls > KEPT_CALLS:
            log = shortened(log)
            text = min(text, KEPT_TEXT)
            calls = min(calls, KEPT_CALLS)
        weight = LOG_MEMORY + text + DETAIL_MEMORY * calls
        self._weight += cell.keep(log, weight) + tally.keep(log, weight)
        if self._weight > KEPT_MEMORY:
            self._shed()

    def _shed(self) -> None:
        every = [*self.cells.values(), *self.connections.values()]
        for tally in every:
            self._weight -= tally.shed(False)
        if self._weight > KEPT_MEMORY // 2:  # else it would be used up again after a few logs
            for tally in every:
                self._weight -= tally.shed(True)

    def _know(self, connection: Connection) -> Ends:
        key = key_of(connection)
        tally = self.connections.get(key)
        if tally is None:
            if len(self.connections) < MAX_CONNECTIONS:
                tally = self.connections[key] = Tally((connection_of(connection),), KEPT_OF_CONNECTION)
            else:
                tally = self.connections.get(OTHERS)
                if tally is None:
                    tally = self.connections[OTHERS] = Tally((OTHER,), KEPT)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        ends = self._known[connection.id] = Ends(connection, tally)
        return ends

    def _cell(self, key: tuple[Any, ...]) -> Tally:
        """Of a new key, or the one of what finds no place."""
        process, peer, outcome, protocol, method, subject, host, status, rpc, error = key
        if len(self.cells) >= MAX_CELLS:
            key = process, peer, outcome, protocol, OTHER, None, OTHER, status, rpc, error
            if len(self.cells) >= MAX_CELLS * 3 // 2 and key not in self.cells:
                # Nothing of it is for strangers to choose.
                error = None if error is None else OTHER
                key = OTHER, OTHER, outcome, protocol, OTHER, None, OTHER, OTHER, None, error
            found = self.cells.get(key)
            if found is not None:
                return found
            process, peer, outcome, protocol, method, subject, host, status, rpc, error = key
        route = method if method is not None else protocol
        if subject:
            route = f"{route} {subject}"
        shown = [str(status)] if status is not None else []
        if rpc is not None:
            shown.append(f"grpc {rpc}")
        if outcome is BREAK:
            route = f"break: {error}"
            shown = [route]
        elif not shown:
            shown.append(str(error or outcome.value))
        cell = self.cells[key] = Tally((str(route), str(host), process, peer, " ".join(shown)), KEPT)
        return cell


def shortened(log: AccessLog) -> AccessLog:
    """The log without the ends of its long texts, and without its later calls."""
    attributes: Any = log.attributes
    left = KEPT_TEXT
    short: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if isinstance(value, str):
            value = value[: min(left, KEPT_TEXT // 4)]
            left -= len(value)
        short[name] = value
    return log.replace(attributes=short, details=log.details[:KEPT_CALLS])


# -- what ends are called --------------------------------------------------------------------------


def key_of(connection: Connection) -> tuple[int, int, int]:
    """What tells it from any other, of this file or of another one."""
    return connection.id, connection.opened, connection.epoch


def process_of(connection: Connection) -> str:
    """ "checkout gunicorn[812]": the service, if it has a name, the program, its number."""
    process = connection.process
    if process is None or not process.pid:
        return NONE
    service = process.attributes.get("service.name")
    program = f"{process.name or '?'}[{process.pid}]"
    return f"{service} {program}" if service else program


def peer_of(connection: Connection) -> str:
    """The other end: a client's address, whose port tells nothing; a server's with its port."""
    if connection.role is Role.SERVER:
        client = connection.client
        return NONE if client is None else client.host
    server = connection.server or connection.remote
    return NONE if server is None else place(server)


def connection_of(connection: Connection) -> str:
    """ "10.0.0.1:40000 > 10.0.0.2:80", from client to server, with what tells it from a later one."""
    first, second = connection.client, connection.server
    if first is None or second is None:
        first, second = connection.local, connection.remote
    if first is None or second is None:
        return f"{connection.id:016x}"
    return f"{place(first)} > {place(second)} {connection.id & 0xFFFF:04x}"


def place(address: Any) -> str:
    """ "10.0.0.2:80", "[::1]:80"."""
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
