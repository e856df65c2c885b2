"""Header fields of a message, packed.

`_fields.pyx` is the same, compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from rover.http import Headers, text

ABSENT, INVALID = -1, -2
"""What `status_of` says where there is no status."""
_COOKIE = b"\ncookie\0"
_COLON = 0x3A

LOGGED = frozenset(
    {
        *(b"host", b"user-agent", b"sw8", b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-spanid"),
        *(b"content-type", b"grpc-status", b"grpc-message"),
    }
)
"""Fields that a log is made from: `rover.http.http_attributes` and trace context, then `grpc_attributes`."""
MAX_VALUE = 2_048
"""Bytes of a value that `needed` keeps: more than any of these has but a hostile one, a hundred of which
still fit beside each other."""


def pack(lines: Iterable[bytes]) -> bytes:
    """Field lines in one `bytes`, each after a line feed. Cookie crumbs are joined."""
    lines = list(lines)
    packed = b"\n".join([b"", *lines])
    if packed.count(b"\n") != len(lines):
        # RFC 9110 section 5.5: a recipient replaces a CR, LF or NUL in a value by a space.
        lines = [line.replace(b"\n", b" ") for line in lines]
        packed = b"\n".join([b"", *lines])
    if packed.count(_COOKIE) > 1:
        return pack(_join_cookies(lines))
    return packed


def _join_cookies(lines: list[bytes]) -> list[bytes]:
    """RFC 9113 section 8.2.3: what was split to be compressed is one field."""
    crumbs = [line[7:] for line in lines if line.startswith(b"cookie\0")]
    first = next(i for i, line in enumerate(lines) if line.startswith(b"cookie\0"))
    others = [line for line in lines if not line.startswith(b"cookie\0")]
    return [*others[:first], b"cookie\0" + b"; ".join(crumbs), *others[first:]]


def pack_apart(lines: list[bytes]) -> tuple[bytes, bytes]:
    """Packed pseudo-header fields, and packed others: the former come first (RFC 9113 section 8.3)."""
    packed = pack(lines)
    end = 0
    for line in lines:
        if line[0] != _COLON:
            break
        end += len(line) + 1
    return packed[:end], packed[end:]


def needed(packed: bytes) -> bytes:
    """Of packed lines those that a log is made from, each name once, long values cut."""
    kept: dict[bytes, bytes] = {}
    for line in packed.split(b"\n")[1:]:
        end = line.find(b"\0") + 1
        name = line[: end - 1]
        if (name in LOGGED or name.startswith(b":")) and name not in kept:
            kept[name] = line[: _cut(line, end + MAX_VALUE)]
    return b"".join(b"\n" + line for line in kept.values())


def _cut(line: bytes, end: int) -> int:
    """Where to cut a line at the latest, outside of UTF-8's characters."""
    if end >= len(line):
        return len(line)
    start = end
    while start > end - 3 and line[start] & 0xC0 == 0x80:
        start -= 1
    return start


def value_of(packed: bytes, name: str) -> str | None:
    """The first value of a name, None when absent."""
    key = _key(name)
    start = packed.find(key)
    if start < 0:
        return None
    start += len(key)
    end = packed.find(b"\n", start)
    return text(packed[start:] if end < 0 else packed[start:end])


def status_of(pseudo: bytes) -> int:
    """The status (RFC 9110 section 15: three digits); ABSENT, or INVALID for any other value."""
    value = value_of(pseudo, ":status")
    if value is None:
        return ABSENT
    return int(value) if len(value) == 3 and value.isascii() and value.isdigit() else INVALID


class PackedHeaders(Headers):
    """Headers over packed lines, read only when asked for.

    Most messages are asked for a handful of names; an open stream waits with one object
    instead of two per field.
    """

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._fields = None
        self._packed = packed

    def _parse(self) -> Iterable[tuple[str, str]]:
        for line in self._packed.split(b"\n")[1:]:
            name, _, value = line.partition(b"\0")
            yield text(name), text(value)

    def get(self, name: str) -> str | None:
        """The first value of a lower-case name, None when absent."""
        return value_of(self._packed, name)


def packed_headers(packed: bytes) -> PackedHeaders:
    """Compiled, a call of C; else what the class does."""
    return PackedHeaders(packed)


@functools.lru_cache(maxsize=64)
def _key(name: str) -> bytes:
    """What stands in front of the value of a field."""
    return b"\n%b\0" % name.encode()
