"""Runs of programs that the kernel skipped (`recursion_misses`).

The kernel does not run a program on a processor where a run of it has not returned yet, and counts what it
skipped, per program. Up to Linux 6.19 that takes an interrupt which comes at the wrong moment. From 7.0 on a
task may be preempted inside a program, and every other task of that processor passes without it meanwhile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

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


def has_copies(programs: Iterable[str]) -> bool:
    """Whether there are several of a program, by the names that rover_source_ebpf.kernel gives them."""
    return any("__" in name for name in programs)


class Misses:
    """The most events that may have passed without any program, as far as the kernel's figures tell.

    An event is lost where every copy of a program was skipped. So of the events between two looks no more
    are lost than were missed by the copy that missed the fewest. Where there are copies, the more often the
    figures are looked at, the closer this is to what was lost; 0 is exact, except for an event that a look
    falls into the middle of.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._skipped = 0

    def look(self, programs: Mapping[str, int]) -> int:
        """All so far. `programs`: descriptors, by the names that rover_source_ebpf.kernel gives them. Raises
        OSError."""
        return self.add({name: recursion_misses(descriptor) for name, descriptor in programs.items()})

    def add(self, missed: Mapping[str, int]) -> int:
        """All so far, where `missed` is what each program has missed since it was loaded."""
        copies: dict[str, list[int]] = defaultdict(list)
        for name, count in missed.items():
            copies[name.partition("__")[0]].append(count - self._before.get(name, 0))
        self._before = dict(missed)
        self._skipped += sum(map(min, copies.values()))
        return self._skipped
