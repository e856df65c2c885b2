"""Several processes write to one file, pipe or terminal: every line whole, the header once and first."""

from __future__ import annotations

import os
import resource
import select
import signal
from pathlib import Path
from typing import Any

import rover_plugin_sink_log
from rover import SinkError, Worker
from rover.lock import ProcessLock, locks
from rover_plugin_sink_log.output import Output

LONG = 3 * select.PIPE_BUF
"""Of one line: the system may take a part of it, and then another process's."""
LINES = 300


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
