"""What is around the entries of a recording, as docs/recording-format.md describes it. No I/O.

A header, then blocks: a length, a checksum, and whole entries (`format`). Everything is little-endian and
unaligned. What is read here may come from anybody: whatever the bytes, the answer is a value or
`DamageError`.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from rover.values.records import MAX_NUMBER

MAGIC = b"\x89ROVER\r\n"
"""As in PNG: a byte above 0x7f and both line ends show a transfer that was not binary."""
MAJOR = 1
"""Another one cannot be read."""
MINOR = 2
"""A larger one has entry types, flags or fields at the end of entries that are passed over."""

BLOCK_SIZE = 256 * 1024
"""Bytes of entries after which a block ends: hundreds of calls share a write and a checksum, and
a recorder that is killed takes no more than this with it."""
MAX_BLOCK = 16 << 20
"""Bytes of a block a reader takes: one not yet full, and the largest entry."""

_VERSION = struct.Struct("<8sHH")  # magic, major, minor: so in every version
_HEADER = struct.Struct("<8sHHqqI")  # ..., epoch, clock, CRC-32 of all before
HEADER_SIZE = _HEADER.size
_SIZE = struct.Struct("<I")
_BLOCK = struct.Struct("<II")  # size of the entries, CRC-32 of that size and the entries
BLOCK_HEADER_SIZE = _BLOCK.size


class DamageError(Exception):
    """These bytes are not what a recorder writes; the message says what is wrong with them."""


class Header(NamedTuple):
    """What holds for the whole file."""

    epoch: int
    """Unix time (ns) of the zero of the source's clock."""
    clock: int
    """That clock when the recording began, ns."""


def pack_header(header: Header) -> bytes:
    """The first HEADER_SIZE bytes of a file."""
    data = _HEADER.pack(MAGIC, MAJOR, MINOR, *header, 0)[: -_SIZE.size]
    return data + _SIZE.pack(zlib.crc32(data))


def unpack_header(data: bytes) -> Header:
    """Raises DamageError also for a version that cannot be read."""
    if not data.startswith(MAGIC):
        raise DamageError("this is no recording of rover")
    if len(data) < _VERSION.size:
        raise DamageError("cut off within the header")
    _, major, minor = _VERSION.unpack_from(data)
    if major != MAJOR:
        raise DamageError(
            f"its format is {major}.{minor} and only {MAJOR}.x can be read; use the rover that made it"
        )
    if len(data) < HEADER_SIZE:
        raise DamageError("cut off within the header")
    *_, epoch, clock, checksum = _HEADER.unpack(data)
    if checksum != zlib.crc32(data[: -_SIZE.size]):
        raise DamageError("wrong checksum of the header")
    return Header(checked_time(epoch), checked_time(clock))


def pack_block_header(entries: bytes | bytearray) -> bytes:
    """What precedes the entries of a block."""
    return _BLOCK.pack(len(entries), _checksum(entries))


def unpack_block_header(data: bytes) -> tuple[int, int]:
    """(size, checksum) of the entries that follow."""
    size, checksum = _BLOCK.unpack(data)
    if not 0 < size <= MAX_BLOCK:
        raise DamageError(f"a block of {size} bytes")
    return size, checksum


def check_block(entries: bytes, checksum: int) -> None:
    """Raises DamageError if these are not the entries that were written."""
    if _checksum(entries) != checksum:
        raise DamageError("wrong checksum of a block")


def _checksum(entries: bytes | bytearray) -> int:
    return zlib.crc32(entries, zlib.crc32(_SIZE.pack(len(entries))))


def checked_time(time: int) -> int:
    """A time that a `Detail` can hold."""
    if abs(time) > MAX_NUMBER:
        raise DamageError("a time of more than 62 bits")
    return time
