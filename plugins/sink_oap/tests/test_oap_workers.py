"""Several workers, each with a spool of its own: whatever their number was before, everything is sent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import rover_plugin_sink_oap
from rover import RoverError, Worker
from rover.contracts.lock import locks
from rover.sending.batch import Batch
from rover.sending.spool import Spool, orphans, spool_of
from rover_plugin_sink_oap.settings import SETTINGS, configure
from rover_plugin_sink_oap.sink import OapSink

NOWHERE = "127.0.0.1:1"
"""Where nobody listens: all goes to the spool."""


@pytest.fixture
def open_workers(tmp_path: Path) -> Any:
    """The sinks of so many workers, in one process here."""
    (lock,) = locks(1)
    (spec,) = rover_plugin_sink_oap.register_sinks()
    assert spec.make_for_worker is not None
    make = spec.make_for_worker

    def start(count: int, address: str = NOWHERE, **settings: Any) -> list[Any]:
        given = {setting.name: setting.default for setting in SETTINGS}
        quick = {"flush_period": 0.05, "retry_max": 0.05, "spool_path": str(tmp_path / "spool")}
        given |= {"address": [address], "node_name": "host", **quick, **settings}
        return [make(given, Worker(number, count, lock)) for number in range(count)]

    return start


def leave(spool: Spool, *numbers: int) -> None:
    for sequence, number in enumerate(numbers):
        spool.write(sequence, Batch(b"node", [b"message %d" % number], 1, 2))


def numbers_in(spool: Spool) -> list[int]:
    batches = [spool.read(stored) for stored in spool.found()]
    return [int(batch.messages[0].split()[1]) for batch in batches if batch is not None]


def test_each_worker_has_a_directory(tmp_path: Path, open_workers: Any) -> None:
    sinks = open_workers(3)
    made = sorted(path.name for path in (tmp_path / "spool").iterdir() if path.is_dir())
    assert made == ["worker-2", "worker-3"]
    for sink in sinks:
        assert sink.close() == 0


@pytest.mark.parametrize(
    ("workers", "adopted"),
    [
        (1, [["worker-2", "worker-3", "worker-4", "worker-10"]]),
        (2, [["worker-3"], ["worker-4", "worker-10"]]),
        (3, [["worker-4", "worker-10"], [], []]),
        (10, [[] for _ in range(10)]),
    ],
)
def test_each_spool_of_before_is_adopted_once(tmp_path: Path, workers: int, adopted: list[list[str]]) -> None:
    for name in ("worker-2", "worker-3", "worker-4", "worker-10", "worker-", "worker-x", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-7").write_text("no directory")
    found = [[path.name for path in orphans(tmp_path, number, workers)] for number in range(workers)]
    assert found == adopted


def test_adopted_batches_come_behind_its_own_in_their_order(tmp_path: Path) -> None:
    own, other = Spool(tmp_path, "oap"), Spool(spool_of(tmp_path, 1), "oap")
    leave(own, 1, 2)
    leave(other, 3, 4, 5)
    (other.path / "00000000000000000009.partial").write_bytes(b"half")
    other.close()
    assert own.adopt(other.path) == 3
    assert numbers_in(own) == [1, 2, 3, 4, 5]
    assert own.corrupt == 1
    assert [path.suffix for path in other.path.iterdir()] == [".corrupt"]
    assert own.adopt(other.path) == 0


def test_an_empty_directory_goes(tmp_path: Path) -> None:
    own, other = Spool(tmp_path, "oap"), Spool(spool_of(tmp_path, 1), "oap")
    other.close()
    assert own.adopt(other.path) == 0
    assert not other.path.exists()


def test_a_spool_in_use_is_not_adopted(tmp_path: Path) -> None:
    own, other = Spool(tmp_path, "oap"), Spool(spool_of(tmp_path, 1), "oap")
    leave(other, 1)
    with pytest.raises(RoverError, match="another rover uses the spool"):
        own.adopt(other.path)
    assert numbers_in(other) == [1]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (4, 2), (2, 2)])
def test_what_workers_left_is_sent_by_more_or_fewer(
    listen: Any, traffic: Any, open_workers: Any, before: int, after: int
) -> None:
    """Also where it is more than one worker's share of the disk: here all of a megabyte."""
    sinks = open_workers(before, flush_max_count=5, spool_max_mb=1)
    for number, sink in enumerate(sinks):
        sink.write([traffic.exchange(traffic.connection(), f"/{number}-{n}") for n in range(20)])
    for sink in sinks:
        assert sink.close() == 0
    listener = listen()
    sinks = open_workers(after, listener.address)
    listener.wait(lambda: len(listener.paths) >= 20 * before)
    for sink in sinks:
        assert sink.close() == 0
    assert sorted(listener.paths) == sorted(f"/{number}-{n}" for number in range(before) for n in range(20))
    assert not listener.totals.broken, listener.receiver.received.findings


def test_what_was_left_is_not_shed_for_a_smaller_share(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "oap")
    for sequence in range(10):
        spool.write(sequence, Batch(b"node", [bytes(100_000)], 1, 2))
    full = sum(stored.size for stored in spool.found())
    spool.close()
    configuration = dataclasses.replace(
        configure({"address": [NOWHERE], "spool_path": str(tmp_path / "spool")}),
        spool_max_bytes=full,
        workers=8,
    )
    sink = OapSink(configuration)
    assert sink.close() == 0
    assert sink.counters()["waiting_batches"] == 10
