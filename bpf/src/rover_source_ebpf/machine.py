"""What differs between processor architectures: numbers of system calls, registers of their arguments."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping

from rover.errors import RoverError
from rover.records import Syscall
from rover_source_ebpf.btf import Btf


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """One architecture."""

    numbers: Mapping[Syscall, int]
    """The kernel's number of each call."""
    arguments: tuple[str, ...]
    """Fields of struct pt_regs with the first five arguments."""
    number: str
    """Field of struct pt_regs with the call's number."""


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
        arguments=("di", "si", "dx", "r10", "r8"),
        number="orig_ax",
    ),
}
SYSCALLS = 512
"""Entries of the kernel's table of calls by number; more than any architecture has."""


def this_machine() -> Machine:
    """Raises RoverError on an architecture whose registers are not written down here."""
    name = platform.machine()
    if name not in MACHINES:
        raise RoverError(f"the eBPF source runs on {', '.join(MACHINES)}; this machine is {name}")
    return MACHINES[name]


def register_macros(machine: Machine, btf: Btf) -> dict[str, int]:
    """Where the C programs find a call's arguments and number. Raises BtfError."""
    offsets = [btf.offset("pt_regs", field) for field in machine.arguments]
    first, last = min(offsets), max(offsets)
    macros = {f"ARGUMENT{number}": (offset - first) // 8 for number, offset in enumerate(offsets)}
    return macros | {
        "ARGUMENTS_OFFSET": first,
        "ARGUMENT_WORDS": (last - first) // 8 + 1,
        "MARKER_OFFSET": offsets[0],
        "OFF_REGS_NUMBER": btf.offset("pt_regs", machine.number),
        "OFF_THREAD_STATUS": btf.offset("task_struct", "thread_info.status"),
    }
