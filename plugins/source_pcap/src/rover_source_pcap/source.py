"""The source: a capture file in, records out."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rover.contracts.source import Selection
from rover.errors import RoverError, UsageError
from rover.values.records import RecordHandler
from rover_source_pcap.capture_file import CaptureFile
from rover_source_pcap.frames import Frames
from rover_source_pcap.ip import Network
from rover_source_pcap.link_types import describe
from rover_source_pcap.tcp import Assembler

with contextlib.suppress(ImportError):  # not compiled
    from rover_source_pcap._frames import Frames  # type: ignore[no-redef]


logger = logging.getLogger("rover.source")

CHUNKS = 8
"""Of the file, taken at once: half a megabyte, some milliseconds. After each poll the sinks are woken,
which costs as much as an exchange."""
SECOND = 1_000_000_000
"""ns of the capture's clock after which a poll ends anyway, for the time is looked at between two."""


class PcapSource:
    """Implements `rover.contracts.source.Source`. Its clock is the capture's: Unix time."""

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
        self._frames = Frames(self._network, self._tcp)
        self._over = False

    def start(self) -> None:
        """Opens the capture."""
        self._file.open()

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Some chunks of the file. Raises RoverError, once, when it is damaged: after all that
        precedes the damage. Then and at the end every connection is closed."""
        if self._over:
            return False
        self._tcp.handler = handler
        frames = self._frames
        before, begun = frames.packets, frames.time
        try:
            for number in range(CHUNKS):
                frames.take(self._file.packets(0 if number else timeout))
                if self._file.ended or not -SECOND < frames.time - begun < SECOND:
                    break
        except RoverError:
            self._finish(handler)
            raise
        if self._file.idle:
            frames.flush()
        if not self._file.ended:
            self._tcp.age(frames.time, frames.packets - before)
            return True
        self._finish(handler)
        self._tell()
        return False

    def _finish(self, handler: RecordHandler) -> None:
        self._over = True
        self._tcp.handler = handler
        self._frames.flush()
        self._network.give_up()
        self._tcp.finish(self._frames.time)

    def _tell(self) -> None:
        """What is odd about a capture that was read to its end. Raises RoverError when it held nothing."""
        frames = self._frames
        if foreign := frames.foreign.total():
            types = "link type " + ", ".join(describe(number) for number in sorted(frames.foreign))
            if foreign == frames.packets:
                raise RoverError(f"{self._path}: no packet could be read: {types} is not known here")
            logger.warning(
                "%s: %d of %d packets were not read: %s", self._path, foreign, frames.packets, types
            )
        if frames.absurd:
            logger.warning(
                "%s: %d of %d packets have a time far from their neighbours'; that before it counts",
                self._path,
                frames.absurd,
                frames.packets,
            )

    def now(self) -> int:
        """The time of the packet read last."""
        return self._frames.time

    def set_upload(self, connection: int, limit: int) -> None:
        """Nothing: the payload is here already, and costs nobody anything."""

    def is_open(self, connection: int) -> bool:  # noqa: ARG002
        """True: the end of a connection is always delivered, if only because of silence."""
        return True

    def counters(self) -> Mapping[str, int]:
        """Packets read, and what became of those that yielded nothing."""
        tcp, frames = self._tcp, self._frames
        counters = Counter(
            packets=frames.packets, unknown_link_type=frames.foreign.total(), absurd_time=frames.absurd
        )
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
