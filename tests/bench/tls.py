"""nginx and h2load over TLS, as fast as they go: what is left of their requests/s where nginx is watched, and
where only another program is that uses the same library file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.live import agent
from bench.rate import Spent, workers
from harness import free_port, listening, make_certificate, wait_until

SECONDS = 4
CONNECTIONS = 8
SETTLED = 12
"""Seconds of the load until the probes have left the programs that are not selected: five until no selected
one begins any more, and five of counting what the others pay."""
MARGIN = 0.3
"""Seconds at either end of h2load's time that are not looked at."""
CONFIGURATION = """
worker_processes 1;
daemon off;
pid {directory}/{name}.pid;
error_log {directory}/{name}.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen {port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ return 200 "seventeen bytes.\\n"; }}
    }}
}}
"""
WAYS = ("nobody", "watched, --no-tls", "watched", "not watched")


@dataclasses.dataclass(frozen=True)
class Turn:
    """One run of h2load."""

    rate: float
    """Requests a second."""
    server: float
    """Seconds of processor time that nginx takes for a request."""
    agent: float = 0.0
    """The same of rover."""
    lost: int = 0
    """Records the kernel could not hand over, and logs a sink shed."""


@contextlib.contextmanager
def nginx(directory: Path, name: str, certificate: Path, key: Path) -> Iterator[int]:
    """A server with one worker; yields its port."""
    port = free_port()
    configuration = directory / f"{name}.conf"
    configuration.write_text(
        CONFIGURATION.format(directory=directory, name=name, port=port, certificate=certificate, key=key)
    )
    server = subprocess.Popen(["nginx", "-p", directory, "-c", configuration], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(port), "nginx to listen")
        yield port
    finally:
        server.terminate()
        server.wait(20)


def turn(directory: Path, port: int, way: str) -> Turn:
    """One run, in one of WAYS."""
    servers = workers(int((directory / "server.pid").read_text()))
    if way == "nobody":
        rate, (server,) = h2load(port, servers)
        return Turn(rate, server)
    selected = (directory / ("other.pid" if way == "not watched" else "server.pid")).read_text().strip()
    file = directory / "access.jsonl"
    with agent(file, ["--pid", selected, *(["--no-tls"] if "--no-tls" in way else [])]) as watching:
        rate, (server, spent) = h2load(port, servers, [watching.pid])
    return Turn(rate, server, spent, watching.lost)


def h2load(port: int, *watched: Sequence[int]) -> tuple[float, list[float]]:
    """Requests a second, once the probes are where they stay, and the seconds of processor time that each of
    these groups of processes takes for a request."""
    process = subprocess.Popen(
        [
            *("h2load", "--h1", "-t", "1", "-c", str(CONNECTIONS), f"--duration={SECONDS}"),
            *(f"--warm-up-time={SETTLED}", f"https://127.0.0.1:{port}/"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(SETTLED + MARGIN)
    before, began = [Spent.by(pids) for pids in watched], time.monotonic()
    time.sleep(SECONDS - 2 * MARGIN)
    spent = [Spent.by(pids).since(earlier) for pids, earlier in zip(watched, before, strict=True)]
    seconds = time.monotonic() - began
    said, _ = process.communicate(timeout=60)
    rate = re.search(r"([\d.]+) req/s", said)
    if rate is None or process.returncode:
        raise RuntimeError(said)
    return float(rate[1]), [each.processor / seconds / float(rate[1]) for each in spent]


def rows(directory: Path, rounds: int, say: Callable[[str], None]) -> None:
    """Prints a line for each of WAYS, medians of so many turns, interleaved."""
    missing = [name for name in ("nginx", "h2load") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        say(f"  left out: needs {', '.join(missing) or 'root'}")
        return
    directory.chmod(0o755)
    turns: dict[str, list[Turn]] = {way: [] for way in WAYS}
    files = make_certificate(directory)
    # The other one uses the library, too: the probes have to be somewhere.
    with nginx(directory, "server", *files) as port, nginx(directory, "other", *files):
        for _ in range(rounds):
            for way in WAYS:
                turns[way].append(turn(directory, port, way))
    bare = statistics.median(each.rate for each in turns["nobody"])
    for way, found in turns.items():
        rate, server, spent = (
            statistics.median(getattr(each, figure) for each in found)
            for figure in ("rate", "server", "agent")
        )
        say(
            f"  {way:18} {rate:8.0f} requests/s {100 * rate / bare:4.0f} %  nginx {1e6 * server:5.1f} us, "
            f"rover {1e6 * spent:5.1f} us a request"
            + (f"  LOST {lost}" if (lost := max(each.lost for each in found)) else "")
        )
