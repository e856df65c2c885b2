"""Limits: a reader that is too slow, and tables that are full. What is lost is counted and told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from rover import Address
from rover.contracts.source import Selection
from rover.values.records import Direction, Role

pytestmark = pytest.mark.live

Start = Callable[..., Any]

BIG, SMALL = 4000, 1
SIZES = [BIG] * 1000 + [SMALL] * 2000
"""Four times the ring; then so many small ones that no room is left for another."""


def test_a_ring_that_is_full(start_watch: Start, ports: Start, run: Start, listen: Start) -> None:
    """Every record is delivered or counted; numbers and positions tell what is missing."""
    first, second = ports(2)
    watch = start_watch(Selection(ports=(first, second)), ring_size=1)
    listen(first)
    listen(second)
    child = run(
        """
first, second = map(int, sys.argv[1:3]); sizes = json.loads(sys.argv[3])
s = connect(first); s.send(b"GET / HTTP/1.1\\r\\n\\r\\n")
for n, size in enumerate(sizes): assert s.send(bytes([n % 256]) * size) == size
t = connect(second); t.send(b"untold"); say(); hear()
t.send(b"told"); t.close()
s.send(b"after the loss"); s.close()
""",
        first,
        second,
        json.dumps(SIZES),
    )
    child.hear()
    full = watch.source.counters()["ring_full"]
    assert full > 0
    watch.drain()
    assert watch.of_port(second) == []
    child.say()
    assert child.end() == 0
    (late,) = watch.ended(second)
    (seen,) = watch.ended(first)

    sizes = [0, 18, *SIZES, 14, 0]  # from connect to close, by sequence number
    egress = [detail for detail in seen.details if detail.direction == Direction.EGRESS]
    for detail in egress:
        assert detail.size == sizes[detail.sequence]
        assert detail.position == sum(sizes[: detail.sequence])
    for detail, payload in seen.calls[1:-1]:
        assert payload == bytes([(detail.sequence - 2) % 256]) * detail.size
    assert [payload for _, payload in seen.calls][-1] == b"after the loss"
    assert [d.sequence for d in egress] == sorted({d.sequence for d in egress})

    # A connection whose opening found no room is told of before its next record.
    assert late.opened.role is Role.CLIENT
    assert late.opened.remote == Address(host="127.0.0.1", port=second)
    assert late.opened.detail is None
    assert [(d.sequence, d.position, payload) for d, payload in late.calls] == [(2, 6, b"told")]
    assert late.closed[0].detail.sequence == 3

    # The loss is the calls that are missing: here, and the connect and the first call there.
    missing = len(sizes) - len(egress)
    assert missing > 0
    watch.source.stop(watch.recorder)
    assert watch.recorder.losses == {"ring_full": missing + 2}
    assert watch.source.counters()["ring_full"] == full == missing + 2


def test_the_records_of_before_stop_are_delivered(
    start_watch: Start, ports: Start, run: Start, listen: Start
) -> None:
    """More of them than one poll delivers; none after it, and ending twice is nothing."""
    (port,) = ports(1)
    watch = start_watch(Selection(ports=(port,)))
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1]))
for n in range(1000): s.send(b"%03d" % n)
say(); hear(); s.send(b"after"); s.close()
""",
        port,
    )
    child.hear()
    watch.source.stop(watch.recorder)
    (seen,) = watch.of_port(port)
    assert [payload for _, payload in seen.calls] == [b"%03d" % n for n in range(1000)]
    child.say()
    assert child.end() == 0
    watch.source.stop(watch.recorder)
    assert seen.closed == []
    watch.source.close()
    watch.source.close()
    assert not watch.source.poll(watch.recorder, 0)
    assert watch.source.counters()["records"] == 1000 + 2


def test_tables_that_are_full(
    start_watch: Start,
    ports: Start,
    run: Start,
    listen: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls without room for their connection or thread are counted, and the rest goes on; room that
    becomes free is used again. (And the compiler has nothing to say.)"""
    first, second = ports(2)
    listen(first)
    listen(second)
    child = run(
        """
first, second = map(int, sys.argv[1:])
hear()
many = [connect(first) for n in range(20)]
for s in many: s.send(b"one")
for s in many: s.close()
s = connect(second); s.send(b"room again"); s.close()
say(); hear()
done = threading.Event()
def call():
    connect(second).send(b"thread"); here.release(); done.wait()
here = threading.Semaphore(0)
for _ in range(3): threading.Thread(target=call).start()
for _ in range(3): here.acquire()
say(); done.set()
""",
        first,
        second,
    )
    monkeypatch.setattr("rover_source_ebpf.source.MAX_THREADS", 2)
    caplog.set_level(logging.DEBUG, "rover.ebpf")
    watch = start_watch(Selection(pids=(child.pid,)), max_connections=16)
    assert caplog.text == ""
    child.say()
    child.hear()
    assert len(watch.ended(first, 16)) == 16
    assert [payload for _, payload in watch.ended(second)[0].calls] == [b"room again"]
    watch.until(lambda: watch.recorder.losses, "the loss to be told")
    # Of four connections the connect and the call; their closes concern nothing that is known.
    assert watch.recorder.losses == {"connections_full": 8}
    child.say()
    child.hear()
    assert child.end() == 0
    watch.until(lambda: watch.recorder.losses["threads_full"], "the loss to be told")
    # The main thread has one place, one other thread the other.
    payloads = [payload for seen in watch.of_port(second) for _, payload in seen.calls]
    assert payloads == [b"room again", b"thread"]
    assert watch.source.counters()["records_lost"] == watch.recorder.losses.total()
