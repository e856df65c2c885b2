"""IPv4 and IPv6 down to TCP: extension headers, fragments, tunnels."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Protocol

from rover_source_pcap.fragments import Fragments
from rover_source_pcap.link import IPV4, IPV6, NOTHING, Decode
from rover_source_pcap.tunnels import UDP_TUNNELS, gre

MAX_NESTING = 8
"""IP packets inside each other, reassembled ones included: three occur, and it bounds recursion."""
MAX_EXTENSIONS = 16
"""IPv6 extension headers: RFC 8200 section 4.1 recommends at most seven."""

_TCP = 6
_UDP = 17
_IPV4_INSIDE = 4
_IPV6_INSIDE = 41
_GRE = 47
_INSIDE = (_IPV4_INSIDE, _IPV6_INSIDE, _GRE, _UDP)
_FRAGMENT = 44
_AUTHENTICATION = 51
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))
"""Of IPv6, with their length in units of 8 bytes: hop-by-hop, routing, destination, mobility, HIP,
shim6."""

_IPV4_HEADER = struct.Struct(">BxHxxHxB").unpack_from
_IPV6_HEADER = struct.Struct(">4xHB").unpack_from
_PORTS = struct.Struct(">HH").unpack_from
_U16 = struct.Struct(">H").unpack_from


class SegmentHandler(Protocol):
    """What takes the TCP segments."""

    def segment(self, time: int, key: bytes, data: bytes, offset: int, end: int, cut: int) -> None:
        """`data[offset:end]` from the TCP header on; `cut` bytes after `end` were not captured.

        `key`: both addresses and both ports as they lie in the headers, 12 or 36 bytes.
        """


class Network:
    """Finds the TCP segments in IP packets."""

    def __init__(self, tcp: SegmentHandler) -> None:
        self.skipped: Counter[str] = Counter()
        """Packets that came to nothing, by cause."""
        self._tcp = tcp
        self._fragments = Fragments()

    @property
    def fragments_lost(self) -> int:
        """Datagrams that never became whole."""
        return self._fragments.lost

    def packet(
        self, time: int, kind: int, data: bytes, offset: int, end: int, cut: int, nesting: int = 0
    ) -> None:
        """An IP packet, `kind` being IPV4, IPV6 or NOTHING, with `cut` bytes of it not captured."""
        if kind == IPV4:
            self._ipv4(time, data, offset, end, cut, nesting)
        elif kind == IPV6:
            self._ipv6(time, data, offset, end, cut, nesting)
        else:
            self.skipped["not_ip"] += 1

    def _ipv4(self, time: int, data: bytes, offset: int, end: int, cut: int, nesting: int) -> None:
        if end - offset < 20:
            self.skipped["bad_ip"] += 1
            return
        first, total, fragment, protocol = _IPV4_HEADER(data, offset)
        start = offset + ((first & 0x0F) << 2)
        behind = offset + total
        if first < 0x45 or first > 0x4F or start > end or (total and behind < start):
            self.skipped["bad_ip"] += 1
            return
        # A total length of 0 is a segment captured before the network card cut it up.
        if total:
            if behind <= end:
                end, cut = behind, 0  # what follows pads the frame
            elif behind < end + cut:
                cut = behind - end
        if protocol == _TCP and first == 0x45 and not fragment & 0x3FFF:
            # The ordinary case: addresses and ports lie side by side.
            self._tcp.segment(time, data[offset + 12 : offset + 24], data, start, end, cut)
            return
        addresses = data[offset + 12 : offset + 20]
        if fragment & 0x3FFF:
            key = addresses + data[offset + 4 : offset + 6] + data[offset + 9 : offset + 10]
            payload = data[start:end]
            position = (fragment & 0x1FFF) << 3
            self._fragment(time, key, protocol, addresses, position, payload, fragment & 0x2000, cut, nesting)
        else:
            self._transport(time, protocol, addresses, data, start, end, cut, nesting)

    def _ipv6(self, time: int, data: bytes, offset: int, end: int, cut: int, nesting: int) -> None:
        start = offset + 40
        if start > end or data[offset] >> 4 != 6:
            self.skipped["bad_ip"] += 1
            return
        length, protocol = _IPV6_HEADER(data, offset)
        # A length of 0 is a jumbogram (RFC 2675), or again captured before it was cut up.
        if length:
            behind = start + length
            if behind <= end:
                end, cut = behind, 0
            elif behind < end + cut:
                cut = behind - end
        self._transport(time, protocol, data[offset + 8 : start], data, start, end, cut, nesting)

    def _fragment(
        self,
        time: int,
        key: bytes,
        protocol: int,
        addresses: bytes,
        position: int,
        payload: bytes,
        more: int,
        cut: int,
        nesting: int,
    ) -> None:
        if cut:
            self.skipped["fragment_cut"] += 1
            return
        whole = self._fragments.add(time, key, position, payload, bool(more))
        if whole is None:
            return
        if nesting >= MAX_NESTING:
            self.skipped["nested_too_deep"] += 1
            return
        self._transport(time, protocol, addresses, whole, 0, len(whole), 0, nesting + 1)

    def _transport(
        self,
        time: int,
        protocol: int,
        addresses: bytes,
        data: bytes,
        start: int,
        end: int,
        cut: int,
        nesting: int,
    ) -> None:
        """What an IP packet carries, after its extension headers."""
        for _ in range(MAX_EXTENSIONS):
            if protocol == _TCP:
                if start + 4 > end:
                    self.skipped["bad_tcp"] += 1
                else:
                    self._tcp.segment(time, addresses + data[start : start + 4], data, start, end, cut)
                return
            if start + 8 > end:
                break
            if protocol in _EXTENSIONS:
                protocol, start = data[start], start + 8 + data[start + 1] * 8
            elif protocol == _AUTHENTICATION:
                # RFC 4302: the length is in units of 4 bytes, less two.
                protocol, start = data[start], start + 8 + data[start + 1] * 4
            elif protocol == _FRAGMENT:
                fragment = _U16(data, start + 2)[0]
                protocol, header, start = data[start], start, start + 8
                if fragment & 0xFFF9:
                    key = addresses + data[header + 4 : start]
                    payload = data[start:end]
                    position = fragment & 0xFFF8
                    self._fragment(
                        time, key, protocol, addresses, position, payload, fragment & 1, cut, nesting
                    )
                    return
            else:
                break
        if protocol in _INSIDE and nesting >= MAX_NESTING:
            self.skipped["nested_too_deep"] += 1
        elif protocol == _IPV4_INSIDE:
            self.packet(time, IPV4, data, start, end, cut, nesting + 1)
        elif protocol == _IPV6_INSIDE:
            self.packet(time, IPV6, data, start, end, cut, nesting + 1)
        elif (decode := self._tunnel(protocol, data, start, end)) is not None:
            offset = start if protocol == _GRE else start + 8
            kind, offset = decode(data, offset, end)
            if kind == NOTHING:
                self.skipped["not_tcp"] += 1
            else:
                self.packet(time, kind, data, offset, end, cut, nesting + 1)
        else:
            self.skipped["not_tcp"] += 1

    def _tunnel(self, protocol: int, data: bytes, start: int, end: int) -> Decode | None:
        if protocol == _GRE:
            return gre
        if protocol == _UDP and start + 8 <= end:
            source, destination = _PORTS(data, start)
            return UDP_TUNNELS.get(destination) or UDP_TUNNELS.get(source)
        return None

    def give_up(self) -> None:
        """Nothing follows: incomplete datagrams are lost."""
        self._fragments.give_up()
