"""How the agent is scheduled beside what it watches."""

from __future__ import annotations

import contextlib
import os

from rover.errors import UsageError

LOWEST, HIGHEST = -20, 19  # as nice(2) has them: the lower, the sooner
_AUTOGROUP = "/proc/self/autogroup"
_GROUPED = "/proc/sys/kernel/sched_autogroup_enabled"


def set_nice(nice: int) -> None:
    """Of this process and of all threads and processes it makes from now on; among other sessions, too, if
    this one is the agent's own (see `by_session`).

    Raises UsageError for what is no such value. Without CAP_SYS_NICE it may stay as it is: the agent
    then captures all the same, and only loses more when the processor is short. See `unmet`.
    """
    if not LOWEST <= nice <= HIGHEST:
        raise UsageError(f"run.nice = {nice}: must be from {LOWEST} to {HIGHEST}")
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    if os.getsid(0) == os.getpid():  # else it would be everybody's whom a terminal's user started
        with contextlib.suppress(OSError), open(_AUTOGROUP, "w") as file:
            file.write(str(nice))


def unmet(nice: int) -> str:
    """What to tell a user whose process could not be given this niceness; empty when it could."""
    stays = os.getpriority(os.PRIO_PROCESS, 0)
    if stays <= nice:
        return ""
    return (
        f"run.nice = {nice} needs CAP_SYS_NICE, or Nice= in a unit: the niceness stays {stays}, and more is "
        "lost when the processor is short"
    )


def by_session() -> bool:
    """Whether the kernel shares the processor out to sessions first, so that a niceness counts within one
    (sched(7), "The autogroup feature"). A cgroup with the cpu controller goes before that."""
    try:
        with open(_GROUPED) as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def may_set(nice: int) -> bool:
    """Whether the kernel allows it to this process, whose niceness is as before."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if before <= nice:  # may always be raised; not lowered again
        return True
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True
