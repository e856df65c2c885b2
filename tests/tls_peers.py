"""Servers and clients that speak HTTPS. The body of /N has N bytes, so that a wrong pair shows."""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import DEADLINE, Program, RunningAgent, free_port, listening, syscalls_of, wait_until

PEERS = Path(__file__).parent / "live/peers/tls"
COUNT = 200
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/go/bin"
Start = Callable[..., Program]


def binary(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a server listens, and with what."""

    port: int
    directory: Path
    certificate: Path
    key: Path


NGINX = """
daemon off; worker_processes 2; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000; default_type text/plain; root {directory}/www;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{port} ssl http2; ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {certificate}; ssl_certificate_key {key};
    }}
}}
"""
APACHE = """
ServerRoot {directory}
ServerName localhost
PidFile {directory}/pid
ErrorLog {directory}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule http2_module {modules}/mod_http2.so
Protocols h2 http/1.1
MaxKeepAliveRequests 0
DocumentRoot {directory}/www
<Directory {directory}/www>
Require all granted
</Directory>
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend in
    bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1
    default_backend out
backend out
    server one 127.0.0.1:{inner} ssl verify none
"""


def fields(place: Place) -> dict[str, Any]:
    return dataclasses.asdict(place)


def nginx(place: Place, start: Start) -> Program:
    file = place.directory / "nginx.conf"
    file.write_text(NGINX.format(**fields(place)))
    return start(binary("nginx"), "-e", place.directory / "error.log", "-c", file, "-p", place.directory)


def apache(place: Place, start: Start) -> Program:
    program = binary("apache2")
    file = place.directory / "apache.conf"
    file.write_text(APACHE.format(modules="/usr/lib/apache2/modules", **fields(place)))
    return start(program, "-f", file, "-DFOREGROUND")


def haproxy(place: Place, start: Start) -> Program:
    inner = dataclasses.replace(place, port=free_port())
    program = binary("haproxy")
    nginx(inner, start)
    file = place.directory / "haproxy.cfg"
    both = place.certificate.parent / "both.pem"
    file.write_text(HAPROXY.format(port=place.port, both=both, inner=inner.port))
    wait_until(lambda: listening(inner.port), "nginx")
    return start(program, "-db", "-f", file)


def python(place: Place, start: Start) -> Program:
    return start(sys.executable, PEERS / "python_server.py", str(place.port), place.certificate, place.key)


def debian_python(place: Place, start: Start) -> Program:
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("needs Debian's python3")
    return start(
        "/usr/bin/python3", PEERS / "python_server.py", str(place.port), place.certificate, place.key
    )


def asgi(kind: str) -> Callable[[Place, Start], Program]:
    def begin(place: Place, start: Start) -> Program:
        pytest.importorskip("hypercorn" if kind == "hypercorn" else "uvicorn")
        if kind == "uvloop":
            pytest.importorskip("uvloop")
        command = (sys.executable, PEERS / "asgi_server.py", kind)
        return start(*command, str(place.port), place.certificate, place.key)

    return begin


def node(place: Place, start: Start) -> Program:
    return start(binary("node"), PEERS / "server.mjs", str(place.port), place.certificate, place.key)


def nghttpd(place: Place, start: Start) -> Program:
    program = binary("nghttpd")
    command = (program, "-d", place.directory / "www", "--address=127.0.0.1", str(place.port))
    return start(*command, place.key, place.certificate)


@functools.cache
def go_program() -> Path:
    """Without symbols, by which nobody finds its functions."""
    go = shutil.which("go", path=str(Path(sys.executable).parent)) or binary("go")
    directory = Path(tempfile.mkdtemp(prefix="rover-tls-go-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    shutil.copy(PEERS / "program.go", directory)
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "HOME": str(directory)}
    command = [go, "build", "-ldflags=-s -w", "-o", "program", "program.go"]
    subprocess.run(command, cwd=directory, env={**os.environ, **environment}, check=True, timeout=280)
    return directory / "program"


def go(place: Place, start: Start) -> Program:
    return start(go_program(), str(place.port), place.certificate, place.key)


SERVERS: dict[str, Callable[[Place, Start], Program]] = {
    "nginx": nginx,
    "apache": apache,
    "haproxy": haproxy,
    "python": python,
    "debian_python": debian_python,
    "asyncio": asgi("asyncio"),
    "uvloop": asgi("uvloop"),
    "hypercorn": asgi("hypercorn"),
    "node": node,
    "nghttpd": nghttpd,
    "go": go,
}
ONLY_HTTP1 = {"python", "debian_python", "asyncio", "uvloop"}
ONLY_HTTP2 = {"nghttpd"}


def run(*command: str | Path, timeout: float = 3 * DEADLINE) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=timeout)
    assert done.returncode == 0, (command, done.stdout[-500:], done.stderr[-500:])


def curl(*options: str) -> Callable[[int], None]:
    def ask(port: int) -> None:
        run(binary("curl"), "-sSk", "-o", "/dev/null", *options, f"https://127.0.0.1:{port}/[1-{COUNT}]")

    return ask


def client(kind: str) -> Callable[[int], None]:
    def ask(port: int) -> None:
        pytest.importorskip(kind.rstrip("2"))
        run(sys.executable, PEERS / "client.py", kind, str(port), str(COUNT))

    return ask


def node_client(port: int) -> None:
    run(binary("node"), PEERS / "client.mjs", str(port), str(COUNT))


def wget(port: int) -> None:
    urls = [f"https://127.0.0.1:{port}/{n}" for n in range(1, COUNT + 1)]
    run(binary("wget"), "-q", "--no-check-certificate", "-O", "/dev/null", *urls)


def h2load(*options: str) -> Callable[[int], None]:
    def ask(port: int) -> None:
        urls = [f"https://127.0.0.1:{port}/{n}" for n in range(1, COUNT + 1)]
        run(binary("h2load"), "-n", str(COUNT), "-c", "5", *options, *urls)

    return ask


def go_client(version: str) -> Callable[[int], None]:
    def ask(port: int) -> None:
        run(go_program(), str(port), str(COUNT), version)

    return ask


CLIENTS: dict[str, tuple[Callable[[int], None], str]] = {
    "curl1": (curl("--http1.1"), "1.1"),
    "curl1_closing": (curl("--http1.1", "-H", "Connection: close"), "1.1"),
    "curl2": (curl("--http2"), "2"),
    "http.client": (client("http.client"), "1.1"),
    "httpx": (client("httpx"), "1.1"),
    "httpx2": (client("httpx2"), "2"),
    "aiohttp": (client("aiohttp"), "1.1"),
    "node": (node_client, "1.1"),
    "wget": (wget, "1.1"),
    "h2load1": (h2load("--h1"), "1.1"),
    "h2load2": (h2load("-m", "10"), "2"),
    "go1": (go_client("1"), "1.1"),
    "go2": (go_client("2"), "2"),
}


def expected(of: Sequence[int] = range(1, COUNT + 1)) -> collections.Counter[tuple[str, str, int, int]]:
    return collections.Counter(("GET", f"/{n}", 200, n) for n in of)


def told(lines: Sequence[dict[str, Any]]) -> collections.Counter[tuple[str, str, int, int]]:
    return collections.Counter(
        (
            line["http.request.method"],
            line["url.original"],
            line.get("http.response.status_code", 0),
            line.get("http.response.body.size", -1),
        )
        for line in lines
    )


def begin(name: str, place: Place, start_program: Start) -> None:
    program = SERVERS[name](place, start_program)
    wait_until(lambda: listening(place.port) or program.process.poll() is not None, name)
    assert program.process.poll() is None, (program.out, program.err)


def check(
    agent: RunningAgent, roles: Sequence[str], wanted: collections.Counter[Any]
) -> list[dict[str, Any]]:
    """Each exchange at each of these ends, and each call once, over whole lives."""
    for role in roles:
        agent.wait_for_exchanges(wanted.total(), role)
    totals = agent.finish()
    for role in roles:
        lines = agent.exchanges(role)
        assert told(lines) == wanted, (role, told(lines) - wanted, wanted - told(lines), totals)
        assert all(line["tls"] is True and line["rover.outcome"] == "complete" for line in lines), role
        # In HTTP/2 exchanges share calls.
        assert all(line.get("rover.syscalls") for line in lines if line["network.protocol.version"] != "2"), (
            role
        )
    assert totals.records_lost == 0
    assert totals.breaks == {}
    assert not [line for line in agent.err if "unread" in line]
    for connection, numbers in syscalls_of(agent.lines()).items():
        assert sorted(numbers) == list(range(len(numbers))), connection
    return agent.lines()
