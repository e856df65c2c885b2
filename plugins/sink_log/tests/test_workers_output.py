"""Several processes write to one file, pipe or terminal: every line whole, the header once and first."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import select
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import rover_plugin_sink_log
from rover import RoverError, SinkError, Worker
from rover.contracts.lock import ProcessLock, locks
from rover_plugin_sink_log.output import Output

LONG = 3 * select.PIPE_BUF
"""Of one line: the system may take a part of it, and then another process's."""
LINES = 300
WRITE = {"x86_64": 1}.get(platform.machine(), 64)
"""write(2)'s number (syscalls(2)); 64 is that of the architectures of the generic table."""


def line(name: str, number: int, length: int = LONG) -> bytes:
    return f"{name}{number:04d}".encode().ljust(length, name.encode()) + b"\n"


def test_long_lines_in_a_pipe_are_not_mixed(fork: Any) -> None:
    read, write = os.pipe()
    (lock,) = locks(1)

    def writer(name: str) -> None:
        output = Output("-", lock)
        output._descriptor = write
        for first in range(0, LINES, 3):
            output.write([(line(name, number), True) for number in range(first, first + 3)])

    for name in "ab":
        fork(lambda name=name: writer(name))
    os.close(write)
    with open(read, "rb") as pipe:
        lines = list(pipe)
    assert sorted(lines) == [line(name, number) for name in "ab" for number in range(LINES)]
    for name in (b"a", b"b"):  # and each in its order
        own = [each for each in lines if each.startswith(name)]
        assert own == sorted(own)


def limited_writer(path: Path, lock: ProcessLock, hold: int, go: int) -> None:
    """Its disk fills up within a line, which it ends when it is told that there is room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    output = Output(str(path), lock)
    try:
        output.write([(line("a", number, 300), True) for number in range(5)])
    except SinkError:
        os.write(hold, b"1")
    os.read(go, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    output.flush()
    output.close()


def test_a_half_line_is_continued_before_anybody_else_writes(tmp_path: Path, fork: Any) -> None:
    """The file size limit stands for a full disk: it is one process's, so the other could write on."""
    (lock,) = locks(1)
    held, hold = os.pipe()
    room, go = os.pipe()
    path = tmp_path / "log"
    fork(lambda: limited_writer(path, lock, hold, room))
    assert os.read(held, 1) == b"1"

    def other() -> None:
        output = Output(str(path), lock)
        os.write(hold, b"2")
        output.write([(line("b", 0, 300), True)])
        os.write(hold, b"3")

    fork(other)
    assert os.read(held, 1) == b"2"
    assert select.select([held], [], [], 0.2)[0] == []  # it waits for its turn
    assert path.stat().st_size == 1000
    os.write(go, b"1")
    assert os.read(held, 1) == b"3"
    assert path.read_bytes() == b"".join(line("a", number, 300) for number in range(5)) + line("b", 0, 300)


def test_a_holder_that_dies_holds_nobody_up(tmp_path: Path, fork: Any) -> None:
    (lock,) = locks(1)
    held, hold = os.pipe()
    room, _ = os.pipe()
    path = tmp_path / "log"
    child = fork(lambda: limited_writer(path, lock, hold, room))
    assert os.read(held, 1) == b"1"
    os.kill(child, signal.SIGKILL)
    Output(str(path), lock).write([(line("b", 0, 300), True)])
    assert path.read_bytes().endswith(line("b", 0, 300))


def test_the_header_is_written_once_and_first(fork: Any) -> None:
    """By worker 0 when it is made, which is before any other."""
    console = next(spec for spec in rover_plugin_sink_log.register_sinks() if spec.name == "console")
    assert console.make_for_worker is not None
    make = console.make_for_worker
    read, write = os.pipe()
    (lock,) = locks(1)

    def workers() -> None:
        os.dup2(write, 1)
        sinks = [make({"color": "never", "header": True}, Worker(number, 2, lock)) for number in range(2)]
        for sink in reversed(sinks):
            sink.write([(b"a line\n", True)])

    fork(workers)
    os.close(write)
    with open(read, "rb") as pipe:
        lines = list(pipe)
    assert lines[0].startswith(b"TIME ")
    assert lines[1:] == [b"a line\n"] * 2


def test_what_a_dead_holder_left_torn_is_a_line_of_its_own(tmp_path: Path, fork: Any) -> None:
    (lock,) = locks(1)
    held, hold = os.pipe()
    room, _ = os.pipe()
    path = tmp_path / "log"
    child = fork(lambda: limited_writer(path, lock, hold, room))
    assert os.read(held, 1) == b"1"
    os.kill(child, signal.SIGKILL)
    other = Output(str(path), lock)
    for number in range(2):
        other.write([(line("b", number, 300), True)])
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[:3] == [line("a", number, 300) for number in range(3)]
    assert lines[3] == line("a", 3, 300)[: 1000 - 903] + b"\n"
    assert lines[4:] == [line("b", number, 300) for number in range(2)]


@pytest.mark.parametrize("length", [300, 1000, select.PIPE_BUF - 1, select.PIPE_BUF, LONG])
def test_a_writer_killed_in_a_blocked_write_spoils_no_other_line(fork: Any, length: int) -> None:
    """A pipe whose reader does not read. What fits a pipe at once is whole whoever dies; what does not may
    end early, on a line of its own."""
    read, write = os.pipe()
    (lock,) = locks(1)

    def writer(name: str, lines: int) -> None:
        output = Output("-", lock)
        output._descriptor = write
        output._regular = False
        output.write([(line(name, number, length), True) for number in range(lines)])

    victim = fork(lambda: writer("a", LINES))
    wait_until_blocked(victim)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    fork(lambda: writer("b", 5))
    os.close(write)
    with open(read, "rb") as pipe:
        lines = list(pipe)
    assert lines[-5:] == [line("b", number, length) for number in range(5)]
    for number, found in enumerate(lines[:-6]):
        assert found == line("a", number, length)
    last = line("a", len(lines) - 6, length)
    assert lines[-6] == last or (length >= select.PIPE_BUF and last.startswith(lines[-6][:-1]))


def wait_until_blocked(pid: int) -> None:
    """Until it sleeps in a write to a pipe."""
    end = time.monotonic() + 20
    while not Path(f"/proc/{pid}/syscall").read_text().startswith(f"{WRITE} "):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)


def test_a_line_that_an_agent_of_before_left_torn_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"whole\nha")
    output = Output(str(path))
    assert path.read_bytes() == b"whole\nha"  # nothing to say yet
    output.write([(b"first\n", True)])
    output.write([(b"second\n", True)])
    assert output.close() == 0
    assert path.read_bytes() == b"whole\nha\nfirst\nsecond\n"


@pytest.mark.parametrize("before", [b"", b"whole\n"])
def test_a_file_that_ends_with_a_line_gets_no_empty_one(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(before)
    (lock,) = locks(1)
    for _ in range(2):
        output = Output(str(path), lock)
        output.write([(b"a line\n", True)])
        output.close()
    lock.mark = 2  # as of one that died before it wrote a byte
    Output(str(path), lock).write([(b"a line\n", True)])
    assert path.read_bytes() == before + 3 * b"a line\n"


def test_a_rotation_leaves_a_half_written_line_in_its_file(tmp_path: Path, fork: Any) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"

    def writer() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        output = Output(str(path))
        with contextlib.suppress(SinkError):
            output.write([(line("a", number, 300), True) for number in range(5)])
        path.rename(old)
        output.reopen()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        output.flush()
        output.write([(line("b", 0, 300), True)])

    assert os.waitstatus_to_exitcode(os.waitpid(fork(writer), 0)[1]) == 0
    assert old.read_bytes() == b"".join(line("a", number, 300) for number in range(5))
    assert path.read_bytes() == line("b", 0, 300)


def test_a_pipe_without_a_reader_is_an_error_and_no_wait(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(RoverError, match="nobody reads"):
        Output(str(fifo))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    output = Output(str(fifo))
    output.write([(b"a line\n", True)])
    assert os.read(reader, 100) == b"a line\n"
    assert os.get_blocking(output._descriptor)
    os.close(reader)
    output.close()


def test_a_terminal_that_was_closed_takes_nothing_ever_again(fork: Any) -> None:
    master, slave = os.openpty()

    def writer() -> None:
        os.dup2(slave, 1)
        os.close(slave)
        output = Output("-")
        os.close(master)
        closed = select.poll()  # POLLHUP: the parent has closed its own, too
        closed.register(1, 0)
        assert closed.poll(30_000)
        with pytest.raises(SinkError, match="a terminal that was closed") as raised:
            output.write([(b"a line\n", True)])
        assert raised.value.closed

    pid = fork(writer)
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(slave)
