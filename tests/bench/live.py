"""nginx and wrk on this machine, alone, beside tcpdump, and watched by rover."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import free_port, listening, wait_until

SECONDS = 5
CONNECTIONS = 32
PAGE = 615  # bytes, as nginx's own welcome page
SAMPLE = 0.002
"""Seconds between two looks at the file: how exact the delays are."""
EACH = 31
"""Of so many lines one is looked at: some hundreds a second, so that looking costs little."""
PRIORITY = -15
"""Niceness of who looks: before the agent, whose own is -6."""
TICKS = os.sysconf("SC_CLK_TCK")

CONFIGURATION = """
worker_processes {cpus};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{ listen {port} backlog=4096; root {directory}/html; }}
}}
"""

DIVERSE = """
math.randomseed(os.time())
local function hex(n)
  local t = {}
  for i = 1, n do t[i] = string.format("%x", math.random(0, 15)) end
  return table.concat(t)
end
local made = {}
for i = 1, 5000 do
  made[i] = wrk.format("GET", "/index.html?q=" .. hex(12), {
    ["Host"] = "shop-" .. math.random(1000) .. ".example.com",
    ["User-Agent"] = "wrk", ["Accept"] = "*/*",
    ["Cookie"] = "session=" .. hex(32), ["traceparent"] = "00-" .. hex(32) .. "-" .. hex(16) .. "-01",
  })
end
local at = 0
request = function() at = at % 5000 + 1; return made[at] end
"""
"""No two requests of a thread alike for 5,000 in a row."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of wrk."""

    rate: float
    """Requests per second, as wrk counts them."""
    requests: int


@dataclasses.dataclass(frozen=True)
class Watched:
    """One run of wrk beside rover."""

    run: Run
    lines: int
    lost: int
    """Records the kernel could not hand over, and logs a sink shed."""
    processor: float
    """Seconds rover took while wrk ran."""
    delays: list[float]
    """Seconds from an exchange's last byte to its line in the file, sampled."""


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """A server; yields its port."""
    port = free_port()
    (directory / "html").mkdir()
    (directory / "html" / "index.html").write_bytes(b"x" * PAGE)
    directory.chmod(0o755)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(directory=directory, port=port, cpus=len(os.sched_getaffinity(0)))
    )
    server = subprocess.Popen(["nginx", "-p", directory, "-c", configuration], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(port), "nginx to listen")
        yield port
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(20)


def wrk(port: int, script: Path) -> Run:
    """As fast as it goes."""
    done = subprocess.run(
        [
            *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "-s", script),
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rate, requests = (
        re.search(r"Requests/sec:\s+([\d.]+)", done.stdout),
        re.search(r"(\d+) requests", done.stdout),
    )
    if rate is None or requests is None:
        raise RuntimeError(done.stdout + done.stderr)
    return Run(float(rate[1]), int(requests[1]))


@contextlib.contextmanager
def tcpdump(directory: Path, port: int) -> Iterator[None]:
    """What people run today."""
    file = directory / "capture"
    process = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-B", "65536", "-w", file, "tcp", "port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    yield
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    file.unlink(missing_ok=True)


class Follower(threading.Thread):
    """Reads the file as it grows, and tells how old every EACH-th line is when it is there."""

    def __init__(self, file: Path, each: int = EACH) -> None:
        """One of `each` lines is looked at."""
        super().__init__(daemon=True)
        self.delays: list[float] = []
        self.lines = 0
        """Read so far."""
        self._file = file
        self._each = each
        self._ended = threading.Event()

    def run(self) -> None:
        # It is to tell of the agent's delay, and not of its own, where both wait for a processor.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        with self._file.open("rb", buffering=0) as file:
            rest = b""
            while not self._ended.is_set():
                time.sleep(SAMPLE)
                piece = file.read(4 << 20) or b""
                now = time.time_ns()
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole[-self.lines % self._each :: self._each]:
                    self.delays.append((now - ended(json.loads(line))) / 1e9)
                self.lines += len(whole)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def ended(line: dict[str, object]) -> int:
    """Unix time (ns) of an exchange's last byte: when its last call returned."""
    calls = line["rover.syscalls"]
    assert isinstance(calls, list)
    return max(call["start_unix_ns"] + call["duration_ns"] for call in calls)


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Agent:
    """rover as it runs beside something."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lost = 0
        """Records the kernel could not hand over, and logs a sink shed; known when it has ended."""

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def agent(file: Path, selection: list[str]) -> Iterator[Agent]:
    """rover, which writes JSON lines to a new file, from when it watches to its totals."""
    file.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "rover", "run", *selection),
            *("--sink", "jsonl", "--set", f"sink.jsonl.path={file}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        while "watching" not in (said := process.stderr.readline()):
            if not said:
                raise RuntimeError("rover did not start")
        running = Agent(process)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        _, totals = process.communicate(timeout=60)
    shed, unread = re.search(r", lost (\d+)", totals), re.search(r"(\d+) records? lost", totals)
    if shed is None or unread is None:
        raise RuntimeError(totals)
    running.lost = int(shed[1]) + int(unread[1])


def watched(directory: Path, port: int, script: Path, selection: list[str]) -> Watched:
    """rover beside wrk, from its start to its totals."""
    file = directory / "access.jsonl"
    with agent(file, selection) as running:
        follower = Follower(file)
        follower.start()
        before = processor_time(running.pid)
        run = wrk(port, script)
        processor = processor_time(running.pid) - before
        follower.stop()
    with file.open("rb") as lines:
        count = sum(piece.count(b"\n") for piece in iter(lambda: lines.read(1 << 20), b""))
    return Watched(run, count, running.lost, processor, follower.delays)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else float("nan")


def rows(directory: Path, rounds: int, say: Callable[[str], None]) -> None:
    """Prints a line for each way of watching, medians of so many rounds, interleaved."""
    missing = [name for name in ("nginx", "wrk", "tcpdump") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        say(f"  left out: needs {', '.join(missing) or 'root'}")
        return
    script = directory / "diverse.lua"
    script.write_text(DIVERSE)
    alone: list[float] = []
    beside: list[float] = []
    server: list[Watched] = []
    both: list[Watched] = []
    with nginx(directory) as port:
        wrk(port, script)
        for _ in range(rounds):
            alone.append(wrk(port, script).rate)
            with tcpdump(directory, port):
                beside.append(wrk(port, script).rate)
            master = (directory / "nginx.pid").read_text().strip()
            server.append(watched(directory, port, script, ["--pid", master]))
            both.append(watched(directory, port, script, ["--port", str(port)]))
    base = statistics.median(alone)
    say(f"  {'nothing attached':32} {base:8.0f} requests/s  100 %")
    rate = statistics.median(beside)
    say(f"  {'tcpdump -w':32} {rate:8.0f} requests/s  {100 * rate / base:3.0f} %")
    for name, runs, ends in (("rover, server end", server, 1), ("rover, both ends", both, 2)):
        rate = statistics.median(run.run.rate for run in runs)
        lost = sum(run.lost for run in runs)
        # What wrk had under way when it stopped is answered, but not counted by it.
        absent = sum(max(0, ends * run.run.requests - run.lines) for run in runs)
        cost = statistics.median(run.processor / max(1, run.lines) * 1e6 for run in runs)
        share = statistics.median(run.processor / SECONDS for run in runs)
        delays = [delay for run in runs for delay in run.delays]
        say(
            f"  {name:32} {rate:8.0f} requests/s  {100 * rate / base:3.0f} %  lost {lost}, missing {absent}; "
            f"{100 * share:.0f} % of a core, {cost:.1f} us an exchange; "
            f"delay p50 {1e3 * percentile(delays, 50):.1f} ms, p99 {1e3 * percentile(delays, 99):.1f} ms"
        )
