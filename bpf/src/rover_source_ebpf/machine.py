"""What differs between processor architectures: numbers of system calls, registers of their arguments."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from typing import NamedTuple

from rover.errors import RoverError
from rover.values.records import Syscall
from rover_source_ebpf.btf import Btf


class Register(NamedTuple):
    """Where struct pt_regs keeps 8 bytes."""

    field: str
    element: int = 0
    """Which of them, where the field is an array."""


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """One architecture."""

    numbers: Mapping[Syscall, int]
    """The kernel's number of each call."""
    arguments: tuple[Register, ...]
    """The first five arguments, from where they are when the call is left, too."""
    number: str
    """Field of struct pt_regs with the call's number."""
    mmap: int
    """The kernel's number of mmap, whose arguments are a socket call's."""
    c: tuple[Register, ...]
    """Six arguments of a C function, when it begins."""
    go: tuple[Register, ...]
    """Four arguments of a Go function."""
    goroutine: Register
    result: Register
    """Of either, when it ends."""
    stack: Register
    pops: int
    """Bytes that a return takes off the stack."""
    compat: tuple[str, int]
    """Of struct task_struct: the field, and its bits that are set while a 32-bit call is made."""
    kernel: tuple[int, int]
    """The first Linux that runs the programs: ring buffers came with 5.8, atomic additions that return
    the sum with 5.12, and later for processors other than x86-64."""
    tried: bool
    """Whether the programs ever ran on such a machine."""


MACHINES: Mapping[str, Machine] = {
    # arch/x86/entry/syscalls/syscall_64.tbl; arch/x86/include/asm/syscall.h
    "x86_64": Machine(
        numbers={
            Syscall.READ: 0,
            Syscall.WRITE: 1,
            Syscall.CLOSE: 3,
            Syscall.READV: 19,
            Syscall.WRITEV: 20,
            Syscall.SENDFILE64: 40,
            Syscall.CONNECT: 42,
            Syscall.ACCEPT: 43,
            Syscall.SENDTO: 44,
            Syscall.RECVFROM: 45,
            Syscall.SENDMSG: 46,
            Syscall.RECVMSG: 47,
            Syscall.SHUTDOWN: 48,
            Syscall.SPLICE: 275,
            Syscall.ACCEPT4: 288,
            Syscall.RECVMMSG: 299,
            Syscall.SENDMMSG: 307,
            Syscall.PREADV2: 327,
            Syscall.PWRITEV2: 328,
        },
        arguments=(Register("di"), Register("si"), Register("dx"), Register("r10"), Register("r8")),
        number="orig_ax",
        mmap=9,
        c=(Register("di"), Register("si"), Register("dx"), Register("cx"), Register("r8"), Register("r9")),
        go=(Register("ax"), Register("bx"), Register("cx"), Register("di")),
        goroutine=Register("r14"),
        result=Register("ax"),
        stack=Register("sp"),
        pops=8,
        compat=("thread_info.status", 0x2),  # TS_COMPAT, arch/x86/include/asm/thread_info.h
        kernel=(5, 12),
        tried=True,
    ),
    # include/uapi/asm-generic/unistd.h; arch/arm64/include/asm/ptrace.h, syscall.h
    "aarch64": Machine(
        numbers={
            Syscall.CLOSE: 57,
            Syscall.READ: 63,
            Syscall.WRITE: 64,
            Syscall.READV: 65,
            Syscall.WRITEV: 66,
            Syscall.SENDFILE64: 71,
            Syscall.SPLICE: 76,
            Syscall.ACCEPT: 202,
            Syscall.CONNECT: 203,
            Syscall.SENDTO: 206,
            Syscall.RECVFROM: 207,
            Syscall.SHUTDOWN: 210,
            Syscall.SENDMSG: 211,
            Syscall.RECVMSG: 212,
            Syscall.ACCEPT4: 242,
            Syscall.RECVMMSG: 243,
            Syscall.SENDMMSG: 269,
            Syscall.PREADV2: 286,
            Syscall.PWRITEV2: 287,
        },
        # The first register holds the result when the call is left; the argument is kept apart.
        arguments=(Register("orig_x0"), *(Register("regs", element) for element in range(1, 5))),
        number="syscallno",
        mmap=222,
        c=tuple(Register("regs", element) for element in range(6)),
        go=tuple(Register("regs", element) for element in range(4)),
        goroutine=Register("regs", 28),
        result=Register("regs", 0),
        stack=Register("sp"),
        pops=0,
        compat=("thread_info.flags", 1 << 22),  # TIF_32BIT, arch/arm64/include/asm/thread_info.h
        kernel=(5, 18),
        tried=False,
    ),
}
MAX_WORDS = 8
"""Of struct pt_regs, read at once for the arguments: as many as x86-64 spreads them over. They are on the
stack of a program, which has 512 bytes for all."""
SYSCALLS = 512
"""Entries of the kernel's table of calls by number; more than any architecture has."""


def this_machine() -> Machine:
    """Raises RoverError on an architecture whose registers are not written down here."""
    name = platform.machine()
    if name not in MACHINES:
        raise RoverError(f"the eBPF source runs on {', '.join(MACHINES)}; this machine is {name}")
    return MACHINES[name]


def register_macros(machine: Machine, btf: Btf) -> dict[str, int]:
    """Where the C programs find a call's arguments and number, and what tells a 32-bit call. Raises BtfError.

    The first argument has no word among the others (ARGUMENT0) where it is far from them.
    """
    offsets = [btf.offset("pt_regs", field) + 8 * element for field, element in machine.arguments]
    together = offsets if (max(offsets) - min(offsets)) // 8 < MAX_WORDS else offsets[1:]
    first, last = min(together), max(together)
    macros = {
        f"ARGUMENT{number}": (offset - first) // 8
        for number, offset in enumerate(offsets)
        if offset in together
    }
    compat, bits = machine.compat
    named = {
        "GOROUTINE": machine.goroutine,
        "RESULT": machine.result,
        "STACK": machine.stack,
        **{f"C{number}": register for number, register in enumerate(machine.c)},
        **{f"GO{number}": register for number, register in enumerate(machine.go)},
    }
    macros |= {
        f"OFF_REGISTER_{name}": btf.offset("pt_regs", field) + 8 * element
        for name, (field, element) in named.items()
    }
    return macros | {
        "RETURN_POPS": machine.pops,
        "OFF_MMAP_PROTECTION": offsets[2],
        "OFF_MMAP_DESCRIPTOR": offsets[4],
        "ARGUMENTS_OFFSET": first,
        "ARGUMENT_WORDS": (last - first) // 8 + 1,
        "DESCRIPTOR_OFFSET": offsets[0],
        "OFF_REGS_NUMBER": btf.offset("pt_regs", machine.number),
        "OFF_THREAD_COMPAT": btf.offset("task_struct", compat),
        "THREAD_COMPAT": bits,
    }
