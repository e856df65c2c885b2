"""Runs the benchmarks and prints their tables. Names choose: `make bench ARGS="decode live"`."""

from __future__ import annotations

import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import bystanders, decode, live, memory, replay, start, workers

NAMES = ("decode", "replay", "live", "memory", "start", "bystanders")
ROUNDS = 5


def medians(*measures: Callable[[], float]) -> list[float]:
    """Of five rounds, after one that warms up; in turns, so that what else the machine does falls on
    all of them alike."""
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(ROUNDS)]
    return [statistics.median(each) for each in zip(*rounds, strict=True)]


def main() -> None:
    wanted = sys.argv[1:] or NAMES
    if unknown := set(wanted) - set(NAMES):
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}")
    if "decode" in wanted:
        print("decode: kernel records in memory to finished JSON lines, one core")
        for name, cost, bare in decode.rows(medians):
            print(
                f"  {name:55} {cost:8.1f} us  {cost / bare:6.2f} x llhttp's bare parse ({bare:.1f} us)",
                flush=True,
            )
        print(f"  HTTP/1.1 exchange, 100 connections, {workers.row(medians)}", flush=True)
    if "replay" in wanted:
        print("replay: a capture of nginx and wrk, whole processes, file to file")
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            replay.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
    if "live" in wanted:
        print("live: nginx and wrk at full speed")
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            live.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
    if "memory" in wanted:
        print("memory: resident size of an agent that is handed these connections")
        memory.rows(lambda line: print(line, flush=True))
    if "start" in wanted:
        print('start: from the command to "watching", and the memory at rest')
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            start.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
    if "bystanders" in wanted:
        print("bystanders: what system calls of all programs take beside rover, the least of many")
        bystanders.rows(ROUNDS, lambda line: print(line, flush=True))


main()
