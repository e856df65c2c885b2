"""How the agent is scheduled beside what it watches."""

from __future__ import annotations

import logging
import os

from rover.errors import UsageError

LOWEST, HIGHEST = -20, 19  # as nice(2) has them: the lower, the sooner

logger = logging.getLogger("rover")


def set_nice(nice: int) -> None:
    """Of this process and of all threads and processes it makes from now on.

    Raises UsageError for what is no such value. Without CAP_SYS_NICE it may stay as it is, which is said:
    the agent then captures all the same, and only loses more when the processor is short.
    """
    if not LOWEST <= nice <= HIGHEST:
        raise UsageError(f"run.nice = {nice}: must be from {LOWEST} to {HIGHEST}")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        stays = os.getpriority(os.PRIO_PROCESS, 0)
        logger.warning(
            "run.nice = %d needs CAP_SYS_NICE or Nice= in a unit: the niceness stays %d, and the agent loses "
            "more when the processor is short",
            nice,
            stays,
        )


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
