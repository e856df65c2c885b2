"""nginx and h2load at fixed rates: what each request takes of the agent, of the server and of the client,
and how long the client waits, with nobody watching and watched by rover."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.live import Follower, agent, nginx, percentile
from harness import wait_until

RATES = (500, 2_000, 5_000)
"""Requests a second."""
SECONDS = 3
CONNECTIONS = 20
TIMER = 0.01
"""Seconds after which h2load sends what is due on a connection; or more, where less than one is due by then.
Connections are made one after the other in as long a time, so that requests come one or two at a time, and
not all of them at once."""
TOGETHER = 2
SETTLED = 0.3
"""Seconds after its start until the agent does nothing but watch."""
WAYS = {"nobody": 0, "server end": 1, "both ends": 2}
"""Who watches, and how many access logs there are of each request then."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One run of h2load. Processor times are of all threads, in seconds a request."""

    server: float
    client: float
    mean: float
    """Seconds from a request to its answer, as the client tells."""
    slowest: float
    """The same of the request that was slower than 99 % of them."""
    agent: float = 0.0
    share: float = 0.0
    """Of one core, that the agent took."""
    switches: float = 0.0
    """Times a second that a thread of the agent began to wait: how often it was woken."""
    absent: int = 0
    """Requests without an access log, and what was counted as lost."""
    delays: tuple[float, ...] = ()
    """Seconds from an exchange's last byte to its line in the file, sampled."""


@dataclasses.dataclass(frozen=True)
class Spent:
    """What some processes have taken so far."""

    processor: float
    """Seconds."""
    switches: int

    @classmethod
    def by(cls, pids: Iterable[int]) -> Spent:
        """All threads that live."""
        processor = switches = 0
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                # ns on a processor comes first (the kernel's Documentation/scheduler/sched-stats.rst)
                processor += int((task / "schedstat").read_text().split()[0])
                found = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text())
                switches += int(found[1]) if found else 0
        return cls(processor / 1e9, switches)

    def since(self, before: Spent) -> Spent:
        """What was taken between the two."""
        return Spent(self.processor - before.processor, self.switches - before.switches)


def workers(master: int) -> list[int]:
    """Processes of an nginx that answer requests."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[1]) == master:
            found.append(int(status.parent.name))
    return found


def h2load(port: int, rate: int, log: Path) -> tuple[float, list[float]]:
    """So many requests a second. Returns the processor time it took, and how long each request waited, both
    in seconds."""
    log.unlink(missing_ok=True)
    apart = max(TIMER, CONNECTIONS / rate) / CONNECTIONS * TOGETHER
    load = ["--rps", rate / CONNECTIONS, "-r", TOGETHER, f"--rate-period={1e3 * apart:.0f}ms"]
    command = [
        *("h2load", "--h1", "-t", "1", "-c", CONNECTIONS, "-n", rate * SECONDS, *load),
        *(f"--log-file={log}", f"http://127.0.0.1:{port}/"),
    ]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    if process.returncode or [code for _, code, _ in rows] != ["200"] * (rate * SECONDS):
        raise RuntimeError(f"h2load: exit code {process.returncode}, {len(rows)} answers at {rate} a second")
    return usage.ru_utime + usage.ru_stime, [int(micros) / 1e6 for *_, micros in rows]


def turn(directory: Path, port: int, rate: int, way: str, *, follow: bool = False) -> Turn:
    """One run; with `follow`, the file is read as it grows, which costs processor time of its own."""
    log, requests = directory / "h2load.log", rate * SECONDS
    master = int((directory / "nginx.pid").read_text())
    servers = workers(master)
    if not WAYS[way]:
        before = Spent.by(servers)
        client, waits = h2load(port, rate, log)
        server = Spent.by(servers).since(before)
        return Turn(
            server.processor / requests, client / requests, statistics.mean(waits), percentile(waits, 99)
        )
    file = directory / "access.jsonl"
    selection = ["--pid", str(master)] if WAYS[way] == 1 else ["--port", str(port)]
    follower = Follower(file, 1 if rate < 1_000 else 11)
    with agent(file, selection) as watching:
        time.sleep(SETTLED)
        if follow:
            follower.start()
        before, agent_before, began = Spent.by(servers), Spent.by([watching.pid]), time.monotonic()
        client, waits = h2load(port, rate, log)
        server = Spent.by(servers).since(before)
        logs = WAYS[way] * requests
        if follow:
            wait_until(lambda: follower.lines >= logs, "the last access logs")
            follower.stop()
        spent, seconds = Spent.by([watching.pid]).since(agent_before), time.monotonic() - began
    with file.open("rb") as lines:
        written = sum(piece.count(b"\n") for piece in iter(lambda: lines.read(1 << 20), b""))
    return Turn(
        server.processor / requests,
        client / requests,
        statistics.mean(waits),
        percentile(waits, 99),
        spent.processor / requests,
        spent.processor / seconds,
        spent.switches / seconds,
        logs - written + watching.lost,
        tuple(follower.delays),
    )


def least(turns: Sequence[Turn], figure: str) -> float:
    """What else the machine does only adds."""
    return min(float(getattr(each, figure)) for each in turns)


def rows(
    directory: Path, rounds: int, rates: Sequence[int], ways: Sequence[str], say: Callable[[str], None]
) -> None:
    """Prints a line for each rate and way of watching: the least of so many turns, interleaved, since what
    else the machine does only adds."""
    missing = [name for name in ("nginx", "h2load") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        say(f"  left out: needs {', '.join(missing) or 'root'}")
        return
    say(
        f"  {'requests/s':>10} {'watched':10} | us of processor time a request{'':7} | ms the client waits"
        f" | the agent{'':9} | delay of the log"
    )
    say(
        f"  {'':10} {'':10} | {'agent':>8} {'server':>14} {'client':>13} | {'mean':>9} {'p99':>9}"
        f" | {'of a core':>9} {'wakes/s':>8} | {'p50':>7} {'p99':>7} ms"
    )
    with nginx(directory) as port:
        turn(directory, port, rates[0], "nobody")
        for rate in rates:
            found: dict[str, list[Turn]] = {way: [] for way in ways}
            for _, way in itertools.product(range(rounds), ways):
                found[way].append(turn(directory, port, rate, way))
            bare = found["nobody"]
            for way, turns in found.items():
                server, client = least(turns, "server"), least(turns, "client")
                line = (
                    f"  {rate:10} {way:10} | {1e6 * least(turns, 'agent'):8.1f} "
                    f"{1e6 * server:7.1f} {100 * (server / least(bare, 'server') - 1):+5.0f} % "
                    f"{1e6 * client:6.1f} {100 * (client / least(bare, 'client') - 1):+4.0f} % | "
                    f"{1e3 * least(turns, 'mean'):9.3f} {1e3 * least(turns, 'slowest'):9.3f} | "
                )
                if WAYS[way]:
                    delays = turn(directory, port, rate, way, follow=True).delays
                    line += (
                        f"{100 * least(turns, 'share'):7.1f} % {least(turns, 'switches'):8.0f} | "
                        f"{1e3 * percentile(list(delays), 50):7.1f} {1e3 * percentile(list(delays), 99):7.1f}"
                    )
                    if absent := max(each.absent for each in turns):
                        line += f"  MISSING {absent}"
                say(line)
