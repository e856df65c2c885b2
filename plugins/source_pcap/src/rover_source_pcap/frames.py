"""From a capture's packets to TCP segments. `_frames.pyx` is the same, compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rover_source_pcap.capture_reader import Packet
from rover_source_pcap.ip import Network
from rover_source_pcap.link_types import LINK_TYPES
from rover_source_pcap.packet_times import MAX_STEP, PacketTimes
from rover_source_pcap.tcp import Assembler


class Frames:
    """Takes packets off their links."""

    def __init__(self, network: Network, tcp: Assembler) -> None:  # noqa: ARG002
        """`tcp`: where `network` hands its segments; the compiled form hands it most itself."""
        self._network = network
        self._times = PacketTimes()
        self.time = 0
        """Of the packet taken last."""
        self.packets = 0
        """How many were taken."""
        self.foreign: Counter[int] = Counter()
        """Packets of link types we cannot read."""

    @property
    def absurd(self) -> int:
        """How many had a time that was not believed."""
        return self._times.absurd

    def take(self, packets: Iterable[Packet]) -> None:
        """All of them; one whose time is in doubt waits for the next."""
        times = self._times
        for packet in packets:
            if times.sure and -MAX_STEP <= packet[0] - self.time <= MAX_STEP:
                self.one(packet)
                continue
            for judged in times.judge(packet, self.time):
                self.one(judged)

    def flush(self) -> None:
        """Takes the packet that waits."""
        for packet in self._times.flush(self.time):
            self.one(packet)

    def one(self, packet: Packet) -> None:
        """A packet whose time is to be believed."""
        time, link_type, data, start, end, cut = packet
        self.time = time
        self.packets += 1
        decode = LINK_TYPES.get(link_type)
        if decode is None:
            self.foreign[link_type] += 1
            return
        kind, offset = decode(data, start, end)
        self._network.packet(time, kind, data, offset, end, cut)
