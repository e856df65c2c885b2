"""Tunnels: from the payload of an IP or UDP packet to the packet inside.

Every step is a function (data, offset, end) -> (EtherType, offset), as in link.py; what it
yields is IPV4, IPV6 or NOTHING.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from rover_source_pcap.link import ETHERNET, IPV4, IPV6, NOTHING, PPP, Decode, Step, unwrap

_U16 = struct.Struct(">H").unpack_from
_NOT_IP = (NOTHING, 0)
_ERSPAN_2 = 0x88BE
_ERSPAN_3 = 0x22EB


def gre(data: bytes, offset: int, end: int) -> Step:
    """RFC 2784 with the key and sequence of RFC 2890; PPTP's version 1 (RFC 2637); ERSPAN
    (draft-foschiano-erspan)."""
    if offset + 4 > end:
        return _NOT_IP
    flags, kind = struct.unpack_from(">HH", data, offset)
    version = flags & 7
    if version > 1 or flags & 0x4000:  # source routes: RFC 1701, given up by RFC 2784
        return _NOT_IP
    sequenced = flags & 0x1000
    behind = offset + 4
    behind += 4 if flags & 0x8000 else 0
    behind += 4 if flags & 0x2000 else 0
    behind += 4 if sequenced else 0
    behind += 4 if version == 1 and flags & 0x0080 else 0
    if kind == _ERSPAN_2:
        # Type I has neither a sequence number nor a header of its own.
        kind, behind = ETHERNET, behind + (8 if sequenced else 0)
    elif kind == _ERSPAN_3:
        if behind + 12 > end:
            return _NOT_IP
        kind, behind = ETHERNET, behind + (20 if data[behind + 11] & 1 else 12)
    return unwrap(kind, data, behind, end)


def _vxlan(data: bytes, offset: int, end: int) -> Step:
    """RFC 7348; with the generic protocol extension (draft-ietf-nvo3-vxlan-gpe) the last byte of
    the first word names what is inside."""
    if offset + 8 > end or not data[offset] & 0x08:
        return _NOT_IP
    kind = ETHERNET
    if data[offset] & 0x04:
        kind = {1: IPV4, 2: IPV6, 3: ETHERNET}.get(data[offset + 3], NOTHING)
    return unwrap(kind, data, offset + 8, end)


def _geneve(data: bytes, offset: int, end: int) -> Step:
    """RFC 8926."""
    if offset + 8 > end or data[offset] >> 6:
        return _NOT_IP
    options = (data[offset] & 0x3F) * 4
    return unwrap(_U16(data, offset + 2)[0], data, offset + 8 + options, end)


def _gtp(data: bytes, offset: int, end: int) -> Step:
    """3GPP TS 29.281 section 5.1, version 1, type 255: a user's packet."""
    if offset + 12 > end or data[offset] & 0xF0 != 0x30 or data[offset + 1] != 255:
        return _NOT_IP
    behind = offset + 8
    if data[offset] & 0x07:
        extension = data[offset] & 0x04 and data[offset + 11]
        behind = offset + 12
        while extension:
            if behind >= end or not (length := data[behind] * 4) or behind + length > end:
                return _NOT_IP
            behind += length
            extension = data[behind - 1]
    return _ip(data, behind, end)


def _teredo(data: bytes, offset: int, end: int) -> Step:
    """RFC 4380 section 5.1.1: IPv6, after an authentication header and an origin indication."""
    if data[offset : offset + 2] == b"\0\1" and offset + 4 <= end:
        offset += 13 + data[offset + 2] + data[offset + 3]
    if data[offset : offset + 2] == b"\0\0":
        offset += 8
    return (IPV6, offset) if offset < end and data[offset] >> 4 == 6 else _NOT_IP


def _ayiya(data: bytes, offset: int, end: int) -> Step:
    """draft-massar-v6ops-ayiya, opcode 1: forward."""
    if offset + 8 > end or data[offset + 2] & 0x0F != 1:
        return _NOT_IP
    return _ip(data, offset + 8 + (1 << (data[offset] >> 4)) + (data[offset + 1] >> 4) * 4, end)


def _l2tp(data: bytes, offset: int, end: int) -> Step:
    """RFC 2661 section 3.1: a data message, with PPP inside."""
    if offset + 6 > end:
        return _NOT_IP
    flags: int = _U16(data, offset)[0]
    if flags & 0x8000 or flags & 0x000F != 2:
        return _NOT_IP
    at = offset + 6
    at += 2 if flags & 0x4000 else 0  # a length
    at += 4 if flags & 0x0800 else 0  # sequence numbers
    if flags & 0x0200:  # how much is left out before the payload
        if at + 2 > end:
            return _NOT_IP
        at += 2 + _U16(data, at)[0]
    return unwrap(PPP, data, at, end)


def _ip(data: bytes, offset: int, end: int) -> Step:
    version = data[offset] >> 4 if offset < end else 0
    return (IPV4 if version == 4 else IPV6 if version == 6 else NOTHING), offset


UDP_TUNNELS: Mapping[int, Decode] = {
    1701: _l2tp,
    2152: _gtp,
    3544: _teredo,
    4754: gre,  # RFC 8086
    4789: _vxlan,
    4790: _vxlan,
    5072: _ayiya,
    6081: _geneve,
    8472: _vxlan,  # Linux before the port was assigned, and flannel to this day
}
"""By port, of either end."""
