"""The packets in a piece of a pcap file. `_pcap_records.pyx` is the same, compiled."""

from __future__ import annotations

import struct

from rover_source_pcap.capture_reader import MAX_PACKET, Packet

RECORD_HEADER = 16
_SECOND = 1_000_000_000
_HEADERS = {order: struct.Struct(order + "IIII").unpack_from for order in "<>"}


def whole_records(
    data: bytes, offset: int, order: str, unit: int, link_type: int
) -> tuple[list[Packet], int, int]:
    """The packets from `offset` on, where they end, and the bytes needed from there for one more.

    `order`: `<` or `>`; `unit`: ns per unit of a time's fraction. A packet that is too large
    (MAX_PACKET) ends them: what it would take is told.
    """
    packets: list[Packet] = []
    unpack = _HEADERS[order]
    size = len(data)
    while offset + RECORD_HEADER <= size:
        seconds, fraction, captured, length = unpack(data, offset)
        start = offset + RECORD_HEADER
        end = start + captured
        if captured > MAX_PACKET or end > size:
            return packets, offset, RECORD_HEADER + captured
        cut = length - captured if length > captured else 0
        packets.append((seconds * _SECOND + fraction * unit, link_type, data, start, end, cut))
        offset = end
    return packets, offset, RECORD_HEADER
