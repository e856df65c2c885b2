"""Uprobes one by one, by perf_event_open(2): for Linux 5.15 to 6.5, which have no links of many places.

To take one away, the kernel waits for all that may still run it, a tenth of a second each. A process of its
own holds them, so that only that waits: the agent lets go by closing the pipe that it reads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rover_source_ebpf import bpf

NUMBERS = {"x86_64": 298, "aarch64": 241}
"""Of the call: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h."""
EVENT = struct.Struct("=IIQQQQQIIQQ")
"""struct perf_event_attr up to config2: type, size, config, sample_period, sample_type, read_format, flags,
wakeup_events, bp_type, config1 (the path), config2 (the offset)."""
ON_RETURN = 1
"""Of config: /sys/bus/event_source/devices/uprobe/format/retprobe."""
KIND = Path("/sys/bus/event_source/devices/uprobe/type")
CLOSE_ON_EXEC = 8
HOLDER = ("setsid", "--fork", "cat")
"""What holds the probes: it reads until the other end of its pipe is closed, and then ends. Nobody has to
wait for it, and Ctrl-C is not for it."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    *(ctypes.c_long, ctypes.c_void_p, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_ulong),
)


def are_there() -> bool:
    """Whether this kernel has them."""
    return KIND.exists()


def attach(program: int, path: str, places: Sequence[tuple[int, int]], *, on_return: bool) -> int:
    """Attaches a program to places of a file, each (offset, cookie), until the returned descriptor and all
    copies of it are closed, and a little longer. Raises OSError."""
    links: list[int] = []
    try:
        for offset, cookie in places:
            event = _open(path, offset, on_return)
            try:
                links.append(bpf.link_event(program, event, cookie))
            finally:
                os.close(event)  # the link has it
        return _hold(links)
    finally:
        for link in links:
            os.close(link)


def _open(path: str, offset: int, on_return: bool) -> int:
    """The event of a place, of all processes."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    config = ON_RETURN if on_return else 0
    kind, where = int(KIND.read_text()), ctypes.addressof(text)
    attributes = EVENT.pack(kind, EVENT.size, config, 0, 0, 0, 0, 0, 0, where, offset)
    # Of no process, but on a processor: the kernel asks for one of the two. It runs on each.
    number = NUMBERS.get(os.uname().machine, -1)
    result: int = _syscall(number, attributes, -1, 0, -1, CLOSE_ON_EXEC)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _hold(links: Sequence[int]) -> int:
    """Gives copies of the descriptors to a process that keeps them until what is returned is closed."""
    theirs, ours = os.pipe()
    try:
        subprocess.run(  # noqa: S603  a name of ours
            HOLDER,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=links,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        os.close(ours)
        raise OSError(errno.ECHILD, f"no process can hold the probes: {error}") from None
    finally:
        os.close(theirs)
    return ours
