"""System calls on sockets that threads are waiting in at this moment, from /proc/PID/task/TID/syscall."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path


def calls_under_way(numbers: Collection[int], proc: Path = Path("/proc")) -> Iterator[tuple[int, int, int]]:
    """(process, thread, number) of each whose number is one of these, and whose first argument is a
    socket of its process. What ends or may not be looked at meanwhile is left out."""
    for process in _numbered(proc):
        for thread in _numbered(proc / str(process) / "task"):
            try:
                # "NUMBER ARGUMENT...", or "running" (proc(5))
                fields = (proc / str(process) / "task" / str(thread) / "syscall").read_text().split()
                if len(fields) < 2 or not fields[0].isdigit() or int(fields[0]) not in numbers:
                    continue
                descriptor = int(fields[1], 16) & 0xFFFF_FFFF
                if stat.S_ISSOCK(os.stat(proc / str(process) / "fd" / str(descriptor)).st_mode):
                    yield process, thread, int(fields[0])
            except (OSError, ValueError):
                continue


def _numbered(directory: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return []
