"""Capture files, from their bytes to access logs.

The second setting tells what the rest is: 0 the file itself, 1 what gzip has packed in it, 2 a script
of TCP segments. The first one is the seed of the cuts.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rover.contracts.source import Selection
from rover.errors import RoverError
from rover.pipeline.table import Pipeline
from rover.values.records import Closed, Opened, RecordHandler
from rover_source_pcap import pcap, pcapng
from rover_source_pcap.capture_file import reader_for
from rover_source_pcap.capture_reader import Damage, Packet
from rover_source_pcap.link_types import LINK_TYPES
from rover_source_pcap.source import PcapSource

from .files import file_of
from .script import SETTINGS, Step, cut, read, write
from .watched import Watched, make_pipeline

FILE, PACKED, SEGMENTS = 0, 1, 2
WORDS = (
    *(
        *pcap.MAGICS,
        pcapng.MAGIC,
        b"\x1a\x2b\x3c\x4d",
        b"\x4d\x3c\x2b\x1a",
        b"\x1f\x8b\x08\0",
        b"\1\0\0\0",
        b"\6\0\0\0",
    ),
    *(
        b"\x08\0\x45",
        b"\x86\xdd\x60",
        b"\x81\0",
        b"\x88\x47",
        b"\x88\x64",
        b"\x88\xa8",
        b"\x50\x02\0\0",
        b"\x50\x18\0\0",
    ),
    *(
        b"\x09\0\1\0",
        b"\x0e\0\x08\0",
        b"\0\0\0\x65",
        b"\x65\0\0\0",
        b"\x71\0\0\0",
        b"\x14\1\0\0",
        b"\x12\xb5",
    ),
    *(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
)


def check(data: bytes) -> int:
    """See above for the settings."""
    settings = data[:SETTINGS].ljust(SETTINGS, b"\0")
    seed, form = settings[0], settings[1] % 3
    if form == SEGMENTS:
        _, steps = read(data)
        return check_segments(steps, seed)
    if form == FILE:
        check_reader(data[SETTINGS:], seed)
    return replay(_file_of(data)).exchanges


def _file_of(data: bytes) -> bytes:
    """The capture that the fuzzer's bytes mean."""
    settings = data[:SETTINGS].ljust(SETTINGS, b"\0")
    seed, form = settings[0], settings[1] % 3
    if form == SEGMENTS:
        return pcap_of([[segment] for segment in segments_of(_short(read(data)[1]))])
    rest = data[SETTINGS:]
    if form == PACKED:
        # Of the packed file, the end may be missing.
        rest = gzip.compress(rest, mtime=0)[: None if seed % 4 else -seed // 4]
    return rest


def _short(steps: Iterable[Step]) -> Iterator[Step]:
    """What fits into a packet, of each."""
    for step in steps:
        for at in range(0, len(step.payload) or 1, 30_000):
            yield step._replace(payload=step.payload[at : at + 30_000])


def _pass_on(data: bytes) -> None:
    play(_file_of(data), make_pipeline())


RUNS = (_pass_on,)


def check_reader(file: bytes, seed: int) -> None:
    """Whole or cut, the same packets; up to the damage, the same as without it."""
    if reader_for(file) is None:
        return
    packets, damage = read_packets(file, [file] if file else [])
    assert (packets, damage) == read_packets(file, cut(file, seed)), "whole, and in pieces"
    if damage is not None:
        before, other = read_packets(file, [file[: damage[0]]])
        assert before == packets, "everything up to the damage"
        assert other is None or other[0] == damage[0] or not damage[0]


def read_packets(file: bytes, chunks: Iterable[bytes]) -> tuple[list[Any], tuple[int, str] | None]:
    """Every packet, and the damage after them."""
    reader = reader_for(file)
    assert reader is not None
    found: list[Any] = []
    try:
        for chunk in chunks:
            found += map(_taken, reader.feed(chunk))
        reader.end()
    except Damage as damage:
        return found, (damage.offset, damage.what)
    return found, None


def _taken(packet: Packet) -> tuple[int, int, bytes, int]:
    time, link_type, data, start, end, missing = packet
    assert 0 <= start <= end <= len(data)
    assert missing >= 0
    return time, link_type, data[start:end], missing


def replay(file: bytes) -> Watched:
    """What a file yields."""
    watched = Watched()
    watched.finish(play(file, watched.pipeline, watched))
    check_connections(watched.got)
    return watched


def play(file: bytes, pipeline: Pipeline, handler: RecordHandler | None = None) -> int:
    """Takes a file to a pipeline, or to a handler before it; the time when it ends."""
    with file_of(file) as path:
        source = PcapSource(path, Selection())
        try:
            source.start()
            while source.poll(handler or pipeline, 0):
                pipeline.tick(source.now())
        except RoverError:
            pass
        finally:
            source.close()
    source.counters()
    return source.now()


def check_connections(records: Sequence[Any]) -> None:
    """Each connection is opened once and closed once; its calls and positions are in order."""
    sequences: dict[int, int] = {}
    positions: dict[tuple[int, int], int] = {}
    for record in records:
        if isinstance(record, Opened):
            assert record.connection not in sequences
            sequences[record.connection] = 0
        elif isinstance(record, Closed):
            del sequences[record.connection]
        else:
            detail, _ = record
            # One number for the gap before it, one for what its segment acknowledges.
            assert 0 <= detail.sequence - sequences[detail.connection] <= 2
            sequences[detail.connection] = detail.sequence + 1
            way = detail.connection, detail.direction
            assert detail.position >= positions.get(way, 0)
            positions[way] = detail.position + detail.size
    assert not sequences


# -- segments ------------------------------------------------------------------------------------


class Segment(NamedTuple):
    """One of two connections; `way` is 1 for the client's."""

    pair: int
    way: int
    seq: int
    ack: int
    flags: int
    payload: bytes
    missing: int
    """Bytes at the end of the payload that were not captured."""

    def packet(self) -> bytes:
        """IPv4, as far as it was captured."""
        ports, ends = (40000 + self.pair, 80), (b"\x0a\0\0\1", b"\x0a\0\0\2")
        ports, ends = (ports, ends) if self.way else (ports[::-1], ends[::-1])
        tcp = struct.pack(
            ">HHIIBBHHH", *ports, self.seq & _MASK, self.ack & _MASK, 0x50, self.flags, 8192, 0, 0
        )
        length = 40 + len(self.payload)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 1, 0, 64, 6, 0, *ends)
        return (ip + tcp + self.payload)[: length - self.missing]


def check_segments(steps: Sequence[Step], seed: int) -> int:
    """A step is a segment. Its control: bit 0 the way, 1 SYN, 2 FIN, 3 RST, 4 no ACK, 5 that its first
    byte is its distance from where the sender is, 6 that only half of it was captured, 7 which of two
    connections it belongs to.
    """
    segments = list(segments_of(steps))
    whole = replay(pcap_of([[segment] for segment in segments]))
    pieces = replay(pcap_of([list(smaller(segment, seed)) for segment in segments]))
    expected, found = streams(whole.got), streams(pieces.got)
    assert found == expected, f"whole {expected}\nin pieces {found}"
    return whole.exchanges


def segments_of(steps: Iterable[Step]) -> Iterator[Segment]:
    """What the steps say, the sequence numbers near the end of their range."""
    following = {(pair, way): 0xFFFF_FFF0 for pair in (0, 1) for way in (0, 1)}
    for step in steps:
        way, pair, payload = step.bits(0, 1), step.bits(7, 1), step.payload
        syn, fin, reset, acks = step.bits(1, 1), step.bits(2, 1), step.bits(3, 1), 1 - step.bits(4, 1)
        seq = following[pair, way]
        if step.bits(5, 1) and payload:
            seq, payload = seq + struct.unpack("b", payload[:1])[0], payload[1:]
        flags = fin | syn << 1 | reset << 2 | acks << 4
        missing = len(payload) // 2 if step.bits(6, 1) else 0
        yield Segment(pair, way, seq, following[pair, 1 - way] if acks else 0, flags, payload, missing)
        following[pair, way] = max(following[pair, way], seq + len(payload) + syn + fin)


def smaller(segment: Segment, seed: int) -> Iterator[Segment]:
    """The same bytes in several segments; not those of a SYN or RST, which mean more than their bytes."""
    if segment.flags & (2 | 4):
        yield segment
        return
    captured = len(segment.payload) - segment.missing
    pieces = list(cut(segment.payload, seed)) or [b""]
    at = 0
    for number, piece in enumerate(pieces, 1):
        # Pushed, as whoever writes byte by byte does: one byte that is not may be a keep-alive's.
        flags = (segment.flags & ~1 if number < len(pieces) else segment.flags) | PSH * (len(pieces) > 1)
        missing = min(len(piece), max(0, at + len(piece) - captured))
        yield segment._replace(seq=segment.seq + at, flags=flags, payload=piece, missing=missing)
        at += len(piece)


def streams(records: Sequence[Any]) -> list[Any]:
    """Of each connection: how it was opened, what either end sent with its gaps, how it ended."""
    found: dict[int, list[Any]] = {}
    for record in records:
        if isinstance(record, Opened):
            found[record.connection] = [record.replace(time=0, connection=0), b"", b""]
        elif isinstance(record, Closed):
            found[record.connection].append(record.reset)
        else:
            detail, payload = record
            stream = found[detail.connection][1 + detail.direction]
            gap = detail.position - len(stream)
            said = stream + b"\0" * gap + payload.ljust(detail.size, b"\0")
            found[detail.connection][1 + detail.direction] = said
    return list(found.values())


_MASK = 0xFFFF_FFFF


def pcap_of(turns: Iterable[Sequence[Segment]]) -> bytes:
    """A capture of a second per turn."""
    return _file(
        (time, segment.packet(), segment.missing) for time, turn in enumerate(turns) for segment in turn
    )


def _file(packets: Iterable[tuple[int, bytes, int]], link_type: int = 101) -> bytes:
    """(second, packet, bytes of it that were not captured) each."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, link_type)]
    for time, packet, missing in packets:
        parts.append(
            struct.pack("<IIII", 1_700_000_000 + time, 0, len(packet), len(packet) + missing) + packet
        )
    return b"".join(parts)


# -- seeds ---------------------------------------------------------------------------------------

PSH = 8
"""Of a segment; what follows are bits of a step."""
SYN, FIN, RST, PLACED, CUT, OTHER = 2, 4, 8, 32, 64, 128


TUNNEL_HEADERS = (
    (2152, b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\1\0\0\0"),
    (3544, b"\0\1\0\0" + bytes(9) + b"\0\0" + bytes(6)),
    (4754, b"\xb0\0\x08\0" + bytes(12)),
    (4789, b"\x08\0\0\0\0\0\1\0" + bytes(12) + b"\x08\0"),
    (4790, b"\x0c\0\0\1\0\0\1\0"),
    (5072, b"\x44\x52\x11\x04" + bytes(40)),
    (6081, b"\1\0\x08\0\0\0\1\0\0\0\0\0"),
)
"""Ports and what precedes the packet: GTP-U, Teredo, GRE in UDP, VXLAN and its extension, AYIYA, Geneve."""


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _pcapng_of(packets: Sequence[bytes], link_type: int) -> bytes:
    section = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack("<HHBxxxHHqHH", 9, 1, 9, 14, 8, 5, 0, 0)
    parts = [section, _block(1, struct.pack("<HHI", link_type, 0, 0) + options), _block(5, bytes(12))]
    for time, packet in enumerate(packets):
        sizes = struct.pack("<IIIII", 0, 1, time, len(packet), len(packet))
        parts += [_block(6, sizes + packet), _block(3, struct.pack("<I", len(packet)) + packet)]
    return b"".join(parts)


def _wrapped(ip: bytes) -> Iterator[tuple[int, bytes]]:
    """The packet in frames of other link types, tunnels, and fragments."""
    macs, v4 = bytes(12), b"\x08\0"
    yield 1, macs + v4 + ip
    yield 1, macs + b"\x81\0\0\1\x88\xa8\0\2" + v4 + ip
    yield 1, macs + b"\x88\x47\0\0\x11\x40" + ip
    yield 1, macs + b"\x88\x64\x11\0\0\1" + struct.pack(">H", len(ip) + 2) + b"\0\x21" + ip
    yield 113, bytes(14) + v4 + ip
    yield 276, v4 + bytes(18) + ip
    yield 0, b"\2\0\0\0" + ip
    yield 239, b"\2\0\0\0" + struct.pack("<HH", len(ip) + 4, 9) + ip
    yield 9, b"\xff\3\0\x21" + ip
    yield 101, _ipv4(4, ip)
    yield 101, _ipv4(47, b"\x20\0\x08\0\0\0\0\1" + ip)
    for port, header in TUNNEL_HEADERS:
        inside = header + ip
        yield 101, _ipv4(17, struct.pack(">HHHH", 5000, port, 8 + len(inside), 0) + inside)
    for link_type in LINK_TYPES:
        yield link_type, ip
    extensions = b"\x2b\0" + bytes(6) + b"\x06\0" + bytes(6)
    inner = ip[20:]
    yield 101, struct.pack(">IHBB", 6 << 28, 16 + len(inner), 0, 64) + bytes(32) + extensions + inner


def _ipv4(protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    return struct.pack(">BBHHHBBHQ", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, 1) + payload


def seeds() -> list[bytes]:
    """Files of every kind, and conversations in segments."""
    get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
    opening = [(1 | SYN | 16, b""), (SYN, b""), (1, b"")]
    closing = [(FIN, b""), (1 | FIN, b"")]
    talks: list[list[tuple[int, bytes]]] = [
        [*opening, (1, get), (0, ok), *closing],
        [(1, get), (0, ok), (1, get), (0, ok), (RST, b"")],
        [*opening, (1 | PLACED, b"\x05" + get[5:]), (1 | PLACED, b"\xe5" + get), (0, ok), *closing],
        [
            *opening,
            (1, get),
            (0 | PLACED, b"\x10" + ok[16:]),
            (1, b""),
            (1, get),
            (0 | CUT, ok),
            (1, get),
            (0, ok),
        ],
        [*opening, (1, get), (0, ok), *closing, *opening, (1, get), (0, ok), (1 | RST, b"")],
        [*((c | OTHER, p) for c, p in opening), *opening, (1, get), (1 | OTHER, get), (OTHER, ok), (0, ok)],
        [*opening, (1, get), (PLACED, b"\x10" + b"HTTP/1.1 200 " * 4 + b"\rX\n" + ok), *closing],
        [
            *opening,
            (1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
            (0, b"\0\0\0\4\1\0\0\0\0"),
            *closing,
        ],
    ]
    scripts = [write(bytes([n, SEGMENTS]), talk) for n, talk in enumerate(talks)]
    first = [segment.packet() for segment in segments_of(read(scripts[0])[1])]
    files = [
        _file((0, packet, 0) for packet in first),
        _pcapng_of(first, 101),
        *(_file([(0, frame, 0)], link_type) for link_type, frame in _wrapped(first[3])),
        _file([(0, _ipv4(6, first[3][20:44], 0x2000), 0), (0, _ipv4(6, first[3][44:], 3), 0)]),
    ]
    big = [struct.pack("!I", 0xA1B2C3D4) + struct.pack(">HHiIII", 2, 4, 0, 0, 99, 101)]
    big.append(struct.pack(">IIII", 1, 2, len(first[0]), len(first[0])) + first[0])
    plain = [
        bytes([n, FILE]) + file
        for n, file in enumerate([*files, b"".join(big), gzip.compress(files[0], mtime=0)])
    ]
    return scripts + plain + [bytes([n, PACKED]) + file for n, file in enumerate(files[:2])]
