"""TCP segments of a connection that nobody captured: Ethernet, IP and TCP headers made for its bytes.

A byte's sequence number tells its position in the stream, so that bytes that are not there are missing
numbers.
"""

from __future__ import annotations

import ipaddress
import struct

from rover import Address

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MAX_SEGMENT = 0xFFFF - 40 - 20
"""Bytes of payload: with the headers they fit the 16 bits of a packet's length, IPv6 or not."""
WINDOW = 0xFFFF
_MASK = 0xFFFF_FFFF
_TTL, _TCP = 64, 6
# Locally administered addresses (IEEE 802, bit 0x02 of the first octet).
_MACS = (b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_HEADER = struct.Struct(">HHIIBBHHH")
_IPV4_HEADER = struct.Struct(">BBHHHBBH")
_IPV6_HEADER = struct.Struct(">IHBB")


class Route:
    """From one end of a connection to the other."""

    __slots__ = ("_addresses", "_begin", "_ethernet", "_ports", "_six", "_sum")

    def __init__(self, source: Address, destination: Address, isn: int, *, from_client: bool) -> None:
        """`isn`: the initial sequence number of both streams."""
        self._begin = isn + 1
        ends = [_packed(source.host), _packed(destination.host)]
        self._six = any(len(end) == 16 for end in ends)
        if self._six:
            ends = [end if len(end) == 16 else bytes(10) + b"\xff\xff" + end for end in ends]
        self._addresses = b"".join(ends)
        macs = _MACS[::-1] if from_client else _MACS
        self._ethernet = b"".join(macs) + (_IPV6 if self._six else _IPV4)
        self._ports = (source.port & 0xFFFF, destination.port & 0xFFFF)
        self._sum = _summed(self._addresses) + _TCP

    def segment(self, position: int, known: int, flags: int, size: int, payload: bytes) -> tuple[bytes, int]:
        """(captured, length) of a packet whose segment carries `size` bytes of the stream from `position`
        on, of which `payload` is the captured beginning, and which acknowledges the other stream up to the
        position `known`. A SYN stands before position 0."""
        sequence = self._begin + position - bool(flags & SYN) & _MASK
        acknowledged = self._begin + known & _MASK if flags & ACK else 0
        length = 20 + size
        ports = self._ports
        header = _HEADER.pack(*ports, sequence, acknowledged, 0x50, flags, WINDOW, 0, 0)
        if len(payload) == size:
            total = self._sum + length + _summed(header) + _summed(payload)
            header = _HEADER.pack(*ports, sequence, acknowledged, 0x50, flags, WINDOW, _checksum(total), 0)
        captured = self._ethernet + self._ip(length) + header + payload
        return captured, len(captured) - len(payload) + size

    def _ip(self, length: int) -> bytes:
        if self._six:
            return _IPV6_HEADER.pack(6 << 28, length, _TCP, _TTL) + self._addresses
        # No fragments (0x4000), so that the identification may be anything (RFC 6864 section 4.1).
        header = _IPV4_HEADER.pack(0x45, 0, 20 + length, 0, 0x4000, _TTL, _TCP, 0)
        checksum = _checksum(_summed(header) + _summed(self._addresses))
        return _IPV4_HEADER.pack(0x45, 0, 20 + length, 0, 0x4000, _TTL, _TCP, checksum) + self._addresses


def _packed(host: str) -> bytes:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError:  # an address that is not known
        return bytes(4)


def _summed(data: bytes) -> int:
    """A number that is the sum of its 16-bit words, modulo 65,535: 2^16 is 1 there (RFC 1071)."""
    return int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big") % 0xFFFF


def _checksum(total: int) -> int:
    return ~(total % 0xFFFF) & 0xFFFF
