"""Batches that wait: in order, bounded, on disk when they must, and counted when they are shed."""

from __future__ import annotations

import logging
import os
import socket
import stat
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.errors import RoverError
from rover.sending.backlog import Backlog
from rover.sending.batch import Batch, pack
from rover.sending.spool import MAX_ASIDE, Spool, orphans

DAY = 86_400.0
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a file")


def batch(number: int, size: int = 1000) -> Batch:
    """One exchange, incompressible."""
    return Batch(b"node", [number.to_bytes(4, "big") + os.urandom(size)], 1, 2)


def number(made: Batch) -> int:
    return int.from_bytes(made.messages[0][:4], "big")


def drain(backlog: Backlog) -> list[int]:
    """Everything, sent in order."""
    numbers = []
    while first := backlog.first():
        numbers.append(number(first[1]))
        backlog.sent(first[0])
    return numbers


def files(path: Path, ending: str = ".batch") -> list[str]:
    return sorted(each.name for each in path.iterdir() if each.suffix == ending)


def test_in_memory_in_order() -> None:
    backlog = Backlog(1 << 20, None, 0, DAY)
    for n in range(5):
        backlog.put(batch(n))
    assert drain(backlog) == [0, 1, 2, 3, 4]
    assert (backlog.memory, len(backlog), backlog.close()) == (0, 0, 0)


def test_memory_is_bounded_without_a_spool_and_sheds_the_oldest() -> None:
    backlog = Backlog(5000, None, 0, DAY)
    for n in range(10):
        backlog.put(batch(n))
        assert backlog.memory <= 5000
    assert drain(backlog) == [6, 7, 8, 9]
    assert backlog.shed == {"queue_full": 6}
    assert backlog.shed_calls == 12
    assert backlog.close() == 6


def test_what_memory_cannot_hold_goes_to_disk_and_order_stays(tmp_path: Path) -> None:
    backlog = Backlog(5000, Spool(tmp_path, "x"), 1 << 20, DAY)
    for n in range(10):
        backlog.put(batch(n))
        assert backlog.memory <= 5000
    assert len(files(tmp_path)) == 6
    assert drain(backlog) == list(range(10))
    assert (backlog.disk, files(tmp_path), backlog.close()) == (0, [], 0)


def test_while_the_server_is_away_everything_is_on_disk_at_once(tmp_path: Path) -> None:
    backlog = Backlog(1 << 20, Spool(tmp_path, "x"), 1 << 20, DAY)
    backlog.put(batch(0))
    assert files(tmp_path) == []
    backlog.away = True
    backlog.put(batch(1))
    assert len(files(tmp_path)) == 2
    assert backlog.memory == 0


def test_the_spool_is_bounded_and_sheds_the_oldest(tmp_path: Path) -> None:
    backlog = Backlog(0, Spool(tmp_path, "x"), 5000, DAY)
    for n in range(10):
        backlog.put(batch(n))
        assert backlog.disk <= 5000
        assert sum(each.stat().st_size for each in tmp_path.iterdir()) == backlog.disk
    assert drain(backlog) == [6, 7, 8, 9]
    assert backlog.shed == {"spool_full": 6}
    assert backlog.close() == 6


def test_old_batches_are_not_worth_sending(tmp_path: Path) -> None:
    first = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    for n in range(3):
        first.put(batch(n))
    first.close()
    for name in files(tmp_path)[:2]:
        os.utime(tmp_path / name, (time.time() - DAY - 60,) * 2)
    backlog = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    assert drain(backlog) == [2]
    assert backlog.shed == {"spool_age": 2}
    assert backlog.close() == 0  # they were another agent's: it had counted them as saved


def test_the_next_agent_goes_on_where_this_one_ended(tmp_path: Path) -> None:
    first = Backlog(1 << 20, Spool(tmp_path, "x"), 1 << 20, DAY)
    for n in range(3):
        first.put(batch(n))
    assert first.close() == 0
    second = Backlog(1 << 20, Spool(tmp_path, "x"), 1 << 20, DAY)
    assert second.left_before == 3
    second.put(batch(3))
    assert drain(second) == [0, 1, 2, 3]


def test_without_a_spool_the_end_loses_what_waits() -> None:
    backlog = Backlog(1 << 20, None, 0, DAY)
    backlog.put(batch(0))
    assert backlog.close() == 1
    assert backlog.shed == {"unsent": 1}


def test_the_batch_being_sent_is_never_shed(tmp_path: Path) -> None:
    backlog = Backlog(3000, None, 0, DAY)
    backlog.put(batch(0))
    first = backlog.first()
    assert first is not None
    for n in range(1, 10):
        backlog.put(batch(n))
    backlog.sent(first[0])
    assert drain(backlog) == [9]
    assert backlog.shed == {"queue_full": 8}


def test_what_is_on_disk_is_the_oldest(tmp_path: Path) -> None:
    """So that an agent that is killed loses the newest; the batch being sent is the oldest of all."""
    backlog = Backlog(3000, Spool(tmp_path, "x"), 1 << 20, DAY)
    backlog.put(batch(0))
    first = backlog.first()
    assert first is not None
    for n in range(1, 5):
        backlog.put(batch(n))
    names = [f"{n:020}.batch" for n in range(5)]
    assert files(tmp_path) == names[:3]
    backlog.sent(first[0])
    assert files(tmp_path) == names[1:3]
    assert drain(backlog) == [1, 2, 3, 4]
    assert backlog.close() == 0


def test_a_batch_put_back_is_the_first_again() -> None:
    backlog = Backlog(1 << 20, None, 0, DAY)
    backlog.put(batch(0))
    backlog.put(batch(1))
    assert backlog.first() is not None
    backlog.put_back()
    assert drain(backlog) == [0, 1]


def test_a_refused_batch_is_counted() -> None:
    backlog = Backlog(1 << 20, None, 0, DAY)
    backlog.put(batch(0))
    first = backlog.first()
    assert first is not None
    backlog.refuse(first[0])
    assert backlog.shed == {"refused": 1}
    assert backlog.close() == 1


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def spoil_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_cut, spoil_flip, spoil_empty])
def test_a_corrupt_file_is_set_aside_and_named_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: object
) -> None:
    first = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    for n in range(3):
        first.put(batch(n))
    first.close()
    middle = files(tmp_path)[1]
    assert callable(spoil)
    spoil(tmp_path / middle)
    spool = Spool(tmp_path, "x")
    backlog = Backlog(0, spool, 1 << 20, DAY)
    with caplog.at_level(logging.WARNING, "rover.x"):
        assert drain(backlog) == [0, 2]
    assert middle in caplog.text
    assert files(tmp_path, ".corrupt") == [middle.replace(".batch", ".corrupt")]
    assert (spool.corrupt, files(tmp_path)) == (1, [])


def test_a_half_written_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    first.put(batch(0))
    first.close()
    partial = tmp_path / f"{7:020d}.partial"
    partial.write_bytes(b"roverbat half")
    with caplog.at_level(logging.WARNING, "rover.x"):
        backlog = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    assert partial.name in caplog.text
    assert drain(backlog) == [0]
    assert not partial.exists()


def test_files_that_are_none_of_ours_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "1.batch").write_text("mine")
    last = f"{10**20 - 1}.batch"
    (tmp_path / last).write_bytes(pack(batch(0)))
    backlog = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    assert drain(backlog) == []
    assert {"notes.txt", "1.batch", last} <= {each.name for each in tmp_path.iterdir()}
    backlog.put(batch(1))
    assert f"{0:020d}.batch" in files(tmp_path)
    assert drain(backlog) == [1]


def test_files_set_aside_are_bounded(tmp_path: Path) -> None:
    for n in range(MAX_ASIDE + 5):
        (tmp_path / f"{n:020d}.partial").write_bytes(b"")
    Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    assert len(files(tmp_path, ".corrupt")) == MAX_ASIDE


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


def plant_directory(path: Path) -> None:
    path.mkdir()
    (path / "x").write_text("mine")


def plant_link(path: Path) -> None:
    target = path.parent.parent / f"target of {path.name}"
    target.write_bytes(pack(batch(99)))
    path.symlink_to(target)


def plant_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "nowhere")


def plant_link_to_fifo(path: Path) -> None:
    fifo = path.parent.parent / f"fifo of {path.name}"
    os.mkfifo(fifo)
    path.symlink_to(fifo)


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def plant_device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero has no end


def plant_foreign(path: Path) -> None:
    path.write_bytes(pack(batch(99)))
    os.chown(path, 12345, 12345)


PLANTS = [
    plant_fifo,
    plant_directory,
    plant_link,
    plant_dangling_link,
    plant_link_to_fifo,
    plant_socket,
    pytest.param(plant_device, marks=AS_ROOT),
    pytest.param(plant_foreign, marks=AS_ROOT),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("when", ["before", "while"])
def test_what_is_no_file_of_ours_is_set_aside_and_keeps_nobody_waiting(
    tmp_path: Path, plant: Callable[[Path], None], when: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool"
    first = Backlog(0, Spool(path, "x"), 1 << 20, DAY)
    for n in range(3):
        first.put(batch(n))
    first.close()
    middle = path / files(path)[1]
    outside = sorted(tmp_path.iterdir())

    def replace() -> None:
        middle.unlink()
        plant(middle)
        outside.extend(each for each in tmp_path.iterdir() if each not in outside)

    if when == "before":
        replace()
    spool = Spool(path, "x")
    backlog = Backlog(0, spool, 1 << 20, DAY)
    if when == "while":
        replace()
    with caplog.at_level(logging.WARNING, "rover.x"):
        assert drain(backlog) == [0, 2]
    assert spool.corrupt == 1
    assert files(path, ".corrupt") == [middle.with_suffix(".corrupt").name]
    assert backlog.close() == 0
    for each in outside:
        assert each.exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("plant", [each for each in PLANTS if each is not plant_directory])
def test_a_batch_is_never_written_into_what_somebody_put_there(
    tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    path = tmp_path / "spool"
    backlog = Backlog(0, Spool(path, "x"), 1 << 20, DAY)
    partial = path / f"{0:020d}.partial"
    plant(partial)
    contents = {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()}
    backlog.put(batch(0))
    (name,) = files(path)
    assert stat.S_ISREG((path / name).lstat().st_mode)
    assert (path / name).stat().st_uid == os.geteuid()
    assert stat.S_IMODE((path / name).stat().st_mode) == 0o600
    assert contents == {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()}
    assert drain(backlog) == [0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_lock_that_is_no_file_of_ours_is_an_error(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    path = tmp_path / "spool"
    path.mkdir()
    plant(path / "lock")
    with pytest.raises(RoverError, match="spool_path"):
        Spool(path, "x")


def test_a_workers_spool_that_is_a_link_is_not_adopted(tmp_path: Path) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "spool"
    Spool(elsewhere, "x").close()
    path.mkdir()
    (path / "worker-2").symlink_to(elsewhere)
    assert orphans(path, 0, 1) == []
    Spool(path / "worker-3", "x").close()
    assert orphans(path, 0, 1) == [path / "worker-3"]


def test_a_file_without_end_is_set_aside(tmp_path: Path) -> None:
    first = Backlog(0, Spool(tmp_path, "x"), 1 << 20, DAY)
    first.put(batch(0))
    first.close()
    name = files(tmp_path)[0]
    os.truncate(tmp_path / name, 1 << 40)
    spool = Spool(tmp_path, "x")
    tracemalloc.start()
    assert drain(Backlog(0, spool, 1 << 50, DAY)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spool.corrupt == 1
    assert peak < 1 << 20


def test_a_disk_that_refuses_keeps_batches_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "spool"
    backlog = Backlog(5000, Spool(spool, "x"), 1 << 20, DAY)
    (spool / "lock").unlink()
    spool.rmdir()
    backlog.away = True
    with caplog.at_level(logging.WARNING, "rover.x"):
        for n in range(10):
            backlog.put(batch(n))
            assert backlog.memory <= 5000
    assert len(caplog.records) == 1  # not one for each batch
    assert drain(backlog) == [6, 7, 8, 9]
    assert backlog.shed == {"queue_full": 6}


def test_two_agents_do_not_share_a_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "x")
    with pytest.raises(RoverError, match="another rover"):
        Spool(tmp_path, "x")
    spool.close()
    Spool(tmp_path, "x").close()


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoverError, match=r"spool_path"):
        Spool(tmp_path / "file" / "spool", "x")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["put", "send", "fail", "refuse", "away", "back", "restart"]), max_size=40
    ),
    with_spool=st.booleans(),
)
def test_every_batch_is_sent_once_in_order_or_counted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], with_spool: bool
) -> None:
    path = tmp_path_factory.mktemp("spool")
    sent: list[int] = []
    lost = made = 0

    def new() -> Backlog:
        return Backlog(3500, Spool(path, "x") if with_spool else None, 6000, DAY)

    backlog = new()
    shed = 0
    for step in steps:
        if step == "put":
            backlog.put(batch(made))
            made += 1
        elif step in ("send", "fail", "refuse") and (first := backlog.first()):
            entry, content = first
            if step == "send":
                sent.append(number(content))
                backlog.sent(entry)
            elif step == "fail":
                backlog.put_back()
                backlog.settle()
            else:
                backlog.refuse(entry)
        elif step in ("away", "back"):
            backlog.away = step == "away"
            backlog.settle()
        elif step == "restart":
            lost += backlog.close()
            shed += backlog.shed.total()
            backlog = new()
        assert backlog.memory <= 3500
        assert backlog.disk <= 6000
    sent += drain(backlog)
    shed += backlog.shed.total()
    lost += backlog.close()
    assert sent == sorted(set(sent))
    assert len(sent) + shed == made
    assert lost <= shed
