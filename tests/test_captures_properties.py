"""Conversations turned into capture files: however the segments are cut, the same access logs; whatever
is missing, none that is made up, and no more lost than the gap explains."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import Line, Replayed, Replayer, Row, Segment, random_sizes, recut, thin, write_capture

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TURNS_TO_RECOVER = 3
"""Exchanges of a client that takes turns which a loss may cost, besides those it hit: one shows that
turns are taken still, the next is paired (see `rover_plugin_http1.pairing`)."""

Replay = Callable[[Iterable[Segment]], Replayed]
Step = tuple[bool, bytes]
"""Whether the client speaks, and what it says."""


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """Replays segments from a capture file."""
    replayer = Replayer()
    path: Path = tmp_path_factory.mktemp("captures") / "capture.pcap"
    return lambda segments: replayer(write_capture(path, segments))


# -- HTTP/1.1 --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Exchange:
    method: str
    status: int
    sent: bytes | None
    answer: bytes
    chunked: bool
    interim: bool
    cut: int
    """Bytes of a segment, of both messages."""


bodies = st.binary(max_size=60) | st.integers(0, 4000).map(bytes)
exchanges = st.builds(
    Exchange,
    st.sampled_from(["GET", "POST", "HEAD", "DELETE", "PURGE"]),
    st.sampled_from([200, 204, 304, 404, 500]),
    st.none() | bodies,
    bodies,
    st.booleans(),
    st.booleans(),
    st.integers(20, 1460),
)


def chunks(body: bytes) -> bytes:
    parts = [body[i : i + 700] for i in range(0, len(body), 700)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def message(start: str, body: bytes | None, chunked: bool, *, empty: bool = False) -> tuple[bytes, int, int]:
    """(bytes, header size, body size); `empty`: the body is declared and not sent."""
    head = f"{start}\r\nHost: a.example\r\n"
    if body is not None:
        head += "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {len(body)}\r\n"
    encoded = (head + "\r\n").encode()
    if body is None or empty:
        return encoded, len(encoded), 0
    return encoded + (chunks(body) if chunked else body), len(encoded), len(body)


def http1(made: list[Exchange], group: int) -> tuple[list[list[Step]], list[Row]]:
    """Steps and the log of each exchange; `group` requests are sent before their answers come."""
    asked: list[list[Step]] = []
    answered: list[list[Step]] = []
    rows = []
    for i, x in enumerate(made):
        target = f"/{i}"
        request, head, body = message(f"{x.method} {target} HTTP/1.1", x.sent, x.chunked)
        # Every status but the bodyless is told apart from its neighbours', so that a wrong pair shows.
        bodyless = x.method == "HEAD" or x.status in (204, 304)
        status = x.status if bodyless else 400 + i
        response, rhead, rbody = message(f"HTTP/1.1 {status} X", x.answer, x.chunked, empty=bodyless)
        if x.interim:
            response = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response
        rows.append(Row(x.method, target, status, head, body, rhead, rbody, "complete"))
        asked.append([(True, request[j : j + x.cut]) for j in range(0, len(request), x.cut)])
        answered.append([(False, response[j : j + x.cut]) for j in range(0, len(response), x.cut)])
    turns = []
    for i in range(0, len(made), group):
        turns += asked[i : i + group] + answered[i : i + group]
    return turns, rows


# -- HTTP/2 ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Stream:
    sent: list[int]
    answer: list[int]
    pad: int
    reset: bool
    extra: str


streams = st.builds(
    Stream,
    st.lists(st.integers(0, 2000), max_size=3),
    st.lists(st.integers(0, 2000), max_size=3),
    st.integers(0, 20),
    st.booleans(),
    st.sampled_from(["", "a", "b" * 40]),
)


def http2(made: list[Stream], order: random.Random) -> tuple[list[list[Step]], list[Row]]:
    """Frames of streams that run at the same time, and the log of each stream."""
    encoders = {True: Encoder(), False: Encoder()}
    rows: dict[int, Row] = {}
    turns: list[list[Step]] = [
        [(True, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())],
        [(False, SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 8192}).serialize())],
    ]

    def headers(client: bool, number: int, fields: list[tuple[str, str]], end: bool) -> tuple[Frame, int]:
        block = encoders[client].encode(fields)
        frame = HeadersFrame(number, block)
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame, len(block)

    def data(number: int, sizes: list[int], pad: int) -> list[Frame]:
        frames: list[Frame] = []
        for i, size in enumerate(sizes, 1):
            frame = DataFrame(number, bytes(size))
            if pad:
                frame.flags.add("PADDED")
                frame.pad_length = pad
            if i == len(sizes):
                frame.flags.add("END_STREAM")
            frames.append(frame)
        return frames

    todo = {2 * i + 1: iter(range(4)) for i in range(len(made))}
    opened = 1
    while todo:
        number = order.choice([n for n in todo if n <= opened])
        stream = made[number // 2]
        step = next(todo[number], None)
        target = f"/{number}"
        if step == 0:
            opened = max(opened, number + 2)
            asked = [(":method", "POST"), (":scheme", "http"), (":path", target), (":authority", "a")]
            asked += [("x-extra", stream.extra), ("x-number", target)]
            frame, size = headers(True, number, asked, not stream.sent)
            turns.append([(True, frame.serialize())])
            rows[number] = Row("POST", target, 200 + number, size, sum(stream.sent), 0, 0, "complete")
        elif step == 1 and stream.sent:
            turns.append([(True, f.serialize()) for f in data(number, stream.sent, stream.pad)])
        elif step == 2:
            fields = [(":status", str(200 + number)), ("x-extra", stream.extra)]
            frame, size = headers(False, number, fields, not stream.answer and not stream.reset)
            turns.append([(False, frame.serialize())])
            rows[number] = rows[number]._replace(response_header=size)
        elif step == 3 and stream.reset:
            turns.append([(False, RstStreamFrame(number, 2).serialize())])
            rows[number] = rows[number]._replace(outcome="aborted")
        elif step == 3 and stream.answer:
            turns.append([(False, f.serialize()) for f in data(number, stream.answer, stream.pad)])
            rows[number] = rows[number]._replace(response_body=sum(stream.answer))
        elif step is None:
            del todo[number]
    return turns, list(rows.values())


# -- captures --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Capture:
    segments: list[Segment] = dataclasses.field(repr=False)
    lines: list[Line] = dataclasses.field(repr=False)
    rows: list[list[Row]]
    """By connection."""
    lasts: list[list[int]]
    """The same for HTTP/1: up to which segment (its index) each exchange reaches."""


def captured(conversations: list[tuple[list[list[Step]], list[Row]]], order: random.Random) -> Capture:
    """One file with all conversations in it, in turns."""
    segments: list[Segment] = []
    lines = [Line(segments, 40000 + i, begin=0xFFFF_FF00) for i in range(len(conversations))]
    lasts: list[list[int]] = [[] for _ in conversations]
    waiting = {i: list(turns) for i, (turns, _) in enumerate(conversations)}
    while waiting:
        i = order.choice(list(waiting))
        if not waiting[i]:
            del waiting[i]
            lines[i].close()
            continue
        turn = waiting[i].pop(0)
        for client, data in turn:
            (lines[i].client if client else lines[i].server)(data)
        if turn and not turn[0][0]:
            lasts[i].append(len(segments) - 1)
    return Capture(segments, lines, [rows for _, rows in conversations], lasts)


seeds = st.integers(0, 2**32)


@st.composite
def captures_of_http1(draw: st.DrawFn, *, pipelined: bool = True, most: int = 8) -> Capture:
    one = exchanges if pipelined else exchanges.filter(lambda exchange: exchange.method != "PURGE")
    conversations = draw(st.lists(st.lists(one, min_size=1, max_size=most), min_size=1, max_size=2))
    group = draw(st.integers(1, 3)) if pipelined else 1
    return captured([http1(made, group) for made in conversations], random.Random(draw(seeds)))


@st.composite
def captures_of_http2(draw: st.DrawFn) -> Capture:
    order = random.Random(draw(seeds))
    conversations = draw(st.lists(st.lists(streams, min_size=1, max_size=6), min_size=1, max_size=2))
    return captured([http2(made, order) for made in conversations], order)


captures = st.one_of(captures_of_http1(), captures_of_http2())


def logged(capture: Capture, replayed: Replayed) -> list[list[Row]]:
    return [sorted(replayed.of(line.ends)) for line in capture.lines]


@SOME
@given(captures)
def test_a_capture_holds_what_was_said(replay: Replay, capture: Capture) -> None:
    assert logged(capture, replay(capture.segments)) == [sorted(rows) for rows in capture.rows]


@SOME
@given(captures, seeds, st.integers(1, 1460))
def test_cut_anywhere_is_the_same(replay: Replay, capture: Capture, seed: int, largest: int) -> None:
    whole = replay(capture.segments)
    cut = replay(recut(capture.segments, random_sizes(seed, largest)))
    assert cut.rows == whole.rows


@settings(SOME, max_examples=15)
@given(captures)
def test_byte_by_byte_is_the_same(replay: Replay, capture: Capture) -> None:
    whole = replay(capture.segments)
    assert replay(recut(capture.segments, lambda: 1)).rows == whole.rows


@SOME
@given(captures, seeds)
def test_segments_out_of_order_and_sent_twice_are_the_same(
    replay: Replay, capture: Capture, seed: int
) -> None:
    """Neighbours change places, but none overtakes what acknowledges it."""
    order = random.Random(seed)
    moved: list[Segment] = []
    for segment in recut(capture.segments, random_sizes(seed, 1460)):
        at = len(moved)
        while at and moved[at - 1].key == segment.key and segment.size and order.random() < 0.4:
            if not moved[at - 1].size:
                break
            at -= 1
        moved.insert(at, segment)
        if segment.size and order.random() < 0.2:
            moved.append(segment)
    times = sorted(segment.time for segment in moved)
    timed = [s._replace(time=time) for s, time in zip(moved, times, strict=True)]
    assert logged(capture, replay(timed)) == [sorted(rows) for rows in capture.rows]


# -- what is missing -------------------------------------------------------------------------------


def dropping(capture: Capture, drops: list[int], seed: int) -> tuple[list[Segment], list[Segment], list[int]]:
    """(kept, dropped, indices dropped).

    The first segment of each client stays: without it the connection reads as one that was joined
    late, where the first answer may be to a request before our time, and the end of a body may look
    like the beginning of a method.
    """
    carrying = [i for i, segment in enumerate(capture.segments) if segment.size]
    for line in capture.lines:
        carrying.remove(next(i for i in carrying if capture.segments[i].key[-4:-2] == line.client_port))
    if not carrying:
        return capture.segments, [], []
    chosen = sorted({carrying[drop % len(carrying)] for drop in drops})
    kept, dropped = thin(capture.segments, chosen.__contains__)
    return list(recut(kept, random_sizes(seed, 1460))), dropped, chosen


def check_nothing_made_up(capture: Capture, replayed: Replayed) -> None:
    """What is logged was said; with an answer of its own, unless it is marked as a pair that nothing
    proves, or logged as aborted."""
    for line, rows in zip(capture.lines, capture.rows, strict=True):
        said = {row[:3] for row in rows}
        targets = {row[:2] for row in rows}
        found = replayed.of(line.ends)
        for row in found:
            assert row[:2] in targets
            assert row[:3] in said or row.assumed or (row.outcome == "aborted" and row.status is None)
        assert len({row.target for row in found}) == len(found), "an exchange is logged once"


drops = st.lists(st.integers(0, 10_000), min_size=1, max_size=4)


@settings(SOME, max_examples=150)
@given(captures, drops, seeds)
def test_what_is_missing_makes_nothing_up(
    replay: Replay, capture: Capture, drops: list[int], seed: int
) -> None:
    kept, _, _ = dropping(capture, drops, seed)
    check_nothing_made_up(capture, replay(kept))


@settings(SOME, max_examples=150)
@given(captures, st.integers(30, 400))
def test_packets_cut_by_the_capture_make_nothing_up(replay: Replay, capture: Capture, snap: int) -> None:
    cut = [segment._replace(payload=segment.payload[:snap]) for segment in capture.segments]
    check_nothing_made_up(capture, replay(cut))


@pytest.mark.parametrize("probe", [b"", b"\0", b"\n"])
@pytest.mark.parametrize("answered", [True, False])
def test_joined_late_at_a_keep_alive_probe(replay: Replay, probe: bytes, answered: bool) -> None:
    segments: list[Segment] = []
    line = Line(segments, 40000)
    first = segments[2]
    del segments[:]
    segments.append(first._replace(seq=first.seq - 1, size=len(probe), payload=probe))
    if answered:
        key = first.key[4:8] + first.key[:4] + first.key[10:] + first.key[8:10]
        segments.append(Segment(first.time, key, first.ack, first.seq, first.flags, 0, b""))
    for n in range(2):
        line.client(b"GET /%d HTTP/1.1\r\n\r\n" % n)
        line.server(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (400 + n))
    assert [row[1:3] for row in replay(segments).of(line.ends)] == [("/0", 400), ("/1", 401)]


@settings(SOME, max_examples=150)
@given(captures, st.integers(1, 40), drops, seeds)
def test_joined_in_the_middle_makes_nothing_up(
    replay: Replay, capture: Capture, joined: int, drops: list[int], seed: int
) -> None:
    """The first answer, or request, may be missing as well."""
    chosen = {joined + drop % 20 for drop in drops}
    kept, _ = thin(capture.segments[joined:], {at - joined for at in chosen}.__contains__)
    check_nothing_made_up(capture, replay(list(recut(kept, random_sizes(seed, 1460)))))


@SOME
@given(captures, drops, seeds)
def test_a_loss_is_the_loss_of_its_connection_alone(
    replay: Replay, capture: Capture, drops: list[int], seed: int
) -> None:
    kept, dropped, _ = dropping(capture, drops, seed)
    hit = {segment.line for segment in dropped}
    replayed = replay(kept)
    for line, rows in zip(capture.lines, capture.rows, strict=True):
        own = next(s.line for s in capture.segments if s.key[-4:-2] == line.client_port)
        if own not in hit:
            assert sorted(replayed.of(line.ends)) == sorted(rows)


@SOME
@given(captures, drops, seeds)
def test_what_was_complete_before_a_loss_stays(
    replay: Replay, capture: Capture, drops: list[int], seed: int
) -> None:
    kept, _, chosen = dropping(capture, drops, seed)
    before = replay(capture.segments[: chosen[0] if chosen else None])
    replayed = replay(kept)
    for line in capture.lines:
        complete = [row for row in before.of(line.ends) if row.outcome == "complete"]
        found = [row for row in replayed.of(line.ends) if row.outcome == "complete"]
        assert found[: len(complete)] == complete


@settings(SOME, max_examples=150)
@given(captures_of_http1(pipelined=False, most=14), drops, seeds)
def test_turns_lose_only_what_the_gap_explains(
    replay: Replay, capture: Capture, drops: list[int], seed: int
) -> None:
    """What ended before the loss is there; what was hit, and a few that follow, may not be.

    With methods that everybody knows: after a gap, another one is only believed at the beginning of a
    line, which a body without a line end hides.
    """
    kept, _, chosen = dropping(capture, drops, seed)
    replayed = replay(kept)
    for line, rows, lasts in zip(capture.lines, capture.rows, capture.lasts, strict=True):
        mine = [i for i in chosen if capture.segments[i].line == capture.segments[lasts[0]].line]
        hit = {min((n for n, last in enumerate(lasts) if last >= i), default=0) for i in mine}
        found = [row._replace(assumed=False) for row in replayed.of(line.ends)]
        for n, row in enumerate(rows):
            explained = any(0 <= n - h <= TURNS_TO_RECOVER for h in hit)
            assert explained or row in found, f"exchange {n} is lost, hit were {hit}"
