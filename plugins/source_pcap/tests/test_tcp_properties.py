"""Whatever a network does to the segments of a stream, its bytes are the same, or known to be missing."""

from __future__ import annotations

import itertools
import random
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from rover.values.records import Closed, Detail, Direction, Opened
from rover_source_pcap.tcp import Assembler

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
CLIENT = b"\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\0\x50"
SERVER = b"\x0a\0\0\x02\x0a\0\0\x01\0\x50\x9c\x40"


class Segment(NamedTuple):
    key: bytes
    seq: int
    payload: bytes
    flags: int = ACK
    ack: int = 0
    cut: int = 0


class Records:
    """Takes records and checks what any sequence of them must keep."""

    def __init__(self) -> None:
        self.ended: set[tuple[int, int]] = set()
        self.open: set[int] = set()
        self.positions: dict[tuple[int, int], int] = {}
        self.sequences: dict[int, int] = {}

    def opened(self, opened: Opened) -> None:
        self.open.add(opened.connection)

    def data(self, detail: Detail, payload: bytes) -> None:
        assert detail.connection in self.open
        way = (detail.connection, detail.direction)
        assert way not in self.ended
        assert detail.position >= self.positions.get(way, 0)
        assert detail.size >= len(payload)
        assert detail.start <= detail.end
        left_out = detail.sequence - self.sequences.get(detail.connection, 0)
        assert 0 <= left_out <= 2
        self.sequences[detail.connection] = detail.sequence + 1
        self.positions[way] = detail.position + detail.size
        if detail.size == 0:
            self.ended.add(way)

    def closed(self, closed: Closed) -> None:
        self.open.remove(closed.connection)


class Streams(Records):
    """Keeps what each direction held, byte by byte, None for the missing ones."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[tuple[int, int], list[int | None]] = {}

    def data(self, detail: Detail, payload: bytes) -> None:
        super().data(detail, payload)
        stream = self.bytes.setdefault((detail.connection, detail.direction), [])
        stream += [None] * (detail.position - len(stream))
        stream += payload
        stream += [None] * (detail.size - len(payload))


def drive(build: Any, records: Records, segments: list[Segment], finish: bool = True) -> None:
    assembler = Assembler()
    assembler.handler = records  # type: ignore[assignment]
    for time, (key, seq, payload, flags, ack, cut) in enumerate(segments):
        segment = build.tcp(payload, seq=seq, ack=ack, flags=flags)
        end = len(segment) - min(cut, len(payload))
        assembler.segment(time, key, segment, 0, end, len(segment) - end)
    if finish:
        assembler.finish(len(segments))
        assert not records.open
        assert assembler._held == 0
        assert not assembler._halves
        assert not assembler._connections


def play(build: Any, segments: list[Segment], finish: bool = True) -> Streams:
    streams = Streams()
    drive(build, streams, segments, finish)
    return streams


def cover(content: bytes, begin: int, cuts: list[int], extra: list[tuple[int, int]]) -> list[Segment]:
    """The content in pieces that overlap as they please, from the sequence number `begin` on."""
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    ranges = list(itertools.pairwise(edges))
    ranges += [(at, at + size) for at, size in extra]
    return [Segment(CLIENT, begin + a, content[a:b]) for a, b in ranges if content[a:b]]


CONTENT = st.binary(min_size=1, max_size=120)
CUTS = st.lists(st.integers(0, 200), max_size=10)
EXTRA = st.lists(st.tuples(st.integers(0, 119), st.integers(1, 60)), max_size=8)
BEGIN = st.sampled_from([0, 1, 1000, 0x7FFF_FFF0, 0xFFFF_FFF0, 0xFFFF_FFFF])
SHUFFLE = st.randoms(use_true_random=False)


@settings(max_examples=200)
@given(content=CONTENT, cuts=CUTS, extra=EXTRA, begin=BEGIN, shuffle=SHUFFLE, fin=st.booleans())
def test_shuffled_repeated_overlapping_segments_are_the_same_stream(
    build: Any,
    content: bytes,
    cuts: list[int],
    extra: list[tuple[int, int]],
    begin: int,
    shuffle: random.Random,
    fin: bool,
) -> None:
    segments = cover(content, begin + 1, cuts, extra)
    if fin:
        segments.append(Segment(CLIENT, begin + 1 + len(content), b"", FIN | ACK))
    shuffle.shuffle(segments)
    streams = play(build, [Segment(CLIENT, begin, b"", SYN), *segments])
    assert streams.bytes == {(1, Direction.EGRESS): list(content)}
    assert streams.ended == ({(1, Direction.EGRESS)} if fin else set())


@settings(max_examples=200)
@given(content=CONTENT, cuts=CUTS, begin=BEGIN, shuffle=SHUFFLE, keep=st.integers(0, 2**11 - 1))
def test_dropped_segments_are_gaps_of_their_size_in_their_place(
    build: Any, content: bytes, cuts: list[int], begin: int, shuffle: random.Random, keep: int
) -> None:
    segments = cover(content, begin + 1, cuts, [])
    kept = [segment for index, segment in enumerate(segments) if keep >> index & 1]
    expected: list[int | None] = [None] * len(content)
    for segment in kept:
        at = segment.seq - begin - 1
        expected[at : at + len(segment.payload)] = segment.payload
    shuffle.shuffle(kept)
    fin = Segment(CLIENT, begin + 1 + len(content), b"", FIN | ACK)
    streams = play(build, [Segment(CLIENT, begin, b"", SYN), *kept, fin])
    assert streams.bytes == {(1, Direction.EGRESS): expected}


@settings(max_examples=100)
@given(content=CONTENT, cuts=CUTS, begin=BEGIN, keep=st.integers(0, 2**11 - 1), acknowledge=st.booleans())
def test_an_acknowledged_hole_is_not_waited_for(
    build: Any, content: bytes, cuts: list[int], begin: int, keep: int, acknowledge: bool
) -> None:
    """Everything seen is delivered before anything else happens; without it, up to the hole."""
    segments = cover(content, begin + 1, cuts, [])
    kept = [segment for index, segment in enumerate(segments) if keep >> index & 1]
    answer = Segment(SERVER, 5, b"", ACK, begin + 1 + len(content) if acknowledge else begin + 1)
    syn = Segment(CLIENT, begin, b"", SYN)
    streams = play(build, [syn, *kept, answer], finish=False)
    seen = sum(byte is not None for byte in streams.bytes.get((1, Direction.EGRESS), []))
    if acknowledge:
        assert seen == sum(len(segment.payload) for segment in kept)
    else:
        prefix = 0
        while keep >> prefix & 1 and prefix < len(segments):
            prefix += 1
        assert seen == sum(len(segment.payload) for segment in segments[:prefix])


@settings(max_examples=100)
@given(content=CONTENT, cuts=CUTS, begin=BEGIN, snap=st.integers(0, 40))
def test_bytes_cut_from_segments_are_gaps(
    build: Any, content: bytes, cuts: list[int], begin: int, snap: int
) -> None:
    segments = cover(content, begin + 1, cuts, [])
    expected: list[int | None] = []
    for segment in segments:
        captured = segment.payload[:snap]
        expected += captured
        expected += [None] * (len(segment.payload) - len(captured))
    shortened = [segment._replace(cut=max(0, len(segment.payload) - snap)) for segment in segments]
    streams = play(build, [Segment(CLIENT, begin, b"", SYN), *shortened[::-1]])
    assert streams.bytes == {(1, Direction.EGRESS): expected}


NEAR = st.one_of(st.integers(990, 1100), st.sampled_from([0, 2**31, 2**32 - 1, 1000 + 2**30, 1000 + 2**31]))


@settings(max_examples=400)
@given(
    st.lists(
        st.builds(
            Segment,
            key=st.sampled_from([CLIENT, SERVER, CLIENT[:8] + CLIENT[10:] + CLIENT[8:10]]),
            seq=NEAR,
            payload=st.binary(max_size=12),
            flags=st.sampled_from(
                [0, ACK, ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, FIN, RST, RST | ACK, 0xFF]
            ),
            ack=NEAR,
            cut=st.integers(0, 3),
        ),
        max_size=40,
    )
)
def test_any_segments_at_all(build: Any, segments: list[Segment]) -> None:
    """Positions only grow, nothing follows an end, every connection that opens closes, and nothing
    stays behind: `Records` and `drive` check it."""
    drive(build, Records(), segments)


# -- by when lost bytes had moved ------------------------------------------------------------------


class Sent(NamedTuple):
    """What an end sends, of a conversation that a capture point in the path sees in part."""

    end: int
    """1 the client's."""
    first: int
    """Offset of its first byte in what the end sends; the byte's value is its offset, too."""
    size: int
    acknowledges: int
    time: int
    passes: int
    """When it passes the capture point."""
    arrives: int


@st.composite
def conversations(draw: st.DrawFn) -> list[Sent]:
    """Both ends send when they like; each acknowledges what has arrived. In the order captured."""
    to_client, to_server = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    offsets, time, sent = [0, 0], 0, list[Sent]()
    steps = st.tuples(st.integers(0, 1), st.integers(0, 5), st.sampled_from([0, 1, 2, 5, 30]))
    for end, size, pause in draw(st.lists(steps, min_size=2, max_size=40)):
        time += pause
        had = max((s.first + s.size for s in sent if s.end != end and s.arrives <= time), default=0)
        way = to_client if end else to_server
        passes, arrives = time + way, time + to_client + to_server
        sent.append(Sent(end, offsets[end], size, had, time, passes, arrives))
        offsets[end] += size
    return sorted(sent, key=lambda s: s.passes)


@settings(max_examples=400)
@given(
    conversations(),
    st.integers(0, 2**40 - 1),
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(0, 39), st.integers(1, 3)), max_size=4),
    st.tuples(BEGIN, BEGIN),
)
def test_what_follows_a_number_left_out_was_sent_after_the_lost_bytes_had_moved(
    build: Any,
    conversation: list[Sent],
    keep: int,
    joined: int,
    moves: list[tuple[int, int]],
    begin: tuple[int, int],
) -> None:
    """Whatever was not captured (`keep`), also from the beginning (`joined`), and whatever changed places
    in the file (`moves`): unless calls overlap, the records after the number of a gap arrived at the
    other end after that had sent what the gap hides."""
    captured = [s for n, s in enumerate(conversation) if keep >> n & 1][joined:]
    for at, by in moves:
        if at + by < len(captured):
            captured.insert(at + by, captured.pop(at))
    segments = [
        Segment(
            CLIENT if s.end else SERVER,
            begin[s.end] + s.first & 0xFFFF_FFFF,
            bytes(range(s.first, s.first + s.size)),
            ACK | 8,
            begin[1 - s.end] + s.acknowledges & 0xFFFF_FFFF,
        )
        for s in captured
    ]
    records = Numbered()
    drive(build, records, segments)
    details = [(detail, payload) for detail, payload in records.got if payload]
    if any(now.start < before.end for (before, _), (now, _) in itertools.pairwise(details)):
        return
    for lost, number in records.gaps():
        hidden = [
            s
            for s in conversation
            if s.end == lost.end and s.first < lost.first + lost.size and lost.first < s.first + s.size
        ]
        for detail, payload in details:
            if detail.direction != lost.end and detail.sequence > number:
                seen = segment_at(conversation, 1 - lost.end, payload[0])
                assert all(seen.arrives > s.time for s in hidden)


def segment_at(conversation: list[Sent], end: int, offset: int) -> Sent:
    return next(s for s in conversation if s.end == end and s.first <= offset < s.first + s.size)


class Lost(NamedTuple):
    end: int
    first: int
    size: int


class Numbered(Records):
    """Keeps the records, and tells their gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[Detail, bytes]] = []

    def data(self, detail: Detail, payload: bytes) -> None:
        super().data(detail, payload)
        self.got.append((detail, payload))

    def gaps(self) -> list[tuple[Lost, int]]:
        """What each gap hides, and the highest number left out before the record that shows it."""
        found: list[tuple[Lost, int]] = []
        following, left_out, ends = 0, -1, [0, 0]
        for detail, payload in self.got:
            if detail.sequence > following:
                left_out = detail.sequence - 1
            following = detail.sequence + 1
            gap = detail.position - ends[detail.direction]
            ends[detail.direction] = detail.position + detail.size
            if gap:
                assert left_out >= 0, "a gap without a number left out before it"
                found.append((Lost(detail.direction, payload[0] - gap, gap), left_out))
        return found


@settings(max_examples=300)
@given(conversations(), st.integers(0, 39), st.tuples(BEGIN, BEGIN))
def test_what_acknowledges_the_one_segment_that_is_missing_is_known_to_follow_it(
    build: Any, conversation: list[Sent], missing: int, begin: tuple[int, int]
) -> None:
    """Nothing else is lost: no request that has the answer before it is left in doubt."""
    lost = conversation[missing % len(conversation)]
    segments = [
        Segment(CLIENT, begin[1] - 1 & 0xFFFF_FFFF, b"", SYN),
        Segment(SERVER, begin[0] - 1 & 0xFFFF_FFFF, b"", SYN | ACK, begin[1]),
    ]
    segments += [
        Segment(
            CLIENT if s.end else SERVER,
            begin[s.end] + s.first & 0xFFFF_FFFF,
            bytes(range(s.first, s.first + s.size)),
            ACK | 8,
            begin[1 - s.end] + s.acknowledges & 0xFFFF_FFFF,
        )
        for s in conversation
        if s is not lost
    ]
    records = Numbered()
    drive(build, records, segments)
    gaps = records.gaps()
    assert len(gaps) <= 1
    for hidden, number in gaps:
        assert hidden == (lost.end, lost.first, lost.size)
        for detail, payload in records.got:
            if detail.direction != lost.end and payload:
                seen = segment_at(conversation, 1 - lost.end, payload[0])
                if seen.acknowledges >= lost.first + lost.size:
                    assert detail.sequence > number
