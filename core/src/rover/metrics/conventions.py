"""Which instrument an access log is measured by, with which attributes: OpenTelemetry's semantic conventions
1.44 (http/http-metrics, database/database-metrics, general/recording-errors). For RPC it is
1.45 (rpc/rpc-metrics), in which its names are stable.

A log is measured once: a call by gRPC is one of RPC, and not one of HTTP besides. What the conventions leave
to the user is left out, such as a server's own address (the `Host` that clients send has no end of values),
except for two of clients: `url.scheme`, which tells whether they use TLS, and `url.template`, their route.
"""

from __future__ import annotations

from collections.abc import Collection

from rover.http.methods import KNOWN_METHODS
from rover.metrics.instruments import DB_CLIENT, HTTP_CLIENT, HTTP_SERVER, RPC_CLIENT, RPC_SERVER, Instrument
from rover.values.access_log import AccessLog
from rover.values.exchange import Outcome
from rover.values.records import Role

Value = str | int | bool
Pairs = tuple[tuple[str, Value], ...]
"""Attributes, each with its name."""

METHOD, STATUS, ROUTE = "http.request.method", "http.response.status_code", "http.route"
RPC_SYSTEM, RPC_METHOD, RPC_STATUS = "rpc.system.name", "rpc.method", "rpc.status_code"
DB_SYSTEM, DB_OPERATION, DB_NAMESPACE = "db.system.name", "db.operation.name", "db.namespace"
DB_STATUS = "db.response.status_code"
ERROR = "error.type"
HOST = "http.request.header.host"
SERVER_NAMES = (METHOD, STATUS, ROUTE, RPC_SYSTEM, RPC_METHOD, RPC_STATUS, ERROR)
"""Of a log of a server, what decides about its series."""
CLIENT_NAMES = (*SERVER_NAMES, HOST, DB_SYSTEM, DB_OPERATION, DB_NAMESPACE, DB_STATUS)

OTHER = "_OTHER"
"""What an unknown method is called."""
MAX_VALUE = 255
"""Characters of a value: a route takes some dozen, and a name of DNS no more. The rest is cut off, so that
strangers' texts have an end."""

GRPC_SERVER_ERRORS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Of the codes that gRPC has, those that are a server's failure (rpc/grpc); for a client all but OK are."""


def describe(log: AccessLog, methods: Collection[str] = KNOWN_METHODS) -> tuple[Instrument, Pairs] | str:
    """The instrument and the attributes of a finished exchange; or, in a word, why it is not measured.

    `methods`: the known ones of HTTP.
    """
    role = log.connection.role
    if role is None:
        return "role"
    client = role is Role.CLIENT
    said = log.attributes
    if (system := text(said.get(RPC_SYSTEM))) is not None:
        return (RPC_CLIENT if client else RPC_SERVER), _rpc(log, system, client=client)
    if (method := text(said.get(METHOD))) is not None:
        return (HTTP_CLIENT if client else HTTP_SERVER), _http(log, method, methods, client=client)
    if (system := text(said.get(DB_SYSTEM))) is not None:
        # The conventions have no instrument for the server's end.
        return (DB_CLIENT, _database(log, system)) if client else "role"
    return "protocol"


def _http(log: AccessLog, method: str, methods: Collection[str], *, client: bool) -> Pairs:
    said = log.attributes
    pairs: list[tuple[str, Value]] = [(METHOD, method if method in methods else OTHER)]
    route, status = text(said.get(ROUTE)), said.get(STATUS)
    if route is not None:
        pairs.append(("url.template" if client else ROUTE, route))
    if isinstance(status, int):
        pairs.append((STATUS, status))
    error = _error(log)
    if error is None and isinstance(status, int) and status >= (400 if client else 500):
        error = str(status)
    if error is not None:
        pairs.append((ERROR, error))
    if log.protocol != "http":
        pairs.append(("network.protocol.name", log.protocol[:MAX_VALUE]))
    if log.version:
        pairs.append(("network.protocol.version", log.version[:MAX_VALUE]))
    if client:
        pairs += _server(log)
    pairs.append(("url.scheme", "https" if log.connection.tls else "http"))
    return tuple(pairs)


def _rpc(log: AccessLog, system: str, *, client: bool) -> Pairs:
    said = log.attributes
    pairs: list[tuple[str, Value]] = [(RPC_SYSTEM, system)]
    method, status = text(said.get(RPC_METHOD)), text(said.get(RPC_STATUS))
    if method is not None:
        # A server that has no such method says so, and strangers call what they like.
        unknown = not client and status == "UNIMPLEMENTED"
        pairs.append((RPC_METHOD, OTHER if unknown else method))
    if status is not None:
        pairs.append((RPC_STATUS, status))
    error = _error(log)
    if error is None and system == "grpc" and status is not None:
        failed = status != "OK" if client else status in GRPC_SERVER_ERRORS
        error = status if failed else None
    if error is not None:
        pairs.append((ERROR, error))
    if client:
        pairs += _server(log)
    return tuple(pairs)


def _database(log: AccessLog, system: str) -> Pairs:
    said = log.attributes
    pairs: list[tuple[str, Value]] = [(DB_SYSTEM, system)]
    told = [(name, text(said.get(name))) for name in (DB_OPERATION, DB_NAMESPACE, DB_STATUS)]
    pairs += [(name, value) for name, value in told if value is not None]
    if (error := _error(log)) is not None:
        pairs.append((ERROR, error))
    pairs += _server(log)
    return tuple(pairs)


def _error(log: AccessLog) -> str | None:
    """What the log itself calls its error; and one that was cut off has no other name."""
    error = text(log.attributes.get(ERROR))
    if error is None and log.outcome is not Outcome.COMPLETE:
        error = str(log.outcome.value)
    return error


def _server(log: AccessLog) -> Pairs:
    """Whom a client meant: by the name that it asked for, else by the address."""
    address = log.connection.server
    host, port = split_host(text(log.attributes.get(HOST)) or "")
    if address is not None:
        host, port = host or address.host, address.port if port is None else port
    pairs: Pairs = (("server.address", host),) if host else ()
    return pairs if port is None else (*pairs, ("server.port", port))


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


def text(value: object) -> str | None:
    """A value as a bounded text, of a list the first; None where there is none."""
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    whole: str = value if isinstance(value, str) else str(value)
    return whole[:MAX_VALUE]
