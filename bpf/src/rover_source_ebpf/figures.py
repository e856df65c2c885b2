"""The kernel side's figures: what it has sent, and what of it was lost, which is told as it grows."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping

from rover.values.records import Loss, RecordHandler
from rover_source_ebpf import host
from rover_source_ebpf.loader import Program
from rover_source_ebpf.misses import Misses, has_copies

LOSS_INTERVAL = 100_000_000
"""ns between two looks at the kernel's counters of losses, while records come."""
QUIET_INTERVAL = 1_000_000_000
"""ns between two such looks while none come; and between two looks at what the programs have missed, which
takes a call for each, where there is one of each: then it does not matter how often (see misses.py)."""

COUNTERS = (
    *("records", "uploaded_bytes", "ring_full", "connections_full", "threads_full", "unreadable"),
    "tls_unplaced",
)
"""The kernel's figures, by their number in c/maps.c."""
LOSSES = ("ring_full", "connections_full", "threads_full", "tls_unplaced", "skipped")
"""The figures that count calls of which no record was delivered; `skipped` comes from misses.py."""


class Figures:
    """Of one source; they are there still when its programs are not."""

    def __init__(self) -> None:
        self._misses = Misses()
        self._totals = dict.fromkeys((*COUNTERS, "skipped"), 0)
        self._told = dict.fromkeys(LOSSES, 0)
        self._looked = 0
        self._looked_at_misses = 0

    @property
    def totals(self) -> Mapping[str, int]:
        """By name, as they were when they were looked at last."""
        return self._totals

    @property
    def lost(self) -> int:
        """Calls of which no record was delivered."""
        return sum(self._totals[cause] for cause in LOSSES)

    def look(self, program: Program, now: int, handler: RecordHandler, *, quiet: bool) -> None:
        """Tells of losses, if it is time to look at them. This is called often, so it costs little.

        `now` in ns; `quiet`: no records came since the last call.
        """
        if now - self._looked < (QUIET_INTERVAL if quiet else LOSS_INTERVAL):
            return
        self._looked = now
        self._read(program, (cause for cause in LOSSES if cause in COUNTERS))
        if now - self._looked_at_misses >= QUIET_INTERVAL or has_copies(program.programs()):
            self._looked_at_misses = now
            self._totals["skipped"] = self._misses.look(program.programs())
        self.tell(handler)

    def count(self, program: Program) -> None:
        """Brings all figures up to date."""
        self._read(program, COUNTERS)
        self._totals["skipped"] = self._misses.look(program.programs())

    def tell(self, handler: RecordHandler) -> None:
        """Of losses since this was called last."""
        for cause in LOSSES:
            if (lost := self._totals[cause] - self._told[cause]) > 0:
                self._told[cause] = self._totals[cause]
                handler.lost(Loss(records=lost, cause=cause))

    def _read(self, program: Program, names: Iterable[str]) -> None:
        for name in names:
            self._totals[name] = total(program, "counters", COUNTERS.index(name))


def total(program: Program, table: str, number: int) -> int:
    """Of all processors, of a table that has a value for each."""
    size = 8 * _cpus()
    values = program.get(table, number.to_bytes(4, "little"), size) or bytes(size)
    return sum(struct.unpack(f"={size // 8}Q", values))


@functools.cache
def _cpus() -> int:
    return host.possible_cpus()
