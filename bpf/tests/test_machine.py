"""Numbers and registers of each architecture, held against the kernel's own headers and layouts."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import Selection
from rover.values.records import Direction, Syscall
from rover_source_ebpf import checks, machine
from rover_source_ebpf.kernel import Kernel
from rover_source_ebpf.machine import MACHINES, register_macros

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
"""Installed by linux-libc-dev."""
X86_64 = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax"
LAYOUTS = {
    # As the BTF of Debian's kernels 6.1 says.
    "x86_64": {f"pt_regs.{name}": 8 * at for at, name in enumerate(X86_64.split())}
    | {"pt_regs.sp": 152, "task_struct.thread_info.status": 16},
    "aarch64": {
        "pt_regs.regs": 0,
        "pt_regs.sp": 248,
        "pt_regs.orig_x0": 272,
        "pt_regs.syscallno": 280,
        "task_struct.thread_info.flags": 0,
    },
}


class Layout:
    """Stands where a kernel's BTF does."""

    def __init__(self, name: str) -> None:
        self._offsets = LAYOUTS[name]

    def offset(self, struct: str, path: str) -> int:
        return self._offsets[f"{struct}.{path}"]


@pytest.mark.parametrize("name", MACHINES)
def test_numbers_are_the_kernels(name: str) -> None:
    if not HEADERS[name].exists():
        pytest.skip(f"needs {HEADERS[name]} (Debian: linux-libc-dev)")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[name].read_text())
    numbers = {call: int(number) for call, number in defined}
    expected = {
        call: numbers[call.name.lower().replace("sendfile64", "sendfile")]
        for call in Syscall
        if call is not Syscall.NONE
    }
    assert MACHINES[name].numbers == expected
    assert MACHINES[name].mmap == numbers["mmap"]
    assert max(expected.values()) < machine.SYSCALLS


X86_64_MACROS = {
    "ARGUMENTS_OFFSET": 56,
    "ARGUMENT_WORDS": 8,
    "ARGUMENT0": 7,
    "ARGUMENT1": 6,
    "ARGUMENT2": 5,
    "ARGUMENT3": 0,
    "ARGUMENT4": 2,
    "DESCRIPTOR_OFFSET": 112,
    "OFF_REGS_NUMBER": 120,
    "OFF_THREAD_COMPAT": 16,
    "THREAD_COMPAT": 0x2,
    # Of the System V ABI, RDI, RSI, RDX, RCX, R8, R9; of Go's, RAX, RBX, RCX, RDI, and R14 the goroutine.
    **{f"OFF_REGISTER_C{number}": at for number, at in enumerate((112, 104, 96, 88, 72, 64))},
    **{f"OFF_REGISTER_GO{number}": at for number, at in enumerate((80, 40, 88, 112))},
    "OFF_REGISTER_GOROUTINE": 8,
    "OFF_REGISTER_RESULT": 80,
    "OFF_REGISTER_STACK": 152,
    "RETURN_POPS": 8,
    "OFF_MMAP_PROTECTION": 96,
    "OFF_MMAP_DESCRIPTOR": 72,
}
AARCH64_MACROS = {
    "ARGUMENTS_OFFSET": 8,
    "ARGUMENT_WORDS": 4,
    "ARGUMENT1": 0,
    "ARGUMENT2": 1,
    "ARGUMENT3": 2,
    "ARGUMENT4": 3,
    "DESCRIPTOR_OFFSET": 272,
    "OFF_REGS_NUMBER": 280,
    "OFF_THREAD_COMPAT": 0,
    "THREAD_COMPAT": 0x40_0000,
    **{f"OFF_REGISTER_C{number}": 8 * number for number in range(6)},
    **{f"OFF_REGISTER_GO{number}": 8 * number for number in range(4)},
    "OFF_REGISTER_GOROUTINE": 224,
    "OFF_REGISTER_RESULT": 0,
    "OFF_REGISTER_STACK": 248,
    "RETURN_POPS": 0,
    "OFF_MMAP_PROTECTION": 16,
    "OFF_MMAP_DESCRIPTOR": 32,
}


@pytest.mark.parametrize(("name", "macros"), [("x86_64", X86_64_MACROS), ("aarch64", AARCH64_MACROS)])
def test_arguments_are_where_the_kernel_keeps_them(name: str, macros: dict[str, int]) -> None:
    assert register_macros(MACHINES[name], Layout(name)) == macros  # type: ignore[arg-type]


def test_a_machine_that_was_never_tried_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ok, required in (("x86_64", True, True), ("aarch64", False, False), ("riscv64", False, True)):
        monkeypatch.setattr(machine.platform, "machine", lambda name=name: name)
        check = checks.processor()
        assert (check.ok, check.required) == (ok, required)
        assert name in check.finding
        assert bool(check.fix) != ok


@pytest.mark.parametrize(("release", "ok"), [("5.17.9", False), ("5.18.0", True), ("6.1.0-56-arm64", True)])
def test_aarch64_needs_a_later_kernel(release: str, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its translation of atomic additions that return the sum came with Linux 5.18."""
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(checks.platform, "release", lambda: release)
    check = checks.kernel()
    assert check.ok == ok
    assert ok or "5.18" in check.fix


@pytest.mark.live
def test_a_first_argument_kept_apart_is_read(
    start_watch: Callable[..., Any],
    run: Callable[..., Any],
    ports: Callable[[int], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As aarch64 keeps it, on this machine: with room for the four others alone."""
    monkeypatch.setattr(machine, "MAX_WORDS", 7)
    assert "ARGUMENT0" not in Kernel.running().macros
    (port,) = ports(1)
    watch = start_watch(Selection(ports=(port,)))
    with socket.create_server(("127.0.0.1", port)) as listener:
        child = run("s = connect(sys.argv[1]); s.send(b'asked'); say(exactly(s, 8).decode())", port)
        with listener.accept()[0] as connection:
            assert connection.recv(100) == b"asked"
            connection.sendall(b"answered")
            assert child.hear() == "answered"
            (seen,) = watch.ended(port)
    assert seen.moved(Direction.EGRESS) == [("sendto", 5, b"asked")]
    assert seen.moved(Direction.INGRESS)[0] == ("recvfrom", 8, b"answered")
