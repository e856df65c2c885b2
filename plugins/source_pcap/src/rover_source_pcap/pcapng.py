"""The pcapng format: draft-ietf-opsawg-pcapng."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rover.values.records import MAX_NUMBER
from rover_source_pcap.capture_reader import MAX_PACKET, ChunkBuffer, Damage, Packet

MAGIC = b"\x0a\x0d\x0d\x0a"
"""Type of a section header block: the same in both byte orders."""

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_OBSOLETE_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_READ = frozenset((_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET))

_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_END_OF_OPTIONS = 0
_TIME_RESOLUTION = 9
_TIME_OFFSET = 14

MAX_BLOCK = 1 << 20
"""Bytes of a block we read: the largest packet, and thrice as much of comments. Blocks we do not
read are passed over, whatever their length."""
MAX_INTERFACES = 65_536
"""Of one section: a machine has at most thousands, and each costs us memory."""
MAX_OPTIONS = 256
"""Of one interface that are looked at; the format knows 20."""
SECOND = 1_000_000_000
_SMALLEST = 12  # type, length, length again


class _Interface(NamedTuple):
    link_type: int
    snap_length: int
    """0: none."""
    multiplier: int
    divisor: int
    """Ticks times `multiplier`, divided by `divisor`, are ns."""
    offset: int
    """ns to add to every time."""


class PcapngReader:
    """One file: sections of either byte order, each with its interfaces."""

    def __init__(self) -> None:
        self._chunks = ChunkBuffer()
        self._skip = 0
        """Bytes of an unread block still to pass over."""
        self._begun = False
        self._interfaces: list[_Interface] = []
        self._time = 0
        self._set_order("<")

    def _set_order(self, order: str) -> None:
        self._order = order
        self._head = struct.Struct(order + "II").unpack_from
        self._word = struct.Struct(order + "I").unpack_from
        self._packet: dict[int, Callable[[bytes, int], tuple[int, ...]]] = {
            _ENHANCED_PACKET: struct.Struct(order + "IIIII").unpack_from,
            _OBSOLETE_PACKET: struct.Struct(order + "HxxIIII").unpack_from,
        }

    def feed(self, chunk: bytes) -> Iterator[Packet]:
        """See `CaptureReader.feed`."""
        chunks = self._chunks
        if self._skip:
            skipped = min(self._skip, len(chunk))
            self._skip -= skipped
            chunks.offset += skipped
            chunk = chunk[skipped:]
        data = chunks.join(chunk)
        offset = 0
        size = len(data)
        wanted = _SMALLEST
        while offset + _SMALLEST <= size:
            kind, length = self._head(data, offset)
            here = chunks.offset + offset
            if kind == _SECTION:
                length = self._section(data, offset, here)
            elif not self._begun:
                raise Damage(here, "not a pcapng file")
            if length < _SMALLEST:
                raise Damage(here, f"a block of {length} bytes")
            # Some old writers left the padding out of the length.
            padded = length + 3 & ~3
            if kind not in _READ:
                self._skip = max(0, offset + padded - size)
                offset = min(offset + padded, size)
                continue
            if length > MAX_BLOCK:
                raise Damage(here, f"a block of {length} bytes")
            if offset + padded > size:
                wanted = padded
                break
            (again,) = self._word(data, offset + padded - 4)
            if again != length:
                raise Damage(here, f"a block of {length} bytes that ends as one of {again}")
            body, end = offset + 8, offset + padded - 4
            if kind == _INTERFACE:
                self._interface(data, body, end, here)
            elif kind == _SIMPLE_PACKET:
                yield self._simple(data, body, end, here)
            elif kind != _SECTION:
                yield self._timed(kind, data, body, end, here)
            offset += padded
        if data:
            chunks.keep(data, offset, wanted)

    def _section(self, data: bytes, offset: int, here: int) -> int:
        """Takes the byte order of a new section; returns the length of its header block."""
        order = _BYTE_ORDERS.get(data[offset + 8 : offset + 12])
        if order is None:
            raise Damage(here, "a section without byte order")
        self._set_order(order)
        self._interfaces = []
        self._begun = True
        length: int = self._word(data, offset + 4)[0]
        return length

    def _interface(self, data: bytes, body: int, end: int, here: int) -> None:
        if end - body < 8:
            raise Damage(here, "an interface block too short")
        if len(self._interfaces) >= MAX_INTERFACES:
            raise Damage(here, f"more than {MAX_INTERFACES} interfaces")
        link_type, snap_length = struct.unpack_from(self._order + "HxxI", data, body)
        resolution, seconds = 6, 0
        option = struct.Struct(self._order + "HH").unpack_from
        at = body + 8
        for _ in range(MAX_OPTIONS):
            if at + 4 > end:
                break
            code, length = option(data, at)
            value = at + 4
            at = value + (length + 3 & ~3)
            if code == _END_OF_OPTIONS or at > end:
                break
            if code == _TIME_RESOLUTION and length == 1:
                resolution = data[value]
            elif code == _TIME_OFFSET and length == 8:
                (seconds,) = struct.unpack_from(self._order + "q", data, value)
        # if_tsresol: 10^-n, or 2^-n when the top bit is set.
        if resolution & 0x80:
            multiplier, divisor = SECOND, 1 << (resolution & 0x7F)
        elif resolution <= 9:
            multiplier, divisor = 10 ** (9 - resolution), 1
        else:
            multiplier, divisor = 1, 10 ** (resolution - 9)
        self._interfaces.append(_Interface(link_type, snap_length, multiplier, divisor, seconds * SECOND))

    def _timed(self, kind: int, data: bytes, body: int, end: int, here: int) -> Packet:
        """An enhanced packet block, or the obsolete one that differs in the size of a field."""
        start = body + 20
        if start > end:
            raise Damage(here, "a packet block too short")
        identity, high, low, captured, length = self._packet[kind](data, body)
        if captured > MAX_PACKET or start + captured > end:
            raise Damage(here, f"a packet of {captured} bytes in a block of {end - start}")
        if identity >= len(self._interfaces):
            raise Damage(here, f"a packet of interface {identity}, which was not described")
        link_type, _, multiplier, divisor, since = self._interfaces[identity]
        # However absurd: a number that fits records. What to make of it is the clock's to decide.
        time = max(-MAX_NUMBER, min((high << 32 | low) * multiplier // divisor + since, MAX_NUMBER))
        self._time = time
        cut = length - captured if length > captured else 0
        return time, link_type, data, start, start + captured, cut

    def _simple(self, data: bytes, body: int, end: int, here: int) -> Packet:
        """A packet without time: it gets that of the packet before it."""
        if body + 4 > end:
            raise Damage(here, "a packet block too short")
        if not self._interfaces:
            raise Damage(here, "a packet of interface 0, which was not described")
        interface = self._interfaces[0]
        (length,) = self._word(data, body)
        start = body + 4
        captured = min(length, interface.snap_length or length, end - start)
        if captured > MAX_PACKET:
            raise Damage(here, f"a packet of {captured} bytes")
        return self._time, interface.link_type, data, start, start + captured, length - captured

    def end(self) -> None:
        """See `CaptureReader.end`."""
        if self._chunks.size or self._skip or not self._begun:
            raise Damage(self._chunks.offset, "the file ends inside a block")
