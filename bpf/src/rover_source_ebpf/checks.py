"""Can this host run the eBPF source? One line each for `rover doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from rover.errors import RoverError
from rover.source import Check
from rover_source_ebpf import host
from rover_source_ebpf import privileges as details
from rover_source_ebpf.bcc_module import MEND, find_bcc
from rover_source_ebpf.kernel import Kernel

MINIMUM_KERNEL = (5, 12)
"""Ring buffers came with 5.8, atomic additions that return the sum with 5.12."""


def check() -> Sequence[Check]:
    """Everything, also behind what failed; nothing is loaded or changed."""
    return [*(checked() for checked in (kernel, lockdown, privileges, bcc, types)), *details.checks()]


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
    """BTF, and in it every field and tracepoint the programs use."""
    try:
        Kernel.running()
    except RoverError as error:
        return Check("kernel types", False, str(error), "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
    return Check("kernel types", True, "BTF has every field and tracepoint that is used")


def lockdown() -> Check:
    """kernel_lockdown(7): integrity allows what is done here, confidentiality does not."""
    mode = host.lockdown()
    forbidden = mode == "confidentiality"
    mend = "boot with lockdown=integrity or without" if forbidden else ""
    return Check("lockdown", not forbidden, mode, mend)
