"""Calls that threads wait in, out of a made-up /proc."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from rover_source_ebpf.under_way import calls_under_way

READ, RECVFROM = 0, 45


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Process 7 with thread 8; descriptor 3 is a socket, 4 a file."""
    for thread in (7, 8):
        (tmp_path / f"7/task/{thread}").mkdir(parents=True)
        (tmp_path / f"7/task/{thread}/syscall").write_text("running\n")
    (tmp_path / "7/fd").mkdir()
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "7/fd/3"))
    bound.close()
    (tmp_path / "7/fd/4").touch()
    (tmp_path / "self").mkdir()
    (tmp_path / "9").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 0x3 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", [(7, 8, READ)]),
        ("45 0x3 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", [(7, 8, RECVFROM)]),
        ("45 0xffffffff00000003 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", [(7, 8, RECVFROM)]),
        ("0 0x4 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", []),
        ("0 0x5 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", []),
        ("232 0x3 0x7f00 0x64 0x0 0x0 0x0 0x7ffe 0x7f", []),
        ("running", []),
        ("-1 0x7ffe 0x7f", []),
        ("0 nonsense", []),
        ("", []),
    ],
    ids=[
        "read",
        "recvfrom",
        "upper half",
        "a file",
        "closed",
        "another",
        "running",
        "no call",
        "garbage",
        "empty",
    ],
)
def test_a_thread(text: str, found: list[tuple[int, int, int]], proc: Path) -> None:
    (proc / "7/task/8/syscall").write_text(text + "\n")
    assert list(calls_under_way({READ, RECVFROM}, proc)) == found


def test_no_proc_is_nothing(tmp_path: Path) -> None:
    assert list(calls_under_way({READ}, tmp_path / "absent")) == []


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="needs CONFIG_HAVE_ARCH_TRACEHOOK")
def test_a_thread_of_this_process() -> None:
    here, there = socket.socketpair()
    thread = threading.Thread(target=here.recv, args=(1,))
    with here, there:
        thread.start()
        try:
            while (os.getpid(), thread.native_id, RECVFROM) not in list(calls_under_way({RECVFROM})):
                assert thread.is_alive()
        finally:
            there.send(b"x")
            thread.join()
