"""Histograms: what arrives is what was exchanged, in requests that receivers take."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from rover import Role
from rover.metrics import Requests
from rover_plugin_sink_otlp import metrics
from rover_plugin_sink_otlp.metrics import MetricCollector, encode
from rover_plugin_sink_otlp.receiver.items import items
from rover_plugin_sink_otlp.settings import configure
from rover_plugin_sink_otlp.sink import OtlpSink

MS = 1_000_000
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def test_durations_by_route(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["metrics"], metrics_period=3600)
    server, client = traffic.connection(), traffic.connection(Role.CLIENT)
    took = [1, 4, 5, 6, 30_000]
    logs = [
        traffic.exchange(server, f"/{n}", {"http.route": "/{n}"}, start=1000, end=1000 + n * MS) for n in took
    ]
    logs.append(traffic.exchange(server, "/{n}", {"http.response.status_code": 500}))
    logs.append(traffic.exchange(client, "/"))
    sink.write(logs)
    assert sink.close() == 0
    points = {
        (p["name"], p["attributes"].get("http.response.status_code")): p for p in listener.of("metrics")
    }
    assert len(points) == len(listener.items) == 3
    point = points["http.server.request.duration", 200]
    assert point["bounds"] == BOUNDS
    assert point["counts"] == [3, 1, *[0] * 12, 1]
    assert (point["count"], point["sum"], point["unit"]) == (5, pytest.approx(30.016), "s")
    assert point["attributes"] == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/{n}",
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }
    assert point["resource"] == {
        "service.name": "web",
        "service.instance.id": "host",
        "host.name": "host",
    }
    assert point["start"] <= point["time"] <= time.time_ns()
    assert points["http.server.request.duration", 500]["attributes"]["error.type"] == "500"
    assert points["http.client.request.duration", 200]["attributes"]["server.address"] == "example.org"
    ((_, sent),) = listener.requests
    (group,) = sent.resource_metrics
    assert {m.histogram.aggregation_temporality for m in group.scope_metrics[0].metrics} == {2}


def test_they_are_cumulative_and_come_each_period(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["metrics"], metrics_period=0.1)
    connection = traffic.connection()
    sink.write([traffic.exchange(connection)])
    listener.wait(lambda: len(listener.items) >= 2)
    sink.write([traffic.exchange(connection)])
    listener.wait(lambda: listener.items[-1]["count"] == 2)
    assert sink.close() == 0
    assert len({point["start"] for point in listener.items}) == 1
    times = [point["time"] for point in listener.items]
    assert times == sorted(set(times))


def test_exemplars_name_the_trace(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["metrics"])
    connection = traffic.connection()
    sink.write([traffic.traced(connection)])
    skywalking = {"trace.provider": "skywalking", "trace_id": "a.b", "span_id": "1"}
    sink.write([traffic.exchange(connection, "/", {**skywalking, "http.response.status_code": 201})])
    assert sink.close() == 0
    by_status = {p["attributes"]["http.response.status_code"]: p["exemplars"] for p in listener.items}
    (exemplar,) = by_status[200]
    assert exemplar["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert exemplar["span_id"] == "b7ad6b7169203331"
    assert by_status[201] == []


def test_nothing_to_tell_is_no_request(listen: Any, make_sink: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["metrics"])
    assert sink.close() == 0
    assert not listener.requests


def test_workers_are_told_apart(listen: Any, traffic: Any) -> None:
    listener = listen()
    settings = {**listener.settings("grpc"), "signals": ["metrics"], "spool": False}
    for worker in range(2):
        sink = OtlpSink(configure(settings, worker, 2))
        sink.write([traffic.exchange(traffic.connection())])
        assert sink.close() == 0
    instances = [point["resource"]["service.instance.id"] for point in listener.items]
    assert [each.rpartition("/")[2] for each in instances] == ["worker-1", "worker-2"]


def test_many_series_are_several_requests(traffic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_BYTES", 50_000)
    requests = Requests(resource=lambda process: (("service.name", process.name if process else ""),))
    for n in range(300):
        process = traffic.process.replace(name=f"p{n % 7}")
        log = traffic.exchange(traffic.connection(process=process), said={"http.route": f"/{n}"})
        requests.observe([log], 1)
    made = list(encode(requests.points(2), "1", 2))
    assert len(made) > 3
    assert max(map(len, made)) <= 50_000
    told = [item for each in made for item in items("metrics", ExportMetricsServiceRequest.FromString(each))]
    assert {item["attributes"]["http.route"] for item in told} == {f"/{n}" for n in range(300)}
    assert len(told) == 300
    for item in told:
        assert item["resource"]["service.name"] == f"p{int(item['attributes']['http.route'][1:]) % 7}"


def test_what_is_too_much_is_one_series(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["metrics"], max_series=5)
    connection = traffic.connection()
    sink.write([traffic.exchange(connection, said={"http.route": f"/{n}"}) for n in range(50)])
    assert sink.close() == 0
    assert len(listener.items) == 6
    (rest,) = [each for each in listener.items if "otel.metric.overflow" in each["attributes"]]
    assert rest["count"] == 45
    assert rest["resource"] == {
        "service.name": "unknown_service",
        "service.instance.id": "host",
        "host.name": "host",
    }
    assert sink.counters()["metrics_overflowed"] == 45


def test_a_host_that_slept_sends_one_request(traffic: Any) -> None:
    requests = Requests()
    requests.observe([traffic.exchange(traffic.connection())], time.time_ns())
    collector = MetricCollector(requests, (), "1", 10.0)
    now = collector.due
    assert now is not None
    collector.ripen(now - 1)
    assert not collector.take()
    collector.ripen(now + 1000)
    assert len(collector.take()) == 1
    assert collector.due == now + 1010
    collector.ripen(None)
    collector.ripen(None)
    assert len(collector.take()) == 1
    assert collector.due is None
