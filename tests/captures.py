"""Captures as lists of TCP segments: read from any file, cut again, thinned out, written, replayed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rover import AccessLog
from rover.contracts.source import Selection, Source
from rover.errors import RoverError
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue
from rover_source_pcap.capture_file import CaptureFile
from rover_source_pcap.ip import Network
from rover_source_pcap.link_types import LINK_TYPES
from rover_source_pcap.source import PcapSource

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SECOND = 1_000_000_000
RAW_IP = 101
_MASK = 0xFFFF_FFFF

Ends = frozenset[tuple[str, int]]
"""The two ends of a connection, as address and port."""


class Segment(NamedTuple):
    """One TCP segment. `key`: both addresses, both ports, the sender's first."""

    time: int
    key: bytes
    seq: int
    ack: int
    flags: int
    size: int
    """Bytes it carried; of which `payload` was captured."""
    payload: bytes

    @property
    def line(self) -> frozenset[bytes]:
        """The connection's two ends, whichever way the segment went."""
        address = len(self.key) // 2 - 2
        source, destination = self.key[:address], self.key[address : 2 * address]
        return frozenset((source + self.key[-4:-2], destination + self.key[-2:]))


class Row(NamedTuple):
    """What is compared of an exchange, besides the connection it was on."""

    method: str
    target: str
    status: int | None
    request_header: int
    request_body: int | None
    response_header: int | None
    response_body: int | None
    outcome: str
    assumed: bool = False
    """Marked as a pair that nothing proves."""


class Replayed(NamedTuple):
    """A capture as access logs."""

    rows: list[tuple[Ends, Row]]
    broken: set[Ends]
    error: str

    def of(self, ends: Ends) -> list[Row]:
        """The exchanges of one connection, in the order logged."""
        return [row for each, row in self.rows if each == ends]


# -- from and to files -------------------------------------------------------------------------


class _Segments:
    """Takes segments where an assembler would."""

    def __init__(self) -> None:
        self.found: list[Segment] = []

    def segment(self, time: int, key: bytes, data: bytes, offset: int, end: int, cut: int) -> None:
        if end - offset < 20 or (start := offset + (data[offset + 12] >> 4) * 4) > end + cut:
            return
        seq, ack = struct.unpack_from(">II", data, offset + 4)
        size = end + cut - start
        self.found.append(Segment(time, key, seq, ack, data[offset + 13], size, data[start:end]))


def read_segments(path: Path) -> list[Segment]:
    """All TCP segments of a capture, up to its damage if it has one."""
    taken = _Segments()
    network = Network(taken)
    file = CaptureFile(str(path))
    try:
        file.open()
        while not file.ended:
            for time, link_type, data, start, end, cut in file.packets(1.0):
                if decode := LINK_TYPES.get(link_type):
                    kind, offset = decode(data, start, end)
                    network.packet(time, kind, data, offset, end, cut)
    except RoverError:
        pass
    finally:
        file.close()
    return taken.found


def write_capture(path: Path, segments: Iterable[Segment]) -> Path:
    """A pcap file of IP packets, nanoseconds."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, RAW_IP))
        for segment in segments:
            packet = _packet(segment)
            length = len(packet) - len(segment.payload) + segment.size
            seconds, rest = divmod(segment.time, SECOND)
            file.write(struct.pack("<IIII", seconds, rest, len(packet), length) + packet)
    return path


def _packet(segment: Segment) -> bytes:
    key, ports = segment.key, segment.key[-4:]
    tcp = ports + struct.pack(
        ">IIBBHHH", segment.seq, segment.ack & _MASK, 0x50, segment.flags & 0x3F, 8192, 0, 0
    )
    length = len(tcp) + segment.size
    if len(key) == 12:
        header = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + length, 1, 0x4000, 64, 6, 0, key[:8])
    else:
        header = struct.pack(">IHBB32s", 6 << 28, length, 6, 64, key[:32])
    return header + tcp + segment.payload


# -- what a network, or a capture, does to segments ----------------------------------------------


def recut(segments: Iterable[Segment], sizes: Callable[[], int]) -> Iterator[Segment]:
    """The same bytes at the same times in smaller segments, of the sizes asked for one by one."""
    for segment in segments:
        whole = segment
        while segment.size > (size := max(1, sizes())):
            # Pushed, as whoever writes so little does: one byte that is not may be a keep-alive's.
            flags = segment.flags & ~(FIN | RST) | PSH
            yield segment._replace(size=size, payload=segment.payload[:size], flags=flags)
            moved = size + bool(flags & SYN)
            segment = segment._replace(
                seq=segment.seq + moved & _MASK,
                size=segment.size - size,
                payload=segment.payload[size:],
                flags=segment.flags & ~SYN | PSH | (whole.flags & ACK),
            )
        yield segment


def thin(segments: list[Segment], drop: Callable[[int], bool]) -> tuple[list[Segment], list[Segment]]:
    """(kept, dropped); only segments that carry something can be dropped."""
    kept: list[Segment] = []
    dropped: list[Segment] = []
    for index, segment in enumerate(segments):
        (dropped if segment.size and drop(index) else kept).append(segment)
    return kept, dropped


def random_sizes(seed: int, largest: int) -> Callable[[], int]:
    """Sizes from 1 to `largest`, small ones more often."""
    generator = random.Random(seed)
    return lambda: int(largest ** generator.random())


# -- a conversation, segment by segment ----------------------------------------------------------


class Line:
    """One connection being written into a capture that others share."""

    def __init__(self, segments: list[Segment], port: int, *, begin: int = 1000) -> None:
        """Opens it. `port`: the client's."""
        self._segments = segments
        self._ends = (struct.pack(">4sH", b"\x0a\0\0\x01", port), struct.pack(">4sH", b"\x0a\0\0\x02", 80))
        self._next = [begin & _MASK, begin + 5000 & _MASK]
        self.client_port = self._ends[0][4:]
        self.ends: Ends = frozenset({("10.0.0.1", port), ("10.0.0.2", 80)})
        self._send(0, SYN)
        self._send(1, SYN | ACK)
        self._send(0, ACK)

    def _send(self, end: int, flags: int, payload: bytes = b"") -> None:
        source, destination = self._ends[end], self._ends[1 - end]
        key = source[:4] + destination[:4] + source[4:] + destination[4:]
        time = 1_700_000_000 * SECOND + len(self._segments) * 1_000_000
        ack = self._next[1 - end] if flags & ACK else 0
        self._segments.append(Segment(time, key, self._next[end], ack, flags, len(payload), payload))
        self._next[end] = self._next[end] + len(payload) + bool(flags & (SYN | FIN)) & _MASK

    def client(self, data: bytes) -> None:
        """A segment of the client's."""
        self._send(0, ACK | PSH, data)

    def server(self, data: bytes) -> None:
        """A segment of the server's."""
        self._send(1, ACK | PSH, data)

    def close(self) -> None:
        """FIN both ways, the server first."""
        self._send(1, FIN | ACK)
        self._send(0, FIN | ACK)
        self._send(1, ACK)


# -- replay ----------------------------------------------------------------------------------------


class _Kept:
    """Stands where an outlet does."""

    kernel_logs = False

    def __init__(self) -> None:
        self.logs: list[AccessLog] = []

    def put(self, log: AccessLog) -> None:
        self.logs.append(log)


class Replayer:
    """The source, the pipeline and every installed protocol, in this process and without a clock."""

    def __init__(
        self,
        without: Sequence[str] = (),
        opened: Callable[[str], Source] = lambda path: PcapSource(path, Selection()),
    ) -> None:
        """`without`: protocols that are as if they were not installed. `opened`: the source of a path."""
        self._opened = opened
        manager = PluginManager()
        manager.load_entry_points()
        self._manager = manager
        self._catalogue = Catalogue(manager)
        self._settings = self._catalogue.settings(None, (), {})
        self._protocols = [spec for name, spec in self._catalogue.protocols.items() if name not in without]

    def __call__(self, path: Path) -> Replayed:
        logs, error = self.logs(path)
        return Replayed(
            [(_ends(log), _row(log)) for log in logs if log.protocol],
            {_ends(log) for log in logs if log.connection.protocol_break is not None},
            error,
        )

    def logs(self, path: Path) -> tuple[list[AccessLog], str]:
        """Its access logs, and what is wrong with the file."""
        settings, protocols = self._settings, self._protocols
        kept, error = _Kept(), ""
        source = self._opened(str(path))
        outlets: Any = [kept]
        pipeline = Pipeline(
            self._manager,
            Recogniser(self._manager, protocols, {}),
            outlets,
            source,
            epoch=0,
            protocol_settings={spec.name: settings.section(f"protocol.{spec.name}") for spec in protocols},
        )
        try:
            source.start()
            while source.poll(pipeline, 1.0):
                pass
        except RoverError as failure:
            error = str(failure)
        finally:
            source.close()
        pipeline.finish(source.now())
        failures = list(self._manager.failures())
        assert not failures, failures
        return kept.logs, error


def _ends(log: AccessLog) -> Ends:
    addresses = (log.connection.local, log.connection.remote)
    return frozenset((a.host, a.port) for a in addresses if a is not None)


def _row(log: AccessLog) -> Row:
    said = log.attributes
    values: list[Any] = [
        said.get(name)
        for name in (
            "http.request.method",
            "url.original",
            "http.response.status_code",
            "http.request.header.size",
            "http.request.body.size",
            "http.response.header.size",
            "http.response.body.size",
        )
    ]
    return Row(*values, outcome=log.outcome.value, assumed="rover.pairing" in said)
