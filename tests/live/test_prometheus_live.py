"""Prometheus itself scrapes the agent: real requests, one page for all workers, and no trace of itself."""

from __future__ import annotations

import collections
import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import DEADLINE, Program, RunningAgent, free_port, listening, tcp_connection, wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus (Debian: prometheus)"),
]

TRACE = "4bf92f3577b34da6a3ce929d0e0e47{:02x}"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
CONFIGURATION = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs: [{{job_name: rover, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """/slow/... takes its time, /fails/... fails."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(0.03)
        self.send_response(500 if self.path.startswith("/fails") else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Of an HTTP server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(DEADLINE)


def ask(port: int, target: str, number: int) -> None:
    """One request of a trace, on a connection of its own."""
    headers = f"Host: shop.example\r\ntraceparent: 00-{TRACE.format(number)}-{number:016x}-01\r\n"
    with tcp_connection(port) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
        while connection.recv(4096):
            pass


def fetch(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as response:
        return str(response.read().decode())


class Prometheus:
    """A server that scrapes one page."""

    def __init__(self, program: Program, port: int) -> None:
        self.program, self.port = program, port

    def api(self, path: str, **parameters: object) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        found = json.loads(fetch(url))
        assert found["status"] == "success"
        return found["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Its values now, by what the labels are."""
        rows = self.api("query", query=expression)["result"]
        return {",".join(row["metric"].values()): float(row["value"][1]) for row in rows}


@pytest.fixture
def start_prometheus(start_program: Callable[..., Program], tmp_path: Path) -> Callable[[int], Prometheus]:
    def start(scraped: int) -> Prometheus:
        file, port = tmp_path / "prometheus.yml", free_port()
        file.write_text(CONFIGURATION.format(port=scraped))
        program = start_program(
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
        )
        wait_until(lambda: listening(port), f"prometheus: {program.err}")
        made = Prometheus(program, port)

        def is_ready() -> bool:
            with contextlib.suppress(OSError):
                return bool(fetch(f"http://127.0.0.1:{port}/-/ready"))
            return False

        wait_until(is_ready, "prometheus to be ready")
        return made

    return start


def start_watching(
    start_agent: Callable[..., RunningAgent], port: int, *more: str
) -> tuple[RunningAgent, int]:
    """An agent that watches this port and its own page's; the page's port."""
    scraped = free_port()
    agent = start_agent(
        *("--port", str(port), "--port", str(scraped), *more),
        *("--set", f"sink.prometheus.port={scraped}"),
        *("--set", "plugin.routes.patterns=/slow/{id},/fast/{id},/fails/{id}"),
        sinks=("jsonl", "prometheus"),
    )
    return agent, scraped


def bucket_of(seconds: float) -> int:
    return sum(seconds > bound for bound in BOUNDS)


def test_prometheus_tells_the_slow_route(
    port: int,
    start_agent: Callable[..., RunningAgent],
    start_prometheus: Callable[[int], Prometheus],
) -> None:
    agent, scraped = start_watching(start_agent, port)
    prometheus = start_prometheus(scraped)
    routes = ["/slow/", "/fast/", "/fast/", "/fails/"] * 12
    for number, route in enumerate(routes):
        ask(port, f"{route}{number}", number)
    counts = {f"{route}{{id}}": count for route, count in collections.Counter(routes).items()}
    seen = "sum by (http_route) (http_server_request_duration_seconds_count)"
    wait_until(lambda: prometheus.query(seen) == counts, f"{counts} in prometheus")

    # What it says of each route is what the access logs of the same requests say.
    lines = agent.wait_for_exchanges(len(routes), "server")
    durations: dict[str, list[float]] = collections.defaultdict(list)
    for line in lines:
        durations[line["http.route"]].append(line["duration_ns"] / 1e9)
    buckets = "sum by (le, http_route) (http_server_request_duration_seconds_bucket)"
    p99 = prometheus.query(f"histogram_quantile(0.99, {buckets})")
    for route, took in durations.items():
        assert bucket_of(p99[route]) == bucket_of(sorted(took)[int(0.99 * len(took))])
    assert p99["/slow/{id}"] > 0.025
    assert prometheus.query("sum by (http_route) (http_server_request_duration_seconds_sum)") == {
        route: pytest.approx(sum(took)) for route, took in durations.items()
    }
    failed = 'sum by (http_route) (http_server_request_duration_seconds_count{error_type="500"})'
    assert prometheus.query(failed) == {"/fails/{id}": 12}
    clients = "sum by (server_address, server_port) (http_client_request_duration_seconds_count)"
    assert prometheus.query(clients)[f"shop.example,{port}"] == len(routes)

    # Exemplars lead to the traces.
    def exemplars() -> list[Any]:
        selector = 'http_server_request_duration_seconds_bucket{http_route="/slow/{id}"}'
        found = prometheus.api(
            "query_exemplars", query=selector, start=time.time() - 60, end=time.time() + 60
        )
        return [exemplar for series in found for exemplar in series["exemplars"]]

    wait_until(exemplars, "an exemplar")
    slow = {
        TRACE.format(number): f"{number:016x}" for number, route in enumerate(routes) if route == "/slow/"
    }
    for exemplar in exemplars():
        assert slow[exemplar["labels"]["trace_id"]] == exemplar["labels"]["span_id"]
        assert float(exemplar["value"]) in [round(took, 9) for took in durations["/slow/{id}"]]

    # promtool has nothing to say of the page, and the totals are on it.
    page = fetch(f"http://127.0.0.1:{scraped}/metrics")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page.encode(), capture_output=True, timeout=20
    )
    assert (checked.returncode, checked.stderr) == (0, b"")
    told = {name: int(n) for name, n in re.findall(r"^rover_(\w+?)_total (\d+)$", page, re.MULTILINE)}
    assert told["exchanges"] >= 2 * len(routes)

    # The page's own connections are seen at their clients' ends only: the agent never traces itself.
    own = [line for line in agent.exchanges() if line["server.port"] == scraped]
    assert "prometheus" in {line["process.executable.name"] for line in own}
    assert {line["rover.role"] for line in own} == {"client"}
    assert agent.pid not in {line["process.pid"] for line in agent.lines()}
    totals = agent.finish()
    assert totals.logged["prometheus"] == totals.logged["jsonl"] == totals.seen


def test_one_page_for_all_workers_whichever_dies(port: int, start_agent: Callable[..., RunningAgent]) -> None:
    agent, scraped = start_watching(start_agent, port, "--workers", "3")
    asked = 0

    def seen() -> tuple[int, int]:
        """Requests of the server, and workers, on a page that is there."""
        with contextlib.suppress(OSError):
            page = fetch(f"http://127.0.0.1:{scraped}/metrics")
            counts = re.findall(r"^http_server_request_duration_seconds_count{.*} (\d+)$", page, re.MULTILINE)
            (workers,) = re.findall(r"^rover_workers (\d+)$", page, re.MULTILINE)
            return sum(map(int, counts)), int(workers)
        return 0, 0

    def ask_all(count: int) -> None:
        nonlocal asked
        for _ in range(count):
            ask(port, f"/fast/{asked}", asked % 256)
            asked += 1

    ask_all(60)
    wait_until(lambda: seen() == (60, 3), "every request and worker on the page")
    workers = [int(pid) for pid in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()]

    # One that does not have the port: the page stays, and so does what is on it.
    os.kill(workers[1], signal.SIGKILL)
    wait_until(lambda: seen()[1] == 3, "a worker in its place")
    assert seen()[0] == 60
    ask_all(30)
    wait_until(lambda: seen() == (90, 3), "what comes after")

    # The one that has it: another has the page, and it begins anew.
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: seen()[1] == 3, "the page of another worker")
    assert seen()[0] == 0
    ask_all(30)
    wait_until(lambda: seen()[0] == 30, "what comes after")
    pids = {line["process.pid"] for line in agent.lines()}
    assert not pids & {agent.pid, *workers}
    agent.stop()
