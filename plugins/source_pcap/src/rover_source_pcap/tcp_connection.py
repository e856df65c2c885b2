"""A TCP connection as the packets of a capture show it: two halves, each what one end sends."""

from __future__ import annotations

import socket
import struct
from functools import lru_cache

from rover.values.records import Address, Direction, Opened, Role
from rover_source_pcap.pieces import Pieces

PORTS = struct.Struct(">HH").unpack
UNKNOWN = -1
_MAPPED = bytes(10) + b"\xff\xff"
_INGRESS, _EGRESS = int(Direction.INGRESS), int(Direction.EGRESS)


class TcpConnection:
    """Both halves, and what is known of them together."""

    __slots__ = ("begun", "client", "closed", "first", "id", "late", "reset", "seen", "sequence")

    def __init__(self, begun: int) -> None:
        self.id = 0
        """0 until the first detail: what never carries anything is not reported."""
        self.begun = begun
        self.seen = begun
        self.sequence = 0
        self.late = True
        """No SYN seen."""
        self.closed = False
        self.reset = False
        self.first: Half
        """The half whose segment was seen first."""
        self.client: Half | None = None


class Half:
    """What one end sends."""

    __slots__ = (
        "acknowledged",
        "connection",
        "direction",
        "ended",
        "fin",
        "held",
        "isn",
        "key",
        "next",
        "orderly",
        "other",
        "position",
        "proven",
        "since",
        "stalled",
    )

    def __init__(self, connection: TcpConnection, key: bytes) -> None:
        self.connection = connection
        self.key = key
        self.other = self
        self.direction = _EGRESS
        self.isn = UNKNOWN
        """Sequence number of its SYN."""
        self.next = UNKNOWN
        """Sequence number of the byte at `position`."""
        self.position = 0
        """Stream position up to which everything was delivered, or given up."""
        self.acknowledged = UNKNOWN
        """Sequence number up to which the other end has everything."""
        self.proven = UNKNOWN
        """Sequence number, ahead of `next`, up to which the other end had everything when it sent what
        is delivered already: a record's number was left out for it."""
        self.since = 0
        """Time of the first such record (ns)."""
        self.orderly = False
        """Nothing is held or proven, no FIN was seen: a segment at `next` can go out."""
        self.held: Pieces | None = None
        """What lies after a hole."""
        self.stalled = 0
        """When the hole appeared (ns)."""
        self.fin = UNKNOWN
        """Position of a FIN that was seen before all that precedes it."""
        self.ended = False


def opened_of(connection: TcpConnection) -> Opened:
    """What makes it known. From here on it is known who is the client, or it has been guessed."""
    client = connection.client
    role = Role.CLIENT if client is not None else None
    if client is None:
        # A guess, and not told as more: servers have the lower port.
        client = connection.first
        source, destination = PORTS(client.key[-4:])
        if source < destination:
            client = client.other
        connection.client = client
    client.other.direction = _INGRESS
    client.direction = _EGRESS
    local, remote = addresses(client.key)
    return Opened(
        connection=connection.id,
        time=connection.begun,
        local=local,
        remote=remote,
        role=role,
        pid=0,
        late=connection.late,
        detail=None,
    )


def distance(here: int, there: int) -> int:
    """How far a sequence number is ahead of another (RFC 9293 section 3.4)."""
    ahead = there - here & 0xFFFF_FFFF
    return ahead - (1 << 32) if ahead & 0x8000_0000 else ahead


def addresses(key: bytes) -> tuple[Address, Address]:
    """(source, destination) of a key."""
    size = len(key) // 2 - 2
    source, destination = PORTS(key[-4:])
    return (
        Address(host=_host(key[:size]), port=source),
        Address(host=_host(key[size : 2 * size]), port=destination),
    )


@lru_cache(4096)
def _host(packed: bytes) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)
