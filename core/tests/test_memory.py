"""`limits.memory`: all connections together take no more; beyond it the largest breaks, and is counted."""

from __future__ import annotations

import dataclasses

import pytest

from rover import NEED_MORE, Direction, Outcome, Role, Settings, Syscall, UsageError, Verdict
from rover.pipeline.memory import CONNECTION_MEMORY
from rover.pipeline.outbox import MAX_HELD
from rover.run.configuration import CORE

LIMIT = 1 << 20
PIECE = 20_000


def overflows(bench):
    return bench.pipeline.totals.breaks["overflow"]


def test_the_largest_breaks_and_no_other(make_bench):
    bench = make_bench(max_memory=LIMIT)
    for identity in range(1, 4):
        bench.open(identity)
        bench.read(b"?" + b"x" * identity * PIECE, identity)
    assert bench.breaks == []
    bench.open(9)
    for _ in range(LIMIT // PIECE):
        bench.read(b"?" + b"x" * PIECE, 9)
    (log,) = [log for log in bench.logs if log.outcome is Outcome.BREAK]
    assert (log.connection.id, log.connection.protocol_break.reason) == (9, "overflow")
    for identity in range(1, 4):
        bench.read(b"\n", identity)
        bench.write(b"!a\n", identity)
    assert [log.connection.id for log in bench.exchanges] == [1, 2, 3]
    bench.pipeline.finish(bench.clock)
    bench.check_each_once()


def test_what_was_freed_can_be_taken_again(make_bench):
    """However often: answered, closed or given up, a connection is charged for nothing."""
    bench = make_bench(max_memory=LIMIT)
    for identity in range(1, 400):
        bench.open(identity)
        bench.read(b"?" + b"x" * PIECE, identity)
        match identity % 4:
            case 0:
                bench.read(b"\n", identity)
            case 1:
                bench.close(identity)
            case 2:
                bench.read(b"\n#gap\n", identity)
            case 3:
                bench.gone.add(identity)
                bench.pipeline.tick(bench.clock + (1 << 40))
    assert overflows(bench) == 0


@pytest.fixture
def kept(lines):
    """A protocol whose decoder keeps what it is told to."""

    class Keeps:
        role = Role.SERVER
        memory = 0

        def decode(self, direction, buffer, now):
            if len(buffer):
                self.memory = int(bytes(buffer.data[buffer.offset :]))
                buffer.consume(len(buffer), 0)
            return NEED_MORE

        def expire(self, now):
            return ()

        close = expire

    return dataclasses.replace(lines, sniff=lambda data: Verdict.YES, make=lambda *_: Keeps())


def test_what_decoders_keep_counts(make_bench, kept):
    bench = make_bench(protocols=[kept], max_memory=LIMIT)
    for identity in range(1, 4):
        bench.open(identity)
        bench.read(b"%d" % (LIMIT // 4), identity)
    assert overflows(bench) == 0
    bench.read(b"0", 3)
    bench.open(4)
    bench.read(b"%d" % (LIMIT // 4), 4)
    assert overflows(bench) == 0, "3 keeps nothing any more"
    bench.read(b"%d" % (LIMIT // 3), 3)
    assert [found.connection.id for found in bench.logs if found.outcome is Outcome.BREAK] == [3]


def test_details_that_wait_count(make_bench):
    """A line that comes byte by byte."""
    bench = make_bench(max_memory=LIMIT)
    for identity in range(1, 21):
        bench.open(identity)
        for _ in range(200):
            bench.read(b"?", identity)
    assert overflows(bench) > 0


def test_logs_that_are_held_count(make_bench):
    """They go out without the addresses they waited for; no exchange is lost."""
    bench = make_bench(max_memory=LIMIT)
    bench.known.clear()
    for identity in range(1, 31):
        for number in range(20):
            bench.read(b"?%d" % number + b"x" * 2000 + b"\n", identity)
            bench.write(b"!a\n", identity)
    assert overflows(bench) > 0
    assert 20 < len(bench.exchanges) < MAX_HELD
    seen = bench.pipeline.totals.exchanges
    bench.pipeline.finish(bench.clock)
    assert len(bench.exchanges) == seen


def test_openings_that_nobody_has_recognised_count(make_bench, lines):
    never = dataclasses.replace(lines, sniff=lambda data: Verdict.MAYBE)
    bench = make_bench(protocols=[never], max_memory=LIMIT)
    for identity in range(1, 301):
        bench.open(identity)
        bench.read(b"x" * 4000, identity)
    assert overflows(bench) > 0
    assert bench.breaks == [], "they had no protocol that could break"
    bench.pipeline.finish(bench.clock)
    bench.check_each_once()


def test_missing_bytes_take_no_memory(make_bench):
    bench = make_bench(max_memory=LIMIT)
    for identity in range(1, 51):
        bench.open(identity)
        bench.move(Syscall.SENDFILE64, Direction.EGRESS, b"", identity, 1 << 40)
    assert overflows(bench) == 0


def test_connections_as_such_count(make_bench):
    bench = make_bench(max_connections=10**6, max_memory=LIMIT)
    for identity in range(1000):
        bench.open(identity)
    assert bench.pipeline.totals.evicted == 1000 - LIMIT // CONNECTION_MEMORY


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("268435456", 256 << 20),
        (1 << 20, 1 << 20),
        ("256MiB", 256 << 20),
        ("256M", 256 << 20),
        ("256mb", 256 << 20),
        ("1 GiB", 1 << 30),
        ("2048k", 2 << 20),
    ],
)
def test_the_limit_is_a_size(given, read):
    assert Settings(CORE, {"limits.memory": given})["limits.memory"] == read


@pytest.mark.parametrize("given", ["much", "256 apples", "-1", "1.5", "", "1023k", "\u0661M", [1], True, 1.5])
def test_and_nothing_else(given):
    with pytest.raises(UsageError, match=r"limits\.memory"):
        Settings(CORE, {"limits.memory": given})
