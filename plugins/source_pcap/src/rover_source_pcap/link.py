"""What lies between a link and IP: where in a frame the IP packet begins.

What a header carries is told by its EtherType throughout (IEEE 802 numbers, IANA), also where
the protocol itself has other numbers for it. Every step is a function (data, offset, end) ->
(EtherType, offset of what follows); EtherType NOTHING where there is nothing we can read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

IPV4 = 0x0800
IPV6 = 0x86DD
ETHERNET = 0x6558
"""Transparent Ethernet bridging (RFC 1701): a whole Ethernet frame."""
PPP = 0x880B
MPLS = 0x8847
PPPOE = 0x8864
NOTHING = 0

Step = tuple[int, int]
Decode = Callable[[bytes, int, int], Step]

MAX_TAGS = 16
"""Headers between the link's own and IP. Provider networks stack half a dozen; each is at least
two bytes of a packet, so this only bounds nonsense."""

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_NOT_IP = (NOTHING, 0)
_IP = (IPV4, IPV6)


def ethernet(data: bytes, offset: int, end: int) -> Step:
    """IEEE 802.3: an EtherType, or a length and LLC/SNAP."""
    behind = offset + 14
    if behind > end:
        return _NOT_IP
    kind: int = _U16(data, offset + 12)[0]
    if kind in _IP:
        return kind, behind
    if kind >= 0x0600:
        return unwrap(kind, data, behind, end)
    return snap(data, behind, end)


def unwrap(kind: int, data: bytes, offset: int, end: int) -> Step:
    """Through tags and headers to the IP packet."""
    for _ in range(MAX_TAGS):
        if kind in _IP:
            return kind, offset
        decode = _BETWEEN.get(kind)
        if decode is None:
            return _NOT_IP
        kind, offset = decode(data, offset, end)
    return _NOT_IP


def snap(data: bytes, offset: int, end: int) -> Step:
    """IEEE 802.2 LLC with a SNAP header of organisation 0 (RFC 1042)."""
    if offset + 8 > end or data[offset : offset + 6] != b"\xaa\xaa\x03\0\0\0":
        return _NOT_IP
    return unwrap(_U16(data, offset + 6)[0], data, offset + 8, end)


def _bridged(data: bytes, offset: int, end: int) -> Step:
    if offset + 14 > end:
        return _NOT_IP
    return _U16(data, offset + 12)[0], offset + 14


def _vlan(data: bytes, offset: int, end: int) -> Step:
    """IEEE 802.1Q, also stacked (802.1ad and what came before it)."""
    if offset + 4 > end:
        return _NOT_IP
    return _U16(data, offset + 2)[0], offset + 4


def _vn_tag(data: bytes, offset: int, end: int) -> Step:
    """Cisco VN-Tag: four bytes, then an EtherType."""
    if offset + 6 > end:
        return _NOT_IP
    return _U16(data, offset + 4)[0], offset + 6


def _mpls(data: bytes, offset: int, end: int) -> Step:
    """RFC 3032. What lies below is not named: IP shows its version, and a zero is the control
    word of an Ethernet pseudowire (RFC 4448, RFC 4928)."""
    while offset + 5 <= end:
        bottom = data[offset + 2] & 1
        offset += 4
        if bottom:
            version = data[offset] >> 4
            if version == 0:
                return ETHERNET, offset + 4
            return (IPV4 if version == 4 else IPV6 if version == 6 else NOTHING), offset
    return _NOT_IP


def _pppoe(data: bytes, offset: int, end: int) -> Step:
    """RFC 2516, session stage."""
    return (PPP, offset + 6) if offset + 8 <= end and data[offset] == 0x11 else _NOT_IP


_PPP_PROTOCOLS = {0x0021: IPV4, 0x0057: IPV6, 0x0281: MPLS, 0x0283: MPLS, 0x0031: ETHERNET}
"""https://www.iana.org/assignments/ppp-numbers; for Ethernet see _ppp."""


def _ppp(data: bytes, offset: int, end: int) -> Step:
    """RFC 1661, with or without the address and control of RFC 1662; also Cisco's HDLC."""
    if offset + 4 > end:
        return _NOT_IP
    if data[offset] in (0x0F, 0x8F) and data[offset + 1] == 0:
        return cisco_hdlc(data, offset, end)
    if data[offset] == 0xFF and data[offset + 1] == 0x03:
        offset += 2
    protocol = data[offset]
    if protocol & 1:
        offset += 1  # its first byte, zero, was compressed away
    else:
        protocol = _U16(data, offset)[0]
        offset += 2
    kind = _PPP_PROTOCOLS.get(protocol, NOTHING)
    # A bridged frame has flags and a MAC type before it (RFC 3518).
    return kind, offset + 2 if kind == ETHERNET else offset


def cisco_hdlc(data: bytes, offset: int, end: int) -> Step:
    """Address, control, EtherType."""
    return (_U16(data, offset + 2)[0], offset + 4) if offset + 4 <= end else _NOT_IP


_BETWEEN: Mapping[int, Decode] = {
    0x8100: _vlan,
    0x88A8: _vlan,
    0x9100: _vlan,
    0x9200: _vlan,
    0x9300: _vlan,
    0x8926: _vn_tag,
    MPLS: _mpls,
    0x8848: _mpls,
    PPPOE: _pppoe,
    PPP: _ppp,
    ETHERNET: _bridged,
}
