"""Which network namespace a process is in."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from pathlib import Path

MAX_PROCESSES = 8192
"""Processes remembered, some 200 bytes each; the one asked for longest ago goes."""
FRESH = 60.0
"""Seconds after which a process is looked up again: its number may have a new owner."""


class Namespaces:
    """Remembers them by process."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        """`proc`: where procfs is."""
        self._proc = proc
        self._known: OrderedDict[tuple[int, str], tuple[float, int]] = OrderedDict()

    def network(self, pid: int, name: str) -> int:
        """The inode number of the network namespace of a process of this name; 0 when it is not known. One
        that has ended keeps what was known of it."""
        key = (pid, name)
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and now - known[0] < FRESH:
            self._known.move_to_end(key)
            return known[1]
        found = _inode(self._proc / str(pid) / "ns" / "net")
        if not found and known is not None:
            found = known[1]
        self._known[key] = (now, found)
        self._known.move_to_end(key)
        if len(self._known) > MAX_PROCESSES:
            self._known.popitem(last=False)
        return found


def _inode(link: Path) -> int:
    try:
        target = os.readlink(link)  # net:[4026531840]
    except OSError:
        return 0
    number = target.removeprefix("net:[").removesuffix("]")
    return int(number) if number.isascii() and number.isdigit() else 0
