"""A slow, stalled, failing or dead sink: counted, reported, and nobody else's problem."""

import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from rover import AccessLog, SinkError
from rover.pipeline import outlet as outlet_module
from rover.pipeline.outlet import Bell, Outlet
from rover.testing import connection


class Scripted:
    """A sink that does what the test tells it."""

    kernel_logs = False

    def __init__(self) -> None:
        self.logs: list[AccessLog] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.flush_error: Exception | None = None
        self.entered = threading.Event()
        self.reopened = 0
        self.unwritten = 0

    def write(self, logs: Sequence[AccessLog]) -> None:
        self.entered.set()
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.logs += logs

    def flush(self) -> None:
        if self.flush_error is not None:
            raise self.flush_error

    def reopen(self) -> None:
        self.reopened += 1

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> int:
        return self.unwritten


@pytest.fixture
def sink():
    return Scripted()


@pytest.fixture
def start(sink):
    outlets = []

    def make(**options):
        made = Outlet("scripted", sink, **options)
        made.start()
        outlets.append(made)
        return made

    yield make
    sink.gate.set()
    for each in outlets:
        each.stop(time.monotonic() + 30)


def logs(count: int) -> list[AccessLog]:
    value = connection()
    return [AccessLog(connection=value, start=n, end=n + 1, protocol="lines") for n in range(count)]


def put(outlet: Outlet, some: list[AccessLog]) -> None:
    """As the core does: each log of a batch of records, then a wake."""
    for log in some:
        outlet.put(log)
    outlet.wake()


def test_everything_put_is_written_in_order(sink, start):
    outlet = start()
    sent = logs(2000)
    put(outlet, sent)
    outlet.stop(time.monotonic() + 30)
    assert sink.logs == sent
    assert (outlet.logged, outlet.lost.total()) == (2000, 0)


def test_a_log_is_written_at_once_when_nothing_waits(sink, start, until):
    outlet = start()
    for log in logs(20):
        count = len(sink.logs)
        put(outlet, [log])
        until(lambda count=count: len(sink.logs) > count)


def test_many_logs_are_not_kept_waiting_for_the_end_of_their_batch(sink, start, until):
    outlet = start()
    for log in logs(600):
        outlet.put(log)
    until(lambda: len(sink.logs) >= 512)


def test_a_full_queue_sheds_and_counts_without_waiting(sink, start):
    outlet = start(limit=10)
    sink.gate.clear()
    first, *rest = logs(100)
    put(outlet, [first])
    assert sink.entered.wait(30)
    for log in rest:
        outlet.put(log)
    sink.gate.set()
    outlet.stop(time.monotonic() + 30)
    assert outlet.lost == {"queue_full": 89}
    assert outlet.logged == 11


def test_a_lossless_outlet_waits_instead(sink, start):
    outlet = start(limit=10, lossless=True)
    put(outlet, logs(1000))
    outlet.stop(time.monotonic() + 30)
    assert (outlet.logged, outlet.lost.total()) == (1000, 0)


def test_a_failing_batch_is_lost_and_the_next_is_not(sink, start, until):
    outlet = start()
    sink.error = ValueError("a bug")
    put(outlet, logs(1))
    until(lambda: outlet.lost["error"] == 1)
    sink.error = None
    put(outlet, logs(1))
    outlet.stop(time.monotonic() + 30)
    assert (outlet.logged, outlet.lost) == (1, {"error": 1})
    assert outlet.failure == "ValueError: a bug"


def test_a_stalled_sink_gets_no_batch_until_it_flushes(sink, start, until, monkeypatch):
    monkeypatch.setattr(outlet_module, "RETRY", 0.01)
    outlet = start()
    sink.error = sink.flush_error = SinkError("disk full")
    put(outlet, logs(1))
    until(lambda: outlet.failure == "disk full")
    sink.error = None
    put(outlet, logs(1))
    until(lambda: outlet.failure == "disk full" and not outlet.lost)
    assert sink.logs == []
    sink.flush_error = None
    until(lambda: len(sink.logs) == 1)
    assert outlet.logged == 2


def test_what_a_stalled_sink_never_wrote_is_lost(sink, start, until):
    outlet = start()
    sink.error = sink.flush_error = SinkError("disk full")
    sink.unwritten = 1
    put(outlet, logs(1))
    until(lambda: outlet.failure)
    put(outlet, logs(5))
    outlet.stop(time.monotonic() + 30)
    assert outlet.lost == {"stalled": 5, "unwritten": 1}
    assert outlet.logged == 0


def test_a_closed_sink_takes_nothing_more(sink, start, until, caplog):
    outlet = start()
    sink.error = sink.flush_error = SinkError("closed by its reader", closed=True)
    sink.unwritten = 1
    put(outlet, logs(1))
    until(lambda: outlet.closed)
    put(outlet, logs(1))
    outlet.stop(time.monotonic() + 30)
    assert (outlet.logged, outlet.lost["unwritten"], outlet.lost["closed"]) == (0, 1, 1)
    assert [record.getMessage() for record in caplog.records] == ["sink scripted: closed by its reader"]


def test_a_sink_that_hangs_at_the_end_is_given_up_in_time(sink, start):
    outlet = start()
    sink.gate.clear()
    put(outlet, logs(3))
    assert sink.entered.wait(30)
    before = time.monotonic()
    outlet.stop(before + 0.05)
    assert time.monotonic() - before < 30
    assert outlet.lost["unfinished"] == 3
    assert outlet.logged == 0


def test_reopening_happens_in_the_sinks_own_thread(sink, start, until):
    outlet = start()
    outlet.reopen()
    until(lambda: sink.reopened == 1)


def test_a_thread_that_dies_is_told(sink, until, caplog):
    """Of a bug that is not the sink's."""

    def failed(where, error):
        raise RuntimeError(f"of {where}")

    outlet = Outlet("scripted", sink, failed=failed)
    outlet.start()
    sink.error = ValueError("a bug")
    put(outlet, logs(3))
    until(lambda: outlet.closed)
    put(outlet, logs(2))
    outlet.stop(time.monotonic() + 30)
    assert outlet.failure == "its thread died: RuntimeError: of sink scripted: write"
    assert "sink scripted: its thread died" in caplog.text
    assert outlet.logged + outlet.lost.total() == 5


class Prepared(Scripted):
    """Makes a text of each log with an odd number."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    def prepare(self, log: AccessLog) -> str:
        self.threads.add(threading.current_thread().name)
        if log.start % 2 == 0:
            raise ValueError("even")
        return f"log {log.start}"


def test_a_log_is_prepared_by_the_thread_that_puts_it_and_written_by_the_sinks():
    sink = Prepared()
    outlet = Outlet("prepared", sink)
    outlet.start()
    put(outlet, logs(10))
    outlet.stop(time.monotonic() + 30)
    assert sink.logs == ["log 1", "log 3", "log 5", "log 7", "log 9"]
    assert sink.threads == {threading.current_thread().name}
    assert (outlet.logged, outlet.lost) == (5, {"unprepared": 5})
    assert outlet.failure == "ValueError: even"


class Counted(Scripted):
    """Takes each log of an odd number at once; the others wait."""

    def prepare(self, log: AccessLog) -> AccessLog | None:
        return None if log.start % 2 else log


def test_a_log_that_is_taken_at_once_does_not_wait():
    sink = Counted()
    outlet = Outlet("counted", sink)
    put(outlet, logs(10))
    assert (outlet.logged, outlet.waiting) == (5, 5)
    outlet.start()
    outlet.stop(time.monotonic() + 30)
    assert [log.start for log in sink.logs] == [0, 2, 4, 6, 8]
    assert (outlet.logged, outlet.lost) == (10, {})


def test_what_is_shed_is_not_prepared():
    sink = Prepared()
    outlet = Outlet("prepared", sink, limit=3)
    for log in logs(20)[1:7:2] + logs(20)[::2]:  # those of even numbers would be lost as "unprepared"
        outlet.put(log)
    outlet.start()
    outlet.stop(time.monotonic() + 30)
    assert (outlet.logged, outlet.lost) == (3, {"queue_full": 10})


@pytest.mark.parametrize(
    ("before", "heard"),
    [
        ("", False),
        ("r", True),
        ("rr", True),  # twice is once
        ("rw", False),
        ("rrw", False),
        ("rh", False),
        ("hr", True),
        ("rhr", True),
        ("rhh", False),
        ("rwrw", False),
        ("rwr", True),
    ],
)
def test_a_bell_is_heard_once_also_by_who_waits_later(before: str, heard: bool) -> None:
    """`r`: it rings; `w`: somebody waits; `h`: it is hushed."""
    bell = Bell()
    for step in before:
        {"r": bell.ring, "w": lambda: bell.wait(None), "h": bell.hush}[step]()
    began = time.monotonic()
    bell.wait(60 if heard else 0.05)
    assert (time.monotonic() - began < 30) if heard else (time.monotonic() - began >= 0.05)


def test_no_ring_is_lost_between_threads() -> None:
    """Each answers the other before that rings again."""
    here, there = Bell(), Bell()

    def answer() -> None:
        for _ in range(500):
            there.wait(None)
            here.ring()

    answerer = threading.Thread(target=answer, daemon=True)
    answerer.start()
    for _ in range(500):
        there.ring()
        here.wait(20)
    answerer.join(20)
    assert not answerer.is_alive()


class Informed(Scripted):
    """One that wants the run's figures."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.given: list[object] = []
        self.raised = error

    def inform(self, figures: object) -> None:
        self.given.append(figures)
        if self.raised is not None:
            raise self.raised


def test_a_sink_that_wants_the_figures_of_the_run_is_told_where_they_are():
    informed = Informed()
    figures = lambda: None  # noqa: E731
    Outlet("informed", informed).inform(figures)
    assert informed.given == [figures]
    Outlet("scripted", Scripted()).inform(figures)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit()])
def test_a_sink_that_fails_to_be_told_is_a_sink_all_the_same(error):
    informed, failures = Informed(error), []
    outlet = Outlet("informed", informed, failed=lambda *failure: failures.append(failure))
    outlet.inform(lambda: None)
    assert failures == [("sink informed: inform", error)]
    outlet.start()
    put(outlet, logs(3))
    outlet.stop(time.monotonic() + 30)
    assert (len(informed.logs), outlet.logged) == (3, 3)
