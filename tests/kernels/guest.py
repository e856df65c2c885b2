"""Process 1 of the booted machine: runs what the kernel's command line names, tells results on the console.

A result is a line that begins with MARK and goes on with a JSON object; everything else on the console is for
people.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MARK = "@rover "
MOUNTS = (
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/dev/shm"),
    ("devpts", "/dev/pts"),
)
CURLS, REQUESTS = 3, 20
"""curl processes at once, requests of each one after the other."""
LOAD, CONNECTIONS = 2000, 16
"""Requests of the heavier load, connections they are made on at once."""
START = 900.0
"""Seconds the agent may take to start: an emulated machine is some thirty times as slow."""
ROVER = (sys.executable, "-m", "rover")


def tell(**result: object) -> None:
    """A result, on a line of its own whatever else is on the console."""
    print(f"\n{MARK}{json.dumps(result)}", flush=True)


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def running(*command: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is killed in the end."""
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def skipped_by_kernel() -> dict[str, int]:
    """Runs the kernel left out, by program, as bpftool tells them: a witness that is not ours."""
    said = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True)
    skipped: collections.Counter[str] = collections.Counter()
    for program in json.loads(said.stdout or "[]"):
        skipped[program.get("name", "?")] += program.get("recursion_misses", 0)
    return dict(+skipped)


# -- parts -----------------------------------------------------------------------------------


def doctor() -> None:
    """Does it say that this kernel will do?"""
    done = subprocess.run([*ROVER, "doctor"], capture_output=True, text=True)
    print(done.stdout, done.stderr)
    warned = [line.strip() for line in done.stdout.splitlines() if "skip" in line]
    tell(part="doctor", passed=done.returncode == 0, said="; ".join(warned))


def watch(part: str, port: int, expected: int, traffic: Callable[[], None]) -> None:
    """The agent beside some traffic, each exchange of which it sees from both ends."""
    out, err = Path(f"/tmp/{part}.jsonl"), Path(f"/tmp/{part}.err")
    command = [*ROVER, "run", "--port", str(port), "--sink", "jsonl"]
    began = time.monotonic()
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        running(*command, stdout=stdout, stderr=stderr) as agent,
    ):
        until(lambda: agent.poll() is not None or b"watching" in err.read_bytes(), START)
        started = time.monotonic() - began
        traffic()
        until(lambda: out.read_bytes().count(b"\n") >= expected, 10)
        skipped = skipped_by_kernel()
        agent.send_signal(signal.SIGINT)
        agent.wait(60)
    said = err.read_text()
    print(said)
    outcomes = collections.Counter(
        json.loads(line).get("rover.outcome", "?") for line in out.read_bytes().splitlines()
    )
    lost = re.search(r"(\d+) records? lost(?: \(([^)]*)\))?", said)
    complete, counted = outcomes["complete"], int(lost[1]) if lost else 0
    tell(
        part=part,
        passed=complete == expected or counted > 0,
        said=f"{complete} of {expected} complete, {lost[0] if lost else 'no totals'}",
        outcomes=outcomes,
        skipped=skipped,
        started=round(started, 1),
    )


def curls() -> None:
    """Three curls at once, each with connections of its own."""

    def ask() -> None:
        command = (
            f"for i in $(seq {REQUESTS}); do curl -sf -o /dev/null http://127.0.0.1:8000/?$i || exit 1; done"
        )
        clients = [subprocess.Popen(["/bin/sh", "-c", command]) for _ in range(CURLS)]
        if any(client.wait() for client in clients):
            print("a request failed")

    with running(sys.executable, "-m", "http.server", "8000", cwd="/srv", stderr=subprocess.DEVNULL):
        watch("curls", 8000, 2 * CURLS * REQUESTS, ask)


def tls() -> None:
    """The same over TLS, with nginx; openssl makes the certificate."""
    made = ("-out", "/run/certificate.pem", "-keyout", "/run/key.pem")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=x")
    subprocess.run([*command, *made], check=True, capture_output=True)
    conf = Path("/run/tls.conf")
    conf.write_text(
        "daemon off; worker_processes 2; pid /run/tls.pid; error_log /run/error.log; events {}"
        "http { access_log off; server { listen 127.0.0.1:8002 ssl;"
        " ssl_certificate /run/certificate.pem; ssl_certificate_key /run/key.pem;"
        " location / { return 200 hello; } } }"
    )

    def ask() -> None:
        url = f"https://127.0.0.1:8002/?[1-{REQUESTS}]"
        command = ("curl", "-sfk", "--http1.1", "-o", "/dev/null", url)
        clients = [subprocess.Popen(command) for _ in range(CURLS)]
        if any(client.wait() for client in clients):
            print("a request failed")

    with running("nginx", "-c", str(conf)):
        watch("tls", 8002, 2 * CURLS * REQUESTS, ask)


def load() -> None:
    """nginx and h2load, as fast as the machine does it."""
    conf = Path("/run/nginx.conf")
    conf.write_text(
        "daemon off; worker_processes 2; pid /run/nginx.pid; error_log /run/error.log; events {}"
        "http { access_log off; server { listen 127.0.0.1:8001; location / { return 200 hello; } } }"
    )
    numbers = ("-n", str(LOAD), "-c", str(CONNECTIONS), "-t", "2")
    with running("nginx", "-c", str(conf)):
        watch(
            "load",
            8001,
            2 * LOAD,
            lambda: print(
                subprocess.check_output(["h2load", "--h1", *numbers, "http://127.0.0.1:8001/"], text=True)
            ),
        )


def tests(files: list[str]) -> None:
    """pytest over these files, with time enough for an emulated machine."""
    environment = {**os.environ, "ROVER_REQUIRE_LIVE": "1", "ROVER_TEST_PATIENCE": "10"}
    options = ("-v", "--no-header", "-p", "no:cacheprovider", "-o", "timeout=1200")
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as pytest:
        lines = []
        for line in pytest.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.strip())
    failed = [line.partition(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    tell(part="tests", passed=pytest.returncode == 0, said="; ".join([lines[-1] if lines else "", *failed]))


# -- the machine -----------------------------------------------------------------------------


def prepare() -> None:
    """What a running system has and the initramfs has not made."""
    os.environ.update(PATH="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8")
    os.environ.pop("ROVER_REQUIRE_COMPILED", None)
    for kind, place in MOUNTS:
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", kind, kind, place])
    for number, name in enumerate(("fd", "fd/0", "fd/1", "fd/2")):
        link = Path("/dev", ("fd", "stdin", "stdout", "stderr")[number])
        if not link.exists():
            link.symlink_to(f"/proc/self/{name}")
    subprocess.run(["ip", "link", "set", "lo", "up"])


def main(checkout: str) -> None:
    prepare()
    os.chdir(checkout)
    words = dict(word.split("=", 1) for word in Path("/proc/cmdline").read_text().split() if "=" in word)
    tell(part="boot", passed=True, said=os.uname().release)
    for part in words["rover.parts"].split(","):
        try:
            if part == "tests":
                tests(words["rover.tests"].split(","))
            else:
                {"doctor": doctor, "curls": curls, "tls": tls, "load": load}[part]()
        except Exception as error:
            tell(part=part, passed=False, said=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    finally:  # process 1 must not end; the console is synchronous, so all has been said
        sys.stdout.flush()
        Path("/proc/sysrq-trigger").write_text("o")
        time.sleep(60)
