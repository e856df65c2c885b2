"""What every capture format's reader is: bytes in, packets out. No I/O, no seeking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

Packet = tuple[int, int, bytes, int, int, int]
"""(time, link type, data, start, end, cut): Unix ns, LINKTYPE_ number, the captured packet is
`data[start:end]`, and `cut` bytes of it were on the wire and not captured (snap length). A plain
tuple, and no slice: there is one per packet, and `data` holds many."""

MAX_PACKET = 262_144
"""Captured bytes of one packet: MAXIMUM_SNAPLEN of libpcap (pcap-int.h). More is damage."""


class Damage(Exception):  # noqa: N818  (what it is, not that it is an error)
    """The capture cannot be read on: what was found, at which offset of the (unpacked) file."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what


class CaptureReader(Protocol):
    """One capture file. Fed whole or byte by byte, it yields the same packets."""

    def feed(self, chunk: bytes) -> Iterator[Packet]:
        """The packets that `chunk` completes. Exhaust it before the next call.

        Raises Damage after the last packet that is whole.
        """

    def end(self) -> None:
        """The file is over. Raises Damage when it ends inside a packet."""


class ChunkBuffer:
    """Chunks put together until a record is complete; each byte is joined a bounded number of times."""

    __slots__ = ("_chunks", "_size", "_wanted", "offset")

    def __init__(self) -> None:
        self.offset = 0
        """Where in the file the joined bytes begin."""
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = 1

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def join(self, chunk: bytes) -> bytes:
        """Everything that waits, with `chunk`; empty while that is less than was wanted."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size < self._wanted:
            return b""
        data = b"".join(self._chunks)
        self._chunks = []
        self._size = 0
        return data

    def keep(self, data: bytes, used: int, wanted: int) -> None:
        """`data` from `used` on waits until there are `wanted` bytes of it."""
        self.offset += used
        self._wanted = wanted
        if used < len(data):
            self._chunks = [data[used:]]
            self._size = len(data) - used
