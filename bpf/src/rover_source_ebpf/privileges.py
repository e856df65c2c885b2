"""What the agent may see on this host beyond what its programs tell it: other users' /proc, namespaces.

A user namespace keeps the capture from working. Anything else that is missing costs a detail, which is told
once; docs/deploy.md has the table.
"""

from __future__ import annotations

import os
from pathlib import Path

# include/uapi/linux/capability.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE = 1, 2, 19
# The inode numbers of the host's own namespaces, include/linux/proc_ns.h.
HOSTS = {"pid": 0xEFFFFFFC, "user": 0xEFFFFFFD}

USER_NAMESPACE = "a user namespace, whose capabilities load no programs"
USER_NAMESPACE_FIX = "run it outside of it: no rootless container, no PrivateUsers= in its unit"
PID_NAMESPACE = "not the host's: connections from before the start are picked up later, containers lack names"
PID_NAMESPACE_FIX = "share the host's (hostPID: true, --pid=host)"
UNREAD = "connections from before the start are picked up later, containers may lack names"


def is_hosts(kind: str, directory: Path = Path("/proc/self/ns")) -> bool:
    """Whether this process's namespace of a kind is the host's own, or cannot be looked at."""
    try:
        return os.stat(directory / kind).st_ino == HOSTS[kind]
    except OSError:
        return True


def missing_for_proc(effective: int) -> list[str]:
    """Names of the capabilities that other users' files in /proc need and that are not there."""
    wanted = {
        "CAP_SYS_PTRACE": 1 << CAP_SYS_PTRACE,
        # Either one allows to list a directory (capabilities(7)).
        "CAP_DAC_READ_SEARCH": 1 << CAP_DAC_READ_SEARCH | 1 << CAP_DAC_OVERRIDE,
    }
    return [name for name, bits in wanted.items() if not effective & bits]
