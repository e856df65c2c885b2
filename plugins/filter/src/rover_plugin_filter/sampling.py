"""Which of many are kept, so that what belongs together stays together.

A trace is kept or dropped as a whole, by a hash of its id, on each host and by each worker alike; without one
a connection is. So one in a hundred exchanges are the exchanges of one in a hundred traces.
"""

from __future__ import annotations

import re
from zlib import crc32

from rover import AccessLog, UsageError

_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", re.ASCII)
RANGE = 1 << 32
"""As many hashes as there are."""


def threshold_of(share: str) -> int:
    """Below which hash a log is kept. Raises UsageError for what is no share: "1 %", "0.5%"."""
    match = _SHARE.fullmatch(share.strip())
    if match is None or not 0 <= float(match[1]) <= 100:
        raise UsageError(f"{share[:20]!r} is no share, such as 1 %")
    return round(float(match[1]) / 100 * RANGE)


def hash_of(log: AccessLog) -> int:
    """The same for what belongs together. It is no secret: who chooses the ids of traces can choose which
    are kept."""
    trace = log.attributes.get("trace_id")
    if type(trace) is str and trace:
        return crc32(trace.encode(errors="replace"))
    return crc32((log.connection.id & (1 << 64) - 1).to_bytes(8, "little"))
