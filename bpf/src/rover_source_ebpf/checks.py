"""Can this host run the eBPF source? One line each for `rover doctor`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rover.contracts.source import Check, Selection
from rover.contracts.tls_library import TlsLibrarySpec
from rover.errors import RoverError
from rover_source_ebpf import host, tls, tls_report
from rover_source_ebpf import privileges as details
from rover_source_ebpf.compiler import FIX, Compiler
from rover_source_ebpf.kernel import Kernel
from rover_source_ebpf.loader import RefusedError
from rover_source_ebpf.machine import MACHINES
from rover_source_ebpf.misses import COPIES, preempted

REPORT = "please report it, with what rover --debug doctor says"


def check() -> Sequence[Check]:
    """Everything, also after what failed; nothing is loaded or changed."""
    found = [checked() for checked in (kernel, processor, lockdown, privileges, bcc, types)]
    return [*found, *preemption(), *details.checks()]


def rehearse(settings: Mapping[str, Any], selected: Selection) -> Sequence[Check]:
    """Whether this kernel takes the programs, by giving them to it."""
    if missing := host.missing_capabilities(host.effective_capabilities()):
        why = f"not tried without {' and '.join(missing)}"
        return [Check("programs", False, why, host.PRIVILEGE_FIX, tried=False)]
    from rover_source_ebpf.source import EbpfSource

    began = time.monotonic()
    try:
        number = EbpfSource(settings, selected).rehearse()
    except RefusedError as error:
        said = " / ".join(error.last_lines)
        finding = f"{error}; the verifier's last lines: {said}" if said else str(error)
        return [Check("programs", False, finding, REPORT)]
    except RoverError as error:
        return [Check("programs", False, str(error))]
    taken = time.monotonic() - began
    return [
        Check(
            "programs", True, f"the kernel takes all {number} of them, loaded and attached in {taken:.1f} s"
        )
    ]


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
    fix = "" if enough else f"Linux {needed[0]}.{needed[1]} or later is needed"
    return Check("kernel", enough, found, fix)


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


def preemption() -> list[Check]:
    """A warning where the kernel skips programs. What it skipped in a run is in the run's totals."""
    if not preempted(platform.release()):
        return []
    return [
        Check(
            "preemption",
            False,
            "this kernel skips a program while another task is preempted in it: calls may pass unseen",
            f"{COPIES} copies of it stand in for each other, and calls that all of them miss count as lost",
            required=False,
        )
    ]


def privileges() -> Check:
    """Effective capabilities, not the user id: a container's root may have few."""
    missing = host.missing_capabilities(host.effective_capabilities())
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if missing:
        return Check("privileges", False, f"{who} without {' and '.join(missing)}", host.PRIVILEGE_FIX)
    return Check("privileges", True, f"{who}, with what is needed")


def bcc() -> Check:
    """The compiler collection, and where it was found, by the process that compiles."""
    try:
        with Compiler() as compiler:
            files = compiler.describe()
    except RoverError as error:
        return Check("bcc", False, str(error).removesuffix(f"; {FIX}"), FIX)
    names = ", ".join(sorted(os.path.basename(os.path.realpath(file.path)) for file in files))
    return Check("bcc", True, f"{names} from {os.path.dirname(files[0].path) if files else 'nowhere'}")


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
    fix = "boot with lockdown=integrity or without" if forbidden else ""
    return Check("lockdown", not forbidden, mode, fix)


def check_tls(libraries: Sequence[TlsLibrarySpec], pid: int | None) -> Sequence[Check]:
    """See `rover.contracts.source.SourceSpec.check_tls`."""
    found = tls_report.host(libraries) if pid is None else tls_report.process(libraries, pid)
    unsupported = tls.why_unsupported()
    if not unsupported or host.missing_capabilities(host.effective_capabilities()):
        return found
    fix = "use Linux 6.6 or later, or one with CONFIG_UPROBE_EVENTS; without, rover reads clear text only"
    return [Check(tls_report.SUBJECT, False, unsupported, fix, required=False), *found]
