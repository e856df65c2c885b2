"""The source: a capture file in, records out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rover.errors import RoverError, UsageError
from rover.records import RecordHandler
from rover.source import Selection
from rover_source_pcap.capture_file import CaptureFile
from rover_source_pcap.ip import Network
from rover_source_pcap.link import LINK_TYPES
from rover_source_pcap.tcp import Assembler


class PcapSource:
    """Implements `rover.source.Source`. Its clock is the capture's: Unix time."""

    epoch = 0

    def __init__(self, path: str, selection: Selection) -> None:
        """`path`: `-` is standard input. Raises UsageError for a selection by process."""
        if selection.pids or selection.comms or selection.cgroups:
            raise UsageError(
                f"{path}: a capture does not tell processes; select by port, not by pid, comm or cgroup"
            )
        self._path = path
        self._file = CaptureFile(path)
        self._tcp = Assembler(selection.ports)
        self._network = Network(self._tcp)
        self._time = 0
        self._packets = 0
        self._foreign: Counter[int] = Counter()
        """Packets of link types we cannot read."""
        self._over = False

    def start(self) -> None:
        """Opens the capture."""
        self._file.open()

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """A chunk of the file. Raises RoverError, once, when it is damaged: behind all that
        precedes the damage. Then and at the end every connection is closed."""
        if self._over:
            return False
        self._tcp.handler = handler
        links, network = LINK_TYPES, self._network
        time, packets = self._time, 0
        try:
            for time, link_type, data, start, end, cut in self._file.packets(timeout):
                packets += 1
                decode = links.get(link_type)
                if decode is None:
                    self._foreign[link_type] += 1
                    continue
                kind, offset = decode(data, start, end)
                network.packet(time, kind, data, offset, end, cut)
        except RoverError:
            self._account(time, packets)
            self._finish(handler)
            raise
        self._account(time, packets)
        if not self._file.ended:
            self._tcp.age(time, packets)
            return True
        self._finish(handler)
        if self._foreign and self._foreign.total() == self._packets:
            types = ", ".join(str(number) for number in sorted(self._foreign))
            raise RoverError(f"{self._path}: no packet could be read: link type {types} is not known here")
        return False

    def _account(self, time: int, packets: int) -> None:
        self._time = time
        self._packets += packets

    def _finish(self, handler: RecordHandler) -> None:
        self._over = True
        self._tcp.handler = handler
        self._network.give_up()
        self._tcp.finish(self._time)

    def now(self) -> int:
        """The time of the packet read last."""
        return self._time

    def set_upload(self, connection: int, limit: int) -> None:
        """Nothing: the payload is here already, and costs nobody anything."""

    def is_open(self, connection: int) -> bool:  # noqa: ARG002
        """True: the end of a connection is always delivered, if only because of silence."""
        return True

    def counters(self) -> Mapping[str, int]:
        """Packets read, and what became of those that yielded nothing."""
        tcp = self._tcp
        counters = Counter({"packets": self._packets, "unknown_link_type": self._foreign.total()})
        counters.update(self._network.skipped)
        counters.update(tcp.skipped)
        counters.update(
            fragment_lost=self._network.fragments_lost,
            gaps=tcp.gaps,
            gap_bytes=tcp.gap_bytes,
            connections_evicted=tcp.evicted,
        )
        return {name: figure for name, figure in counters.items() if figure}

    def stop(self, handler: RecordHandler) -> None:
        """Reads no further; what waits for missing segments is delivered."""
        if not self._over:
            self._finish(handler)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def make(settings: Mapping[str, Any], selection: Selection) -> PcapSource:
    """A source that has not started."""
    return PcapSource(settings["path"], selection)
