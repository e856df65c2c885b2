"""Runs of programs that the kernel skipped: counted, told as lost, and made up for by other copies."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rover_source_ebpf.kernel
import rover_source_ebpf.source
from rover.contracts.source import Selection
from rover.values.records import Direction
from rover_source_ebpf.bpf import recursion_misses
from rover_source_ebpf.compiler import Compiler
from rover_source_ebpf.loader import Program
from rover_source_ebpf.misses import COPIES, Misses, preempted
from rover_source_ebpf.programs import C

PR_SET_NAME = 15  # include/uapi/linux/prctl.h

# The helper that prints fires a tracepoint itself. A program that prints there would be run inside itself,
# which the kernel skips: once for each time that the other program prints.
TEXT = """
int on_bpf_trace_printk(struct bpf_raw_tracepoint_args *ctx) { bpf_trace_printk("inside"); return 0; }
int on_task_rename(struct bpf_raw_tracepoint_args *ctx) { bpf_trace_printk("outside"); return 0; }
"""


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.0-50-amd64", False),
        ("6.19.14", False),
        ("7.0.0-rc1", True),
        ("7.3.4+deb13-amd64", True),
        ("10.2", True),
        ("odd", False),
        ("", False),
    ],
)
def test_kernels_that_preempt_programs(release: str, expected: bool) -> None:
    assert preempted(release) == expected


@pytest.fixture
def nested(live: None) -> Iterator[tuple[int, int]]:
    """Descriptors of a program that is skipped whenever this process takes a name, and of one that is not."""
    with Compiler() as compiler:
        program = Program(compiler.compile(TEXT, [], C / "headers"))
    program.load()
    program.attach("bpf_trace_printk")
    program.attach("task_rename")
    attached = program.programs()
    yield attached["bpf_trace_printk"], attached["task_rename"]
    program.close()


def take_a_name() -> None:
    """Which is the one it has."""
    name = Path("/proc/thread-self/comm").read_bytes().strip()
    assert ctypes.CDLL(None).prctl(PR_SET_NAME, name, 0, 0, 0) == 0


def told_by_the_kernel(descriptor: int) -> int:
    """proc(5), fdinfo."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("recursion_misses:"))


def test_what_the_kernel_skipped_is_counted(nested: tuple[int, int]) -> None:
    inner, outer = nested
    before = recursion_misses(inner)
    for _ in range(5):
        take_a_name()
    # Others on this host may take names, too.
    assert recursion_misses(inner) >= before + 5
    assert before + 5 <= recursion_misses(inner) <= told_by_the_kernel(inner)
    assert recursion_misses(outer) == 0


def test_the_programs_are_looked_at_by_name(nested: tuple[int, int]) -> None:
    inner, outer = nested
    take_a_name()
    missed = recursion_misses(inner)
    assert Misses().look({"a": outer}) == 0
    assert Misses().look({"a": inner}) >= missed
    assert Misses().look({"a": inner, "a__1": outer}) == 0
    assert Misses().look({"a": inner, "b": outer, "a__1": inner, "c": inner}) >= 2 * missed


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([{"a": 0, "b": 0}], 0),
        ([{"a": 2, "b": 1}], 3),
        ([{"a": 2, "b": 1}, {"a": 2, "b": 1}, {"a": 5, "b": 1}], 6),
        # copies
        ([{"a": 9, "a__1": 0}], 0),
        ([{"a": 9, "a__1": 4, "a__2": 5}], 4),
        ([{"a": 9, "a__1": 4, "b": 1, "b__1": 2}], 5),
        # each missed some, but never at the same time
        ([{"a": 9, "a__1": 0}, {"a": 9, "a__1": 7}, {"a": 20, "a__1": 7}], 0),
        ([{"a": 9, "a__1": 0}, {"a": 12, "a__1": 2}, {"a": 12, "a__1": 7}], 2),
    ],
)
def test_what_was_lost_is_what_every_copy_missed_between_two_looks(
    looks: list[dict[str, int]], expected: int
) -> None:
    misses = Misses()
    told = [misses.add(look) for look in looks]
    assert told == sorted(told)
    assert told[-1] == expected


def test_what_is_no_program_says_so() -> None:
    with open(os.devnull) as file, pytest.raises(OSError, match="Invalid argument"):
        recursion_misses(file.fileno())


def test_skipped_events_are_told_as_lost(
    start_watch: Callable[..., Any], ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = start_watch(Selection(ports=tuple(ports(1))))
    lost = watch.source.counters()["records_lost"]
    monkeypatch.setattr(Misses, "look", lambda self, programs: 3 * bool(programs))
    watch.until(lambda: watch.recorder.losses, "the loss to be told")
    assert watch.recorder.losses == {"skipped": 3}
    assert watch.source.counters()["records_lost"] == lost + 3


# -- copies ----------------------------------------------------------------------------------------


class OnlyCopy(rover_source_ebpf.kernel.Kernel):
    """A kernel that skips every copy of a program all the time except one and the last, which sees it."""

    spared: int | None = None
    """The copy's number; None spares all."""

    def tracepoints(self, *more: str) -> list[str]:
        names = super().tracepoints(*more)
        if self.spared is None:
            return names
        last = {name.partition("__")[0]: name for name in names}.values()
        return [name for name in names if name in last or int(name.partition("__")[2] or 0) == self.spared]


@pytest.mark.parametrize("spared", [None, *range(COPIES)])
def test_each_copy_does_what_the_others_were_kept_from(
    spared: int | None,
    start_watch: Callable[..., Any],
    ports: Callable[[int], list[int]],
    run: Callable[..., Any],
    listen: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rover_source_ebpf.kernel, "preempted", lambda release: True)
    monkeypatch.setattr(rover_source_ebpf.kernel, "Kernel", OnlyCopy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # this kernel's own programs are kept elsewhere
    monkeypatch.setattr(OnlyCopy, "spared", spared)
    watch = start_watch(Selection(ports=tuple(ports(2))))
    port, closing = watch.port(), watch.port()

    def answer(peer: socket.socket) -> None:
        while data := peer.recv(4096):
            peer.sendall(data[::-1])

    listen(port, answer)
    listen(closing, lambda peer: peer.close())
    child = run(
        """
s = connect(int(sys.argv[1]))
for n in range(3):
    s.sendall(b"GET /%d HTTP/1.1\\r\\n\\r\\n" % n); exactly(s, 19)
s.sendmsg([b"GET /3 HTTP", b"/1.1\\r\\n", b"\\r\\n"]); exactly(s, 19); s.close()
with connect(int(sys.argv[2])) as other: other.recv(10)
""",
        port,
        closing,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    asked = [b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(4)]
    sent = ["sendto", "sendto", "sendto", "sendmsg"]
    assert seen.moved(Direction.EGRESS) == [(call, 19, data) for call, data in zip(sent, asked, strict=True)]
    assert b"".join(payload for _, _, payload in seen.moved(Direction.INGRESS)) == b"".join(
        data[::-1] for data in asked
    )
    assert [detail.sequence for detail in seen.details] == list(range(len(seen.details)))
    (other,) = watch.ended(closing)
    assert other.opened is not None
    assert other.opened.detail is not None
    assert len(other.closed) == 1
    assert not watch.recorder.losses
