"""The dashboard, and what Prometheus and Grafana read in packaging/grafana: whatever it asks for is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from dashboard import DASHBOARD, GRAFANA, PANELS, QUERIES, VARIABLES
from harness import free_port, wait_until
from rover import Address, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.writer import Writer

METRIC = re.compile(r"\b((?:http|rpc|db|rover)_[a-z_]+)\b(?=\{|, instance)")
GROUPED = re.compile(r"by \(([^)]*)\) \((?:rate|increase)\((\w+)\{")
MATCHED = re.compile(r"(\w+)\{([^}]*)\}")

HTTP = [
    (
        f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode(),
        f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode(),
    )
    for target, said in (("/users/1", "200 OK"), ("/users/2", "500 Oh"), ("/none", "404 Not Found"))
]
REDIS = [(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"$1\r\nb\r\n")]


def frames(*sent: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in sent)


def grpc() -> list[tuple[bytes, bytes]]:
    ask, answer = Encoder(), Encoder()
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/shop.Cart/Add"), (":authority", "a")]
    asked = ask.encode([*fields, ("content-type", "application/grpc")])
    answered = answer.encode([(":status", "200"), ("content-type", "application/grpc")])
    trailers = answer.encode([("grpc-status", "0")])
    return [
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frames(
                SettingsFrame(0),
                HeadersFrame(1, asked, flags=["END_HEADERS"]),
                DataFrame(1, bytes(5), flags=["END_STREAM"]),
            ),
            frames(
                SettingsFrame(0),
                HeadersFrame(1, answered, flags=["END_HEADERS"]),
                DataFrame(1, bytes(5)),
                HeadersFrame(1, trailers, flags=["END_HEADERS", "END_STREAM"]),
            ),
        )
    ]


def record(path: Path) -> Path:
    """A process that serves HTTP and gRPC, and asks a server of HTTP and one of Redis."""
    writer = Writer(str(path), replace=True)
    writer.begin(1_700_000_000_000_000_000, 0)
    writer.process(Process(pid=7, name="shop"))
    conversations = [
        (Role.SERVER, 8080, HTTP),
        (Role.SERVER, 50051, grpc()),
        (Role.CLIENT, 80, HTTP),
        (Role.CLIENT, 6379, REDIS),
    ]
    for number, (role, port, turns) in enumerate(conversations, 1):
        server, client = Address(host="10.0.0.2", port=port), Address(host="10.0.0.1", port=40_000 + number)
        local, remote = (server, client) if role is Role.SERVER else (client, server)
        time = number * 1_000_000
        writer.opened(
            Opened(
                connection=number,
                time=time,
                local=local,
                remote=remote,
                role=role,
                pid=7,
                late=False,
                detail=None,
            )
        )
        positions = {Direction.INGRESS: 0, Direction.EGRESS: 0}
        inward = Direction.INGRESS if role is Role.SERVER else Direction.EGRESS
        outward = Direction.EGRESS if role is Role.SERVER else Direction.INGRESS
        calls = [each for asked, answered in turns for each in ((inward, asked), (outward, answered))]
        for sequence, (direction, data) in enumerate(calls):
            time += 1000
            detail = Detail(
                connection=number,
                sequence=sequence,
                start=time,
                end=time + 10,
                position=positions[direction],
                size=len(data),
                pid=7,
                fd=3,
                syscall=Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE,
                direction=direction,
                error=0,
            )
            positions[direction] += len(data)
            writer.data(detail, data)
    writer.end(10_000_000)
    assert writer.failure == ""
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the sink for Prometheus says of it, while the replay waits for more."""
    recording = record(tmp_path_factory.mktemp("grafana") / "shop.rec")
    port = free_port()
    argv = [*(sys.executable, "-m", "rover", "replay", "-", "--sink", "prometheus")]
    argv += ["--set", f"sink.prometheus.port={port}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as agent:
        assert agent.stdin is not None
        agent.stdin.write(recording.read_bytes())
        agent.stdin.flush()
        said = ""

        def whole() -> bool:
            nonlocal said
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    said = answer.read().decode()
            except OSError:
                return False
            return "rpc_server_call_duration_seconds_count" in said and "rover_exchanges_total 8" in said

        try:
            wait_until(whole, "the exchanges on the page")
        finally:
            agent.stdin.close()
    assert agent.returncode == 0
    return said


def labels(page: str) -> dict[str, set[str]]:
    """Of each metric, the names of the labels that any of its series has."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            found[name.split(" ")[0]] |= set(re.findall(r'(\w+)="', rest))
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_and_label_that_is_asked_for_is_there(page: str, query: str) -> None:
    """Labels that Prometheus adds, and those that a plugin gives a process, besides."""
    there = labels(page)
    named = METRIC.findall(query)
    assert named
    assert set(named) <= set(there)
    added = {"instance", "service_name"}
    for metric, matchers in MATCHED.findall(query):
        assert set(re.findall(r"(\w+)[=!]~?\"", matchers)) <= there[metric] | added
    for by, metric in GROUPED.findall(query):
        assert {label.strip() for label in by.split(",")} <= there[metric] | added


def test_all_that_the_page_has_of_requests_is_shown(page: str) -> None:
    """Of each histogram but that of the clients of RPC, which has the same labels as that of servers."""
    shown = {name for query in QUERIES for name in METRIC.findall(query)}
    histograms = {name for name in labels(page) if name.endswith("_count")}
    assert histograms <= {re.sub("_bucket$", "_count", name) for name in shown}


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_queries_use_variables_that_are_there() -> None:
    used = {name for query in QUERIES for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert used == {"instance", "service"}
    sources = {json.dumps(target["datasource"]) for panel in PANELS for target in panel["targets"]}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert used | {"datasource"} == set(VARIABLES)


def test_a_legend_shows_labels_that_the_query_leaves() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            by = {
                label.strip()
                for each in re.findall(r"by \(([^)]*)\)", target["expr"])
                for label in each.split(",")
            }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= by, panel["title"]


def test_what_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/rover.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    scraped = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")
def test_prometheus_takes_its_configuration() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", GRAFANA / "prometheus.yml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
