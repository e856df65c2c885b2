"""A capture of nginx and wrk through rover, tshark and httpry: each a whole process, from file to file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import free_port, listening, wait_until

EXCHANGES = 100_000
MARGIN = 1_000
"""What wrk asks for beyond these, so that the last one is answered before it stops."""
CONNECTIONS = 64
SIZES = (200, 200, 200, 600, 600, 600, 600, 2_000, 2_000, 20_000)
"""Bytes of the bodies, by their share."""
SLOW_ROUNDS = 3
"""Of tshark, which takes longer than all the others."""

_SYN = 0x02

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 500;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen {port} backlog=4096;
        root {directory}/html;
        rewrite ^/(\\d+)/ /$1.html break;
        location /orders {{ return 201 "taken\\n"; }}
        location /gone {{ return 404; }}
    }}
}}
"""

SCRIPT = """
math.randomseed(7)
local random, format, asked = math.random, string.format, 0
local sizes = {{ {sizes} }}
local agents = {{ "curl/8.1", "okhttp/4.12", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101" }}
local words = {{ "api", "v1", "users", "static", "img", "search", "cart", "login", "items" }}
local function hex() return format("%08x%08x", random(0, 2147483647), random(0, 2147483647)) end
request = function()
  asked = asked + 1
  if asked > {limit} then os.exit(0) end
  local headers = {{
    ["Host"] = format("shop-%d.example.com", random(1000)), ["User-Agent"] = agents[random(#agents)],
    ["Accept"] = "*/*", ["Cookie"] = "session=" .. hex() .. hex() .. "; seen=" .. random(1e9),
  }}
  if random(2) == 1 then headers["traceparent"] = "00-" .. hex() .. hex() .. "-" .. hex() .. "-01" end
  if random(2) == 1 then headers["X-Request-Id"] = hex() end
  if random(20) == 1 then headers["Connection"] = "close" end
  local behind = format("/%s/%s/%s?q=%s", words[random(#words)], words[random(#words)], hex(), hex())
  local kind = random(20)
  if kind == 1 then return wrk.format("GET", "/gone" .. behind, headers) end
  if kind < 4 then return wrk.format("POST", "/orders" .. behind, headers, string.rep(hex(), random(25))) end
  return wrk.format("GET", "/" .. sizes[random(#sizes)] .. behind, headers)
end
"""
"""No two heads alike; one connection in twenty exchanges is closed. A thread of wrk that is stopped
waits out the time all the same; an exit does not."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of one whole process."""

    wall: float
    processor: float


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """A server with pages of all sizes; yields its port."""
    port = free_port()
    directory.chmod(0o755)
    (directory / "html").mkdir()
    for size in set(SIZES):
        (directory / "html" / f"{size}.html").write_bytes(os.urandom(size // 2).hex().encode())
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port))
    server = subprocess.Popen(["nginx", "-p", directory, "-c", configuration], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(port), "nginx to listen")
        yield port
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(20)


def capture(directory: Path) -> tuple[Path, int, int]:
    """A capture of EXCHANGES exchanges, the port they go to, and the packets in it."""
    whole, file, script = directory / "whole.pcap", directory / "capture.pcap", directory / "diverse.lua"
    sizes = ", ".join(map(str, SIZES))
    script.write_text(SCRIPT.format(sizes=sizes, limit=EXCHANGES + MARGIN))
    with nginx(directory) as port:
        tcpdump = subprocess.Popen(
            ["tcpdump", "-i", "lo", "-B", "262144", "-w", whole, "tcp", "port", str(port)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tcpdump.stderr is not None
        tcpdump.stderr.readline()
        try:
            subprocess.run(
                [
                    *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", "120s", "-s", script),
                    f"http://127.0.0.1:{port}/",
                ],
                stdout=subprocess.DEVNULL,
                check=True,
            )
        finally:
            tcpdump.send_signal(signal.SIGINT)
            said = tcpdump.communicate(timeout=60)[1]
    if "0 packets dropped by kernel" not in said:
        raise RuntimeError(f"tcpdump lost packets: {said}")
    packets = cut_off(whole, file, port)
    whole.unlink()
    return file, port, packets


def cut_off(whole: Path, file: Path, port: int) -> int:
    """Keeps the first EXCHANGES exchanges; returns the packets they took.

    wrk sends a request in one segment, and none before the last one was answered. So each segment
    with data to the server is an exchange, and a connection that asks once more is left out from there on.
    """
    requests = packets = 0
    over: set[int] = set()
    record, ports = struct.Struct("<IIII"), struct.Struct(">HH")
    with whole.open("rb") as source, file.open("wb") as target:
        target.write(source.read(24))
        while head := source.read(record.size):
            packet = source.read(record.unpack(head)[2])
            behind = 14 + (packet[14] & 15) * 4
            ends = ports.unpack_from(packet, behind)
            client = ends[0] if ends[1] == port else ends[1]
            data = int.from_bytes(packet[16:18], "big") + 14 - behind - (packet[behind + 12] >> 4) * 4
            asks = ends[1] == port and (data > 0 or packet[behind + 13] & _SYN)
            if asks and requests == EXCHANGES:
                over.add(client)
            if client in over:
                continue
            requests += ends[1] == port and data > 0
            target.write(head)
            target.write(packet)
            packets += 1
    if requests < EXCHANGES:
        raise RuntimeError(f"{requests} exchanges in 120 seconds")
    return packets


def cost(command: Sequence[str | Path], output: Path) -> Cost:
    """Runs a command to its end, with Python's modules as an installed package has them: compiled once."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    with output.open("wb") as file:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, env=environment)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
    if process.returncode:
        raise RuntimeError(said.decode())
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def rows(directory: Path, rounds: int, say: Callable[[str], None]) -> None:
    """Prints a line for each tool, medians of so many rounds, interleaved."""
    if missing := [name for name in ("nginx", "wrk", "tcpdump") if shutil.which(name) is None]:
        say(f"  left out: needs {', '.join(missing)}")
        return
    if os.geteuid() != 0:
        say("  left out: needs root")
        return
    file, port, packets = capture(directory)
    size = file.stat().st_size
    say(f"  {EXCHANGES:,} exchanges, {packets:,} packets, {size / 1e6:.0f} MB")
    lines, printed = directory / "access.jsonl", directory / "printed"
    commands: dict[str, list[str | Path]] = {
        "rover": [
            *(sys.executable, "-m", "rover", "replay", file),
            *("--sink", "jsonl", "--set", f"sink.jsonl.path={lines}"),
        ],
        "tshark": [
            *("tshark", "-r", file, "-d", f"tcp.port=={port},http", "-Y", "http", "-T", "fields"),
            *("-e", "http.request.method", "-e", "http.request.uri", "-e", "http.response.code"),
        ],
        "httpry": ["httpry", "-r", file, "-o", printed, f"tcp port {port}"],
    }
    for tool in ("tshark", "httpry"):
        if shutil.which(tool) is None:
            del commands[tool]
            say(f"  {tool} is not installed")
    costs: dict[str, list[Cost]] = {tool: [] for tool in commands}
    for done in range(rounds):
        for tool, command in commands.items():
            if tool == "tshark" and done >= SLOW_ROUNDS:
                continue
            for output in lines, printed:
                output.unlink(missing_ok=True)
            costs[tool].append(cost(command, directory / "output"))
            if tool == "rover":
                check(lines)
    walls = {tool: statistics.median(one.wall for one in all_) for tool, all_ in costs.items()}
    for tool, all_ in costs.items():
        processor = statistics.median(one.processor for one in all_)
        say(
            f"  {tool:8} {walls[tool]:7.2f} s, processor {processor:7.2f} s, "
            f"{1e6 * processor / EXCHANGES:6.1f} us an exchange; {walls[tool] / walls['rover']:6.2f} x rover"
        )


def check(lines: Path) -> None:
    """Raises RuntimeError unless every exchange was logged."""
    with lines.open("rb") as file:
        count = sum(b'"rover.outcome":"complete"' in line for line in file)
    if count != EXCHANGES:
        raise RuntimeError(f"{count} of {EXCHANGES} exchanges in the file")
