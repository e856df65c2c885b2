"""Runs of programs that the kernel skipped (`recursion_misses`).

The kernel does not run a program on a processor where a run of it has not returned yet, and counts what it
skipped, per program. Up to Linux 6.19 that takes an interrupt which comes at the wrong moment. From 7.0 on a
task may be preempted inside a program, and every other task of that processor passes without it meanwhile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from rover_source_ebpf.bpf import recursion_misses

PREEMPTED = (7, 0)
"""The first Linux whose tracepoints may be preempted: they are guarded by SRCU from there on, no longer by
disabled preemption (include/linux/tracepoint.h)."""
COPIES = 4
"""Programs at each of the two busiest tracepoints on such a kernel; c/copies.c has as many."""


def preempted(release: str) -> bool:
    """Whether a kernel of this release (uname -r) skips a program while another task is preempted in it."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= PREEMPTED


def skipped(programs: Mapping[str, int]) -> int:
    """Events that may have passed without any program: at most so many, and none when it is 0.

    `programs`: descriptors, by the names that rover_source_ebpf.kernel gives them. An event is lost where
    every copy was skipped, so no more are lost than the copy has missed that missed the fewest. Raises
    OSError.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for name, descriptor in programs.items():
        copies[name.partition("__")[0]].append(descriptor)
    return sum(fewest_misses(descriptors) for descriptors in copies.values())


def fewest_misses(descriptors: list[int]) -> int:
    """Of the copies of one program. The last one does the least and misses the least: often it is enough."""
    fewest = recursion_misses(descriptors[-1])
    for descriptor in descriptors[-2::-1]:
        if fewest == 0:
            break
        fewest = min(fewest, recursion_misses(descriptor))
    return fewest
