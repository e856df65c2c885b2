"""Runs the benchmarks and prints their tables. Names choose: `make bench ARGS=decode`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import decode

ROUNDS = 5


def median(measure: Callable[[], float]) -> float:
    """Of five rounds, after one that warms up."""
    measure()
    return statistics.median(measure() for _ in range(ROUNDS))


def main() -> None:
    wanted = sys.argv[1:] or ["decode"]
    if "decode" in wanted:
        print("decode: kernel records in memory to finished JSON lines, one core")
        for name, cost, ratio in decode.rows(median):
            print(f"  {name:55} {cost:8.1f} us  {ratio:6.2f} x")


main()
