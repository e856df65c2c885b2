"""A real OpenTelemetry Collector takes what is sent, where there is one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

COLLECTOR = shutil.which("otelcol") or shutil.which("otelcol-contrib")
pytestmark = pytest.mark.skipif(COLLECTOR is None, reason="needs an OpenTelemetry Collector (otelcol)")
SIGNALS = ("traces", "metrics", "logs")


def free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_takes_everything(
    make_sink: Any, traffic: Any, wait_until: Any, protocol: str, compression: str, tmp_path: Path
) -> None:
    grpc, http = free_ports(2)
    written = tmp_path / "out.jsonl"
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    listen = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
    configuration = {
        "receivers": {"otlp": {"protocols": listen}},
        "exporters": {"file": {"path": str(written)}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": dict.fromkeys(SIGNALS, pipeline),
        },
    }
    path = tmp_path / "collector.yaml"
    path.write_text(json.dumps(configuration))  # YAML, as all JSON is
    collector = subprocess.Popen([str(COLLECTOR), "--config", str(path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(grpc) and listening(http))
        sink = make_sink(
            protocol=protocol,
            endpoint=f"http://127.0.0.1:{grpc if protocol == 'grpc' else http}",
            compression=compression,
            signals=list(SIGNALS),
        )
        server = traffic.connection()
        client = traffic.other_end(server)
        for n in range(100):
            sink.write([traffic.traced(end, f"/{n}", caller=f"{n + 1:016x}") for end in (client, server)])
        wait_until(lambda: sink.counters().get("traces_sent_exchanges") == 200)
        assert sink.close() == 0
        assert not [name for name in sink.counters() if "rejected" in name or "shed" in name]
    finally:
        collector.terminate()
        collector.wait(20)
    requests = [json.loads(line) for line in written.read_text().splitlines()]
    spans = [
        span
        for request in requests
        for group in request.get("resourceSpans", ())
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans) == 200
    for span in spans:
        if span["kind"] == 2:  # SPAN_KIND_SERVER
            assert by_id[span["parentSpanId"]]["kind"] == 3
    assert {key for request in requests for key in request} == {
        "resourceSpans",
        "resourceMetrics",
        "resourceLogs",
    }
