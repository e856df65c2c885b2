"""Which trace and which span an access log is, and whose child.

A request that carries a trace context names the span it was sent from. Both ends of the request see the same
one. So the client's end is the child of that span, and the server's end is the child of the client's, where
the client is watched, too: the id of the client's span is made of the caller's and of the connection's
addresses, which both ends know. Where nobody has seen the client's end, the server's is the child of the
caller's span.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from rover import AccessLog, Address, Attributes, Connection, Role, Shape

MAX_CONNECTIONS = 8192
"""Snapshots of connections whose ids are kept."""
GENERATION = 65_536
"""Entries after which older ones begin to be forgotten: as many as the core follows connections at once. Two
generations of ids, and of connections, are some 20 MB at most."""
ODD = 0x9E37_79B9_7F4A_7C15
"""Any odd number: its multiples are different, modulo 2**64, for as many as there are."""
MASK = (1 << 64) - 1
CONTEXT = ("trace.provider", "trace_id", "span_id")
MAX_SHAPES = 64
"""Shapes of attributes that are known at a time."""


class Identity(NamedTuple):
    """The ids of a span; all of them have 8 bytes, but the trace's has 16."""

    trace: bytes
    span: bytes
    parent: bytes
    """The caller's span; empty where there is none."""
    client: bytes
    """Of a server's end: the span of the client's end, which is the parent if there is one."""
    connection: int
    """Of a server's end: by which the client's end is known to be watched, see `Identities.watched`."""


class Identities:
    """Gives them. Its methods are called by one thread, but for `watched`."""

    def __init__(self, seed: int | None = None) -> None:
        """`seed`: for tests."""
        self._random = random.Random(seed)  # noqa: S311 - ids need to be different, not secret
        self._picks: dict[Shape, Callable[[tuple[Any, ...]], Any]] = {}
        self._salts: dict[int, tuple[Connection, int]] = {}
        self._clients = _Generations()
        self._given = _Generations()
        self._expected = _Generations()

    def of(self, log: AccessLog) -> Identity:
        """The identity of an exchange's span; each call of it is another exchange."""
        attributes: Any = log.attributes
        if type(attributes) is Attributes:
            shape = attributes.shape
            pick = self._picks.get(shape) or self._pick(shape)
            provider, trace_id, span_id = pick((*attributes.cells, None))
        else:
            provider, trace_id, span_id = map(attributes.get, CONTEXT)
        if provider is not None:
            trace, caller = _context(provider, trace_id, span_id)
            if trace:
                return self._traced(log.connection, trace, caller)
        number = self._random.getrandbits(192) or 1
        ids = number.to_bytes(24, "big")
        return Identity(ids[:16], ids[16:], b"", b"", 0)

    def watched(self, connection: int) -> bool:
        """Whether the client's end of a connection has been seen with a trace context."""
        return connection in self._clients

    def _traced(self, connection: Connection, trace: bytes, caller: int) -> Identity:
        salt = self._salt(connection)
        parent = caller.to_bytes(8, "big") if caller else b""
        if not salt:
            return Identity(trace, self._fresh(), parent, b"", 0)
        # Without a caller's span (SkyWalking's are no ids of 8 bytes) the trace stands for it.
        base = (caller or int.from_bytes(trace[8:], "big")) ^ salt
        if connection.role is Role.CLIENT:
            if salt not in self._clients:
                self._clients.count(salt)
            own = self._next(self._given, base)
            return Identity(trace, own.to_bytes(8, "big"), parent, b"", 0)
        client = self._next(self._expected, base).to_bytes(8, "big")
        return Identity(trace, self._fresh(), parent, client, salt)

    def _pick(self, shape: Shape) -> Callable[[tuple[Any, ...]], Any]:
        """What takes CONTEXT from the cells of a shape and the None after them."""
        names = shape.names
        if len(self._picks) >= MAX_SHAPES:
            self._picks.clear()
        pick = itemgetter(*[names.index(name) if name in names else len(names) for name in CONTEXT])
        self._picks[shape] = pick
        return pick

    def _fresh(self) -> bytes:
        return (self._random.getrandbits(64) or 1).to_bytes(8, "big")

    @staticmethod
    def _next(given: _Generations, base: int) -> int:
        """An id for each time that a client sends the same context on a connection: both ends count."""
        return (base + given.count(base) * ODD) & MASK or 1

    def _salt(self, connection: Connection) -> int:
        """What both ends of a connection make of its addresses; 0 where they, or who is who, are not
        known."""
        known = self._salts.get(id(connection))
        if known is not None:
            return known[1]
        role, local, remote = connection.role, connection.local, connection.remote
        salt = 0
        if role is not None and local is not None and remote is not None:
            client, server = (local, remote) if role is Role.CLIENT else (remote, local)
            text = f"{_shown(client)} {_shown(server)}".encode("utf-8", "replace")
            salt = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1
        if len(self._salts) >= MAX_CONNECTIONS:
            self._salts.clear()
        self._salts[id(connection)] = (connection, salt)
        return salt


class _Generations:
    """How often a number came: of the newest GENERATION to twice as many."""

    def __init__(self) -> None:
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._new or number in self._old

    def count(self, number: int) -> int:
        """How often it came before this time."""
        new = self._new
        before = new.get(number)
        if before is None:
            before = self._old.get(number, 0)
            if len(new) >= GENERATION:
                self._old, new = new, {}
                self._new = new
        new[number] = before + 1
        return before


def _shown(address: Address) -> str:
    return f"{address.host} {address.port}"


def _context(provider: object, trace: object, span: object) -> tuple[bytes, int]:
    """The trace's id and the caller's span, 0 where it has none; an empty id where there is no context."""
    if not isinstance(trace, str) or not trace:
        return b"", 0
    if provider == "skywalking":
        # A text of any form: all its ends make the same id of it.
        return hashlib.blake2b(trace.encode("utf-8", "replace"), digest_size=16).digest(), 0
    found = of_hex(trace)
    if len(found) == 8:  # B3 has such, which are the last digits of a longer one
        found = bytes(8) + found
    if len(found) != 16 or found == _NO_TRACE:
        return b"", 0
    caller = of_hex(span) if isinstance(span, str) else b""
    return found, int.from_bytes(caller, "big") if len(caller) == 8 else 0


_NO_TRACE = bytes(16)


def of_hex(digits: str) -> bytes:
    """The bytes; none for what are no digits, or has anything between them."""
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return b""
    return found if len(digits) == 2 * len(found) else b""
