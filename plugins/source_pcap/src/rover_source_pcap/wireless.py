"""Wireless LAN frames (IEEE 802.11-2020 section 9.2) down to IP: data that nobody encrypted.

What a capture puts before them tells of the radio: radiotap (https://www.radiotap.org), AVS, Prism.
Every step is a function (data, offset, end) -> (EtherType, offset of what follows), as in link.py.
Frames that carry several packets (A-MSDU), or part of one, are not read.
"""

from __future__ import annotations

import struct

from rover_source_pcap.link import NOTHING, Step, snap

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_NOT_IP = (NOTHING, 0)

_TYPE, _DATA = 0x0C, 0x08
_NO_DATA, _QOS = 0x40, 0x80  # bits of the subtype
_TO_DS, _FROM_DS, _MORE_FRAGMENTS, _PROTECTED, _HT_CONTROL = 0x01, 0x02, 0x04, 0x40, 0x80
_SEVERAL = 0x80  # of the QoS control: an A-MSDU
_PRISM_HEADER = 144
_AVS_MAGIC = b"\x80\x21\x10"


def ieee802_11(data: bytes, offset: int, end: int, padded: bool = False) -> Step:
    """A data frame with LLC and SNAP. `padded`: its header is followed by bytes up to a multiple of 4."""
    if offset + 24 > end:
        return _NOT_IP
    kind, flags = data[offset], data[offset + 1]
    if kind & _TYPE != _DATA or kind & _NO_DATA or flags & (_MORE_FRAGMENTS | _PROTECTED):
        return _NOT_IP
    if data[offset + 22] & 0x0F:  # the number of a fragment
        return _NOT_IP
    length = 24
    if flags & _TO_DS and flags & _FROM_DS:
        length += 6
    if kind & _QOS:
        if offset + length + 2 > end or data[offset + length] & _SEVERAL:
            return _NOT_IP
        length += 2
        if flags & _HT_CONTROL:
            length += 4
    if padded:
        length += -length % 4
    return snap(data, offset + length, end)


def radiotap(data: bytes, offset: int, end: int) -> Step:
    """A header whose length it tells; its field of flags tells of padding. A frame check sequence
    after the packet needs no notice: IP tells its own length."""
    if offset + 8 > end or data[offset]:
        return _NOT_IP
    frame = offset + _U16(data, offset + 2)[0]
    (present,) = _U32(data, offset + 4)
    at = offset + 8
    word = present
    while word & 0x8000_0000:  # another word of what is present
        if at + 4 > min(frame, end):
            return _NOT_IP
        (word,) = _U32(data, at)
        at += 4
    if present & 1:  # the time: 8 bytes, at a multiple of 8
        at += -(at - offset) % 8 + 8
    if frame < offset + 8 or frame > end:
        return _NOT_IP
    padded = bool(present & 2 and at < frame and data[at] & 0x20)
    return ieee802_11(data, frame, end, padded)


def avs(data: bytes, offset: int, end: int) -> Step:
    """A magic number, then the header's length."""
    if offset + 8 > end:
        return _NOT_IP
    (length,) = struct.unpack_from(">I", data, offset + 4)
    return ieee802_11(data, offset + length, end) if 8 <= length <= end - offset else _NOT_IP


def prism(data: bytes, offset: int, end: int) -> Step:
    """A header of fixed length; some drivers write AVS under its name."""
    if data[offset : min(offset + 3, end)] == _AVS_MAGIC:
        return avs(data, offset, end)
    return ieee802_11(data, offset + _PRISM_HEADER, end)
