"""The pcap format: draft-ietf-opsawg-pcap; libpcap's pcap-savefile(5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from rover_source_pcap.reader import MAX_PACKET, Backlog, Damage, Packet

_FORMATS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Magic number as it lies in the file: byte order, ns per unit of a time's fraction."""
MAGICS = frozenset(_FORMATS)

_FILE_HEADER = 24
_RECORD_HEADER = 16
_LINK_TYPE = 0xFFFF
"""The bits above tell the length of the frame check sequence."""
SECOND = 1_000_000_000


class PcapReader:
    """One file of the classic format: one link type, one byte order."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._record: struct.Struct | None = None
        self._unit = 0
        self._link_type = 0

    def feed(self, chunk: bytes) -> Iterator[Packet]:
        """See `Reader.feed`."""
        backlog = self._backlog
        data = backlog.join(chunk)
        if not data:
            return
        offset = 0
        if self._record is None:
            if len(data) < _FILE_HEADER:
                backlog.keep(data, 0, _FILE_HEADER)
                return
            self._begin(data)
            offset = _FILE_HEADER
        assert self._record is not None  # noqa: S101
        unpack = self._record.unpack_from
        unit, link_type = self._unit, self._link_type
        size = len(data)
        wanted = _RECORD_HEADER
        while offset + _RECORD_HEADER <= size:
            seconds, fraction, captured, length = unpack(data, offset)
            if captured > MAX_PACKET:
                raise Damage(backlog.offset + offset, f"a packet of {captured} bytes")
            start = offset + _RECORD_HEADER
            end = start + captured
            if end > size:
                wanted = _RECORD_HEADER + captured
                break
            offset = end
            cut = length - captured if length > captured else 0
            yield seconds * SECOND + fraction * unit, link_type, data, start, end, cut
        backlog.keep(data, offset, wanted)

    def _begin(self, header: bytes) -> None:
        try:
            order, self._unit = _FORMATS[header[:4]]
        except KeyError:
            raise Damage(0, "not a pcap file") from None
        self._record = struct.Struct(order + "IIII")
        self._link_type = struct.unpack_from(order + "I", header, 20)[0] & _LINK_TYPE

    def end(self) -> None:
        """See `Reader.end`."""
        if self._backlog.size or self._record is None:
            raise Damage(self._backlog.offset, "the file ends inside a packet")
