"""What system calls of all programs take beside rover: the price that those pay who say nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

CALLS = """
import os, socket, timeit
file, page = os.open("/dev/null", os.O_WRONLY), bytes(200)
listener = socket.create_server(("127.0.0.1", 0))
one, other = socket.create_connection(listener.getsockname()), listener.accept()[0]
near, far = socket.socketpair()
def round_trip(one, other):
    one.send(page); other.recv(200)
def least(call, number):
    return min(timeit.repeat(call, number=number, repeat=300)) / number * 1e9
print(least(os.getppid, 500), least(lambda: os.write(file, page), 500),
      least(lambda: round_trip(near, far), 100) / 2, least(lambda: round_trip(one, other), 100) / 2)
"""
"""Prints ns of each of KINDS, the least of many loops: other load adds, and takes nothing away."""
KINDS = ("getppid", "write to a file", "call on a Unix socket", "call on a TCP socket")
WAYS: tuple[tuple[str, Sequence[str]], ...] = (
    ("everything watched", ()),
    ("by sockets", ("--set", "source.ebpf.tracepoints=sockets")),
    ("another program", ("--comm", "nobody-has-it")),
)


def costs() -> list[float]:
    """ns of each kind, by a program of its own."""
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    return [float(figure) for figure in done.stdout.split()]


@contextlib.contextmanager
def watching(options: Sequence[str]) -> Iterator[None]:
    """rover, from "watching" to its end."""
    agent = subprocess.Popen(
        [*(sys.executable, "-m", "rover", "run", *options), *("--set", "sink.jsonl.path=/dev/null"), *SINK],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert agent.stderr is not None
    while "watching" not in (said := agent.stderr.readline()):
        if not said:
            raise RuntimeError("rover did not start")
    yield
    agent.send_signal(signal.SIGINT)
    agent.communicate(timeout=60)


SINK = ("--sink", "jsonl")


def rows(rounds: int, say: Callable[[str], None]) -> None:
    """Prints a line for each kind of call: alone, and what is added in each way of watching; in turns."""
    if os.geteuid() != 0:
        say("  left out: needs root")
        return
    alone: list[list[float]] = []
    beside: dict[str, list[list[float]]] = {name: [] for name, _ in WAYS}
    for _ in range(rounds):
        alone.append(costs())
        for name, options in WAYS:
            with watching(options):
                beside[name].append(costs())
    for kind, name in enumerate(KINDS):
        base = min(each[kind] for each in alone)
        say(f"  {name:24} {base:6.0f} ns alone" + "".join(added(base, kind, beside)))


def added(base: float, kind: int, beside: dict[str, list[list[float]]]) -> Iterator[str]:
    """The rest of a line."""
    for way, rounds in beside.items():
        cost = min(each[kind] for each in rounds)
        yield f"; {way} {cost - base:+.0f} ns ({cost / base:.2f} x)"
