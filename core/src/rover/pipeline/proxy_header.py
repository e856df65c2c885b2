"""The PROXY protocol header: whom a proxy speaks for, in front of whatever protocol follows.

Source: "The PROXY protocol, versions 1 & 2" (proxy-protocol.txt of HAProxy), sections 2.1 and 2.2. A
header that breaks a rule of it is not one: the bytes are then judged like any other opening.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from rover.values.records import Address

V1_PREFIX = b"PROXY "
FIRST_V1 = V1_PREFIX[0]
"""The byte that such a line begins with."""
SECOND_V1 = V1_PREFIX[1]
V1_LONGEST = 107
"""Bytes of a version 1 line with its CRLF (section 2.1)."""
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIRST_V2 = V2_SIGNATURE[0]
V2_FIXED = 16
"""Bytes of version 2 before the addresses: signature, version and command, family, length."""
LOCAL, PROXY = 0x20, 0x21
"""Version 2, with its two commands."""
TCP4, TCP6 = 0x11, 0x21
ADDRESSES = {TCP4: 12, 0x12: 12, TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Bytes of addresses by family and transport; others (UNSPEC, and those to come) may have any."""
MAX_PORT = 65535
V4_MAPPED = bytes(10) + b"\xff\xff"


class ProxyHeader(NamedTuple):
    """A whole header."""

    size: int
    """Bytes it takes up, of which only those that name the client need have been read."""
    client: Address | None
    """None where the proxy speaks for itself (LOCAL), or names nobody that has an IP address."""


class Incomplete:
    """The type of INCOMPLETE."""


INCOMPLETE = Incomplete()
"""These bytes may become a header."""


def read_header(data: bytes | bytearray) -> ProxyHeader | Incomplete | None:
    """The header that a connection's first bytes are; None when they are something else.

    Whatever the bytes, it raises nothing, and looks at no more than the first 107.
    """
    if not data:
        return None
    if data.startswith(V1_PREFIX[: len(data)]):
        return _read_v1(bytes(data[:V1_LONGEST]))
    if data.startswith(V2_SIGNATURE[: len(data)]):
        return _read_v2(bytes(data[: V2_FIXED + ADDRESSES[TCP6]]))
    return None


def _read_v1(data: bytes) -> ProxyHeader | Incomplete | None:
    line, end, _ = data.partition(b"\n")
    if not end:
        return INCOMPLETE if len(data) < V1_LONGEST else None
    if not line.endswith(b"\r"):
        return None
    size = len(line) + 1
    words = line[:-1].split(b" ")[1:]
    if words[0] == b"UNKNOWN":
        return ProxyHeader(size, None)
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        return None
    family = socket.AF_INET if words[0] == b"TCP4" else socket.AF_INET6
    source, destination = _packed(family, words[1]), _packed(family, words[2])
    port, destination_port = _port(words[3]), _port(words[4])
    if source is None or destination is None or port is None or destination_port is None:
        return None
    return ProxyHeader(size, _client(source, port))


def _packed(family: socket.AddressFamily, word: bytes) -> bytes | None:
    try:
        return socket.inet_pton(family, word.decode("ascii"))
    except (OSError, ValueError):  # ValueError: not ASCII, or a null character
        return None


def _port(word: bytes) -> int | None:
    # Of ASCII: bytes.isdigit() knows no other digits. Section 2.1: no leading zeros.
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0"):
        return None
    port = int(word)
    return port if port <= MAX_PORT else None


def _read_v2(data: bytes) -> ProxyHeader | Incomplete | None:
    if len(data) < V2_FIXED:
        return INCOMPLETE
    command, family, length = struct.unpack_from(">BBH", data, len(V2_SIGNATURE))
    if command == LOCAL:
        return ProxyHeader(V2_FIXED + length, None)
    if command != PROXY or length < ADDRESSES.get(family, 0):
        return None
    if family not in (TCP4, TCP6):
        return ProxyHeader(V2_FIXED + length, None)
    if len(data) < V2_FIXED + ADDRESSES[family]:
        return INCOMPLETE
    width = 4 if family == TCP4 else 16
    (port,) = struct.unpack_from(">H", data, V2_FIXED + 2 * width)
    return ProxyHeader(V2_FIXED + length, _client(data[V2_FIXED : V2_FIXED + width], port))


def _client(packed: bytes, port: int) -> Address | None:
    """None for the unspecified address, which names nobody. v4-mapped is IPv4, as in all records."""
    packed = packed.removeprefix(V4_MAPPED)
    if not any(packed):
        return None
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return Address(host=socket.inet_ntop(family, packed), port=port)
