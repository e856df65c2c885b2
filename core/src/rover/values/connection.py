"""One socket lifetime as plugins and sinks see it."""

from __future__ import annotations

from typing import Any, NamedTuple

from rover.values.http import HttpRequest, HttpResponse
from rover.values.records import Address, Direction, Process, Role
from rover.values.tuples import new


class ProtocolBreak(NamedTuple):
    """Why and where decoding of a connection was given up for good."""

    reason: str
    """One word: `hpack`, `framing`, `gap`, `unknown-stream`, `upgrade`, `tunnel`, `overflow`,
    `plugin`, or a plugin's own."""
    detail: str = ""
    """For people: what was found, e.g. "HEADERS of stream 5: index 70 was never added"."""
    protocol: str = ""
    """Name of the protocol the connection had; filled in by the core."""
    direction: Direction | None = None
    position: int = 0
    """Stream position in `direction` at which decoding stopped."""
    upgrade: str = ""
    """Lower-case token of the protocol that follows (HTTP Upgrade), for a plugin to claim."""
    request: HttpRequest | None = None
    """What asked for the upgrade, or for the tunnel; None where it was not seen."""
    response: HttpResponse | None = None
    """What granted it."""


class Connection(NamedTuple):
    """A snapshot: a change (protocol recognised, broken, role known) makes a new value."""

    id: int
    local: Address | None
    """None only while the record that opens the connection has not arrived."""
    remote: Address | None
    role: Role | None
    process: Process | None
    """Who opened it, or who was first seen using it. Each detail names its own pid."""
    opened: int
    """ns on the source's clock."""
    epoch: int
    """Unix time (ns) of the zero of the source's clock: `epoch + detail.start` is wall time."""
    tls: bool = False
    protocol: str = ""
    """Name of the recognised protocol; empty for plain TCP, so also after a break."""
    protocol_break: ProtocolBreak | None = None
    proxied: Address | None = None
    """The client that a proxy said it speaks for (PROXY protocol): one end of the socket is the proxy."""

    def replace(self, **changes: Any) -> Connection:
        """The same connection with these fields changed."""
        return self._replace(**changes)

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
    """The connection, in this protocol: what `_replace` does, which takes ten times as long."""
    identity, local, remote, role, process, opened, epoch, tls, _, broken, proxied = connection
    return new(
        Connection,
        (identity, local, remote, role, process, opened, epoch, tls, protocol, broken, proxied),
    )
