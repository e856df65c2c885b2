"""How the agent is scheduled beside what it watches."""

from __future__ import annotations

import logging
import os

from rover.errors import UsageError

LOWEST, HIGHEST = -20, 19  # as nice(2) has them: the lower, the sooner

logger = logging.getLogger("rover")


def set_nice(nice: int) -> None:
    """Of this process and of all threads and processes it makes from now on.

    Raises UsageError for what is no such value. Without CAP_SYS_NICE it may stay as it is: the agent
    then captures all the same, and only loses more when the processor is short.
    """
    if not LOWEST <= nice <= HIGHEST:
        raise UsageError(f"run.nice = {nice}: must be from {LOWEST} to {HIGHEST}")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        logger.debug("the scheduling priority stays: nice %d needs CAP_SYS_NICE", nice)
