"""Can this host run the eBPF source? One line each for `rover doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence

from rover.errors import RoverError
from rover.source import Check
from rover_source_ebpf import host
from rover_source_ebpf.bcc_module import MEND, find_bcc
from rover_source_ebpf.loader import kernel_offsets

MINIMUM_KERNEL = (5, 12)
"""Ring buffers came with 5.8, atomic additions that return the sum with 5.12."""


def check() -> Sequence[Check]:
    """Everything, also behind what failed; nothing is loaded or changed."""
    return [checked() for checked in (kernel, privileges, bcc, types, tracepoints)]


def kernel() -> Check:
    """Version and architecture."""
    release = platform.release()
    found = f"Linux {release}, {platform.machine()}"
    try:
        version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    except ValueError:
        return Check("kernel", True, found)
    enough = version >= MINIMUM_KERNEL
    return Check("kernel", enough, found, "" if enough else "Linux 5.12 or later is needed")


def privileges() -> Check:
    """Effective capabilities, not the user id: a container's root may have few."""
    missing = host.missing_capabilities(host.effective_capabilities())
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if missing:
        return Check("privileges", False, f"{who} without {' and '.join(missing)}", host.PRIVILEGE_MEND)
    return Check("privileges", True, f"{who}, with what is needed")


def bcc() -> Check:
    """The compiler collection, and where it was found."""
    try:
        module = find_bcc()
    except RoverError as error:
        return Check("bcc", False, str(error), MEND)
    version = getattr(module, "__version__", "of unknown version")
    return Check("bcc", True, f"{version} from {os.path.dirname(module.__file__ or '')}")


def types() -> Check:
    """BTF, and in it every field that is read."""
    return _succeeds("kernel types", "BTF has every field that is read", kernel_offsets)


def tracepoints() -> Check:
    """tracefs is mounted at start where it is missing; here only whether it is there."""
    place = host.tracefs()
    if place is None:
        return Check(
            "tracefs",
            False,
            "not mounted, or not readable",
            f"rover run mounts it as root; or: mount -t tracefs nodev {host.TRACEFS}",
            required=False,
        )
    missing = host.missing_tracepoints(place, ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit"))
    if missing:
        return Check("tracefs", False, f"no tracepoint {missing[0]}", "a kernel with CONFIG_FTRACE_SYSCALLS")
    return Check("tracefs", True, f"{place}, with the system call tracepoints")


def _succeeds(subject: str, found: str, action: Callable[[], object]) -> Check:
    try:
        action()
    except RoverError as error:
        return Check(subject, False, str(error), "use a kernel with CONFIG_DEBUG_INFO_BTF")
    return Check(subject, True, found)
