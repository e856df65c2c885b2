"""The pcap format: draft-ietf-opsawg-pcap; libpcap's pcap-savefile(5)."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from rover_source_pcap.capture_reader import MAX_PACKET, ChunkBuffer, Damage, Packet
from rover_source_pcap.pcap_records import RECORD_HEADER, whole_records

with contextlib.suppress(ImportError):  # not compiled
    from rover_source_pcap._pcap_records import whole_records  # type: ignore[no-redef]

_FORMATS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Magic number as it lies in the file: byte order, ns per unit of a time's fraction."""
MAGICS = frozenset(_FORMATS)

_FILE_HEADER = 24
_LINK_TYPE = 0xFFFF
"""The bits above tell the length of the frame check sequence."""


class PcapReader:
    """One file of the classic format: one link type, one byte order."""

    def __init__(self) -> None:
        self._chunks = ChunkBuffer()
        self._order = ""
        self._unit = 0
        self._link_type = 0

    def feed(self, chunk: bytes) -> Iterator[Packet]:
        """See `CaptureReader.feed`."""
        chunks = self._chunks
        data = chunks.join(chunk)
        if not data:
            return
        offset = 0
        if not self._order:
            if len(data) < _FILE_HEADER:
                chunks.keep(data, 0, _FILE_HEADER)
                return
            self._begin(data)
            offset = _FILE_HEADER
        packets, offset, wanted = whole_records(data, offset, self._order, self._unit, self._link_type)
        yield from packets
        if wanted > RECORD_HEADER + MAX_PACKET:
            raise Damage(chunks.offset + offset, f"a packet of {wanted - RECORD_HEADER} bytes")
        chunks.keep(data, offset, wanted)

    def _begin(self, header: bytes) -> None:
        try:
            self._order, self._unit = _FORMATS[header[:4]]
        except KeyError:
            raise Damage(0, "not a pcap file") from None
        self._link_type = struct.unpack_from(self._order + "I", header, 20)[0] & _LINK_TYPE

    def end(self) -> None:
        """See `CaptureReader.end`."""
        if self._chunks.size or not self._order:
            raise Damage(self._chunks.offset, "the file ends inside a packet")
