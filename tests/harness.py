"""The real agent, real servers and real clients, for tests that cross packages."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

DEADLINE = 20.0 * float(os.environ.get("ROVER_TEST_PATIENCE", "1"))
"""Seconds anything in a test may take; what takes longer has failed. ROVER_TEST_PATIENCE is a
factor, for machines that are emulated."""


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Looks again until the condition is true; fails, saying `what`, when it never is."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"waited {deadline:.0f} s for {what}"
        pause.wait(0.01)


@functools.cache
def _ports() -> Iterator[int]:
    return iter(random.sample(range(10_000, 32_000), 22_000))


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Of localhost, signed by itself: its file, and that of its key."""
    files = directory / "certificate.pem", directory / "key.pem"
    made = ["-subj", "/CN=localhost", "-days", "30", "-out", files[0], "-keyout", files[1]]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made]
    subprocess.run(command, check=True, capture_output=True)
    return files


def free_port() -> int:
    """A port nobody listens on, given once. It lies below net.ipv4.ip_local_port_range: nobody connects
    from it.
    """
    for port in _ports():
        with (
            contextlib.suppress(OSError),
            socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True),
        ):
            return port
    raise AssertionError("all ports are taken")


def listening(port: int) -> bool:
    """Whether somebody accepts connections there, over IPv4 or IPv6, without making one.

    A probing connection would be traced like any other, so the kernel's tables are read instead.
    """
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


class Program:
    """A child process whose output is collected as it comes."""

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        self.argv = [str(part) for part in argv]
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode(errors="replace").rstrip("\n"))  # noqa: PERF401  as it comes

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of either output that matches."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            for line in [*self.out, *self.err]:
                if match := re.search(pattern, line):
                    found.append(match)
                    return True
            if self.process.poll() is not None:
                self.join()
                raise AssertionError(f"{self.argv} ended ({self.process.returncode}): {self.out} {self.err}")
            return False

        try:
            wait_until(seen, f"{pattern!r} from {self.argv[0]}")
        except AssertionError as error:
            raise AssertionError(f"{error}, which said {[*self.out, *self.err]}") from None
        return found[0]

    def join(self) -> int:
        """Waits for its end."""
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it with a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.join()
        finally:
            if self.process.poll() is None:
                self.process.kill()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()


@dataclasses.dataclass(frozen=True)
class Totals:
    """The totals that the agent tells at its end, read back."""

    seen: int
    logged: dict[str, int]
    lost: dict[str, int]
    records_lost: int
    breaks: dict[str, int]
    dropped: dict[str, int]
    """By plugin, and rule where it names one."""


class RunningAgent(Program):
    """`rover run` writing JSON lines to a file."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        sinks: Sequence[str] = ("jsonl",),
        before: Sequence[str] = (),
        **options: Any,
    ):
        """`before` begins the command: what starts it as another user, say."""
        self.path = directory / "access.jsonl"
        chosen = [part for sink in sinks for part in ("--sink", sink)]
        super().__init__(
            [
                *(*before, sys.executable, "-m", "rover", "run", *chosen),
                *("--set", f"sink.jsonl.path={self.path}", *arguments),
            ],
            **options,
        )
        try:
            self.wait_for("watching through")
        except AssertionError:
            self.stop()  # nobody else knows of it
            raise

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line written so far."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def exchanges(self, role: str | None = None) -> list[dict[str, Any]]:
        """The lines that are exchanges, of one role or both."""
        return [
            line
            for line in self.lines()
            if "network.protocol.name" in line and role in (None, line.get("rover.role"))
        ]

    def wait_for_exchanges(self, count: int, role: str | None = None) -> list[dict[str, Any]]:
        """At least `count` of them."""
        wait_until(
            lambda: len(self.exchanges(role)) >= count,
            f"{count} exchanges ({role}), have {len(self.exchanges(role))}: {self.err}",
        )
        return self.exchanges(role)

    def totals(self) -> Totals:
        """After the end: what it counted."""
        told = "\n".join(self.err).replace(",\nrover:   ", ", ")
        match = re.search(r"^rover: seen (\d+) exchanges?; .*", told, re.MULTILINE | re.DOTALL)
        assert match
        logged, lost = {}, {}
        for name, a, b in re.findall(r"^rover: (\w+) logged (\d+), lost (\d+)", match[0], re.MULTILINE):
            logged[name], lost[name] = int(a), int(b)
        records = re.search(r"^rover: (\d+) records? lost", match[0], re.MULTILINE)
        breaks = re.search(r"^rover: breaks: (.*)", match[0], re.MULTILINE)
        dropped = re.search(r"^rover: \d+ exchanges? dropped \((.*)\)", match[0], re.MULTILINE)
        assert records
        return Totals(
            int(match[1]),
            logged,
            lost,
            int(records[1]),
            *(
                {k: int(v) for k, v in re.findall(r"([^,]+?) (\d+)(?:, |$)", found[1])} if found else {}
                for found in (breaks, dropped)
            ),
        )

    def finish(self) -> Totals:
        """Stops it, and sees to it that it ended well and its totals add up."""
        code = self.stop()
        assert code == 0, self.err
        assert not [line for line in self.err if re.search(r"Traceback|\bfailed\b", line)], self.err
        assert not [line for line in self.err if "by calls that are not watched" in line], self.err
        totals = self.totals()
        for name in totals.logged:
            dropped = sum(totals.dropped.values())
            assert totals.seen == totals.logged[name] + dropped + totals.lost[name]
        return totals


@dataclasses.dataclass(frozen=True)
class Nginx:
    """A running nginx with its own access log as witness."""

    port: int
    root: Path
    log: Path
    program: Program

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def entries(self) -> list[dict[str, str]]:
        """Its log, one dictionary per request."""
        if not self.log.exists():
            return []
        names = ("method", "target", "status", "body", "request_length", "expect")
        return [dict(zip(names, line.split("\t"), strict=True)) for line in self.log.read_text().splitlines()]


NGINX = """
daemon off; master_process on; worker_processes 2; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format witness '$request_method\\t$request_uri\\t$status\\t$body_bytes_sent'
                       '\\t$request_length\\t$http_expect';
    access_log {root}/witness.log witness;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    sendfile on; tcp_nopush on; keepalive_requests 100000; client_max_body_size 100m;
    if_modified_since before;
    server {{
        listen 127.0.0.1:{port} reuseport; listen [::1]:{port};
        root {root}/www;
        location /upload {{ proxy_pass http://127.0.0.1:{backend}/sink; proxy_http_version 1.1; }}
        location /back/ {{ proxy_pass http://127.0.0.1:{backend}/; }}
        location /moved {{ return 301 /; }}
        location /nothing {{ return 204; }}
        {extra}
    }}
    server {{
        listen 127.0.0.1:{backend}; access_log off; root {root}/www;
        location /sink {{ return 200 "taken\\n"; }}
    }}
}}
"""


def curl(*arguments: str) -> None:
    """Bodies are thrown away."""
    command = ["curl", "-sS", "-o", "/dev/null", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=3 * DEADLINE)


def ask_every_kind(nginx: Nginx, directory: Path) -> None:
    """Every kind of HTTP/1.x exchange that curl and nginx have, and pipelining. `directory` is for a body."""
    base = nginx.url
    body = directory / "body"
    body.write_bytes(b"z" * 70_000)
    curl(base + "/", base + "/index.html?a=b", base + "/nowhere", base + "/moved", base + "/nothing")
    curl("-I", base + "/", base + "/big.bin")
    curl("-X", "OPTIONS", base + "/")
    curl("-d", "short=body", base + "/upload")
    curl("-H", "Expect: 100-continue", "--data-binary", f"@{body}", base + "/upload")
    curl("-T", str(body), base + "/upload")
    curl("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body}", base + "/upload")
    curl("-H", "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT", base + "/")
    curl("-r", "0-9", base + "/big.bin")
    curl(base + "/big.bin")
    curl("-0", base + "/")
    curl(base + "/back/index.html")
    with tcp_connection(nginx.port) as pipelined:
        requests = [b"GET /?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5)]
        requests.append(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        pipelined.sendall(b"".join(requests))
        while pipelined.recv(65536):
            pass


def key_of(line: dict[str, Any]) -> tuple[str, str, int, int]:
    """What an exchange is compared by: method, target, status, response body bytes."""
    return (
        line["http.request.method"],
        line["url.original"],
        line["http.response.status_code"],
        line["http.response.body.size"],
    )


def counted(lines: Sequence[dict[str, Any]]) -> collections.Counter[tuple[str, str, int, int]]:
    """Exchanges as a multiset."""
    return collections.Counter(map(key_of, lines))


def syscalls_of(lines: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """The sequence numbers of all calls delivered, by connection."""
    calls: dict[str, list[int]] = collections.defaultdict(list)
    for line in lines:
        calls[line["rover.connection"]] += [call["sequence"] for call in line.get("rover.syscalls", ())]
    return calls


@contextlib.contextmanager
def tcp_connection(port: int) -> Iterator[socket.socket]:
    """A connection to a local server, with a timeout."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connected:
        yield connected


class Load:
    """Requests one after the other on a few connections, from `with` to its end, at a pace."""

    def __init__(self, port: int, *, connections: int = 4, pause: float = 0.01) -> None:
        self._port = port
        self._pause = pause
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(connections)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        while not self._end.wait(self._pause):
            connection.request("GET", "/?load")
            connection.getresponse().read()
        connection.close()
