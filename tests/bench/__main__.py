"""Runs the benchmarks and prints their tables. Names choose: `make bench ARGS="decode live"`."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import bystanders, decode, hooks, live, memory, rate, replay, start, tls, workers

NAMES = ("rate", "decode", "hooks", "replay", "live", "tls", "memory", "start", "bystanders")
ROUNDS = 5


def medians(*measures: Callable[[], float]) -> list[float]:
    """Of five rounds, after one that warms up; in turns, so that what else the machine does falls on
    all of them alike."""
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(ROUNDS)]
    return [statistics.median(each) for each in zip(*rounds, strict=True)]


def rates(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures what rover costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without one")
    parser.add_argument(
        "--rates", type=rates, default=rate.RATES, metavar="N,N", help="of `rate`: requests a second"
    )
    parser.add_argument("--both", action="store_true", help="`rate` watches both ends, too")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help="of `rate`: turns of each kind"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return arguments


def main() -> None:
    arguments = parsed()
    wanted = arguments.names or NAMES
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}")
    if "rate" in wanted:
        print("rate: nginx and h2load at fixed rates")
        ways = list(rate.WAYS) if arguments.both else list(rate.WAYS)[:2]
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            rate.rows(
                Path(directory), arguments.rounds, arguments.rates, ways, lambda line: print(line, flush=True)
            )
    if "decode" in wanted:
        print("decode: kernel records in memory to finished JSON lines, one core")
        for name, cost, bare in decode.rows(medians):
            print(
                f"  {name:55} {cost:8.1f} us  {cost / bare:6.2f} x llhttp's bare parse ({bare:.1f} us)",
                flush=True,
            )
        print(f"  HTTP/1.1 exchange, 100 connections, {workers.row(medians)}", flush=True)
    if "hooks" in wanted:
        print("hooks: what they take of an access log, called alone")
        hooks.rows(medians, lambda line: print(line, flush=True))
    if "replay" in wanted:
        print("replay: a capture of nginx and wrk, whole processes, file to file")
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            replay.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
    if "live" in wanted:
        print("live: nginx and wrk at full speed")
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            live.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
    if "tls" in wanted:
        print("tls: nginx and h2load over TLS at full speed")
        with tempfile.TemporaryDirectory(prefix="rover-bench-") as directory:
            tls.rows(Path(directory), ROUNDS, lambda line: print(line, flush=True))
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
