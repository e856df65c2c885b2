"""Properties over made-up conversations: however they are cut into calls, whatever of them is lost."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.http import HttpExchange
from rover.values.exchange import Outcome
from rover.values.records import Direction, Role

Call = tuple[bool, bytes]
"""(is it the client's, what it moves)"""


@dataclasses.dataclass(frozen=True)
class Script:
    """A conversation, and what must be logged of it."""

    calls: tuple[Call, ...]
    exchanges: tuple[tuple[object, ...], ...]
    ends: bool
    """Whether the server ends the connection."""


def facts(exchange: HttpExchange) -> tuple[object, ...]:
    """Everything of an exchange but its times."""
    request, response = exchange.request, exchange.response
    found: tuple[object, ...] = (
        request.method,
        request.target,
        request.version,
        request.headers,
        request.header_size,
        request.body_size,
        exchange.outcome,
    )
    if response is None:
        return found
    return (
        *found,
        response.status,
        response.version,
        response.headers.fields,
        response.header_size,
        response.body_size,
        response.trailers.fields,
    )


def key(exchange: HttpExchange) -> tuple[object, ...]:
    """Enough to see that an exchange is one of a conversation's, rightly paired."""
    request, response = exchange.request, exchange.response
    assert response is not None
    return (
        request.method,
        request.target,
        request.header_size,
        request.body_size,
        response.status,
        response.headers.get("x-n"),
        response.header_size,
        response.body_size,
    )


LINES = [
    b"",
    b"\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 299 Content\r\nContent-Length: 30\r\n\r\n",
    b"\x00\xff",
    b"0\r\n\r\n",
]
WORDS = st.text("{}\n,", max_size=60).map(str.encode)
bodies = st.one_of(st.sampled_from(LINES), st.binary(max_size=60))
extra = st.sampled_from(
    [b"", b"Accept: */*\r\n", b"X: " + b"y" * 40 + b"\r\n", b"A: b\r\n c\r\n", b"B: \xe4\r\n", b"Bare: lf\n"]
)


@st.composite
def framed(draw: st.DrawFn, body: bytes) -> tuple[bytes, bytes]:
    """(header field, content as sent)"""
    if draw(st.booleans()):
        return b"Content-Length: %d\r\n" % len(body), body
    sent = b""
    left = body
    while left:
        size = draw(st.integers(1, len(left)))
        end = draw(st.sampled_from([b"\r\n", b";a=b\r\n", b" \r\n"]))
        sent += b"%x%b%b\r\n" % (size, end, left[:size])
        left = left[size:]
    trailer = draw(st.sampled_from([b"", b"T: u\r\n", b"X: HTTP/1.1\r\nY: z\r\n"]))
    coding = draw(st.sampled_from([b"chunked", b"gzip, Chunked"]))
    return b"Transfer-Encoding: %b\r\n" % coding, sent + b"0\r\n" + trailer + b"\r\n"


@st.composite
def scripts(
    draw: st.DrawFn,
    *,
    pipelining: bool = True,
    contents: st.SearchStrategy[bytes] = bodies,
    methods: Sequence[str] = ("GET", "POST", "HEAD", "PUT", "OPTIONS", "FOO"),
) -> Script:
    """Rounds of requests, each round answered before the next; the last answer may need the end."""
    calls: list[Call] = []
    expected: list[tuple[object, ...]] = []
    number = 0
    ends = False
    for _ in range(draw(st.integers(1, 5))):
        width = draw(st.integers(1, 3)) if pipelining else 1
        asked: list[Call] = []
        answered: list[Call] = []
        for _ in range(width):
            number += 1
            method = draw(st.sampled_from(methods))
            body = draw(contents) if method in ("POST", "PUT", "FOO") else b""
            field, sent = draw(framed(body)) if body else (b"", b"")
            head = (
                b"%b /%d HTTP/1.1\r\nHost: a\r\n%b" % (method.encode(), number, draw(extra)) + field + b"\r\n"
            )
            status = draw(st.sampled_from([200, 200, 404, 204, 304, 500]))
            answer = draw(contents)
            bodiless = method == "HEAD" or status in (204, 304)
            answer_field, answer_sent = draw(framed(answer))
            last = not bodiless and draw(st.integers(0, 9)) == 0
            if last:
                answer_field, answer_sent, ends = b"", answer, True
            answer_head = b"HTTP/1.1 %d X\r\nX-N: %d\r\n%b%b\r\n" % (
                status,
                number,
                draw(extra),
                answer_field,
            )
            interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n"]))
            asked += [(True, head), (True, sent)]
            answered += [(False, interim), (False, answer_head)]
            if not bodiless:
                answered.append((False, answer_sent))
            if width == 1 and draw(st.booleans()):
                # Refused early: the answer is complete before the request is.
                calls += [asked.pop(0), *answered, *asked]
                asked, answered = [], []
            expected.append(
                (
                    method,
                    f"/{number}",
                    len(head),
                    len(body),
                    status,
                    str(number),
                    len(answer_head),
                    0 if bodiless else len(answer),
                )
            )
            if last:
                break
        calls += [*asked, *answered]
        if ends:
            break
    return Script(tuple(call for call in calls if call[1]), tuple(expected), ends)


@st.composite
def recut(draw: st.DrawFn, calls: tuple[Call, ...]) -> list[Call]:
    """The same bytes in the same order, in calls of other sizes."""
    joined: list[Call] = []
    for client, data in calls:
        if joined and joined[-1][0] is client and draw(st.booleans()):
            joined[-1] = (client, joined[-1][1] + data)
        else:
            joined.append((client, data))
    pieces: list[Call] = []
    for client, data in joined:
        cuts = draw(st.lists(st.integers(0, len(data)), max_size=3))
        edges = sorted({0, len(data), *cuts})
        pieces += [(client, data[a:b]) for a, b in itertools.pairwise(edges)]
    return pieces


roles = st.sampled_from(Role)


def perform(talk_as: Callable, role: Role, calls: list[Call] | tuple[Call, ...], ends: bool):
    """The conversation, to its end."""
    talk = talk_as(role)
    for client, data in calls:
        (talk.ask if client else talk.answer)(data)
    if ends:
        talk.play.end(talk.responses)
    talk.close()
    return talk


@settings(max_examples=150, deadline=None)
@given(scripts(), roles, st.data())
def test_whole_or_byte_by_byte_or_cut_anyhow(talk_as, script, role, data):
    whole = perform(talk_as, role, script.calls, script.ends)
    assert [key(e) for e in whole.exchanges] == list(script.exchanges)
    assert all(e.outcome is Outcome.COMPLETE for e in whole.exchanges)
    assert whole.broken is None
    assert whole.play.resynchronised == 0
    expected = [facts(e) for e in whole.exchanges]
    cut = perform(talk_as, role, data.draw(recut(script.calls)), script.ends)
    assert [facts(e) for e in cut.exchanges] == expected
    single = [(client, bytes([byte])) for client, sent in script.calls for byte in sent]
    bytewise = perform(talk_as, role, single, script.ends)
    assert [facts(e) for e in bytewise.exchanges] == expected


@settings(max_examples=100, deadline=None)
@given(scripts(), roles, st.data())
def test_cut_off_anywhere_what_was_complete_is_logged_the_same(talk_as, script, role, data):
    calls = data.draw(recut(script.calls))
    kept = calls[: data.draw(st.integers(0, len(calls)))]
    talk = perform(talk_as, role, kept, ends=False)
    found = [key(e) for e in talk.exchanges if e.outcome is Outcome.COMPLETE]
    if not script.ends:
        assert found == list(script.exchanges[: len(found)])
    complete = len(found)
    assert all(e.outcome is Outcome.ABORTED for e in talk.exchanges[complete:])


def lossy(talk_as: Callable, role: Role, script: Script, data: st.DataObject):
    """The conversation with some calls lost, and some captured in part."""
    talk = talk_as(role)
    calls = data.draw(recut(script.calls))
    last = max((index for index, (client, _) in enumerate(calls) if not client), default=-1)
    for index, (client, sent) in enumerate(calls):
        fate = data.draw(st.integers(0, 5))
        # Nothing would show that the end of what is ended by close is missing.
        if fate == 0 and not (script.ends and index == last):
            (talk.ask_unseen if client else talk.answer_unseen)(sent)
        elif fate == 1:
            captured = data.draw(st.integers(0, len(sent)))
            (talk.ask if client else talk.answer)(sent, captured=captured)
        else:
            (talk.ask if client else talk.answer)(sent)
    if script.ends:
        talk.play.end(talk.responses)
    talk.close()
    return talk


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n"])
def test_content_may_read_as_the_response_whose_head_was_lost(talk_as, role, interim):
    """Of a client that pipelines: the small gap may as well have been an interim response."""
    talk = talk_as(role)
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    talk.answer_unseen(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    talk.play.end(talk.responses)
    talk.close()
    assert [(e.request.target, e.assumed) for e in talk.exchanges] == [("/1", False), ("/2", True)]


@settings(max_examples=200, deadline=None)
@given(st.one_of(scripts(), scripts(pipelining=False)), roles, st.data())
def test_loss_never_makes_an_exchange_that_was_none(talk_as, script, role, data):
    """Content whose head was lost may read as a message, and nobody can know better: it is then logged as
    one, marked. No request of the conversation is logged twice, not even marked."""
    talk = lossy(talk_as, role, script, data)
    unmarked = [e for e in talk.exchanges if not e.assumed]
    found = Counter(key(e) for e in unmarked if e.outcome is Outcome.COMPLETE)
    assert not found - Counter(script.exchanges)
    said = {exchange[1]: exchange for exchange in script.exchanges}
    for exchange in unmarked:
        method, _, _, _, status, number, *_ = said[exchange.request.target]
        assert exchange.request.method == method
        if exchange.response is not None:
            assert exchange.response.status == status
            assert exchange.response.headers.get("x-n") in (number, None)
    requests = Counter(e.request.target for e in talk.exchanges)
    assert all(requests[target] <= 1 for target in said)


def requests_in(script: Script, start: int, end: int) -> int:
    """Of how many requests the client's bytes from `start` to `end` are: what is left of one that was refused
    early and the next one may share a call."""
    found = position = 0
    heads = 0
    for client, sent in script.calls:
        if client:
            heads += b" HTTP/1.1\r\nHost: " in sent
            if position < end and position + len(sent) > start:
                found |= 1 << heads
            position += len(sent)
    return found.bit_count()


@settings(max_examples=100, deadline=None)
@given(scripts(pipelining=False, contents=WORDS, methods=["GET", "POST", "HEAD"]), roles, st.data())
def test_what_one_lost_call_costs(talk_as, script, role, data):
    """Of a client that takes turns: the exchanges it was part of.

    (Content that looks like messages or methods, with its head unseen, may cost more, and so may methods
    that are not known where a gap ends.)
    """
    calls = data.draw(recut(script.calls))
    lost = data.draw(st.integers(0, len(calls) - 1))
    talk = talk_as(role)
    for index, (client, sent) in enumerate(calls):
        if index == lost:
            (talk.ask_unseen if client else talk.answer_unseen)(sent)
        else:
            (talk.ask if client else talk.answer)(sent)
    if script.ends:
        talk.play.end(talk.responses)
    talk.close()
    complete = Counter(key(e) for e in talk.exchanges if e.outcome is Outcome.COMPLETE)
    assert talk.broken is None
    client, sent = calls[lost]
    start = sum(len(data) for asks, data in calls[:lost] if asks)
    cost = requests_in(script, start, start + len(sent)) if client else 1
    assert (Counter(script.exchanges) - complete).total() <= cost


FRAGMENTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /p HTTP/1.1\r\n",
    b"HEAD /h HTTP/1.0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: a\r\n\r\n",
    b"HTTP/1.",
    b"GET / ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999\r\n",
    b"Content-Length: -5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"5\r\nhello\r\n",
    b"fffffffffffffff\r\n",
    b"0\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"; x=y",
    b"\x00",
    b"\x80" * 5,
    b"A" * 70,
]
hostile = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=8)), max_size=8).map(b"".join)
acts = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(Direction), hostile, st.integers(0, 40)),
    st.tuples(st.just("send"), st.sampled_from(Direction), hostile, st.just(1000)),
    st.tuples(st.just("lose"), st.sampled_from(Direction), st.just(b""), st.integers(1, 3000)),
    st.tuples(st.just("wait"), st.just(Direction.INGRESS), st.just(b""), st.integers(0, 1000)),
    st.tuples(st.just("end"), st.sampled_from(Direction), st.just(b""), st.just(0)),
)
MAX_HEAD = 1024


@settings(max_examples=250, deadline=None)
@given(st.lists(acts, max_size=25))
def test_hostile_traffic_neither_raises_nor_loops_nor_piles_up(talk_as, plot):
    talk = talk_as(Role.CLIENT, max_head=MAX_HEAD)
    play = talk.play
    ended = set()
    for act, direction, sent, number in plot:
        if act == "send" and direction not in ended:
            play.send(direction, sent, captured=min(number, len(sent)), size=len(sent) + number % 7)
        elif act == "lose":
            play.lose(direction, number)
        elif act == "wait":
            play.expire(play.time + number * 1_000_000_000)
        elif act == "end":
            ended.add(direction)
            play.end(direction)
        for buffer in play.buffers.values():
            assert buffer.size <= MAX_HEAD
    talk.close()


@settings(max_examples=150, deadline=None)
@given(scripts(), st.data())
def test_mutated_conversations_neither_raise_nor_loop(talk_as, script, data):
    calls = []
    for client, sent in data.draw(recut(script.calls)):
        mutated = bytearray(sent)
        for _ in range(data.draw(st.integers(0, 2))):
            if mutated:
                mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
        calls.append((client, bytes(mutated)))
    perform(talk_as, Role.SERVER, calls, script.ends)


def dribble_cost(talk_as: Callable, opening: bytes, dribble: bytes) -> float:
    """Seconds per call that adds a few bytes; the least of several tries."""
    talk = talk_as(Role.SERVER)
    talk.ask(opening)
    costs = []
    for _ in range(20):
        started = time.process_time()
        talk.ask(*[dribble] * 40)
        costs.append((time.process_time() - started) / 40)
    return min(costs)


@pytest.mark.parametrize(
    ("opening", "dribble"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"y"),
        (b"GET / HTTP/1.1\r\n", b"y\n"),
        (b"GET /", b"y"),
        (b"GET ", b" "),
        (b"GET x", b" "),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"y"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"y\n"),
        (b"(\n", b"y"),
        (b"(\n", b"GET "),
    ],
    ids=range(10),
)
def test_a_trickle_is_not_looked_at_again_and_again(talk_as, opening, dribble):
    little = dribble_cost(talk_as, opening, dribble)
    much = dribble_cost(talk_as, opening + dribble * (100_000 // len(dribble)), dribble)
    assert much < 3 * little + 20e-6


@pytest.mark.parametrize(
    "flood",
    [
        b"GET " * 30_000 + b"\n",
        b"GET x " * 20_000 + b"\n",
        b"GET " + b"x" * 120_000 + b"\n",
        b"GET" + b" " * 120_000 + b"\n",
        b"GET x" + b" " * 120_000 + b"x\n",
        b"HTTP/1.1 200 \r" * 8_000 + b"\n",
        b"(\n" + b"GET " * 30_000 + b"\n",
        b"(\n" + b"HTTP/1.1 200 \r" * 8_000 + b"\n",
        b"(\n" + b"a " * 60_000 + b"\n",
        b"(\n" + b"GET / HTTP/1.1\r\n" * 7_000,
        b"(\n" + b"a\n" * 60_000,
        b"GET / HTTP/1.1\r\n" + b" x\r\n" * 30_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a\r\n" * 40_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * 120_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:" + b" " * 120_000 + b"\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1" + b" " * 120_000 + b"x\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: " + b"a," * 60_000 + b"chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"1," * 60_000 + b"1\r\n\r\n",
    ],
    ids=range(19),
)
def test_no_flood_takes_long(talk_as, flood):
    """A tenth of a megabyte each; what backtracks or rescans takes seconds over it."""
    started = time.process_time()
    talk = talk_as(Role.SERVER)
    talk.ask(flood)
    talk.close()
    assert time.process_time() - started < 2


def test_a_head_is_let_go_with_its_exchange(talk):
    # A host has tens of thousands of idle connections, and a head takes a kilobyte.
    talk.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    (exchange,) = talk.exchanges
    for message in (exchange.request, exchange.response):
        headers = message.headers
        assert sys.getrefcount(headers) == 3, "the message, the name above, and the question itself"
