"""An access log with the route of its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rover import Role
from rover.values.access_log import AccessLog, new_log
from rover.values.attributes import Attributes, Shape, attributes_of
from rover.values.connection import Connection
from rover_plugin_routes.router import Router

SERVER = Role.SERVER
NAMES = ("http.route", "rover.route.source")
PATH = "url.path"
STATUS = "http.response.status_code"
HOST = "http.request.header.host"
RPC_SYSTEM = "rpc.system.name"
RPC_STATUS = "rpc.status_code"
UNIMPLEMENTED = "UNIMPLEMENTED"
"""What gRPC says where HTTP says 404."""
MAX_HOST = 255
"""Characters of a host's name (RFC 1035 section 2.3.4)."""
MAX_SHAPES = 64
"""Shapes that are remembered: a plugin has one or two, unless it makes one for each log."""


class Layout:
    """Which cells of a Shape are looked at: -1 for names that it has not."""

    __slots__ = ("call", "call_status", "host", "longer", "path", "status")

    def __init__(self, shape: Shape) -> None:
        at = {name: number for number, name in enumerate(shape.names)}
        self.longer = Shape((*shape.names, *NAMES))
        """The same with the route."""
        self.path = at[PATH]
        self.status = at.get(STATUS, -1)
        self.host = at.get(HOST, -1)
        self.call = at.get(RPC_SYSTEM, -1)
        self.call_status = at.get(RPC_STATUS, -1)


class Naming:
    """Adds routes to access logs."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._layouts: dict[Shape, Layout | None] = {}

    def with_route(self, log: AccessLog) -> AccessLog | None:
        """The log with its route; None where it has none, or has it already."""
        attributes = log.attributes
        if type(attributes) is Attributes:  # type: ignore[comparison-overlap]
            return self._with_cells(log, attributes)
        return self._with_names(log)

    def _with_cells(self, log: AccessLog, attributes: Attributes) -> AccessLog | None:
        shape = attributes.shape
        layout = self._layouts[shape] if shape in self._layouts else self._lay_out(shape)
        if layout is None:
            return None
        cells = attributes.cells
        path = cells[layout.path]
        if type(path) is not str:
            return None
        status = cells[layout.status] if layout.status >= 0 else None
        host = cells[layout.host] if layout.host >= 0 else None
        is_call = layout.call >= 0 and cells[layout.call] is not None
        if is_call and layout.call_status >= 0 and cells[layout.call_status] == UNIMPLEMENTED:
            status = None
        route = self._router.find(service_of(log.connection, host), path, status, is_call)
        if route is None:
            return None
        return changed(log, attributes_of(layout.longer, cells + route))

    def _with_names(self, log: AccessLog) -> AccessLog | None:
        """The same of attributes that share no shape."""
        attributes = log.attributes
        path = attributes.get(PATH)
        if type(path) is not str or not path or any(name in attributes for name in NAMES):
            return None
        status = attributes.get(STATUS)
        is_call = RPC_SYSTEM in attributes
        if is_call and attributes.get(RPC_STATUS) == UNIMPLEMENTED:
            status = None
        route = self._router.find(service_of(log.connection, attributes.get(HOST)), path, status, is_call)
        if route is None:
            return None
        return changed(log, {**attributes, **dict(zip(NAMES, route, strict=True))})

    def _lay_out(self, shape: Shape) -> Layout | None:
        names = shape.names
        layout = Layout(shape) if PATH in names and not any(name in names for name in NAMES) else None
        if len(self._layouts) >= MAX_SHAPES:
            self._layouts.clear()
        self._layouts[shape] = layout
        return layout


def changed(log: AccessLog, attributes: object) -> AccessLog:
    """The log with other attributes: what `replace` does, which takes five times as long."""
    return new_log(
        log.connection,
        log.start,
        log.end,
        log.protocol,
        log.version,
        cast("Mapping[str, str | int | bool]", attributes),
        log.details,
        log.outcome,
    )


def service_of(connection: Connection, host: object) -> tuple[str, int]:
    """Whose paths these are: a name and a port. Where the watched process is the server, that of its service,
    else its own; where it is the client, that of the host that it asks.

    A client chooses the names of hosts, a server's peer does not: strangers make no services of their own.
    """
    if connection.role is SERVER:
        own = connection.local
        port = own.port if own is not None else 0
        process = connection.process
        if process is not None:
            name = process.attributes.get("service.name") if process.attributes else None
            if type(name) is str and name:
                return name, port
            if process.name:
                return process.name, port
        return own.host if own is not None else "", port
    peer = connection.remote
    port = peer.port if peer is not None else 0
    if type(host) is tuple and host:  # a header may come several times
        host = host[0]
    if type(host) is str and 0 < len(host) <= MAX_HOST:
        return host, port
    return peer.host if peer is not None else "", port
