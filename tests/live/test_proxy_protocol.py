"""haproxy in front of nginx, joined by the PROXY protocol; nginx's own access log is the witness."""

import collections
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import DEADLINE, free_port, listening, wait_until

pytestmark = pytest.mark.live

HAPROXY = """
global
    maxconn 200
    nbthread 1
defaults
    mode {mode}
    timeout connect 10s
    timeout client 20s
    timeout server 20s
frontend in
    bind 127.0.0.1:{front}
    default_backend out
backend out
    server nginx 127.0.0.1:{back} {send}
"""
NGINX = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format witness '$request_uri\\t$status\\t$proxy_protocol_addr\\t$proxy_protocol_port';
    access_log {root}/witness.log witness;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
    uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    server {{
        listen 127.0.0.1:{back} proxy_protocol;
        location / {{ return 200 "hello\\n"; }}
        location /moved {{ return 301 /; }}
    }}
}}
"""
CLIENTS = [f"127.0.0.{n}" for n in range(21, 29)]
KEPT = 5
"""Requests of each client over one connection; besides one on a connection of its own."""


def binary(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip(f"needs {name} (make test installs it)")
    return found


class Behind:
    """nginx behind haproxy."""

    def __init__(self, directory: Path, start_program, mode: str, send: str):
        self.front, self.back = free_port(), free_port()
        self.root = directory
        (directory / "haproxy.cfg").write_text(
            HAPROXY.format(mode=mode, front=self.front, back=self.back, send=send)
        )
        (directory / "nginx.conf").write_text(NGINX.format(root=directory, back=self.back))
        self.nginx = start_program(
            binary("nginx"), "-e", directory / "error.log", "-c", directory / "nginx.conf", "-p", directory
        )
        self.haproxy = start_program(binary("haproxy"), "-db", "-f", directory / "haproxy.cfg")
        wait_until(
            lambda: listening(self.front) and listening(self.back), f"{self.haproxy.err} {self.nginx.err}"
        )

    def ask(self) -> int:
        """Every client's requests; how many."""
        base = f"http://127.0.0.1:{self.front}"
        for number, client in enumerate(CLIENTS):
            curl = ["curl", "-sS", "-o", "/dev/null", "--interface", client]
            kept = [f"{base}/{client}/{n}" for n in range(KEPT)]
            outputs = [part for _ in kept[1:] for part in ("-o", "/dev/null")]
            alone = f"{base}/moved/{number}"
            for each in ([*curl, *outputs, *kept], [*curl, "-H", "Connection: close", alone]):
                subprocess.run(each, check=True, capture_output=True, timeout=DEADLINE)
        return len(CLIENTS) * (KEPT + 1)

    def witnessed(self) -> collections.Counter:
        """(target, status, client's address, its port), once nginx has ended and written all of it."""
        self.nginx.stop(signal.SIGQUIT)
        lines = [line.split("\t") for line in (self.root / "witness.log").read_text().splitlines()]
        return collections.Counter(
            (target, int(status), host, int(port)) for target, status, host, port in lines
        )


def told(lines) -> collections.Counter:
    return collections.Counter(
        (
            line["url.original"],
            line["http.response.status_code"],
            line["client.address"],
            line["client.port"],
        )
        for line in lines
    )


@pytest.mark.parametrize(
    ("mode", "send"),
    [
        ("tcp", "send-proxy"),
        ("tcp", "send-proxy-v2"),
        ("http", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ],
)
def test_every_exchange_at_both_ends_with_the_clients_address(
    open_path, start_program, start_agent, mode, send
):
    behind = Behind(open_path, start_program, mode, send)
    agent = start_agent("--port", str(behind.back), "--port", str(behind.front))
    count = behind.ask()
    agent.wait_for_exchanges(4 * count)
    expected = behind.witnessed()
    assert expected.total() == count
    assert {host for _, _, host, _ in expected} == set(CLIENTS)
    totals = agent.finish()
    assert (totals.seen, totals.records_lost, totals.breaks) == (4 * count, 0, {})

    lines = collections.defaultdict(list)
    for line in agent.exchanges():
        lines[line["process.executable.name"], line["rover.role"], line["server.port"]].append(line)
    at_nginx = lines["nginx", "server", behind.back]
    to_nginx = lines["haproxy", "client", behind.back]
    assert told(at_nginx) == expected
    assert told(to_nginx) == expected
    assert len(lines["haproxy", "server", behind.front]) == count
    assert len(lines["curl", "client", behind.front]) == count
    proxies = {(line["network.peer.address"], line["network.peer.port"]) for line in at_nginx}
    assert proxies == {(line["network.local.address"], line["network.local.port"]) for line in to_nginx}
    assert {host for host, _ in proxies} == {"127.0.0.1"}
    for line in lines["haproxy", "server", behind.front]:
        assert "network.peer.address" not in line


# -- greetings, byte by byte ---------------------------------------------------------------------

GREETINGS: dict[str, list[tuple[str, bytes]]] = {
    "SOCKS5": [  # RFC 1928, 1929
        ("client", b"\5\1\2"),
        ("server", b"\5\2"),
        ("client", b"\1\4user\6secret"),
        ("server", b"\1\0"),
        ("client", b"\5\1\0\1\x7f\0\0\1\0\x50"),
        ("server", b"\5\0\0\1\0\0\0\0\0\0"),
    ],
    "telnet": [("server", b"\xff\xfd\x18" * 40), ("client", b"\xff\xfb\x18" * 40)],
    "a long banner": [("server", b"220-welcome to this host, please behave\r\n" * 300)],
    "PROXY": [("client", b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n")],
}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

PEERS = """
import ast, socket, sys, threading

def exactly(connection, size):
    while size:
        size -= len(connection.recv(1))

def greet(connection, end):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for speaker, said in ast.literal_eval(sys.argv[2]):
        if speaker != end:
            exactly(connection, len(said))
        for byte in said if speaker == end else b"":
            connection.send(bytes([byte]))
"""
SERVER = """
def serve(connection):
    greet(connection, "server")
    while connection.recv(65536):
        connection.sendall(ast.literal_eval(sys.argv[3]))
    connection.close()

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
CLIENT = """
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    greet(connection, "client")
    for n in range(3):
        connection.sendall(b"GET /%d HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % n)
        exactly(connection, len(ast.literal_eval(sys.argv[3])))
"""


@pytest.mark.parametrize("kind", GREETINGS)
def test_a_greeting_that_comes_byte_by_byte_hides_nothing(start_program, start_agent, kind):
    port = free_port()
    arguments = [str(port), repr(GREETINGS[kind]), repr(ANSWER)]
    server = start_program(sys.executable, "-c", PEERS + SERVER, *arguments)
    wait_until(lambda: listening(port), f"the server: {server.err}")
    agent = start_agent("--port", str(port))
    subprocess.run([sys.executable, "-c", PEERS + CLIENT, *arguments], check=True, timeout=DEADLINE)
    for role in ("server", "client"):
        lines = agent.wait_for_exchanges(3, role)
        asked = [(line["http.request.method"], line["url.original"]) for line in lines]
        assert asked == [("GET", "/0"), ("GET", "/1"), ("GET", "/2")]
        assert {line["rover.outcome"] for line in lines} == {"complete"}
        if kind == "PROXY":
            assert {(line["client.address"], line["client.port"]) for line in lines} == {("192.0.2.7", 5000)}
    assert agent.finish().seen == 6
