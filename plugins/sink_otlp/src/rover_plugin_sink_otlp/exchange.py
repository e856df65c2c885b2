"""What a span or a log record says of an exchange, by the semantic conventions 1.44: its name, its kind, its
attributes, whether it failed.

Attributes that are the same for many exchanges are encoded once: those of a connection, and values that come
again. The rest is encoded into bytes as it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from rover import AccessLog, Attributes, Connection, Outcome, Role, Shape
from rover.http import KNOWN_METHODS
from rover.metrics import GRPC_SERVER_ERRORS
from rover_plugin_sink_otlp.wire import attribute, key

METHOD, STATUS, ROUTE = "http.request.method", "http.response.status_code", "http.route"
HOST, ORIGINAL, PATH, QUERY = "http.request.header.host", "url.original", "url.path", "url.query"
RPC_SYSTEM, RPC_METHOD = "rpc.system.name", "rpc.method"
RPC_STATUS = "rpc.status_code"
DB_SYSTEM, DB_OPERATION, DB_NAMESPACE = "db.system.name", "db.operation.name", "db.namespace"
ERROR = "error.type"
PROVIDER, TRACE = "trace.provider", "trace_id"
_READ = (METHOD, STATUS, ROUTE, HOST, ORIGINAL, PATH, QUERY, RPC_SYSTEM, ERROR, PROVIDER)
_NOT_SAID = frozenset(
    (*_READ, TRACE, "span_id", "trace.segment_id", "http.request.header.size", "http.response.header.size")
)
"""Of the names that logs have: what is said in another form, and the sizes of heads, whose names are those of
headers called "size" to OpenTelemetry."""

OTHER_METHOD = "_OTHER"
UNSPECIFIED, SERVER, CLIENT = 0, 2, 3
"""Kinds of spans."""
COMPLETE, ABORTED = Outcome.COMPLETE, Outcome.ABORTED

MAX_SHAPES = 64
"""Shapes of attributes that are known at a time: a protocol has one, and one for each plugin that adds
some."""
MAX_CONNECTIONS = 8192
"""Connections whose attributes are kept, some 500 bytes each."""
MAX_VALUES = 1024
"""Values of an attribute that are kept, some 150 bytes each, of at most MAX_KEPT characters."""
MAX_KEPT = 256


Exchange = tuple[str, int, list[bytes], bool]
"""What is said of one: its name, its kind, its attributes, whether it failed. A class of its own would take
as long to make as three attributes."""


class _Heads(dict[int, bytes]):
    """What an attribute is up to its text, which is of ASCII, by the length of that."""

    def __init__(self, tag: bytes, start: bytes) -> None:
        self._tag = tag
        self._start = start

    def __missing__(self, size: int) -> bytes:
        whole = attribute(self._tag, self._start, "x" * size)
        made = self[size] = whole[: len(whole) - size]
        return made


class Column(dict[Any, bytes]):
    """Values of one attribute, encoded."""

    def __init__(self, tag: bytes, name: str) -> None:
        self._tag = tag
        self._start = key(name)
        self._heads = _Heads(tag, self._start)

    def encode(self, value: object) -> bytes:
        """The attribute with a value that hardly comes again."""
        if type(value) is str and len(value) <= MAX_KEPT and value.isascii():
            return self._heads[len(value)] + value.encode()
        return attribute(self._tag, self._start, value)

    def __missing__(self, value: Any) -> bytes:
        made = self.encode(value)
        if len(made) <= MAX_KEPT:
            if len(self) >= MAX_VALUES:
                self.clear()
            self[value] = made
        return made


class _Pairs(dict[Any, bytes]):
    """Attributes that are made of one value, encoded."""

    def __init__(self, make: Callable[[Any], bytes]) -> None:
        self._make = make

    def __missing__(self, value: Any) -> bytes:
        made = self._make(value)
        if len(made) <= MAX_KEPT:
            if len(self) >= MAX_VALUES:
                self.clear()
            self[value] = made
        return made


class _Plan(NamedTuple):
    """Where the logs of a shape have what is read of them."""

    read: Callable[[tuple[Any, ...]], Any]
    """The cells of _READ."""
    columns: tuple[tuple[int, Column], ...]
    """All others that are said."""


class _Ends(NamedTuple):
    """What is said of a connection."""

    connection: Connection
    attributes: bytes
    kind: int
    scheme: str
    server: tuple[str, int] | None
    """Its address; a tuple is compared without a call of Python."""


class ExchangeEncoder:
    """Encodes what is said. `tag`: of the field `attributes` in the message that it is for."""

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._plans: dict[Any, _Plan] = {}
        self._columns: dict[str, Column] = {}
        self._ends: dict[int, _Ends] = {}
        self._methods = _Pairs(self._method)
        self._servers = _Pairs(self._server)
        self._names: dict[tuple[str, Any], str] = {}
        self._status = self._column(STATUS)
        self._route, self._template = self._column(ROUTE), self._column("url.template")
        self._path, self._query = self._column(PATH), self._column(QUERY)
        self._full, self._original = self._column("url.full"), self._column(ORIGINAL)
        self._system = self._column(RPC_SYSTEM)
        self._error, self._outcome = self._column(ERROR), self._column("rover.outcome")
        self._protocol = self._column("network.protocol.name")
        self._version = self._column("network.protocol.version")

    def exchange(self, log: AccessLog) -> Exchange:
        """What is said of an exchange."""
        attributes: Any = log.attributes
        shape: Any
        if type(attributes) is Attributes:
            shape, cells = attributes.shape, attributes.cells
        else:
            shape, cells = tuple(attributes), tuple(attributes.values())
        plan = self._plans.get(shape)
        if plan is None:
            plan = self._plan(shape)
        connection = log.connection
        ends = self._ends.get(id(connection))
        if ends is None:
            ends = self._end(connection)
        method, status, route, host, original, path, query, system, error, provider = plan.read(
            (*cells, None)
        )
        kind = ends.kind
        parts = [ends.attributes]
        add = parts.append
        if log.version:
            add(self._version[log.version])
        for index, column in plan.columns:
            cell = cells[index]
            if cell is not None:
                # No bool, which would be found in the place of 0 or 1.
                add(column[cell] if type(cell) is str or type(cell) is int else column.encode(cell))
        if isinstance(host, tuple | list):
            host = host[0] if host else None
        add(self._servers[host, ends.server])
        failed = False
        if system is not None:
            add(self._system[system] if type(system) is str else self._system.encode(system))
            name, failure = self._rpc(attributes, system, kind)
        elif method is not None:
            if type(method) is not str:
                method = str(method)
            name = self._names.get((method, route)) or self._name(method, route)
            add(self._methods[method])
            failure = None
            if type(status) is int:
                add(self._status[status])
                if status >= (400 if kind == CLIENT else 500):
                    failure = str(status)
            if kind == CLIENT:
                add(self._full.encode(_full(ends, host, original)))
                if route is not None:
                    add(self._template[route] if type(route) is str else self._template.encode(route))
            else:
                if path is not None:
                    add(self._path.encode(path))
                elif original is not None:
                    add(self._original.encode(original))
                if query is not None:
                    add(self._query.encode(query))
                if route is not None:
                    add(self._route[route] if type(route) is str else self._route.encode(route))
        else:
            name, failure = self._other(log), None
        if log.protocol != "http":
            add(self._protocol[log.protocol])
        outcome = log.outcome
        if outcome is not COMPLETE:
            add(self._outcome[outcome.value])
            if outcome is ABORTED:
                failure = outcome.value
        if error is None:
            error = failure
        if error is not None:
            failed = True
            add(self._error[error] if type(error) is str else self._error.encode(error))
        if provider == "skywalking":
            add(self._column("skywalking.trace_id").encode(attributes.get(TRACE)))
        return name, kind, parts, failed

    def _rpc(self, attributes: Mapping[str, Any], system: object, kind: int) -> tuple[str, str | None]:
        status = attributes.get(RPC_STATUS)
        failure = None
        if system == "grpc" and status is not None:
            failed = status != "OK" if kind == CLIENT else status in GRPC_SERVER_ERRORS
            failure = str(status) if failed else None
        return str(attributes.get(RPC_METHOD) or system), failure

    def _name(self, method: str, route: object) -> str:
        """`{method} {route}`, and "HTTP" for a method that is not known (http/http-spans)."""
        shown = method if method in KNOWN_METHODS else "HTTP"
        name = f"{shown} {route}" if route is not None else shown
        if len(name) <= MAX_KEPT and (route is None or type(route) is str):
            if len(self._names) >= MAX_VALUES:
                self._names.clear()
            self._names[method, route] = name
        return name

    def _other(self, log: AccessLog) -> str:
        """Of a protocol that has no requests of its own, its name; of a database `{operation}
        {namespace}`."""
        said = log.attributes
        if said.get(DB_SYSTEM) is None:
            return log.protocol
        words = [str(said[each]) for each in (DB_OPERATION, DB_NAMESPACE) if said.get(each) is not None]
        return " ".join(words) or str(said[DB_SYSTEM])

    def _column(self, name: str) -> Column:
        found = self._columns.get(name)
        if found is None:
            if len(self._columns) >= 16 * MAX_SHAPES:
                self._columns.clear()
            found = self._columns[name] = Column(self._tag, name)
        return found

    def _plan(self, shape: Shape | tuple[str, ...]) -> _Plan:
        names = shape.names if isinstance(shape, Shape) else shape
        last = len(names)  # where None is
        read = itemgetter(*[names.index(name) if name in names else last for name in _READ])
        columns = [(at, self._column(name)) for at, name in enumerate(names) if name not in _NOT_SAID]
        if len(self._plans) >= MAX_SHAPES:
            self._plans.clear()
        plan = self._plans[shape] = _Plan(read, tuple(columns))
        return plan

    def _end(self, connection: Connection) -> _Ends:
        kind = {Role.CLIENT: CLIENT, Role.SERVER: SERVER}.get(connection.role, UNSPECIFIED)  # type: ignore[arg-type]
        scheme = "https" if connection.tls else "http"
        said: dict[str, object] = {"url.scheme": scheme}
        if (remote := connection.remote) is not None:
            said |= {"network.peer.address": remote.host, "network.peer.port": remote.port}
        if kind == SERVER and (client := connection.client) is not None:
            said |= {"client.address": client.host, "client.port": client.port}
        said["rover.connection"] = f"{connection.id:016x}"  # as JSON lines have it
        made = b"".join([attribute(self._tag, key(name), value) for name, value in said.items()])
        if len(self._ends) >= MAX_CONNECTIONS:
            self._ends.clear()
        server = connection.server
        address = (server.host, server.port) if server is not None else None
        ends = self._ends[id(connection)] = _Ends(connection, made, kind, scheme, address)
        return ends

    def _method(self, method: str) -> bytes:
        if method in KNOWN_METHODS:
            return attribute(self._tag, key(METHOD), method)
        original = attribute(self._tag, key("http.request.method_original"), method)
        return attribute(self._tag, key(METHOD), OTHER_METHOD) + original

    def _server(self, named: tuple[object, tuple[str, int] | None]) -> bytes:
        """Whom the client meant, by the name that it asked for, else by the address."""
        host, address = named
        name, port = split_host(host) if isinstance(host, str) else ("", None)
        if address is not None:
            name, port = name or address[0], address[1] if port is None else port
        made = attribute(self._tag, key("server.address"), name) if name else b""
        return made + (attribute(self._tag, key("server.port"), port) if port is not None else b"")


def _full(ends: _Ends, host: object, target: object) -> str:
    """The URL that a client asked for (RFC 9110 section 7.1)."""
    text = target if isinstance(target, str) else ""
    if not text.startswith("/") and "://" in text:
        return text
    authority = host
    if not authority and (server := ends.server) is not None:
        shown = f"[{server[0]}]" if ":" in server[0] else server[0]
        authority = f"{shown}:{server[1]}"
    return f"{ends.scheme}://{authority or ''}{text if text.startswith('/') else ''}"


def split_host(host: str) -> tuple[str, int | None]:
    """The name in small letters and the port of a `Host` (RFC 9110 section 7.2): ("example.org", 8080)."""
    name, port = host, ""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        name, _, port = host.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None
    return name.lower(), number if number is not None and number <= 0xFFFF else None
