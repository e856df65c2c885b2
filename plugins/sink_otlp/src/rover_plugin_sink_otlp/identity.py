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


_made = tuple.__new__
"""Makes a named tuple in half the time that its class takes, which is written in Python."""
_Salted = tuple[Connection, int, bool]
"""A connection; what both of its ends make of its addresses, 0 where they, or who is who, are not known; and
whether this is the client's."""


class Identities:
    """Gives them. Its methods are called by one thread, but for `watched`."""

    def __init__(self, seed: int | None = None) -> None:
        """`seed`: for tests."""
        self._random = random.Random(seed)  # noqa: S311 - ids need to be different, not secret
        self._picks: dict[Shape, Callable[[tuple[Any, ...]], Any]] = {}
        self._salts: dict[int, _Salted] = {}
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
        ids = self._fresh(24)
        return _made(Identity, (ids[:16], ids[16:], b"", b"", 0))

    def watched(self, connection: int) -> bool:
        """Whether the client's end of a connection has been seen with a trace context."""
        return connection in self._clients

    def _traced(self, connection: Connection, trace: bytes, parent: bytes) -> Identity:
        _, salt, is_client = self._salts.get(id(connection)) or self._salt(connection)
        if not salt:
            return _made(Identity, (trace, self._fresh(8), parent, b"", 0))
        # Without a caller's span (SkyWalking's are no ids of 8 bytes) the trace stands for it.
        base = int.from_bytes(parent or trace[8:], "big") ^ salt
        # An id for each time that a client sends the same context on a connection: both ends count.
        before = (self._given if is_client else self._expected).count(base)
        client = ((base + before * ODD) & MASK or 1).to_bytes(8, "big")
        if is_client:
            if salt not in self._clients:
                self._clients.count(salt)
            return _made(Identity, (trace, client, parent, b"", 0))
        return _made(Identity, (trace, self._fresh(8), parent, client, salt))

    def _pick(self, shape: Shape) -> Callable[[tuple[Any, ...]], Any]:
        """What takes CONTEXT from the cells of a shape and the None after them."""
        names = shape.names
        if len(self._picks) >= MAX_SHAPES:
            self._picks.clear()
        pick = itemgetter(*[names.index(name) if name in names else len(names) for name in CONTEXT])
        self._picks[shape] = pick
        return pick

    def _fresh(self, size: int) -> bytes:
        """An id, or several. Zero, which is none, comes once in 2**64 times."""
        return self._random.randbytes(size)

    def _salt(self, connection: Connection) -> _Salted:
        role, local, remote = connection.role, connection.local, connection.remote
        is_client = role is Role.CLIENT
        salt = 0
        if role is not None and local is not None and remote is not None:
            client, server = (local, remote) if is_client else (remote, local)
            text = f"{_shown(client)} {_shown(server)}".encode("utf-8", "replace")
            salt = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1
        if len(self._salts) >= MAX_CONNECTIONS:
            self._salts.clear()
        made = self._salts[id(connection)] = (connection, salt, is_client)
        return made


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


def _context(provider: object, trace: object, span: object) -> tuple[bytes, bytes]:
    """The trace's id and the caller's span, empty where it has none. Without a context both are."""
    if not isinstance(trace, str) or not trace:
        return b"", b""
    if provider == "skywalking":
        # A text of any form: all its ends make the same id of it.
        return hashlib.blake2b(trace.encode("utf-8", "replace"), digest_size=16).digest(), b""
    found = of_hex(trace)
    if len(found) == 8:  # B3 has such, which are the last digits of a longer one
        found = bytes(8) + found
    if len(found) != 16 or found == _NO_TRACE:
        return b"", b""
    caller = of_hex(span) if isinstance(span, str) else b""
    return found, caller if len(caller) == 8 and caller != _NO_SPAN else b""


_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


def of_hex(digits: str) -> bytes:
    """The bytes; none for what are no digits, or has anything between them."""
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return b""
    return found if len(digits) == 2 * len(found) else b""
