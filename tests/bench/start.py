"""From the command to "watching", and the memory at rest: with the compiled programs kept, and without."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.live import TICKS

SETTLED = 1.0
"""Seconds after which nothing moves any more."""
SMALLEST = [sys.executable, "-I", "-S", "-c", "pass"]
TIMES = 20
"""The smallest program is run so often, for a figure that is larger than a clock's tick."""


class Start:
    """One agent, from its start until it has settled."""

    def __init__(self, cache: Path, arguments: list[str]) -> None:
        began = time.perf_counter()
        agent = subprocess.Popen(
            [sys.executable, "-m", "rover", "run", "--port", "1", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CACHE_DIRECTORY": str(cache)},
        )
        assert agent.stderr is not None
        try:
            while "watching" not in (said := agent.stderr.readline()):
                if not said:
                    raise RuntimeError("rover did not start")
            self.wall = time.perf_counter() - began
            fields = Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()
            self.own, self.children = ((int(fields[at]) + int(fields[at + 1])) / TICKS for at in (11, 13))
            time.sleep(SETTLED)
            self.resident, self.own_share = memory(agent.pid)
        finally:
            agent.terminate()
            agent.communicate(timeout=60)


def memory(pid: int) -> tuple[float, float]:
    """MB: resident, and of that what the process alone has (proc(5), smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    figures = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return figures["Rss"], figures["Private_Clean"] + figures["Private_Dirty"]


@contextlib.contextmanager
def caches(directory: Path) -> Iterator[Callable[[bool], Path]]:
    """Gives a directory that holds the programs, or one that does not."""
    warm, number = directory / "warm", 0

    def choose(kept: bool) -> Path:
        nonlocal number
        number += not kept
        return warm if kept else directory / f"cold{number}"

    yield choose


def smallest() -> float:
    """Seconds that an interpreter takes to start and end: what this machine is worth now."""
    began = time.perf_counter()
    for _ in range(TIMES):
        subprocess.run(SMALLEST, check=True)
    return (time.perf_counter() - began) / TIMES


def rows(directory: Path, rounds: int, say: Callable[[str], None]) -> None:
    """A line for each way to start, medians of so many rounds, interleaved; the least, too: what else the
    machine does only ever adds to it."""
    if os.geteuid() != 0:
        say("  left out: needs root")
        return
    ways: dict[str, tuple[bool, list[str]]] = {
        "the first time, compiling": (False, []),
        "again": (True, []),
        "again, 2 workers": (True, ["--workers", "2"]),
        "again, OAP sink": (True, ["--sink", "oap"]),
    }
    with caches(directory) as choose:
        for _, arguments in ways.values():
            Start(choose(True), arguments)
        bare = [smallest() for _ in range(rounds)]
        found = {
            name: [Start(choose(kept), arguments) for _ in range(rounds)]
            for name, (kept, arguments) in ways.items()
        }
    for name, starts in found.items():
        walls = [start.wall for start in starts]
        say(
            f"  {name:28} {statistics.median(walls):5.2f} s (least {min(walls):.2f}), "
            f"{min(walls) / min(bare):4.0f} x a bare Python; "
            f"processor time {least(starts, 'own'):.2f} s, compiler's {least(starts, 'children'):.2f} s; "
            f"resident {least(starts, 'resident'):.0f} MB, {least(starts, 'own_share'):.0f} of them its own"
        )


def least(starts: list[Start], figure: str) -> float:
    return min(float(getattr(start, figure)) for start in starts)
