"""How much is counted and kept."""

from __future__ import annotations

MAX_CELLS = 4096
"""A cell is 1 to 2 kB, and what it keeps. Half as many more may be `(other)`."""
MAX_CONNECTIONS = 2048
"""The same for connections; nobody looks through more."""
MAX_KNOWN = 16_384
"""Connections whose ends are remembered, 200 bytes each; they are found out again where they are not."""
KEPT = 8
"""Logs that a tally keeps, the last ones: more than a screen shows with their calls."""
KEPT_OF_CONNECTION = 2
"""The same of a connection. The memory of a log that is not kept is used again while the processor's caches
hold it: with 8 of each of 20 connections an exchange took a fifth more of the agent."""
KEPT_MEMORY = 64 << 20
"""Bytes that they take together, about. When that is used up each tally keeps one; where that is still more
than half of it, none."""
KEPT_TEXT = 8192
"""Characters of a log, and calls of it: one with more is not kept whole. With 128 KiB of head, which HTTP/1.x
allows, one log for each tally would be a gigabyte."""
KEPT_CALLS = 32
LONG_TEXT, MAX_NAME = 2048, 512
"""Characters of a log's texts from which on its names are cut, and to how many: tallies are found by them
and keep them."""
LOG_MEMORY, DETAIL_MEMORY = 2048, 256
"""Bytes of a log besides its texts and details, and of a detail, about."""
