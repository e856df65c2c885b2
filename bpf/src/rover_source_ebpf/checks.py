"""Can this host run the eBPF source? One line each for `rover doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from rover.errors import RoverError
from rover.source import Check
from rover_source_ebpf import host
from rover_source_ebpf.bcc_module import MEND, find_bcc
from rover_source_ebpf.kernel import Kernel
from rover_source_ebpf.machine import MACHINES


def check() -> Sequence[Check]:
    """Everything, also behind what failed; nothing is loaded or changed."""
    return [checked() for checked in (kernel, processor, lockdown, privileges, bcc, types)]


def kernel() -> Check:
    """Its version: what is old lacks what the programs use."""
    release = platform.release()
    found = f"Linux {release}"
    known = MACHINES.get(platform.machine())
    needed = known.kernel if known else min(machine.kernel for machine in MACHINES.values())
    try:
        version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    except ValueError:
        return Check("kernel", True, found)
    enough = version >= needed
    mend = "" if enough else f"Linux {needed[0]}.{needed[1]} or later is needed"
    return Check("kernel", enough, found, mend)


def processor() -> Check:
    """Its architecture: calls have other numbers and registers on each."""
    name = platform.machine()
    machine = MACHINES.get(name)
    if machine is None:
        return Check("processor", False, name, f"capture on one of these: {', '.join(MACHINES)}")
    if not machine.tried:
        finding = f"{name}: written after the kernel's tables, and not tried on a machine yet"
        return Check("processor", False, finding, "compare with what you know, and report it", required=False)
    return Check("processor", True, name)


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
