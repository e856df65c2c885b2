"""How often the reader of a ring wakes up, and how late it is."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from rover.values.records import Detail
from rover_source_ebpf.figures import QUIET_INTERVAL
from rover_source_ebpf.misses import Misses
from rover_source_ebpf.pace import LONGEST

pytestmark = pytest.mark.live

CALLS = 1000
LONG = 20.0
"""Seconds that nothing here takes, unless it is waited out."""
PROMISED = 100_000_000
"""ns after which a log is late, with room for what else the machine does."""


def switches() -> int:
    """Times this thread began to wait."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def test_calls_that_come_all_the_time_wake_it_a_hundred_times_a_second(
    watch: Any, run: Callable[..., Any], listen: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call each millisecond; none waits much longer than a pause."""
    port = watch.port()
    listen(port)
    child = run(
        f"""
s = connect(int(sys.argv[1])); say(); hear()
for n in range({CALLS}): s.send(b"x"); time.sleep(0.001)
s.close()
""",
        port,
    )
    child.hear()
    if not watch.by_sockets:  # which tell of it with its first byte
        watch.until(lambda: watch.of_port(port), "the connection")
    delays: list[int] = []
    deliver = watch.recorder.data

    def data(detail: Detail, payload: bytes) -> None:
        delays.append(time.monotonic_ns() - detail.end)
        deliver(detail, payload)

    monkeypatch.setattr(watch.recorder, "data", data)
    child.say()
    before, began = switches(), time.monotonic()
    (seen,) = watch.ended(port)
    took = time.monotonic() - began
    assert child.end() == 0
    assert len(seen.calls) == CALLS
    # One for each pause, and as many again where the kernel had to wake it.
    assert switches() - before <= 2 * took / LONGEST + 50
    assert statistics.median(delays) < PROMISED


def test_silence_is_waited_out(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wake-up for each wait, and hardly a look at the kernel's figures."""
    looks: list[int] = []
    look = Misses.look

    def counted(self: Misses, programs: Any) -> int:
        looks.append(len(programs))
        return look(self, programs)

    watch.drain()
    monkeypatch.setattr(Misses, "look", counted)
    before, records, began = switches(), watch.recorder.records, time.monotonic_ns()
    for _ in range(10):
        watch.source.poll(watch.recorder, 0.02)
    assert watch.recorder.records > records or switches() - before <= 12
    assert len(looks) <= 1 + (time.monotonic_ns() - began) // QUIET_INTERVAL


def test_a_call_that_comes_between_two_waits_is_not_waited_for(
    watch: Any, run: Callable[..., Any], listen: Callable[..., Any]
) -> None:
    """Its record woke nobody, since the ring's space was not all given back then."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); say(); hear()
s.send(b"first"); say(); hear()
s.send(b"second"); say(); hear()
s.close()
""",
        port,
    )
    child.hear()
    watch.drain()
    child.say()
    child.hear()
    watch.drain()
    (seen,) = watch.of_port(port)
    assert [payload for _, payload in seen.calls] == [b"first"]
    child.say()
    child.hear()
    began = time.monotonic()
    while len(seen.calls) < 2:
        watch.source.poll(watch.recorder, LONG)
    assert time.monotonic() - began < LONG / 2
    child.say()
    assert child.end() == 0
    watch.ended(port)
