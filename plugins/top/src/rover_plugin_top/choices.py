"""What a user can choose by name."""

from __future__ import annotations

GROUPS = ("route", "host", "process", "peer", "status", "connection")
"""What rows are of. All but the last are places in `counting.Tally.names`."""
SORTS = ("name", "rate", "count", "errors", "breaks", "p50", "p95", "p99", "bytes")
"""What they are sorted by."""
