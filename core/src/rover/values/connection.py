"""One socket lifetime as plugins and sinks see it."""

from __future__ import annotations

from rover.values.http import HttpRequest, HttpResponse
from rover.values.records import Address, Direction, Process, Role
from rover.values.value import Value


class ProtocolBreak(Value):
    """Why and where decoding of a connection was given up for good."""

    __slots__ = ("detail", "direction", "position", "protocol", "reason", "request", "response", "upgrade")

    def __init__(
        self,
        *,
        reason: str,
        detail: str = "",
        protocol: str = "",
        direction: Direction | None = None,
        position: int = 0,
        upgrade: str = "",
        request: HttpRequest | None = None,
        response: HttpResponse | None = None,
    ) -> None:
        self.reason = reason
        """One word: `hpack`, `framing`, `gap`, `unknown-stream`, `upgrade`, `tunnel`, `overflow`,
        `plugin`, or a plugin's own."""
        self.detail = detail
        """For people: what was found, e.g. "HEADERS of stream 5: index 70 was never added"."""
        self.protocol = protocol
        """Name of the protocol the connection had; filled in by the core."""
        self.direction = direction
        self.position = position
        """Stream position in `direction` at which decoding stopped."""
        self.upgrade = upgrade
        """Lower-case token of the protocol that follows (HTTP Upgrade), for a plugin to claim."""
        self.request = request
        """What asked for the upgrade, or for the tunnel; None where it was not seen."""
        self.response = response
        """What granted it."""


class Connection(Value):
    """A snapshot: a change (protocol recognised, broken, role known) makes a new value."""

    __slots__ = (
        "epoch",
        "id",
        "local",
        "opened",
        "process",
        "protocol",
        "protocol_break",
        "proxied",
        "remote",
        "role",
        "server_name",
        "tls",
        "tls_version",
    )

    def __init__(
        self,
        *,
        id: int,  # noqa: A002
        local: Address | None,
        remote: Address | None,
        role: Role | None,
        process: Process | None,
        opened: int,
        epoch: int,
        tls: bool = False,
        protocol: str = "",
        protocol_break: ProtocolBreak | None = None,
        proxied: Address | None = None,
        tls_version: str = "",
        server_name: str = "",
    ) -> None:
        self.id = id
        self.local = local
        """None only while the record that opens the connection has not arrived."""
        self.remote = remote
        self.role = role
        self.process = process
        """Who opened it, or who was first seen using it. Each detail names its own pid."""
        self.opened = opened
        """ns on the source's clock."""
        self.epoch = epoch
        """Unix time (ns) of the zero of the source's clock: `epoch + detail.start` is wall time."""
        self.tls = tls
        """Whether it is encrypted: its handshake was seen, or its plaintext."""
        self.protocol = protocol
        """Name of the recognised protocol; empty for plain TCP, so also after a break."""
        self.protocol_break = protocol_break
        self.proxied = proxied
        """The client that a proxy said it speaks for (PROXY protocol): one end of the socket is the proxy."""
        self.tls_version = tls_version
        """`1.2` or `1.3`, say; empty where the handshake was not seen."""
        self.server_name = server_name
        """The host that the client asked for (TLS, Server Name Indication); empty where it named none."""

    @property
    def client(self) -> Address | None:
        """The client's address; None while the role is not known. Of a proxied connection, the one
        the proxy named."""
        if self.role is None:
            return None
        if self.proxied is not None:
            return self.proxied
        return self.local if self.role is Role.CLIENT else self.remote

    @property
    def server(self) -> Address | None:
        """The server end's address; None while the role is not known."""
        if self.role is None:
            return None
        return self.remote if self.role is Role.CLIENT else self.local


def speaking(connection: Connection, protocol: str) -> Connection:
    """The connection, in this protocol: what `replace` does, which takes ten times as long."""
    return new_connection(
        id=connection.id,
        local=connection.local,
        remote=connection.remote,
        role=connection.role,
        process=connection.process,
        opened=connection.opened,
        epoch=connection.epoch,
        tls=connection.tls,
        protocol=protocol,
        protocol_break=connection.protocol_break,
        proxied=connection.proxied,
        tls_version=connection.tls_version,
        server_name=connection.server_name,
    )


def new_connection(
    id: int,  # noqa: A002
    local: Address | None,
    remote: Address | None,
    role: Role | None,
    process: Process | None,
    opened: int,
    epoch: int,
    tls: bool,
    protocol: str,
    protocol_break: ProtocolBreak | None,
    proxied: Address | None,
    tls_version: str,
    server_name: str,
) -> Connection:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = Connection.__new__(Connection)
    made.id = id
    made.local = local
    made.remote = remote
    made.role = role
    made.process = process
    made.opened = opened
    made.epoch = epoch
    made.tls = tls
    made.protocol = protocol
    made.protocol_break = protocol_break
    made.proxied = proxied
    made.tls_version = tls_version
    made.server_name = server_name
    return made
