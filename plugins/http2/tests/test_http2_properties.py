"""Whole conversations, made at random and cut at random: the same exchanges, the same details."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Direction, Outcome, Role
from rover.testing import check_delivery

"""Of details."""

UP, DOWN = Direction.EGRESS, Direction.INGRESS
SLOW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.sampled_from(["", "1", "text/plain", "v" * 60, "a-value", "w" * 700])
headers = st.lists(st.tuples(st.sampled_from(["x-a", "x-b", "accept", "via"]), values), max_size=4)
chunks = st.lists(st.binary(max_size=40) | st.integers(0, 900).map(bytes), max_size=3)
pads = st.none() | st.integers(0, 255)


@dataclasses.dataclass(frozen=True)
class Message:
    headers: list[tuple[str, str]]
    chunks: list[bytes]
    trailers: list[tuple[str, str]]
    pad: int | None
    priority: bool
    cut: tuple[int, ...]


messages = st.builds(
    Message,
    headers,
    chunks,
    st.lists(st.tuples(st.just("x-end"), values), max_size=1),
    pads,
    st.booleans(),
    st.lists(st.integers(0, 60), max_size=3).map(tuple),
)


@dataclasses.dataclass(frozen=True)
class Call:
    path: str
    request: Message
    interim: int
    response: Message
    status: str
    ending: str
    push: bool


calls = st.lists(
    st.builds(
        Call,
        st.sampled_from(["/", "/a", "/pkg.Svc/Method", "/x?y=z"]),
        messages,
        st.integers(0, 1),
        messages,
        st.sampled_from(["200", "204", "404", "503"]),
        st.sampled_from(["complete", "complete", "complete", "client", "server", "open"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
Play = list[tuple[Direction, bytes]]


def write(c: Any, made: list[Call], choose: st.DataObject) -> tuple[Play, dict[int, tuple[Any, ...]]]:
    """Frames of all calls, interleaved; and what a log must say of each, by stream."""
    play: Play = [(UP, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + c.settings()), (DOWN, c.settings())]
    expected: dict[int, tuple[Any, ...]] = {}
    promised = itertools.count(2, 2)
    waiting = [steps(c, 2 * i + 1, call, promised, expected) for i, call in enumerate(made)]
    running: list[Any] = []
    while waiting or running:
        # A new stream opens, or one of those under way takes its next step.
        pick = choose.draw(st.integers(0, len(running) if waiting else len(running) - 1))
        if pick == len(running):
            running.append(waiting.pop(0))
        step = next(running[pick], None)
        if step is None:
            running.pop(pick)
        else:
            play.append(step)
    return play, expected


def message(c: Any, way: Direction, stream: int, first: Any, m: Message) -> Any:
    parts = len(m.chunks) + bool(m.trailers)
    yield c.block(way, stream, [*first, *m.headers], end=not parts, pad=m.pad, priority=m.priority, cut=m.cut)
    for i, chunk in enumerate(m.chunks, 1):
        yield c.data(stream, chunk, end=i == parts, pad=m.pad)
    if m.trailers:
        yield c.block(way, stream, m.trailers, cut=m.cut)


def steps(c: Any, stream: int, call: Call, promised: Any, expected: dict[int, tuple[Any, ...]]) -> Any:
    """One frame (or whole header block) at a time, in an order that endpoints may choose."""
    asked = [(":method", "POST"), (":scheme", "http"), (":path", call.path)]
    up = message(c, UP, stream, asked, call.request)
    down = message(c, DOWN, stream, [(":status", call.status)], call.response)
    yield UP, next(up)
    sent = received = 0
    if call.push:
        number = next(promised)
        pushed = [(":method", "GET"), (":scheme", "http"), (":path", "/pushed")]
        yield DOWN, c.block(DOWN, stream, pushed, promise=number)
        yield DOWN, c.response(number, [(":status", "200")], end=False)
        yield DOWN, c.data(number, b"push")
        expected[number] = (number, Outcome.COMPLETE, "/pushed", 0, 200, 4)
    for _ in range(call.interim):
        yield DOWN, c.response(stream, [(":status", "103"), ("link", "</a>")], end=False)
    head = next(down)
    yield DOWN, head
    if call.ending == "complete":
        for part in up:
            yield UP, part
        sent = sum(map(len, call.request.chunks))
        for part in down:
            yield DOWN, part
        received = sum(map(len, call.response.chunks))
        outcome = Outcome.COMPLETE
    else:
        over = not call.request.chunks and not call.request.trailers
        over = over and not call.response.chunks and not call.response.trailers
        outcome = Outcome.COMPLETE if over else Outcome.ABORTED
        if call.ending != "open":
            yield (UP if call.ending == "client" else DOWN), c.reset(stream, 8)
    expected[stream] = (stream, outcome, call.path, sent, int(call.status), received)


def replay(talk: Any, play: Play) -> Any:
    c = talk(late=True)
    for way, data in play:
        c.play.send(way, data)
    c.play.close()
    return c


def essence(c: Any) -> dict[int, tuple[Any, ...]]:
    return {
        s.owner: (
            s.owner,
            s.outcome,
            s.request.target,
            s.request.body_size,
            s.response.status,
            s.response.body_size,
        )
        for s in c.streams
    }


def merged(play: Play) -> Play:
    """Neighbours of one direction in one call."""
    return [
        (way, b"".join(data for _, data in group))
        for way, group in itertools.groupby(play, key=lambda p: p[0])
    ]


@SLOW
@given(calls, st.data())
def test_every_exchange_is_what_was_sent_whole_or_in_any_pieces(talk, cut_at, made, data):
    play, expected = write(talk(late=True), made, data)
    frame_by_frame = replay(talk, play)
    assert essence(frame_by_frame) == expected
    assert len(frame_by_frame.streams) == len(expected)
    check_delivery(frame_by_frame.play)

    together = merged(play)
    cuts = data.draw(st.lists(st.integers(1, max(len(d) for _, d in together)), max_size=12))
    for version in (
        together,
        [(way, piece) for way, whole in together for piece in cut_at(whole, cuts)],
        [(way, bytes([byte])) for way, whole in together for byte in whole],
    ):
        c = replay(talk, version)
        assert c.summary == frame_by_frame.summary
        check_delivery(c.play)


@SLOW
@given(calls, st.data())
def test_watched_from_the_server_it_is_the_same(talk, made, data):
    play, _ = write(talk(late=True), made, data)
    mirrored = replay(talk, [(Direction(1 - way), sent) for way, sent in play])
    assert mirrored.summary == replay(talk, play).summary
    assert mirrored.play.decoder.role is Role.SERVER


@SLOW
@given(calls, st.data())
def test_frames_of_an_exchange_bring_their_calls_details(talk, made, data):
    """A call per frame: each exchange has the details of its own frames, and no other's."""
    play, expected = write(talk(late=True), made, data)
    c = replay(talk, play)
    owner = [int.from_bytes(frame[5:9], "big") for _, frame in play]
    for stream, details in zip(c.streams, c.play.taken, strict=True):
        for detail in details:
            frame = play[detail.sequence][1]
            promise = int.from_bytes(frame[9 + (frame[4] >> 3 & 1) :][:4], "big") if frame[3] == 5 else 0
            assert stream.owner in (owner[detail.sequence], promise)
    assert len(c.streams) == len(expected)


def agrees(found: tuple[Any, ...], full: tuple[Any, ...]) -> bool:
    """Equal, except for body sizes that a gap has hidden."""
    if isinstance(found, tuple) and isinstance(full, tuple):
        return len(found) == len(full) and all(map(agrees, found, full))
    return found == full or found is None


@SLOW
@given(calls, st.data())
def test_lost_calls_never_make_a_complete_exchange_that_was_not(talk, cut_at, made, data):
    play, _ = write(talk(late=True), made, data)
    full = [s for s in replay(talk, play).summary if s[1] is Outcome.COMPLETE]
    together = merged(play)
    cuts = data.draw(st.lists(st.integers(1, max(len(d) for _, d in together)), max_size=12))
    pieces = [(way, piece) for way, whole in together for piece in cut_at(whole, cuts)]
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1), min_size=1, max_size=3))
    c = talk(late=True)
    for i, (way, piece) in enumerate(pieces):
        if i not in lost:
            c.play.send(way, piece)
        elif data.draw(st.booleans()):
            c.play.lose(way, len(piece))
        else:
            c.play.send(way, piece, captured=data.draw(st.integers(0, len(piece))))
    c.play.close()
    check_delivery(c.play)
    for found in c.summary:
        if found[1] is Outcome.COMPLETE:
            assert any(agrees(found, whole) for whole in full), found


@SLOW
@given(calls, st.data())
def test_joined_in_the_middle_never_makes_an_exchange_that_was_not(talk, made, data):
    """From any frame on: what is logged as complete is right, a break is `hpack`."""
    play, _ = write(talk(late=True), made, data)
    full = [s for s in replay(talk, play).summary if s[1] is Outcome.COMPLETE]
    c = replay(talk, play[data.draw(st.integers(1, len(play))) :])
    assert c.play.protocol_break is None or c.broke.reason == "hpack"
    for found in c.summary:
        assert found[3][1], "a path"
        if found[1] is Outcome.COMPLETE:
            assert found in full
    check_delivery(c.play)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 10, 23, 24, 25, 33])
def test_calls_of_every_size(talk, size):
    """Every frame boundary falls at every place of a call."""
    c = talk(late=True)
    up = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + c.settings()
    up += b"".join(
        c.request(n, path=f"/{n}", end=False, cut=(2,)) + c.data(n, bytes(n), pad=n) for n in (1, 3, 5)
    )
    down = c.settings() + b"".join(
        c.response(n, end=False) + c.data(n, bytes(2 * n), end=False) + c.response(n, [("x-end", "1")])
        for n in (5, 3, 1)
    )
    c.play.send_all(UP, [up[i : i + size] for i in range(0, len(up), size)])
    c.play.send_all(DOWN, [down[i : i + size] for i in range(0, len(down), size)])
    sizes = [(s.owner, s.request.body_size, s.response.body_size) for s in c.streams]
    assert sizes == [(5, 5, 10), (3, 3, 6), (1, 1, 2)]
    c.check_details()
