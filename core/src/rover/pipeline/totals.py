"""What happened, in numbers that add up."""

from __future__ import annotations

import dataclasses
from collections import Counter


@dataclasses.dataclass(slots=True)
class Totals:
    """Counters of one run.

    Exchanges: `seen = unhandled + handed to the sinks`, and each sink's `logged + lost` is what
    it was handed. Socket calls: `calls = in_exchanges + alone + waiting`, and at the end
    nothing waits.
    """

    connections: int = 0
    exchanges: int = 0
    unhandled: int = 0
    """Exchanges of which no plugin made an access log; their details went alone."""
    calls: int = 0
    in_exchanges: int = 0
    alone: int = 0
    breaks: Counter[str] = dataclasses.field(default_factory=Counter)
    """By reason."""
    records_lost: Counter[str] = dataclasses.field(default_factory=Counter)
    """By cause, as the source reports it."""
    missing: int = 0
    """Records that the sequence numbers of their connections show never arrived: a part of
    `records_lost` that could be placed."""
    resynchronised: int = 0
    late_payload: int = 0
    """Bytes that came for a broken connection before the source stopped uploading them."""
    evicted: int = 0
    """Connections given up because the table was full."""


def by_cause(counter: Counter[str]) -> str:
    """ "a 2, b 1", largest first."""
    return ", ".join(f"{cause} {n}" for cause, n in sorted(counter.items(), key=lambda i: (-i[1], i[0])))
