"""What the capture needs of the host: privileges, namespaces, and the number of processors."""

from __future__ import annotations

import os
from pathlib import Path

# include/uapi/linux/capability.h. CAP_SYS_ADMIN stands for both others; before Linux 5.8 it was
# the only one.
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
PRIVILEGE_FIX = "run it as root (sudo rover run), or with CAP_BPF and CAP_PERFMON"

# The inode numbers of the host's own namespaces, include/linux/proc_ns.h.
NAMESPACES = {"pid": 0xEFFFFFFC, "user": 0xEFFFFFFD}


def is_hosts_namespace(kind: str, directory: Path = Path("/proc/self/ns")) -> bool:
    """Whether this process's namespace of a kind is the host's own, or cannot be looked at."""
    try:
        return os.stat(directory / kind).st_ino == NAMESPACES[kind]
    except OSError:
        return True


def effective_capabilities(status: Path = Path("/proc/self/status")) -> int:
    """The bit set this thread acts with; root may lack some, another user may have some.

    None of a user namespace other than the host's: they count in it, and the kernel's side is outside of it.
    """
    if not is_hosts_namespace("user"):
        return 0
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def missing_capabilities(effective: int) -> list[str]:
    """Names of what is needed and not there."""
    if effective >> CAP_SYS_ADMIN & 1:
        return []
    wanted = {"CAP_BPF": CAP_BPF, "CAP_PERFMON": CAP_PERFMON}
    return [name for name, bit in wanted.items() if not effective >> bit & 1]


def lockdown(path: Path = Path("/sys/kernel/security/lockdown")) -> str:
    """The mode in force (kernel_lockdown(7)): "none", "integrity" or "confidentiality"."""
    try:
        modes = path.read_text()
    except OSError:
        return "none"
    _, _, rest = modes.partition("[")
    return rest.partition("]")[0] or "none"


def possible_cpus(path: Path = Path("/sys/devices/system/cpu/possible")) -> int:
    """One more than the highest processor number the kernel may ever use."""
    try:
        return int(path.read_text().strip().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1
