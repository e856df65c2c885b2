"""Blocks of a pcapng file (draft-ietf-opsawg-pcapng). Bytes out, no I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable

ETHERNET = 1
"""LINKTYPE_ETHERNET."""
SNAP_LENGTH = 262_144
"""Bytes of a packet that readers take: MAXIMUM_SNAPLEN of libpcap."""
MAX_TEXT = 1000
"""Bytes of a text. It has at most 65,535, and is shown on one line."""

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_COMMENT = 1
_APPLICATION = 4
_NAME, _DESCRIPTION, _RESOLUTION = 2, 3, 9
_NANOSECONDS = b"\x09"
_SIZE = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_END_OF_OPTIONS = bytes(4)
_HEAD = struct.Struct("<II")
_FIELDS = struct.Struct("<IIIII")


def section(application: str) -> bytes:
    """The beginning of a file that `application` writes, little-endian and of unknown length."""
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(_SECTION, body + _options([(_APPLICATION, _text(application))]))


def interface(name: str, description: str) -> bytes:
    """An interface of Ethernet whose times are in nanoseconds. Interfaces are numbered from 0 in their
    order."""
    body = struct.pack("<HHI", ETHERNET, 0, SNAP_LENGTH)
    options = [(_NAME, _text(name)), (_DESCRIPTION, _text(description)), (_RESOLUTION, _NANOSECONDS)]
    return _block(_INTERFACE, body + _options(options))


def packet(number: int, time: int, captured: bytes, length: int, comment: str = "") -> bytes:
    """A packet at `time` (Unix ns) on an interface: of its `length` bytes the first ones were captured."""
    body = _FIELDS.pack(number, time >> 32 & 0xFFFF_FFFF, time & 0xFFFF_FFFF, len(captured), length)
    body += captured + bytes(-len(captured) % 4)
    if comment:
        body += _options([(_COMMENT, _text(comment))])
    return _block(_PACKET, body)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return _HEAD.pack(kind, length) + body + _SIZE.pack(length)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    packed = b"".join(
        _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4) for code, value in options if value
    )
    return packed + _END_OF_OPTIONS


def _text(text: str) -> bytes:
    """UTF-8; what is none, in a process's name say, is shown as escapes."""
    return text.encode("utf-8", "backslashreplace")[:MAX_TEXT].decode("utf-8", "ignore").encode()
