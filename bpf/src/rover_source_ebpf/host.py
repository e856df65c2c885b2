"""What the capture needs of the host: privileges, tracefs, the number of processors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from rover.errors import RoverError

# include/uapi/linux/capability.h. CAP_SYS_ADMIN stands for both others; before Linux 5.8 it was
# the only one.
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
TRACEFS = Path("/sys/kernel/tracing")
DEBUGFS_TRACING = Path("/sys/kernel/debug/tracing")
PRIVILEGE_MEND = "run it as root (sudo rover run), or with CAP_BPF and CAP_PERFMON"


def effective_capabilities(status: Path = Path("/proc/self/status")) -> int:
    """The bit set this thread acts with; root may lack some, another user may have some."""
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


def tracefs() -> Path | None:
    """Where tracefs is mounted, as far as can be seen."""
    for place in (TRACEFS, DEBUGFS_TRACING):
        try:
            if (place / "events/syscalls").is_dir():
                return place
        except OSError:
            continue
    return None


def ensure_tracefs() -> Path:
    """Mounts tracefs where it is missing. Raises RoverError when that fails."""
    if (place := tracefs()) is not None:
        return place
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"nodev", os.fsencode(TRACEFS), b"tracefs", 0, None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise RoverError(
            f"tracefs is not mounted, and mounting it failed ({reason}); as root: "
            f"mount -t tracefs nodev {TRACEFS}"
        )
    if (place := tracefs()) is None:
        raise RoverError("this kernel has no syscall tracepoints (CONFIG_FTRACE_SYSCALLS)")
    return place


def missing_tracepoints(place: Path, names: Iterable[str]) -> list[str]:
    """Those of `names` ("syscalls/sys_enter_read") that the kernel does not have."""
    return [name for name in names if not (place / "events" / name).is_dir()]


def possible_cpus(path: Path = Path("/sys/devices/system/cpu/possible")) -> int:
    """One more than the highest processor number the kernel may ever use."""
    try:
        return int(path.read_text().strip().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1
