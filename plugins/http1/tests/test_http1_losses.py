"""Conversations of which records are lost, through the whole pipeline: what is proven, and what is marked.

The body of the answer to `/N` has N bytes, and its head says N as well, so a wrong pair shows.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rover_plugin_http1
from rover import (
    AccessLog,
    Address,
    Closed,
    Connection,
    Detail,
    Direction,
    Opened,
    Process,
    Role,
    Syscall,
    hookimpl,
)
from rover.http import HttpRequest, HttpResponse
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager
from rover_plugin_http1.logs import access_log

IN_ORDER = attrgetter("connection", "sequence")
"""Of details."""

STARTS = re.compile(rb"(GET|HEAD|POST|PUT) /|HTTP/1.1 \d{3} ")

# -- a conversation ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Call:
    """One socket call at the watched end."""

    client: bool
    """Whether it moves bytes of the client's."""
    data: bytes
    of: frozenset[int]
    """The exchanges whose bytes these are."""
    overlap: int = 0
    """ns for which the call before it was already done when it ended, and it was under way."""


def request(rng: random.Random, number: int) -> tuple[str, bytes, bytes, bool]:
    """(method, head, content, whether it waits for 100)"""
    method = rng.choice(["GET", "GET", "GET", "POST", "PUT", "HEAD"])
    lines = [f"{method} /{number} HTTP/1.1", "Host: a"]
    content = b""
    expects = False
    if method in ("POST", "PUT"):
        body = b"}" * rng.randint(0, 40)
        expects = rng.random() < 0.2
        if expects:
            lines.append("Expect: 100-continue")
        if rng.random() < 0.5:
            lines.append(f"Content-Length: {len(body)}")
            content = body
        else:
            lines.append("Transfer-Encoding: chunked")
            content = chunked(rng, body)
    return method, "\r\n".join([*lines, "", ""]).encode(), content, expects


def chunked(rng: random.Random, body: bytes) -> bytes:
    sent = b""
    while body:
        size = rng.randint(1, len(body))
        sent += b"%x\r\n%b\r\n" % (size, body[:size])
        body = body[size:]
    return sent + b"0\r\n\r\n"


def response(rng: random.Random, number: int, method: str, *, last: bool) -> tuple[bytes, bool]:
    """(the whole message, whether it is ended by close)"""
    status = rng.choice([200, 200, 200, 404, 204, 304])
    lines = [f"HTTP/1.1 {status} X", f"X-N: {number}"]
    body = b"}" * number
    closes = False
    framing = rng.randint(0, 9)
    if framing < 6:
        lines.append(f"Content-Length: {number}")
    elif framing < 9 or not last or method == "HEAD" or status in (204, 304):
        lines.append("Transfer-Encoding: chunked")
        body = chunked(rng, body)
    else:
        closes = True
    if method == "HEAD" or status in (204, 304):
        body = b""
    return "\r\n".join([*lines, "", ""]).encode() + body, closes


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes, in one call or some."""
    if rng.random() < 0.6 or len(data) < 2:
        return [data] if data else []
    cuts = sorted({0, len(data), *(rng.randint(1, len(data) - 1) for _ in range(rng.randint(1, 3)))})
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def converse(rng: random.Random, depth: int, count: int, *, hints: bool) -> tuple[list[Call], bool]:
    """The calls of `count` exchanges, of which up to `depth` are open at a time, in the order of their
    records; and whether the server ends the connection. `hints`: it sends 103 (Early Hints)."""
    asks: list[tuple[int, bytes, int]] = []  # of each piece: exchange, bytes, exchanges whole with it
    needs: list[tuple[int, bytes, int, int]] = []  # the same of answers; requests that were sent before
    closes = False
    for number in range(1, count + 1):
        method, head, content, expects = request(rng, number)
        early = rng.random() < 0.1 and bool(content)
        heads = pieces(rng, head)
        parts = [*heads, *pieces(rng, content)]
        answerable = len(heads if early else parts)
        for index, part in enumerate(parts, 1):
            whole = number if index >= answerable else number - 1
            asks.append((number, part, whole))
        if expects:
            needs.append((number, b"HTTP/1.1 100 Continue\r\n\r\n", number - 1, number))
        elif hints and rng.random() < 0.3:
            needs.append((number, b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n", number - 1, number))
        answer, closes = response(rng, number, method, last=number == count)
        parts = pieces(rng, answer)
        for index, part in enumerate(parts):
            needs.append((number, part, number if index == len(parts) - 1 else number - 1, number))
    calls: list[Call] = []
    sent = answered = 0
    while asks or needs:
        may_ask = bool(asks) and asks[0][0] - answered <= depth
        may_answer = bool(needs) and needs[0][3] <= sent
        if may_ask and (not may_answer or rng.random() < (0.6 if depth > 1 else 1)):
            number, part, sent = asks.pop(0)
            client = True
        else:
            number, part, answered, _ = needs.pop(0)
            client = False
        # A peer that pipelines writes several messages at once.
        if depth > 1 and calls and calls[-1].client is client and rng.random() < 0.3:
            before = calls.pop()
            calls.append(Call(client, before.data + part, before.of | {number}))
        else:
            calls.append(Call(client, part, frozenset({number})))
    return calls, closes


def overlapped(rng: random.Random, calls: list[Call]) -> list[Call]:
    """One thread of the client writes while another reads: the record of the read may come first.

    It is seen once before anything is lost: nothing else tells such a client from others.
    """
    opening = b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 204 X\r\nX-N: 0\r\n\r\n"
    found = [
        Call(False, opening[1], frozenset({0})),
        Call(True, opening[0], frozenset({0}), overlap=15),
        *calls,
    ]
    for index in range(len(found) - 1):
        asked, answered = found[index : index + 2]
        if asked.client and not answered.client and not asked.overlap and rng.random() < 0.3:
            found[index : index + 2] = answered, dataclasses.replace(asked, overlap=15)
    return found


# -- and how it was seen -----------------------------------------------------------------------


class Memory:
    """A sink that keeps what it is given."""

    kernel_logs = True

    def __init__(self) -> None:
        self.logs: list[AccessLog] = []

    def write(self, logs: Sequence[AccessLog]) -> None:
        self.logs += logs

    def flush(self) -> None: ...

    def reopen(self) -> None: ...

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> int:
        return 0


class Direct(Outlet):
    """Without a queue and a thread."""

    def put(self, log: AccessLog) -> None:
        self.sink.write([log])


class Witness:
    """Has the access log say which request the response says it answers."""

    @hookimpl(tryfirst=True)
    def handle_http_data(
        self,
        connection: Connection,
        request: HttpRequest,
        response: HttpResponse | None,
        details: tuple[Detail, ...],
    ) -> AccessLog:
        log = access_log(connection, request, response, details)
        answered = response.headers.get("x-n") if response is not None else None
        return log.replace(attributes={**log.attributes, "answers": answered or ""})


@dataclasses.dataclass(frozen=True)
class Seen:
    """One exchange as it was logged."""

    number: int
    answers: int | None
    """None where there is no response, or its head was cut before it told."""
    outcome: str
    assumed: bool


class Watch:
    """The pipeline, and the records of one connection going in."""

    def __init__(self, role: Role, *, late: bool = False) -> None:
        self.role = role
        manager = PluginManager()
        manager.register(rover_plugin_http1, "http1")
        manager.register(Witness(), "witness")
        self.memory = Memory()
        self.pipeline = Pipeline(
            manager,
            Recogniser(manager, rover_plugin_http1.register_protocols(), {}),
            [Direct("memory", self.memory)],
            self,
            epoch=1_700_000_000_000_000_000,
            protocol_settings={},
        )
        self.pipeline.process(Process(pid=42, name="app"))
        self.clock = 1000
        self.sequence = 0
        self.positions = [0, 0]
        self.sent: list[Detail] = []
        end = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=4000)
        self.pipeline.opened(
            Opened(
                connection=1,
                time=self.clock,
                local=end[0],
                remote=end[1],
                role=None if late else role,
                pid=42,
                late=late,
                detail=None,
            )
        )

    def set_upload(self, connection: int, limit: int) -> None: ...

    def is_open(self, connection: int) -> bool:
        return True

    def call(
        self, client: bool, data: bytes, *, captured: int | None = None, lost: bool = False, since: int = 0
    ) -> None:
        """One call; `since`: that long ago it began (ns)."""
        direction = Direction.EGRESS if client is (self.role is Role.CLIENT) else Direction.INGRESS
        self.clock += 10
        syscall = Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE
        begun = self.clock - (since or 5)
        detail = Detail(
            connection=1,
            sequence=self.sequence,
            start=begun,
            end=self.clock,
            position=self.positions[direction],
            size=len(data),
            pid=42,
            fd=3,
            syscall=syscall,
            direction=direction,
            error=0,
        )
        self.sequence += 1
        self.positions[direction] += len(data)
        if not lost:
            self.sent.append(detail)
            self.pipeline.data(detail, data if captured is None else data[:captured])

    def ask(self, *messages: bytes, **how: Any) -> None:
        for message in messages:
            self.call(True, message, **how)

    def answer(self, *messages: bytes, **how: Any) -> None:
        for message in messages:
            self.call(False, message, **how)

    def close(self) -> list[Seen]:
        """The connection ends."""
        self.clock += 10
        self.pipeline.closed(Closed(connection=1, time=self.clock, reset=False, detail=None))
        delivered = [detail for log in self.memory.logs for detail in log.details]
        assert sorted(delivered, key=IN_ORDER) == self.sent, "each detail once"
        return self.seen()

    def seen(self) -> list[Seen]:
        found = []
        for log in self.memory.logs:
            if log.protocol:
                answers = log.attributes["answers"]
                found.append(
                    Seen(
                        int(str(log.attributes["url.path"])[1:]),
                        int(str(answers)) if answers else None,
                        log.outcome.value,
                        log.attributes.get("rover.pairing") == "assumed",
                    )
                )
        return found


@dataclasses.dataclass(frozen=True)
class Story:
    """A conversation and what became of its records."""

    role: Role
    depth: int
    calls: tuple[Call, ...]
    captured: tuple[int | None, ...]
    """Of each call: how many bytes; None: its record was lost."""
    late: int
    """Calls before the agent joined."""
    closes: bool

    @property
    def whole(self) -> set[int]:
        """The exchanges all of whose bytes were seen."""
        hurt: set[int] = set()
        for index, (call, captured) in enumerate(zip(self.calls, self.captured, strict=True)):
            if index < self.late or captured != len(call.data):
                hurt |= call.of
        return {number for call in self.calls for number in call.of} - hurt

    def watch(self, *, bytewise: bool = False) -> list[Seen]:
        watch = Watch(self.role, late=self.late > 0)
        for index in range(self.late, len(self.calls)):
            call, captured = self.calls[index], self.captured[index]
            if captured is None:
                watch.call(call.client, call.data, lost=True)
            elif bytewise and captured == len(call.data):
                for byte in call.data:
                    watch.call(call.client, bytes([byte]))
            else:
                watch.call(call.client, call.data, captured=captured, since=call.overlap)
        return watch.close()


def tell(rng: random.Random, *, depth: int, threads: bool = False, hints: bool = False) -> Story:
    """A story made up by `rng`. `threads`: of a client whose calls overlap."""
    lossy = (0, 0.05, 0.2, 0.5)
    calls, closes = converse(rng, depth, rng.randint(1, 10), hints=hints)
    role = rng.choice([Role.CLIENT, Role.SERVER])
    if threads:
        role = Role.CLIENT
        calls = overlapped(rng, calls)
    lost = rng.choice(lossy), rng.choice(lossy)
    cut = rng.choice((0, 0, 0.1))
    captured: list[int | None] = []
    for call in calls:
        if 0 in call.of:
            captured.append(len(call.data))
        elif rng.random() < lost[call.client]:
            captured.append(None)
        elif rng.random() < cut:
            captured.append(rng.randint(0, len(call.data)))
        else:
            captured.append(len(call.data))
    late = 0
    if rng.random() < 0.2 and not threads:
        # Not in the middle of a line: what is left of a method may look like another.
        late = rng.choice([0, *(index for index, call in enumerate(calls) if STARTS.match(call.data))])
    return Story(role, depth, tuple(calls), tuple(captured), late, closes)


def check(story: Story) -> list[Seen]:
    """The laws. Returns what was logged."""
    seen = story.watch()
    wrong = [s for s in seen if s.answers not in (None, s.number) and not s.assumed]
    assert not wrong, "a wrong pair without a mark"
    assert len({s.number for s in seen}) == len(seen), "twice"
    if story.depth == 1 and not any(call.overlap for call in story.calls):
        right = {s.number for s in seen if s.outcome == "complete" and s.answers == s.number}
        assert story.whole <= right, "an exchange whose own bytes were all seen"
    return seen


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([1, 2, 3, 8]), st.booleans())
def test_whatever_is_lost_no_pair_is_wrong_without_a_mark(rng, depth, threads):
    check(tell(rng, depth=depth, threads=threads))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_of_a_client_that_takes_turns_a_loss_costs_what_it_hid(rng, hints):
    check(tell(rng, depth=1, hints=hints))


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([1, 2, 8]))
def test_whole_or_byte_by_byte_the_same(rng, depth):
    story = tell(rng, depth=depth)
    # Until a connection is recognised, a message is only found where a call begins.
    seen = dataclasses.replace(story, late=0, captured=(len(story.calls[0].data), *story.captured[1:]))
    if b"\r\n\r\n" in story.calls[0].data:
        assert seen.watch(bytewise=True) == seen.watch()


# -- conformance.md, "Losses", row by row --------------------------------------------------------


def get(number: int) -> bytes:
    return f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def ok(number: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nX-N: {number}\r\nContent-Length: {number}\r\n\r\n".encode() + b"}" * number


def proven(*numbers: int) -> list[Seen]:
    return [Seen(number, number, "complete", False) for number in numbers]


def assumed(*numbers: int) -> list[Seen]:
    return [Seen(number, number, "complete", True) for number in numbers]


def aborted(number: int) -> Seen:
    return Seen(number, None, "aborted", False)


@pytest.fixture(params=[Role.CLIENT, Role.SERVER], ids=["client", "server"])
def watch(request: Any) -> Watch:
    """At either end."""
    return Watch(request.param)


def turns(watch: Watch, *numbers: int) -> None:
    for number in numbers:
        watch.ask(get(number))
        watch.answer(ok(number))


def test_the_first_request_of_a_client_that_pipelines(watch):
    watch.ask(get(1), lost=True)
    watch.ask(get(2), get(3))
    watch.answer(ok(1), ok(2), ok(3))
    seen = watch.close()
    assert [s.number for s in seen] == [2, 3]
    assert all(s.assumed for s in seen if s.answers)


def test_a_response_lost_whole_costs_its_request(watch):
    turns(watch, 1, 2)
    watch.ask(get(3))
    watch.answer(ok(3), lost=True)
    turns(watch, 4, 5, 6)
    assert watch.close() == [*proven(1, 2), aborted(3), *proven(4, 5, 6)]


@pytest.mark.parametrize("size", [1, 9, 13, 30, 48])
def test_a_response_lost_from_its_head_on_costs_its_request(watch, size):
    turns(watch, 1, 2)
    watch.ask(get(300))
    watch.answer(ok(300)[:size], lost=True)
    watch.answer(ok(300)[size:])
    turns(watch, 4, 5, 6)
    assert watch.close() == [*proven(1, 2), aborted(300), *proven(4, 5, 6)]


def test_a_response_whose_end_is_lost_is_passed_over_by_its_length(watch):
    turns(watch, 1)
    watch.ask(get(300))
    watch.answer(ok(300)[:100])
    watch.answer(ok(300)[100:], lost=True)
    turns(watch, 3)
    assert watch.close() == proven(1, 300, 3)


def test_an_end_and_the_whole_response_behind_it(watch):
    watch.ask(get(300))
    watch.answer(ok(300)[:100])
    watch.answer(ok(300)[100:], lost=True)
    watch.ask(get(2))
    watch.answer(ok(2), lost=True)
    turns(watch, 3, 4)
    assert watch.close() == [*proven(300), aborted(2), *proven(3, 4)]


def test_one_request_of_a_client_that_takes_turns(watch):
    turns(watch, 1)
    watch.ask(get(2), lost=True)
    watch.answer(ok(2))
    turns(watch, 3, 4)
    assert watch.close() == [*proven(1), *assumed(3, 4)]


def test_a_request_and_its_response_of_a_client_that_takes_turns(watch):
    turns(watch, 1)
    watch.ask(get(2), lost=True)
    watch.answer(ok(2), lost=True)
    turns(watch, 3, 4)
    assert watch.close() == [*proven(1), *assumed(3, 4)]


def test_one_request_of_a_burst_after_any_number_of_turns(watch):
    turns(watch, *range(1, 21))
    watch.ask(get(21))
    watch.ask(get(22), lost=True)
    watch.ask(get(23))
    watch.answer(ok(21), ok(22), ok(23))
    turns(watch, 24)
    seen = watch.close()
    assert seen[:21] == proven(*range(1, 22))
    assert [s.number for s in seen[21:]] == [23, 24]
    assert all(s.assumed for s in seen[21:])


def test_the_answer_before_of_a_client_that_keeps_two_requests_open(watch):
    watch.ask(get(2001), get(2002))
    watch.answer(ok(2001))
    watch.ask(get(2003))
    watch.answer(ok(2002), lost=True)
    watch.ask(get(2004))
    watch.answer(ok(2003))
    watch.ask(get(2005))
    watch.answer(ok(2004), ok(2005))
    # Nothing more is open at the end. What was lost need not have been one answer, for all that: see below.
    assert watch.close() == [*proven(2001), aborted(2002), *assumed(2003, 2004, 2005)]


def test_of_several_that_are_open_the_head_alone_may_be_lost(watch):
    """Content may be what reads as a response after the gap, however many bytes are missing."""
    watch.ask(get(2001), get(2), get(3))
    watch.answer(ok(2001)[:-2001].replace(b"X-N", b"Y: " + b"y" * 2000 + b"\r\nX-N"), lost=True)
    watch.answer((b"HTTP/1.1 200 OK\r\nContent-Length: 1950\r\n\r\n" + b"}" * 2001)[:2001])
    watch.answer(ok(2), ok(3))
    assert all(s.assumed for s in watch.close() if s.outcome == "complete")


def test_bounds_that_meet_prove_nothing_where_several_were_open(watch):
    watch.ask(get(2001), get(2002), get(2003))
    watch.answer(ok(2001), lost=True)
    watch.answer(ok(2002), ok(2003))
    turns(watch, 4)
    assert watch.close() == [aborted(2001), *assumed(2002, 2003, 4)]


def test_an_interim_response_is_no_answer(watch):
    turns(watch, 1)
    watch.ask(b"POST /2 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    watch.answer(b"HTTP/1.1 100 Continue\r\n\r\n", lost=True)
    watch.ask(b"hi")
    watch.answer(ok(2))
    turns(watch, 3)
    assert watch.close() == proven(1, 2, 3)


def test_joined_late_everything_is_assumed():
    watch = Watch(Role.CLIENT, late=True)
    watch.answer(ok(1)[60:])
    turns(watch, 2, 3)
    assert watch.close() == assumed(2, 3)


def test_joined_late_and_the_first_answer_lost():
    watch = Watch(Role.SERVER, late=True)
    watch.ask(get(1))
    watch.answer(ok(1), lost=True)
    turns(watch, 2, 3)
    assert watch.close() == [aborted(1), *assumed(2, 3)]


def test_the_first_answer_of_all(watch):
    watch.ask(get(1))
    watch.answer(ok(1), lost=True)
    turns(watch, 2, 3)
    assert watch.close() == [aborted(1), *proven(2, 3)]


def test_a_lost_answer_before_a_request_that_shows_it(watch):
    """The gap is seen only with the answer to a request that was sent after the lost bytes had moved."""
    turns(watch, 1)
    watch.ask(get(2002))
    watch.answer(ok(2002), lost=True)
    watch.ask(get(3), get(4))
    watch.answer(ok(3), ok(4))
    assert watch.close() == [*proven(1), aborted(2002), *proven(3, 4)]


def test_calls_that_overlap_tell_no_order():
    watch = Watch(Role.CLIENT)
    watch.answer(ok(1))
    watch.ask(get(1), since=15)
    watch.answer(ok(2), lost=True)
    watch.ask(get(2), since=15)
    turns(watch, 3)
    seen = watch.close()
    assert seen[0] == proven(1)[0]
    assert all(s.assumed for s in seen[1:] if s.answers)


def test_what_was_not_understood_before_says_nothing_of_how_many_are_open(watch):
    """Of a client that takes turns the answer to HEAD has no content, however many were lost before."""
    turns(watch, 1)
    for number in (300, 301, 302):
        watch.ask(get(number))
        watch.answer(ok(number)[:9], lost=True)
        watch.answer(ok(number)[9:])
    watch.ask(get(303))
    watch.answer(ok(303), lost=True)
    watch.ask(get(304).replace(b"GET", b"HEAD"))
    watch.answer(b"HTTP/1.1 200 OK\r\nX-N: 304\r\nTransfer-Encoding: chunked\r\n\r\n")
    watch.ask(get(305))
    watch.answer(ok(305), lost=True)
    turns(watch, 306)
    seen = {s.number: s for s in watch.close()}
    assert seen[304] == Seen(304, 304, "complete", True)
    assert (seen[306].outcome, seen[306].answers) == ("complete", 306)


def test_content_after_an_answer_to_head_may_be_all_that_was_lost(watch):
    watch.ask(get(5000).replace(b"GET", b"HEAD"), get(2), get(3))
    watch.answer(ok(5000)[:-5000])
    watch.answer(ok(5000)[-5000:], lost=True)
    watch.answer(ok(2), ok(3))
    seen = watch.close()
    assert seen[0] == proven(5000)[0]
    assert all(s.assumed or s.answers in (None, s.number) for s in seen)
    assert len(seen) == 3


def test_calls_of_one_time_are_told_apart_by_their_numbers():
    """In captures what waited for a hole has the time of the segment that ended the waiting."""
    watch = Watch(Role.CLIENT)
    turns(watch, 1)
    watch.ask(get(2), lost=True)
    watch.answer(ok(2))
    watch.ask(get(3), since=10)
    watch.answer(ok(3))
    assert watch.close() == [*proven(1), *assumed(3)]


# -- a request that is never answered ------------------------------------------------------------


def durations(watch: Watch) -> dict[str, int]:
    return {str(log.attributes["url.path"]): log.end - log.start for log in watch.memory.logs if log.protocol}


def test_a_request_never_answered_lasts_until_the_connection_ends(watch):
    watch.ask(get(1))
    watch.clock += 4_000_000_000
    assert watch.close() == [aborted(1)]
    assert durations(watch)["/1"] >= 4_000_000_000


def test_a_request_never_answered_lasts_until_it_is_given_up(watch):
    watch.ask(get(1))
    watch.pipeline.tick(watch.clock + 700_000_000_000)
    assert watch.seen() == [aborted(1)]
    assert durations(watch)["/1"] >= 700_000_000_000


def test_a_request_never_answered_lasts_until_the_server_ends_its_direction(watch):
    watch.ask(get(1))
    watch.clock += 4_000_000_000
    watch.answer(b"")
    watch.clock += 4_000_000_000
    watch.close()
    assert 4_000_000_000 <= durations(watch)["/1"] < 5_000_000_000


def test_where_the_answer_was_lost_nobody_knows_how_long_it_took(watch):
    watch.ask(get(1))
    watch.answer(ok(1), lost=True)
    watch.ask(get(2))
    watch.clock += 4_000_000_000
    watch.close()
    assert durations(watch)["/1"] < 1000
