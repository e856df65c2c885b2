"""What a name stands for in an access log: the same as the key of that name in its JSON line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, Shape
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.records import Address, Process, Role

Reader = Callable[[AccessLog], Any]
"""Text, a number, true or false; several texts as a tuple; None where it is absent."""

SHORT = {
    "host": "http.request.header.host",
    "method": "http.request.method",
    "path": "url.path",
    "process": "process.executable.name",
    "route": "http.route",
    "service": "service.name",
    "status": "http.response.status_code",
    "tls.established": "tls",
}
"""Short names of what is asked for most, and OpenTelemetry's for `tls`. `duration` is one, too, for what is
in ns elsewhere."""

MAX_SHAPES = 64
"""Shapes whose places are remembered: each protocol's plugin has one or two."""
SECOND = 1_000_000_000


def reader(name: str) -> Reader:
    """Reads what the name stands for."""
    name = SHORT.get(name, name)
    attribute, own = _attribute(name), OWN.get(name)
    if own is not None:
        if name in FIXED:
            return own
        return lambda log: own(log) if (value := attribute(log)) is None else value

    def read(log: AccessLog) -> Any:
        value = attribute(log)
        if value is None and (process := log.connection.process) is not None:
            return process.attributes.get(name)
        return value

    return read


def _attribute(name: str) -> Reader:
    """Of the exchange alone."""
    places: dict[Shape, int] = {}

    def read(log: AccessLog) -> Any:
        attributes = log.attributes
        if type(attributes) is Attributes:  # type: ignore[comparison-overlap]
            shape = attributes.shape
            place = places.get(shape)
            if place is None:
                if len(places) >= MAX_SHAPES:
                    places.clear()
                place = places[shape] = shape.names.index(name) if name in shape.names else -1
            return attributes.cells[place] if place >= 0 else None
        return attributes.get(name)

    return read


def _duration(log: AccessLog) -> int:
    return log.end - log.start


def _timestamp(log: AccessLog) -> str:
    moment = log.connection.epoch + log.start
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // SECOND))
    return f"{whole}.{moment % SECOND:09d}Z"


def _client(connection: Connection) -> Address | None:
    return connection.client if connection.local is not None and connection.remote is not None else None


def _server(connection: Connection) -> Address | None:
    return connection.server if connection.local is not None and connection.remote is not None else None


def _ends(connection: Connection) -> tuple[Address | None, Address | None]:
    """The socket's own ends, local and peer, where client and server do not tell them: see JSON lines."""
    local, remote, process = connection.local, connection.remote, connection.process
    if local is None or remote is None:
        return None, None
    if connection.role is None:
        return local, remote
    if connection.proxied is None:
        return None, None
    if connection.role is Role.SERVER:
        return None, remote
    return (local, remote) if process is not None and process.pid else (None, local)


def _local(connection: Connection) -> Address | None:
    return _ends(connection)[0]


def _peer(connection: Connection) -> Address | None:
    return _ends(connection)[1]


def _host_of(end: Callable[[Connection], Address | None]) -> Reader:
    def read(log: AccessLog) -> str | None:
        address = end(log.connection)
        return None if address is None else address.host

    return read


def _port_of(end: Callable[[Connection], Address | None]) -> Reader:
    def read(log: AccessLog) -> int | None:
        address = end(log.connection)
        return None if address is None else address.port

    return read


def _of_process(field: Callable[[Process], str | int]) -> Reader:
    def read(log: AccessLog) -> str | int | None:
        process = log.connection.process
        return field(process) or None if process is not None and process.pid else None

    return read


def _of_break(field: Callable[[ProtocolBreak], str]) -> Reader:
    def read(log: AccessLog) -> str | None:
        broken = log.connection.protocol_break
        return field(broken) or None if broken is not None and log.outcome is Outcome.BREAK else None

    return read


def _role(log: AccessLog) -> str | None:
    role = log.connection.role
    return None if role is None else role.value


def _outcome(log: AccessLog) -> str | None:
    return log.outcome.value if log.protocol or log.outcome is Outcome.BREAK else None


OWN: dict[str, Reader] = {
    "timestamp": _timestamp,
    "duration": _duration,
    "duration_ns": _duration,
    "network.protocol.name": lambda log: log.protocol or None,
    "network.protocol.version": lambda log: (log.version or None) if log.protocol else None,
    "network.transport": lambda log: "tcp",  # noqa: ARG005
    "client.address": _host_of(_client),
    "client.port": _port_of(_client),
    "server.address": _host_of(_server),
    "server.port": _port_of(_server),
    "network.local.address": _host_of(_local),
    "network.local.port": _port_of(_local),
    "network.peer.address": _host_of(_peer),
    "network.peer.port": _port_of(_peer),
    "process.pid": _of_process(lambda process: process.pid),
    "process.executable.name": _of_process(lambda process: process.name),
    "tls": lambda log: log.connection.tls,
    "tls.protocol.version": lambda log: log.connection.tls_version or None,
    "tls.server.name": lambda log: log.connection.server_name or None,
    "rover.role": _role,
    "rover.connection": lambda log: f"{log.connection.id:016x}",
    "rover.outcome": _outcome,
    "rover.break.reason": _of_break(lambda broken: broken.reason),
    "rover.break.detail": _of_break(lambda broken: broken.detail),
    "rover.break.protocol": _of_break(lambda broken: broken.protocol),
}
"""What the core tells of any log. An attribute of the same name stands in a line instead, and so here."""
FIXED = frozenset(("duration", *(name for name in OWN if name.startswith("rover.") and name != "rover.role")))
"""Of these, what no attribute replaces."""
