"""What is told of privileges that are missing beyond those the programs need.

A user namespace keeps the capture from working. Anything else costs a detail: it is told once when the agent
starts, and by `rover doctor`. docs/deploy.md has the table.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rover.contracts.source import Check
from rover.errors import RoverError
from rover_source_ebpf import host

logger = logging.getLogger("rover.ebpf")

# include/uapi/linux/capability.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE = 1, 2, 19

USER_NAMESPACE = "not the host's: its capabilities load no programs"
USER_NAMESPACE_FIX = "run it outside of it: no rootless container, no PrivateUsers= in its unit"
PID_NAMESPACE = "not the host's: connections from before the start are picked up later, containers lack names"
PID_NAMESPACE_FIX = "share the host's (hostPID: true, --pid=host)"
UNREAD = "connections from before the start are picked up later, containers may lack names"


def missing_for_proc(effective: int) -> list[str]:
    """Names of the capabilities that other users' files in /proc need and that are not there."""
    wanted = {
        "CAP_SYS_PTRACE": 1 << CAP_SYS_PTRACE,
        # Either one allows to list a directory (capabilities(7)).
        "CAP_DAC_READ_SEARCH": 1 << CAP_DAC_READ_SEARCH | 1 << CAP_DAC_OVERRIDE,
    }
    return [name for name, bits in wanted.items() if not effective & bits]


def tell() -> None:
    """At the start: a line for each thing that is missing and costs a detail. Raises RoverError where nothing
    can be captured."""
    if not host.is_hosts_namespace("user"):
        raise RoverError(f"the user namespace is {USER_NAMESPACE}; {USER_NAMESPACE_FIX}")
    effective = host.effective_capabilities()
    if host.missing_capabilities(effective):
        return  # there will be an error, which is enough
    if missing := missing_for_proc(effective):
        logger.warning("without %s %s", " and ".join(missing), UNREAD)
    if not host.is_hosts_namespace("pid"):
        logger.warning("the pid namespace is %s", PID_NAMESPACE)


def checks() -> Sequence[Check]:
    """Lines for `rover doctor`."""
    missing = missing_for_proc(host.effective_capabilities())
    names = " and ".join(missing)
    finding = f"without {names}: {UNREAD}" if missing else "can be looked at in /proc"
    found = [Check("other processes", not missing, finding, f"give it {names}", required=False)]
    shared = host.is_hosts_namespace("pid")
    finding = "the host's" if shared else PID_NAMESPACE
    found.append(Check("pid namespace", shared, finding, PID_NAMESPACE_FIX, required=False))
    if not host.is_hosts_namespace("user"):
        found.append(Check("user namespace", False, USER_NAMESPACE, USER_NAMESPACE_FIX))
    return found
