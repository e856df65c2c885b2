"""From a capture's packets to TCP segments. `_frames.pyx` is the same, compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rover_source_pcap.ip import Network
from rover_source_pcap.link import LINK_TYPES
from rover_source_pcap.reader import Packet
from rover_source_pcap.tcp import Assembler


class Frames:
    """Takes packets off their links."""

    def __init__(self, network: Network, tcp: Assembler) -> None:  # noqa: ARG002
        """`tcp`: where `network` hands its segments; the compiled form hands it most itself."""
        self._network = network
        self.time = 0
        """Of the packet taken last."""
        self.packets = 0
        """How many were taken."""
        self.foreign: Counter[int] = Counter()
        """Packets of link types we cannot read."""

    def take(self, packets: Iterable[Packet]) -> None:
        """All of them. What was taken before an exception of `packets` is accounted for."""
        links, network = LINK_TYPES, self._network
        time, taken = self.time, 0
        try:
            for time, link_type, data, start, end, cut in packets:
                taken += 1
                decode = links.get(link_type)
                if decode is None:
                    self.foreign[link_type] += 1
                    continue
                kind, offset = decode(data, start, end)
                network.packet(time, kind, data, offset, end, cut)
        finally:
            self.time = time
            self.packets += taken
