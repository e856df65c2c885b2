"""What is sent at once, and how it lies in a file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAGIC = b"roverbat"
VERSION = 1
MAX_PAYLOAD = 256 << 20
"""Bytes a file may unpack to; batches are sealed at some 8 MB."""
MAX_FILE = MAX_PAYLOAD + (1 << 20)
"""Bytes of a file: what does not shrink becomes 5 bytes in 16 kB longer (RFC 1951 section 3.2.4)."""
OVERHEAD = 64
"""Bytes of memory a message takes beside its own."""

_HEADER = struct.Struct("<8sII")  # magic, version, crc32 of what follows
_COUNTS = struct.Struct("<IIIQ")  # exchanges, calls, messages, bytes unpacked
_LENGTH = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _COUNTS.size


class CorruptBatch(Exception):  # noqa: N818
    """A file that is no whole batch."""


class Batch(NamedTuple):
    """What one call sends."""

    head: bytes
    """The beginning of the first message, which is the same in many batches."""
    messages: Sequence[bytes]
    exchanges: int
    calls: int
    """Socket calls in it."""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.messages)) + OVERHEAD * (len(self.messages) + 1)

    def stream(self) -> Iterator[bytes]:
        """The messages as they are sent: the head begins the first."""
        for index, message in enumerate(self.messages):
            yield message if index else self.head + message


def pack(batch: Batch) -> bytes:
    """The batch as a file. Names are repeated in every message, so that it shrinks tenfold."""
    parts = [b"%b%b" % (_LENGTH.pack(len(part)), part) for part in (batch.head, *batch.messages)]
    payload = b"".join(parts)
    counts = _COUNTS.pack(batch.exchanges, batch.calls, len(parts), len(payload))
    body = counts + zlib.compress(payload, 1)
    return _HEADER.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def counts(header: bytes) -> tuple[int, int]:
    """(exchanges, calls) of a file, from its first bytes. Raises CorruptBatch."""
    if len(header) < HEADER_SIZE:
        raise CorruptBatch("it is cut off in its header")
    magic, version, _ = _HEADER.unpack_from(header)
    if magic != MAGIC or version != VERSION:
        raise CorruptBatch("it is no batch of this version")
    exchanges, calls, _, _ = _COUNTS.unpack_from(header, _HEADER.size)
    return exchanges, calls


def unpack(data: bytes) -> Batch:
    """The batch of a file. Raises CorruptBatch, and nothing else, for what `pack` did not make."""
    exchanges, calls = counts(data)
    _, _, checksum = _HEADER.unpack_from(data)
    if zlib.crc32(memoryview(data)[_HEADER.size :]) != checksum:
        raise CorruptBatch("its checksum is wrong")
    _, _, number, size = _COUNTS.unpack_from(data, _HEADER.size)
    if size > MAX_PAYLOAD:
        raise CorruptBatch(f"it claims {size} bytes")
    try:
        payload = zlib.decompressobj().decompress(memoryview(data)[HEADER_SIZE:], size + 1)
    except zlib.error as error:
        raise CorruptBatch(str(error)) from None
    if len(payload) != size:
        raise CorruptBatch(f"it has {len(payload)} of {size} bytes")
    parts = _split(payload)
    if len(parts) != number or number < 2:
        raise CorruptBatch(f"it has {len(parts)} of {number} messages")
    return Batch(parts[0], parts[1:], exchanges, calls)


def _split(payload: bytes) -> list[bytes]:
    parts = []
    position = 0
    while position < len(payload):
        if position + _LENGTH.size > len(payload):
            raise CorruptBatch("a message's length is cut off")
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        if position + length > len(payload):
            raise CorruptBatch("a message is cut off")
        parts.append(payload[position : position + length])
        position += length
    return parts
