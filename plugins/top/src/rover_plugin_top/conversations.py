"""Who talks to whom: edges from a client to a server, of programs where they are known, else of addresses.

An exchange between two programs of this host is seen from both ends, and comes twice. The socket's two
addresses tell that: what both ends say of them is one conversation, whose client and server are both known by
name. So recordings of several hosts, read together, make one map.
"""

from __future__ import annotations

import dataclasses
from itertools import islice

from rover import AccessLog, Connection, Role
from rover_plugin_top.counting import OTHER, Tally
from rover_plugin_top.facts import Facts
from rover_plugin_top.histogram import quantiles
from rover_plugin_top.tables import Sums

MAX_PAIRS = 16_384
"""Pairs of addresses that are kept for what the other end says, half a kilobyte each. Beyond it the older
half becomes edges. At 5,000 new connections a second that is after a second and a half."""
MAX_EDGES = 2000
"""More than a map can show; what is beyond is one edge."""


@dataclasses.dataclass(frozen=True, slots=True)
class Edge:
    """Of a map."""

    client: str
    server: str
    protocol: str
    port: int
    """The server's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """Of an edge."""

    rate: float
    count: int
    errors: int
    breaks: int
    p95: int
    bytes: int


Sides = tuple[dict[str, Tally], dict[str, Tally]]


class Pair:
    """Two addresses, and what their ends said: the client's first, then the server's."""

    __slots__ = ("names", "tallies")

    def __init__(self, client: str, server: str) -> None:
        self.names = [client, server]
        """Of the programs, where they are known, else of the addresses."""
        self.tallies: Sides = {}, {}
        """By protocol."""


class Conversations:
    """Takes logs, and makes edges of them."""

    def __init__(self) -> None:
        self._facts = Facts()
        self._pairs: dict[tuple[str, int, str, int], Pair] = {}
        self._edges: dict[Edge, Sums] = {}
        self._first = 1 << 62
        self._last = 0

    def add(self, log: AccessLog) -> None:
        """One exchange or break. What has no direction is left out: a break of a connection that was joined
        late."""
        connection = log.connection
        local, remote, role = connection.local, connection.remote, connection.role
        if local is None or remote is None or role is None:
            return
        # The socket's own ends: a proxy that speaks for another client is who talks here.
        client, server = (local, remote) if role is Role.CLIENT else (remote, local)
        key = client.host, client.port, server.host, server.port
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= MAX_PAIRS:
                self._settle(MAX_PAIRS // 2)
            pair = self._pairs[key] = Pair(client.host, server.host)
        side = 0 if role is Role.CLIENT else 1
        name = program_of(connection)
        if name:
            pair.names[side] = name
        protocol = protocol_of(log)
        tally = pair.tallies[side].get(protocol)
        if tally is None:
            tally = pair.tallies[side][protocol] = Tally((protocol,))
        facts = self._facts
        facts.read(log)
        tally.count_one(log, facts)
        self._first = min(self._first, connection.epoch + log.start)
        self._last = max(self._last, connection.epoch + log.end)

    def _settle(self, count: int) -> None:
        for key in list(islice(self._pairs, count)):
            pair = self._pairs.pop(key)
            client, server = pair.tallies
            for protocol in {**client, **server}:
                edge = Edge(pair.names[0], pair.names[1], protocol, key[3])
                if edge not in self._edges and len(self._edges) >= MAX_EDGES:
                    edge = Edge(OTHER, OTHER, OTHER, 0)
                # Both ends tell of the same exchanges: who has seen more of them has seen all.
                seen = [side[protocol] for side in pair.tallies if protocol in side]
                self._edges.setdefault(edge, Sums()).add(max(seen, key=lambda tally: tally.count))

    def edges(self) -> list[tuple[Edge, Figures]]:
        """All of them, the busiest first."""
        self._settle(len(self._pairs))
        seconds = max((self._last - self._first) / 1e9, 1.0)
        found = [
            (
                edge,
                Figures(
                    sums.count / seconds,
                    sums.count,
                    sums.errors,
                    sums.breaks,
                    quantiles(sums.histogram, (0.95,))[0],
                    sums.bytes,
                ),
            )
            for edge, sums in self._edges.items()
        ]
        return sorted(found, key=lambda each: (-each[1].count, dataclasses.astuple(each[0])))


def program_of(connection: Connection) -> str:
    """The service, if it has a name, else the program; empty where neither is known."""
    process = connection.process
    if process is None or not process.pid:
        return ""
    return str(process.attributes.get("service.name") or process.name or f"pid {process.pid}")


def protocol_of(log: AccessLog) -> str:
    """ "http"; of a break, the protocol that the connection had."""
    broken = log.connection.protocol_break
    return log.protocol or (broken.protocol if broken is not None else "") or log.connection.protocol
