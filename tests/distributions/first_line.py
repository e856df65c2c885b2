"""`make run` in a root that has nothing of rover's, against a client that goes on asking: when does the first
line come, and what took the time until then?
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, Self

from .root import Root, end_session

DEADLINE = 900.0
"""Seconds: on a slow mirror the packages alone take minutes."""
PERIOD = 0.1
"""Seconds between two looks at what runs: short beside the seconds that are told, and cheap."""

CLIENT = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
    except OSError:
        pass
    time.sleep(0.2)
"""


@dataclasses.dataclass(frozen=True)
class FirstLine:
    """Seconds from `make run` to the first line of both ends; None: it never came."""

    seconds: float | None
    parts: dict[str, float]
    """Of these: while apt ran, while pip ran and built nothing of ours, and all else."""
    last_words: str
    """What was said last, where no line came."""

    def __str__(self) -> str:
        if self.seconds is None:
            return "none"
        parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.parts.items())
        return f"{self.seconds:.0f} s ({parts})"


def kind_of(commands: list[list[str]]) -> str:
    """What a set-up is at, by the command lines of its processes."""
    names = [{os.path.basename(word) for word in command[:2]} for command in commands]
    if any(words & {"apt-get", "apt", "dpkg"} for words in names):
        return "apt"
    builds = any(words & {"setup.py", "_in_process.py", "cc1", "gcc"} for words in names)
    fetches = any(words & {"pip", "pip3", "uv"} for words in names) or any(
        command[1:3] == ["-m", "pip"] for command in commands
    )
    return "pip" if fetches and not builds else "ours"


class Watch:
    """Looks at the processes of a root until it is told to stop."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.parts = {"apt": 0.0, "pip": 0.0, "ours": 0.0}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        before = time.monotonic()
        while not self._end.wait(PERIOD):
            commands = []
            for pid in self._root.processes():
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    commands.append([word.decode(errors="replace") for word in words])
            now = time.monotonic()
            self.parts[kind_of(commands)] += now - before
            before = now


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def first_line(root: Root, checkout: str, log: IO[str]) -> FirstLine:
    """Runs it once. The agent ends as with Ctrl-C."""
    port = free_port()
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = root.start("python3", "-m", "http.server", str(port), directory="/etc/apt", **silent)
    client = root.start("python3", "-c", CLIENT, f"http://127.0.0.1:{port}/?first", **silent)
    start = time.monotonic()
    run = root.start(
        *("make", "run", f"ARGS=--sink jsonl --port {port}"),
        directory=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    late = threading.Timer(DEADLINE, end_session, (run, signal.SIGKILL))
    late.start()
    ends: set[str] = set()
    said: collections.deque[str] = collections.deque(maxlen=5)
    seconds = None
    try:
        with Watch(root) as watch:
            assert run.stdout is not None
            for line in run.stdout:
                print(f"{time.monotonic() - start:6.1f} {line}", end="", file=log, flush=True)
                said.append(line.strip())
                ends |= end_of(line)
                if ends == {"client", "server"}:
                    seconds = time.monotonic() - start
                    break
        end_session(run, signal.SIGINT)
        for line in run.stdout:
            print(line, end="", file=log)
    finally:
        late.cancel()
        for process in (client, server, run):
            end_session(process, signal.SIGKILL)
            process.wait()
    return FirstLine(seconds, dict(watch.parts), " | ".join(said))


def end_of(line: str) -> set[str]:
    """The end of the request of which a line of output is an access log; empty when it is no access log."""
    try:
        log = json.loads(line)
        return {log["rover.role"]} if log["url.original"] == "/?first" else set()
    except (ValueError, TypeError, KeyError):
        return set()
