"""Hostile connections beside an ordinary one: it is logged at once, and the agent stays small."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hostile
from harness import DEADLINE, RunningAgent, wait_until

pytestmark = pytest.mark.live

COUNT = int(os.environ.get("ROVER_HOSTILE", "400"))
"""Connections of each kind."""
RATES = {"large-streams": 60, "bare-line-feeds": 60, "pipelined": 60}
"""Of them a second, where they hold hundreds of exchanges each, which all are logged, at both ends."""
RATE = 250
"""The same of others: 100 to 500 kB at either end. As fast as they go they fill the ring, which loses
records, counted, those of ordinary connections among them."""
EACH = 4_000
"""Of them in one process: descriptors are limited, and each connection has two."""
LATE = 1.0
"""Seconds that the agent may work before the ordinary line is there. Processor time: how long it waits for a
processor is up to what else the machine does, the swarm itself included."""
LIMIT = 64
"""MiB of `limits.memory` in these tests."""
MARGIN = 48
"""MiB beside it: what Python's allocator keeps of what was freed, queues and rings."""


def resident(pid: int, field: str = "VmRSS") -> float:
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field))


def worked(pid: int) -> float:
    """Seconds of processor time that all threads of a process have taken; in steps of a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


@contextlib.contextmanager
def swarm(kind: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that wait to be told to open so many connections; the first line of each was its port."""
    shares = [min(EACH, count - first) for first in range(0, count, EACH)]
    argv = [sys.executable, hostile.__file__, kind]
    rate = str(RATES.get(kind, RATE) / len(shares))
    processes = [
        subprocess.Popen([*argv, str(share), rate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for share in shares
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


class Ordinary(threading.Thread):
    """Asks on one connection, again and again, and tells how long the agent worked until each line was in the
    file."""

    def __init__(self, port: int, agent: RunningAgent) -> None:
        super().__init__(daemon=True)
        self.delays: list[float] = []
        self.missing: list[str] = []
        self._port = port
        self._agent = agent
        self._place = 0
        self._ended = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        number = 0
        with contextlib.closing(connection):
            while not self._ended.wait(0.05):
                number += 1
                target = f"/?ordinary={number}"
                connection.request("GET", target)
                connection.getresponse().read()
                answered = worked(self._agent.pid)
                if self._appears(target):
                    self.delays.append(worked(self._agent.pid) - answered)
                else:
                    self.missing.append(target)

    def _appears(self, target: str) -> bool:
        """Reads on in the agent's file until it names this target; False when it does not in time."""
        end = time.monotonic() + DEADLINE
        text = b""
        while time.monotonic() < end:
            if self._agent.path.exists():
                with self._agent.path.open("rb") as file:
                    file.seek(self._place)
                    text += file.read()
                    self._place = file.tell()
            if f'"{target}"'.encode() in text:
                return True
            time.sleep(0.002)
        return False

    def stop(self) -> None:
        self._ended.set()
        self.join(2 * DEADLINE)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", hostile.KINDS)
def test_an_ordinary_connection_beside_hostile_ones(kind, nginx, start_agent):
    with swarm(kind, COUNT) as processes:
        ports = []
        for process in processes:
            assert process.stdout is not None
            ports += ["--port", process.stdout.readline().strip()]
        agent = start_agent(*ports, "--port", str(nginx.port), "--set", f"limits.memory={LIMIT}MiB")
        ordinary = Ordinary(nginx.port, agent)
        ordinary.start()
        wait_until(lambda: len(ordinary.delays) > 20, "the first ordinary lines")
        before = resident(agent.pid)
        started = time.monotonic()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "sent\n"
        seen = len(ordinary.delays)
        wait_until(lambda: len(ordinary.delays) > seen + 5, "ordinary lines after the swarm")
        ordinary.stop()
        peak = resident(agent.pid, "VmHWM")
        print(
            f"{kind}: {COUNT} connections in {time.monotonic() - started:.1f} s; {len(ordinary.delays)} "
            f"ordinary lines, slowest {max(ordinary.delays):.2f} s; resident {before:.0f} to {peak:.0f} MiB"
        )
        ending = time.monotonic()
        agent.process.send_signal(signal.SIGTERM)
        assert agent.join() == 0, agent.err
        assert time.monotonic() - ending < DEADLINE
        print("\n".join(agent.err[-3:]))
        assert not ordinary.missing
        assert max(ordinary.delays) < LATE
        assert peak < before + LIMIT + MARGIN
