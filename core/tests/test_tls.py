"""A TLS connection: what its library moved is what it says, and its socket calls are joined with that."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import (
    NEED_MORE,
    UPLOAD_ALL,
    UPLOAD_NONE,
    AccessLog,
    Address,
    Closed,
    Detail,
    Direction,
    Opened,
    Outcome,
    Plaintext,
    ProtocolSpec,
    Role,
    Syscall,
    Verdict,
)
from rover.pipeline.recognition import MAX_GREETING
from rover.pipeline.tls_connection import BEHIND, HELD_FOR, HELD_UNREAD, MAX_WAITING, PATIENCE
from rover.pipeline.tracked_connection import LARGE, WORTH_TELLING
from rover.streams.ledger import MAX_WAITING as MAX_DETAILS

IN, OUT = Direction
RECORD = b"\x17\3\3\0\x99"
OVERHEAD = 22
"""Bytes of a record of TLS 1.3 besides its plaintext."""


class Tls:
    """Records of a program with a TLS library; `at` is where its ciphertext is, in both directions."""

    def __init__(self, bench, identity=1):
        self.bench = bench
        self.identity = identity
        self.sequence = 0
        self.moved = [0, 0]
        self.taken = [0, 0]

    def socket(self, direction, size, payload=b""):
        """A socket call that moves so many bytes of ciphertext. Returns its sequence number."""
        call = Syscall.READ if direction == IN else Syscall.WRITE
        self.bench.move(call, direction, payload, self.identity, size)
        return self.bench.sent[-1].sequence

    def handshake(self, read=100, written=200):
        """Socket calls that are nobody's."""
        numbers = [self.socket(IN, read, b"\x16\3\1\0\x50"), self.socket(OUT, written, b"\x16\3\3\0\x50")]
        self.taken = [read, written]
        return numbers

    def call(self, direction, data, *, records=1, start=None, end=None, captured=None, lasts=9):
        """A call of the library; its ciphertext is as if each record had OVERHEAD."""
        if end is None:
            end = self.taken[direction] + len(data) + records * OVERHEAD
        if start is None:
            start = self.taken[direction]
        self.bench.clock += 10
        self.bench.pipeline.plaintext(
            Plaintext(
                connection=self.identity,
                sequence=self.sequence,
                start=self.bench.clock - lasts,
                end=self.bench.clock,
                position=self.moved[direction],
                size=len(data),
                ciphertext=end,
                pid=42,
                direction=direction,
                ciphertext_start=start,
            ),
            data[:captured],
        )
        self.sequence += 1
        self.moved[direction] += len(data)
        self.taken[direction] = max(end, self.taken[direction])

    def read(self, data):
        """As most programs do it: two socket calls, for a record's header and what follows."""
        numbers = [self.socket(IN, 5), self.socket(IN, len(data) + OVERHEAD - 5)]
        self.call(IN, data, lasts=25)
        return numbers

    def write(self, data):
        """As most programs do it: the socket call inside the library's."""
        number = self.socket(OUT, len(data) + OVERHEAD)
        self.call(OUT, data, lasts=15)
        return [number]


@pytest.fixture
def tls(bench):
    bench.open()
    return Tls(bench)


def numbers(log: AccessLog) -> list[int]:
    return [detail.sequence for detail in log.details]


def alone(bench) -> list[int]:
    return [detail.sequence for log in bench.logs if not log.protocol for detail in log.details]


def by_number(detail: Detail) -> tuple[int, ...]:
    return detail.connection, detail.sequence, detail.end, detail.syscall


def check_once(bench) -> None:
    """Every detail was delivered, once, and the totals say so."""
    assert sorted(bench.delivered, key=by_number) == sorted(bench.sent, key=by_number)
    totals = bench.pipeline.totals
    assert totals.calls == totals.in_exchanges + totals.alone == len(bench.sent)


# -- the join ------------------------------------------------------------------------------------


def test_an_exchange_has_its_plaintext_and_the_calls_of_its_ciphertext(bench, tls):
    tls.handshake()
    asked, answered = tls.read(b"?a\n"), tls.write(b"!b\n")
    bench.close()
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a", "reply": "!b"}
    assert numbers(log) == asked + answered
    assert log.connection.tls
    assert log.connection.protocol == "lines"
    assert (log.start, log.end) == (log.details[1].end + 10, log.details[2].end + 10)
    assert alone(bench) == [0, 1, 2, 6]
    check_once(bench)


def test_calls_that_come_after_their_plaintext_are_waited_for(bench, tls):
    tls.handshake()
    tls.read(b"?a\n")
    tls.call(OUT, b"!a\n")
    assert bench.exchanges == []
    first = tls.socket(OUT, 10)
    assert bench.exchanges == []
    second = tls.socket(OUT, 15)
    (log,) = bench.exchanges
    assert numbers(log)[-2:] == [first, second]
    bench.close()
    check_once(bench)


@pytest.mark.parametrize("by", ["another call", "time", "the end", "a break"])
def test_calls_that_do_not_come_are_not_waited_for_longer(bench, tls, by):
    tls.handshake()
    asked = tls.read(b"?a\n")
    tls.call(OUT, b"!a\n")
    assert bench.exchanges == []
    if by == "another call":
        bench.clock += PATIENCE
        tls.socket(IN, 1)
    elif by == "time":
        bench.pipeline.tick(bench.clock + PATIENCE)
        assert bench.exchanges == []  # the records of these calls may be on their way
        bench.pipeline.tick(bench.clock + PATIENCE + BEHIND)
    elif by == "the end":
        bench.close()
    else:
        tls.call(IN, b"#bad\n")
        assert bench.logs[-1].outcome is Outcome.BREAK
    (log,) = bench.exchanges
    assert numbers(log) == asked
    if by != "the end":
        late = tls.socket(OUT, 25)
        assert numbers(log) == asked
        bench.close()
        assert late in alone(bench)
    check_once(bench)


def test_exchanges_stay_in_their_order_while_one_waits(bench, tls):
    tls.handshake()
    tls.read(b"?a\n?b\n")
    tls.call(OUT, b"!a\n")
    tls.call(OUT, b"!b\n")
    assert bench.exchanges == []
    both = tls.socket(OUT, 50)
    assert [log.attributes["reply"] for log in bench.exchanges] == ["!a", "!b"]
    assert [both in numbers(log) for log in bench.exchanges] == [True, False]
    bench.close()
    check_once(bench)


def test_so_many_exchanges_wait_and_no_more(bench, tls):
    tls.handshake()
    for number in range(MAX_WAITING + 3):
        tls.read(b"?%d\n" % number)
        tls.call(OUT, b"!%d\n" % number)
        bench.clock -= 40  # all at once
    assert [log.attributes["reply"] for log in bench.exchanges] == ["!0", "!1", "!2"]
    bench.close()
    assert len(bench.exchanges) == MAX_WAITING + 3
    check_once(bench)


def test_one_socket_call_carries_the_records_of_two_exchanges(bench, tls):
    """It belongs to the first of them."""
    tls.handshake()
    number = tls.socket(IN, 50)
    tls.call(IN, b"?a\n")
    tls.call(IN, b"?b\n")
    tls.write(b"!a\n")
    tls.write(b"!b\n")
    assert [number in numbers(log) for log in bench.exchanges] == [True, False]


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("known", [False, True])
def test_one_socket_call_carries_the_end_of_a_handshake_and_an_exchange(bench, tls, direction, known):
    """It belongs to the exchange; a call that moved the handshake alone does not."""
    before = tls.handshake()
    more = tls.socket(direction, 80 + 25)
    tls.taken[direction] += 80
    for way, data in ((IN, b"?a\n"), (OUT, b"!a\n")):
        if direction is not way:
            before.append(tls.socket(way, 50))
            tls.taken[way] += 50
            tls.socket(way, 25)
        tls.call(way, data, start=None if known else -1)
    (log,) = bench.exchanges
    assert more in numbers(log)
    assert len(log.details) == 2
    bench.close()
    assert set(before) <= set(alone(bench))
    check_once(bench)


def test_one_record_is_read_in_parts(bench, tls):
    """All of it belongs to the first part, the others own nothing."""
    tls.handshake()
    number = tls.socket(IN, 6 + OVERHEAD)
    end = tls.taken[IN] + 6 + OVERHEAD
    tls.call(IN, b"?a\n", end=end)
    tls.call(IN, b"?b\n", end=end)
    tls.write(b"!a\n")
    tls.write(b"!b\n")
    assert [number in numbers(log) for log in bench.exchanges] == [True, False]
    assert alone(bench) == [0, 1, 2]


def test_what_comes_between_two_ranges_is_nobodys(bench, tls):
    """An alert, say, or the records of a call that the source knows to be no one's."""
    tls.handshake()
    tls.read(b"?a\n")
    tls.write(b"!a\n")
    number = tls.socket(IN, 30)
    tls.taken[IN] += 30
    tls.read(b"?b\n")
    assert alone(bench)[-1] == number
    tls.write(b"!b\n")
    bench.close()
    check_once(bench)


def test_two_calls_of_one_number_keep_what_each_owns(bench, tls):
    """A source may repeat a number; where their bytes are tells them apart."""
    tls.handshake()
    first = tls.read(b"?a\n")
    tls.sequence = 0
    second = tls.read(b"?b\n")
    first += tls.write(b"!a\n")
    second += tls.write(b"!b\n")
    assert [numbers(log) for log in bench.exchanges] == [first, second]
    bench.close()
    check_once(bench)


def test_calls_that_came_to_nothing_belong_to_the_one_that_came_to_something(bench, tls):
    """A library that wants more reads part of a record, and is called again."""
    tls.handshake()
    pieces = [tls.socket(IN, 5), tls.socket(IN, 10), tls.socket(IN, 10)]
    tls.call(IN, b"?a\n")
    tls.write(b"!a\n")
    assert numbers(bench.exchanges[0])[:3] == pieces


@pytest.mark.parametrize("direction", Direction)
def test_records_that_come_in_another_order_than_their_positions(bench, tls, direction):
    """Those of two threads, or of two processors."""
    tls.handshake()
    if direction is IN:
        first = bench.detail(1, Syscall.READ, IN, 5)
        second = bench.detail(1, Syscall.READ, IN, 20)
        bench.pipeline.data(second, b"")
        bench.pipeline.data(first, b"")
        tls.call(IN, b"?a\n")
        tls.write(b"!a\n")
    else:
        tls.read(b"?a\n")
        tls.call(OUT, b"!a\n")
        first = bench.detail(1, Syscall.WRITE, OUT, 5)
        second = bench.detail(1, Syscall.WRITE, OUT, 20)
        bench.pipeline.data(second, b"")
        bench.pipeline.data(first, b"")
    (log,) = bench.exchanges
    assert second in log.details
    assert (first in log.details) == (direction is IN)  # the last one's end was what was waited for
    bench.close()
    check_once(bench)


def test_positions_that_are_not_known_go_by_the_order_of_arrival(bench, tls):
    tls.handshake()
    exchanges = []
    for name in (b"a", b"b"):
        calls = [tls.socket(IN, 9), tls.socket(IN, 16)]
        tls.call(IN, b"?%b\n" % name, start=-1, end=-1, lasts=40)
        calls.append(tls.socket(OUT, 30))
        tls.call(OUT, b"!%b\n" % name, start=-1, end=-1, lasts=15)
        exchanges.append(calls)
    assert [numbers(log) for log in bench.exchanges] == exchanges
    bench.close()
    check_once(bench)


def test_what_was_not_read_yet_is_not_decrypted(bench, tls):
    """A program that reads ahead of its library, and a source that takes the one for the other: the end of
    each range is told to be later than it is."""
    tls.handshake()
    exchanges = []
    for name in (b"a", b"b", b"c"):
        exchanges.append([tls.socket(IN, 25)])
        tls.call(IN, b"?%b\n" % name, start=-1, end=bench.positions[1, IN] + 25)
        exchanges[-1] += tls.write(b"!%b\n" % name)
    assert [numbers(log) for log in bench.exchanges] == exchanges
    bench.close()
    check_once(bench)


def test_where_the_first_range_begins_may_not_be_known(bench, tls):
    """Then it is no longer than the plaintext's records, and the socket calls inside the call."""
    handshake = tls.handshake()
    calls = [tls.socket(IN, 5), tls.socket(IN, 20)]
    tls.call(IN, b"?a\n", start=-1)
    answer = tls.write(b"!a\n")
    assert numbers(bench.exchanges[0]) == calls + answer
    part = [tls.socket(IN, 5), tls.socket(IN, 10_000)]
    tls.bench.open(2)
    other = Tls(bench, 2)
    other.handshake()
    part = [other.socket(IN, 5), other.socket(IN, 10_000)]
    other.call(IN, b"?a\n", start=-1, end=100 + 10_005, lasts=25)  # the rest of the record comes later
    other.write(b"!a\n")
    assert numbers(bench.exchanges[1])[:2] == part
    assert handshake == alone(bench)[1:3]


def test_details_of_a_long_message_wait_for_it_and_beyond_a_bound_do_not(bench, tls):
    tls.handshake()
    for _ in range(MAX_DETAILS + 50):
        tls.socket(IN, 1 + OVERHEAD)
        tls.call(IN, b"?")
    tls.read(b"\n")
    tls.write(b"!a\n")
    (log,) = bench.exchanges
    assert 0 < len(log.details) <= MAX_DETAILS
    bench.close()
    check_once(bench)


def test_one_number_for_two_calls_of_the_library(bench, tls):
    """By a source that is wrong: nothing is lost by it."""
    tls.handshake()
    tls.read(b"?a\n")
    tls.sequence = 0
    tls.read(b"?b\n")
    tls.write(b"!a\n")
    tls.write(b"!b\n")
    bench.close()
    check_once(bench)


def test_a_claim_of_everything_is_bounded(bench, tls):
    """A source that is wrong about its positions costs no more than one that is right."""
    tls.handshake()
    tls.call(IN, b"?a\n", end=1 << 61)
    for _ in range(2 * MAX_DETAILS):
        tls.socket(IN, 1)
    assert len(alone(bench)) >= MAX_DETAILS
    bench.close()
    check_once(bench)


def test_what_no_plaintext_ever_claims_goes_alone_in_time(bench, tls):
    tls.handshake()
    tls.read(b"?a\n")
    tls.write(b"!a\n")
    bench.eof()
    assert bench.sent[-1].sequence in alone(bench)
    number = tls.socket(IN, 40)
    assert number not in alone(bench)
    bench.pipeline.tick(bench.clock + HELD_FOR + 1)
    assert number in alone(bench)
    bench.close()
    check_once(bench)


# -- any connection ------------------------------------------------------------------------------


@dataclasses.dataclass
class Range:
    """What a call of the library owns, and the first exchange that has a byte of its plaintext."""

    begin: int
    end: int
    exchange: int


class Program:
    """Makes up a connection: lines in records, records in socket calls, in the order in which a program with
    a socket BIO, or one with memory BIOs, makes its calls. Knows which exchange owns which ciphertext."""

    def __init__(self, tls: Tls, rng: random.Random, *, memory: bool, known: bool, losses: bool):
        self.tls, self.rng = tls, rng
        self.memory, self.known, self.losses = memory, known, losses
        self.ranges: tuple[list[Range], list[Range]] = ([], [])
        self.sent = [0, 0]  # ciphertext that socket calls moved
        self.made = [0, 0]  # that there is
        self.ahead = rng.random() < 0.3  # whether it reads more than a record
        self.owned = [0, 0]
        self.opened = [False, False]

    def socket(self, direction: Direction, size: int) -> None:
        if size <= 0:
            return
        self.sent[direction] += size
        bench = self.tls.bench
        if self.losses and self.rng.random() < 0.1:
            bench.detail(1, Syscall.READ, direction, size)
            bench.sent.pop()
        elif self.opened[direction] or size < 5:
            self.tls.socket(direction, size)
        else:
            self.opened[direction] = True
            self.tls.socket(direction, size, RECORD)

    def sockets(self, direction: Direction, size: int) -> None:
        """Moves that many, in any calls."""
        while size > 0:
            whole = not self.opened[direction] or self.rng.random() < 0.5
            piece = size if whole else self.rng.randint(1, size)
            self.socket(direction, piece)
            size -= piece

    def handshake(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            for direction in Direction:
                size = self.rng.randint(5, 300)
                self.made[direction] += size
                self.sockets(direction, size)
        self.owned = list(self.sent)

    def library(self, direction: Direction, data: bytes, exchange: int, end: int) -> None:
        """One call of it."""
        self.ranges[direction].append(Range(self.owned[direction], end, exchange))
        start = self.owned[direction]
        self.owned[direction] = end
        if self.losses and self.rng.random() < 0.05:
            self.tls.sequence += 1
            self.tls.moved[direction] += len(data)
            return
        if not self.known and self.rng.random() < 0.3:
            start = -1
        if not self.known and self.rng.random() < 0.3:
            end = -1
        self.tls.call(direction, data, start=start, end=end, lasts=self.rng.randint(1, 60))

    def write(self, pieces: list[tuple[bytes, int]]) -> None:
        """Messages, each with its exchange: a call per piece."""
        for data, exchange in pieces:
            self.made[OUT] += len(data) + OVERHEAD * self.rng.randint(1, 3)
            if not self.memory:
                self.sockets(OUT, self.made[OUT] - self.sent[OUT])
            self.library(OUT, data, exchange, self.made[OUT])
            if self.memory and self.rng.random() < 0.5:
                self.sockets(OUT, self.rng.randint(0, self.made[OUT] - self.sent[OUT]))

    def flush(self) -> None:
        if self.memory:
            self.sockets(OUT, self.made[OUT] - self.sent[OUT])

    def read(self, pieces: list[tuple[bytes, int]]) -> None:
        """A record per piece; each is read whole, or in parts."""
        ends = []
        for data, _ in pieces:
            self.made[IN] += len(data) + OVERHEAD
            ends.append(self.made[IN])
        for (data, exchange), end in zip(pieces, ends, strict=True):
            if self.sent[IN] < end:
                ahead = self.rng.randint(end, self.made[IN]) if self.ahead or self.memory else end
                self.sockets(IN, ahead - self.sent[IN])
            taken = self.sent[IN] if self.ahead and not self.memory else end
            while data:
                part = data if self.rng.random() < 0.7 else data[: self.rng.randint(1, len(data))]
                self.library(IN, part, exchange, taken)
                data = data[len(part) :]

    def owners(self, detail: Detail) -> int | None:
        """The first exchange that owns any byte it carried."""
        for found in self.ranges[detail.direction]:
            if max(found.begin, detail.position) < min(found.end, detail.position + detail.size):
                return found.exchange
        return None


def cut(rng: random.Random, messages: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """The messages in other pieces, each with the exchange of its first byte."""
    flat = [(data[at : at + 1], number) for data, number in messages for at in range(len(data))]
    pieces, at = [], 0
    while at < len(flat):
        end = rng.randint(at + 1, len(flat)) if rng.random() < 0.6 else len(flat)
        pieces.append((b"".join(byte for byte, _ in flat[at:end]), flat[at][1]))
        at = end
    return pieces


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rng=st.randoms(use_true_random=False),
    memory=st.booleans(),
    known=st.booleans(),
    losses=st.booleans(),
    role=st.sampled_from(Role),
)
def test_any_connection(make_bench, rng, memory, known, losses, role):
    """Each detail once, whatever is lost or not known. Where nothing is: those of an exchange are the calls
    that carried it, and it waits for them."""
    bench = make_bench()
    bench.open(1, role)
    program = Program(Tls(bench), rng, memory=memory, known=known, losses=losses)
    program.handshake()
    number = 0
    for _ in range(rng.randint(1, 6)):
        burst = range(number, number + rng.randint(1, 3))
        number = burst.stop
        asked = cut(rng, [(b"?%d" % n + b"x" * rng.randrange(30) + b"\n", n) for n in burst])
        answered = cut(rng, [(b"!%d" % n + b"x" * rng.randrange(90) + b"\n", n) for n in burst])
        if role is Role.SERVER:
            program.read(asked)
            program.write(answered)
            program.flush()
        else:
            program.write(asked)
            program.flush()
            program.read(answered)
        if rng.random() < 0.1:
            bench.eof()
    waiting = number - len(bench.exchanges)
    program.sockets(rng.choice([IN, OUT]), rng.randrange(30))  # a close_notify
    bench.close()
    check_once(bench)
    if losses:
        assert all(log.connection.tls for log in bench.exchanges)
        return
    assert len(bench.exchanges) == number
    assert waiting == 0 or not known
    for index, log in enumerate(bench.exchanges):
        assert log.attributes["request"].startswith(f"?{index}")
        assert log.attributes["reply"].startswith(f"!{index}")
        if known:
            expected = [d for d in bench.sent if d.size and program.owners(d) == index]
            assert list(log.details) == expected


# -- a connection becomes TLS --------------------------------------------------------------------


def test_opening_ciphertext_is_let_go_of_and_its_details_stay(bench, tls):
    """Its bytes are those of no protocol, nor do they wait to be recognised."""
    handshake = tls.handshake()
    assert alone(bench) == [0]
    tls.read(b"?a\n")
    tls.write(b"!a\n")
    assert alone(bench) == [0, *handshake]
    (log,) = bench.exchanges
    assert (log.connection.tls, log.connection.protocol) == (True, "lines")
    assert bench.uploads == [(1, UPLOAD_ALL)]


def test_plaintext_of_a_connection_that_seemed_plain(bench):
    """Whatever came before it (STARTTLS, an opening that was not captured) and was given up on."""
    bench.open()
    for _ in range(2):
        bench.read(b"220 hello\r\n" * 400)
        bench.write(b"250 there\r\n" * 400)
    assert bench.uploads == [(1, UPLOAD_NONE)]
    tls = Tls(bench)
    tls.taken = [8800, 8800]
    calls = tls.read(b"?a\n") + tls.write(b"!a\n")
    (log,) = bench.exchanges
    assert bench.uploads == [(1, UPLOAD_NONE), (1, UPLOAD_ALL), (1, UPLOAD_ALL)]
    # The call before the first plaintext was sent alone at once: nothing hinted at TLS.
    assert numbers(log) == calls[2:]
    bench.close()
    check_once(bench)


@pytest.mark.parametrize("word", [b"#bad\n", b"#tunnel\n"])
def test_plaintext_after_a_break_is_recognised_anew(bench, word):
    """A tunnel, say, with TLS in it. Without TLS no later record raises a protocol again."""
    bench.open()
    bench.read(b"?a\n")
    bench.read(word)
    assert bench.breaks[0].reason == word[1:-1].decode()
    tls = Tls(bench)
    tls.taken = [bench.positions[1, IN], 0]
    tls.read(b"?b\n")
    tls.write(b"!b\n")
    (log,) = bench.exchanges[-1:]
    assert log.attributes == {"request": "?b", "reply": "!b"}
    assert (log.connection.tls, log.connection.protocol_break) == (True, None)
    bench.close()
    check_once(bench)


def test_what_was_under_way_in_the_clear_ends_there(bench):
    bench.open()
    bench.read(b"?a\n")
    tls = Tls(bench)
    tls.taken = [3, 0]
    tls.call(IN, b"?b\n")
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a"}
    assert not log.connection.tls
    tls.write(b"!b\n")
    assert bench.exchanges[1].attributes == {"request": "?b", "reply": "!b"}
    bench.close()
    check_once(bench)


def test_a_port_that_is_pinned_means_the_plaintext(make_bench, lines):
    bench = make_bench(
        protocols=[dataclasses.replace(lines, sniff=lambda _: Verdict.NO)], ports={"80": "lines"}
    )
    bench.open()
    tls = Tls(bench)
    tls.handshake()
    assert bench.uploads == [(1, UPLOAD_ALL)]
    tls.read(b"?a\n")
    tls.write(b"!a\n")
    assert bench.exchanges[0].attributes == {"request": "?a", "reply": "!a"}


@pytest.mark.parametrize("late", [False, True])
def test_a_connection_whose_opening_record_comes_after(bench, late):
    tls = Tls(bench)
    tls.handshake()
    tls.read(b"?a\n")
    tls.write(b"!a\n")
    assert bench.exchanges == []
    bench.open(late=late)
    (log,) = bench.exchanges
    assert log.connection.tls
    assert log.connection.remote.port == 4000
    bench.close()
    check_once(bench)


@pytest.mark.parametrize("described", [False, True])
def test_plaintext_is_the_first_that_is_known_of_a_connection(bench, described):
    """One that was evicted, say: what it said before is nobody's loss."""
    address = Address(host="10.0.0.1", port=80)
    opened = Opened(
        connection=1, time=0, local=address, remote=address, role=None, pid=42, late=True, detail=None
    )
    if described:
        bench.known[1] = opened
    tls = Tls(bench)
    tls.sequence, tls.moved, tls.taken = 7, [500, 600], [900, 900]
    bench.sequences[1], bench.positions[1, IN], bench.positions[1, OUT] = 50, 900, 900
    tls.call(IN, b"?a\n")
    tls.write(b"!a\n")
    if not described:
        assert bench.exchanges == []
        bench.pipeline.opened(opened)
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a", "reply": "!a"}
    assert log.connection.local == address
    assert (bench.pipeline.totals.missing, bench.pipeline.totals.returned) == (0, int(described))
    bench.close()
    check_once(bench)


def test_gaps_and_lost_calls_of_plaintext_are_those_of_any_stream(bench, tls):
    tls.handshake()
    tls.read(b"?a\n")
    tls.sequence += 1
    tls.moved[IN] += 4
    tls.taken[IN] += 26
    tls.read(b"?b\n")
    assert [found.reason for found in bench.breaks] == ["gap"]
    assert bench.pipeline.totals.missing == 1
    bench.close()
    check_once(bench)


def test_what_breaks_on_plaintext_is_broken_for_good(bench, tls):
    tls.handshake()
    tls.read(b"?a\n")
    asked = tls.read(b"#bad\n")
    assert bench.uploads == [(1, UPLOAD_ALL), (1, UPLOAD_NONE)]
    broken = bench.logs[-1]
    assert broken.outcome is Outcome.BREAK
    assert broken.connection.tls
    assert asked[-1] in numbers(broken)
    number = tls.socket(IN, 30)
    assert bench.logs[-1].details[0].sequence == number
    tls.call(IN, b"?b\n")
    assert bench.exchanges == []
    assert bench.pipeline.totals.late_payload == 3
    bench.close()
    check_once(bench)


def test_plaintext_that_nobody_recognises(bench, tls):
    tls.handshake()
    for _ in range(MAX_GREETING // 1000 + 1):
        tls.read(b"x" * 1000)
        tls.write(b"y" * 1000)
    assert bench.uploads == [(1, UPLOAD_NONE)]
    assert bench.exchanges == []
    number = tls.socket(IN, 30)
    assert alone(bench)[-1] == number
    bench.close()
    check_once(bench)


def test_a_large_body_is_left_out_by_its_place_in_the_plaintext(make_bench):
    class Skips:
        role = None

        def decode(self, direction, buffer, now):
            buffer.consume(len(buffer))
            return NEED_MORE

        def unneeded(self, direction):
            return WORTH_TELLING

        def expire(self, now):
            return []

        close = expire

    bench = make_bench(protocols=[ProtocolSpec("skips", lambda _: Verdict.YES, lambda *_: Skips())])
    bench.open()
    tls = Tls(bench)
    tls.socket(IN, 100, b"")
    tls.taken = [100, 0]
    tls.socket(IN, LARGE + OVERHEAD)
    tls.call(IN, b"x" * LARGE)
    tls.call(IN, b"x" * LARGE)
    assert bench.unneeded == [(1, IN, 2 * LARGE + WORTH_TELLING)]


def test_memory_is_one_figure_for_ciphertext_and_plaintext(make_bench):
    """What is under way gives way; what is not read gives back its details and stays what it is."""
    bench = make_bench(max_memory=60_000)
    for identity in range(1, 9):
        bench.open(identity)
        Tls(bench, identity).handshake()
    last = Tls(bench, 8)
    last.taken = [100, 200]
    last.call(IN, b"?" + b"x" * 60_000)
    assert [found.reason for found in bench.breaks] == ["overflow"]
    assert bench.pipeline.totals.breaks == {"overflow": 1}
    for identity in range(1, 8):
        tls = Tls(bench, identity)
        tls.taken = [100, 200]
        tls.read(b"?a\n")
        tls.write(b"!a\n")
    assert len(bench.exchanges) == 7
    for identity in range(1, 9):
        bench.close(identity)
    check_once(bench)


def test_what_is_held_of_an_unread_connection_is_bounded(bench, tls):
    tls.handshake()
    for _ in range(100):
        tls.socket(IN, 50)
    assert len(alone(bench)) == 103 - HELD_UNREAD
    bench.close()
    check_once(bench)


def test_a_reset_in_the_middle(bench, tls):
    tls.handshake()
    tls.read(b"?a\n")
    tls.call(OUT, b"!a\n")
    bench.pipeline.closed(Closed(connection=1, time=bench.clock, reset=True, detail=None))
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a", "reply": "!a"}
    check_once(bench)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_records_are_survived(make_bench, data):
    """Also those of a source that is wrong, or of a recording that somebody made up."""
    bench = make_bench(max_memory=100_000, max_connections=3)
    number = st.sampled_from([0, 1, 2, 5, 30, 1000, 1 << 40, (1 << 62) - 1])
    small = st.integers(0, 60)
    sequences = itertools.count()
    for _ in range(data.draw(st.integers(1, 40))):
        kind = data.draw(st.sampled_from(["open", "socket", "plaintext", "plaintext", "tick", "close"]))
        identity = data.draw(st.integers(1, 4))
        bench.clock += data.draw(st.sampled_from([1, 10, PATIENCE, HELD_FOR]))
        if kind == "open":
            bench.open(identity, data.draw(st.sampled_from([None, *Role])), late=data.draw(st.booleans()))
        elif kind == "tick":
            bench.pipeline.tick(bench.clock)
        elif kind == "close":
            bench.close(identity)
        else:
            payload = data.draw(st.sampled_from([b"", b"?a\n", b"!a\n", b"?", b"\x16\3\1\0\x50", b"#x\n"]))
            size = max(data.draw(small | number), len(payload))
            direction = data.draw(st.integers(0, 1))
            position, start = data.draw(small | number), bench.clock - data.draw(small)
            if kind == "socket":
                detail = Detail(
                    connection=identity,
                    sequence=next(sequences),
                    start=start,
                    end=bench.clock,
                    position=position,
                    size=size,
                    pid=42,
                    fd=3,
                    syscall=Syscall.READ,
                    direction=direction,
                    error=0,
                )
                bench.sent.append(detail)
                bench.pipeline.data(detail, payload)
            else:
                bench.pipeline.plaintext(
                    Plaintext(
                        connection=identity,
                        sequence=data.draw(small | number),
                        start=start,
                        end=bench.clock,
                        position=position,
                        size=size,
                        ciphertext=data.draw(small | number | st.just(-1)),
                        pid=42,
                        direction=direction,
                        ciphertext_start=data.draw(small | number | st.just(-1)),
                    ),
                    payload,
                )
    bench.pipeline.finish(bench.clock)
    check_once(bench)
