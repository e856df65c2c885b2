"""The time of a capture: what to make of a packet whose time is not like its neighbours'.

Connections are aged by the packets' times, so that one absurd time would end them all. A time far from
the packet's before is judged by the packet that follows: one that is nearer to the time before shows that
it was absurd, and the packet counts as captured when the one before it was. One that is not shows that the
capture paused, or goes on at another time, as captures that were put together do.
"""

from __future__ import annotations

from rover_source_pcap.capture_reader import Packet

SECOND = 1_000_000_000
MAX_STEP = 20 * SECOND
"""ns between two packets that are not looked at twice: less than anything is waited for (fragments: 30 s),
and more than a live capture is usually silent, for the packet after a pause waits for the next."""
EARLIEST, LATEST = 1 << 29, 1 << 32
"""Seconds since 1970 of a time that a packet may have: from 1987, when there was hardly a capture, to
2106, when pcap's 32 bits end."""


class PacketTimes:
    """Gives packets with a time to believe, in their order."""

    def __init__(self) -> None:
        self.sure = False
        """Whether a packet at most MAX_STEP from the one taken last needs no judgement."""
        self.absurd = 0
        """Packets whose time was not believed."""
        self._begun = False
        self._doubtful: Packet | None = None

    def judge(self, packet: Packet, now: int) -> list[Packet]:
        """What can be taken now that this has come. `now`: the time of the packet taken last."""
        taken: list[Packet] = []
        time = packet[0]
        if (doubtful := self._doubtful) is not None:
            then = doubtful[0]
            if self._begun:
                absurd = abs(time - now) < abs(time - then)
            else:
                absurd, now = _possible(then) < _possible(time), time
            taken.append(self._decided(doubtful, absurd, now))
            now = taken[0][0]
        if self._begun and abs(time - now) <= MAX_STEP:
            taken.append(packet)
        else:
            self._doubtful = packet
        self.sure = self._doubtful is None
        return taken

    def flush(self, now: int) -> list[Packet]:
        """What waits: nothing follows, or not soon."""
        if (doubtful := self._doubtful) is None:
            return []
        time = doubtful[0]
        absurd = self._begun and (time < now or _possible(time) < _possible(now))
        return [self._decided(doubtful, absurd, now)]

    def _decided(self, packet: Packet, absurd: bool, now: int) -> Packet:
        self._doubtful = None
        self._begun = self.sure = True
        self.absurd += absurd
        return (now, *packet[1:]) if absurd else packet


def _possible(time: int) -> bool:
    return EARLIEST * SECOND <= time <= LATEST * SECOND
