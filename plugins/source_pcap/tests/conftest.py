"""Packets and captures built by hand, and what the source makes of them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rover.contracts.source import Selection
from rover.errors import RoverError
from rover.values.records import Closed, Detail, Direction, Loss, Opened, Process
from rover_source_pcap.source import PcapSource

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8::2"
CLIENT_PORT, SERVER_PORT = 40000, 80
FIRST_TIME = 1_700_000_000_000_000_000
TICK = 1_000_000
"""ns between two packets of a capture that says nothing else."""


class Build:
    """Headers around payloads, from the inside out. Checksums are zero: nobody reads them."""

    @staticmethod
    def tcp(
        payload: bytes = b"",
        *,
        seq: int = 1000,
        ack: int = 0,
        flags: int = ACK,
        ports: tuple[int, int] = (CLIENT_PORT, SERVER_PORT),
        options: bytes = b"",
    ) -> bytes:
        header = struct.pack(
            ">HHIIBBHHH",
            *ports,
            seq & 0xFFFFFFFF,
            ack & 0xFFFFFFFF,
            (5 + len(options) // 4) << 4,
            flags,
            8192,
            0,
            0,
        )
        return header + options + payload

    @staticmethod
    def udp(payload: bytes, *, ports: tuple[int, int] = (5000, 4789)) -> bytes:
        return struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload

    @staticmethod
    def ipv4(
        payload: bytes,
        *,
        protocol: int = 6,
        source: str = CLIENT,
        destination: str = SERVER,
        options: bytes = b"",
        identification: int = 1,
        fragment: int = 0,
        total: int | None = None,
    ) -> bytes:
        header = 20 + len(options)
        return (
            struct.pack(
                ">BBHHHBBH4s4s",
                0x40 | header // 4,
                0,
                header + len(payload) if total is None else total,
                identification,
                fragment,
                64,
                protocol,
                0,
                ipaddress.ip_address(source).packed,
                ipaddress.ip_address(destination).packed,
            )
            + options
            + payload
        )

    @staticmethod
    def ipv6(
        payload: bytes,
        *,
        protocol: int = 6,
        source: str = CLIENT6,
        destination: str = SERVER6,
        length: int | None = None,
    ) -> bytes:
        return (
            struct.pack(
                ">IHBB16s16s",
                6 << 28,
                len(payload) if length is None else length,
                protocol,
                64,
                ipaddress.ip_address(source).packed,
                ipaddress.ip_address(destination).packed,
            )
            + payload
        )

    @staticmethod
    def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
        return bytes(12) + struct.pack(">H", kind) + payload

    @staticmethod
    def pcap(
        packets: Iterable[bytes],
        *,
        order: str = "<",
        nanoseconds: bool = False,
        link_type: int = 1,
        times: Sequence[int] | None = None,
        snap: int = 262_144,
    ) -> bytes:
        """A file; `times` in ns, packets longer than `snap` cut."""
        unit = 1 if nanoseconds else 1000
        magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
        parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link_type)]
        for index, packet in enumerate(packets):
            time = FIRST_TIME + index * TICK if times is None else times[index]
            captured = packet[:snap]
            seconds, rest = divmod(time, 1_000_000_000)
            parts.append(struct.pack(order + "IIII", seconds, rest // unit, len(captured), len(packet)))
            parts.append(captured)
        return b"".join(parts)

    @staticmethod
    def block(kind: int, body: bytes, order: str = "<") -> bytes:
        """A pcapng block."""
        body += bytes(-len(body) % 4)
        length = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + length + body + length

    @classmethod
    def section(cls, order: str = "<") -> bytes:
        return cls.block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)

    @classmethod
    def interface(cls, *, link_type: int = 1, options: bytes = b"", snap: int = 0, order: str = "<") -> bytes:
        return cls.block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)

    @staticmethod
    def option(code: int, value: bytes, order: str = "<") -> bytes:
        return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    @classmethod
    def enhanced(
        cls, packet: bytes, *, ticks: int = 0, interface: int = 0, length: int | None = None, order: str = "<"
    ) -> bytes:
        """An enhanced packet block, with a comment after the packet."""
        length = len(packet) if length is None else length
        head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), length)
        padded = packet + bytes(-len(packet) % 4)
        return cls.block(6, head + padded + cls.option(1, b"a comment", order), order)


class Talk:
    """A conversation, segment by segment. Each call makes one packet."""

    def __init__(
        self,
        *,
        client: int = 1000,
        server: int = 9000,
        ports: tuple[int, int] = (CLIENT_PORT, SERVER_PORT),
    ) -> None:
        """`client`, `server`: their first sequence numbers."""
        self.packets: list[bytes] = []
        self.next = {"client": client, "server": server}
        self._ports = ports

    def segment(
        self,
        end: str,
        payload: bytes = b"",
        *,
        flags: int = ACK,
        seq: int | None = None,
        ack: int | None = None,
    ) -> bytes:
        """One segment; the stream goes on after it unless `seq` puts it elsewhere."""
        peer = "server" if end == "client" else "client"
        ports = self._ports if end == "client" else self._ports[::-1]
        addresses = (CLIENT, SERVER) if end == "client" else (SERVER, CLIENT)
        here = self.next[end] if seq is None else seq
        if seq is None:
            self.next[end] += len(payload) + bool(flags & (SYN | FIN))
        acknowledged = (self.next[peer] if ack is None else ack) if flags & ACK else 0
        tcp = Build.tcp(payload, seq=here, ack=acknowledged, flags=flags, ports=ports)
        packet = Build.ethernet(Build.ipv4(tcp, source=addresses[0], destination=addresses[1]))
        self.packets.append(packet)
        return packet

    def open(self) -> Talk:
        self.segment("client", flags=SYN)
        self.segment("server", flags=SYN | ACK)
        self.segment("client")
        return self

    def client(self, payload: bytes, **how: Any) -> Talk:
        self.segment("client", payload, flags=ACK | PSH, **how)
        return self

    def server(self, payload: bytes, **how: Any) -> Talk:
        self.segment("server", payload, flags=ACK | PSH, **how)
        return self

    def close(self) -> Talk:
        self.segment("client", flags=FIN | ACK)
        self.segment("server", flags=FIN | ACK)
        self.segment("client")
        return self


class Stream(NamedTuple):
    """One direction as it was delivered."""

    pieces: list[tuple[int, int, bytes]]
    """(position, size, payload) of every detail."""

    @property
    def data(self) -> bytes:
        """All payload."""
        return b"".join(payload for _, _, payload in self.pieces)

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """(position, size) of what is missing, neighbours joined."""
        missing: list[tuple[int, int]] = []
        expected = 0

        def miss(position: int, size: int) -> None:
            if missing and sum(missing[-1]) == position:
                missing[-1] = (missing[-1][0], missing[-1][1] + size)
            elif size:
                missing.append((position, size))

        for position, size, payload in self.pieces:
            miss(expected, position - expected)
            miss(position + len(payload), size - len(payload))
            expected = position + size
        return missing

    @property
    def ended(self) -> bool:
        """Whether a FIN was delivered."""
        return bool(self.pieces) and self.pieces[-1][1] == 0


class Recorded:
    """Records as they came. What every source owes is checked on the way."""

    def __init__(self) -> None:
        self.opens: list[Opened] = []
        self.details: list[Detail] = []
        self.closes: list[Closed] = []
        self.order: list[str] = []
        self.error = ""
        self.counters: dict[str, int] = {}
        self._payloads: list[bytes] = []
        self._sequences: dict[int, int] = {}
        self._positions: dict[tuple[int, int], int] = {}

    def process(self, process: Process) -> None:
        raise AssertionError("a capture knows no processes")

    def lost(self, loss: Loss) -> None:
        raise AssertionError("a capture loses no records")

    def opened(self, opened: Opened) -> None:
        assert opened.connection not in self._sequences
        self._sequences[opened.connection] = 0
        self.opens.append(opened)
        self.order.append("opened")

    def data(self, detail: Detail, payload: bytes) -> None:
        left_out = detail.sequence - self._sequences[detail.connection]
        assert 0 <= left_out <= 2, "one for the gap before it, one for what its segment acknowledges"
        self._sequences[detail.connection] = detail.sequence + 1
        way = (detail.connection, detail.direction)
        assert detail.position >= self._positions.get(way, 0)
        self._positions[way] = detail.position + detail.size
        assert len(payload) <= detail.size
        assert type(payload) is bytes
        self.details.append(detail)
        self._payloads.append(payload)
        self.order.append("egress" if detail.direction else "ingress")

    def closed(self, closed: Closed) -> None:
        del self._sequences[closed.connection]
        self.closes.append(closed)
        self.order.append("closed")

    def stream(self, direction: Direction, connection: int = 1) -> Stream:
        """What was delivered of one direction."""
        return Stream(
            [
                (detail.position, detail.size, payload)
                for detail, payload in zip(self.details, self._payloads, strict=True)
                if (detail.connection, detail.direction) == (connection, direction)
            ]
        )

    @property
    def egress(self) -> Stream:
        return self.stream(Direction.EGRESS)

    @property
    def ingress(self) -> Stream:
        return self.stream(Direction.INGRESS)

    def everything(self) -> list[Any]:
        """To compare two runs."""
        return [self.opens, self.details, self._payloads, self.closes, self.order]


def run(source: PcapSource) -> Recorded:
    """A source from its start to its end or its error."""
    recorded = Recorded()
    try:
        source.start()
        try:
            while source.poll(recorded, 0.1):
                pass
        finally:
            assert not source.poll(recorded, 0.1), "after the end, or an error, nothing follows"
    except RoverError as error:
        recorded.error = str(error)
    finally:
        source.close()
    assert len(recorded.opens) == len(recorded.closes), "every connection ends"
    recorded.counters = dict(source.counters())
    return recorded


@pytest.fixture(scope="session")
def build() -> type[Build]:
    return Build


@pytest.fixture(scope="session")
def talk() -> type[Talk]:
    return Talk


@pytest.fixture(scope="session")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recorded]:
    """Replays the bytes of a capture file."""
    path: Path = tmp_path_factory.mktemp("captures") / "capture"

    def replay(capture: bytes, selection: Selection | None = None) -> Recorded:
        path.write_bytes(capture)
        return run(PcapSource(str(path), selection or Selection()))

    return replay


@pytest.fixture(scope="session")
def read(replay: Callable[..., Recorded]) -> Callable[..., Recorded]:
    """Replays packets; keywords are those of `Build.pcap`."""

    def read(packets: Iterable[bytes], **how: Any) -> Recorded:
        return replay(Build.pcap(packets, **how))

    return read
