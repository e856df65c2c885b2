"""The sink as the core has it: opened, informed, fed and closed."""

import re
import socket
import time
import urllib.request

import pytest

from rover import AccessLog, Address, Connection, Process, Role
from rover.run.report import PluginFailure, Report, SinkReport
from rover.testing import check_sink
from rover_plugin_sink_prometheus import SETTINGS, register_sinks
from rover_plugin_sink_prometheus.figures import HELP, counts_of, help_of
from rover_plugin_sink_prometheus.sink import PrometheusSink, target

SECONDS = 20
(SPEC,) = register_sinks()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def make(**settings):
    given = {setting.name: setting.default for setting in SETTINGS}
    return PrometheusSink(given | {"port": free_port()} | settings)


def page_of(sink):
    sink._page.forget()  # which a client would have to wait for
    host, port = sink._where
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=SECONDS) as response:
        return response.read().decode()


POD = Process(pid=7, name="python3", attributes={"service.name": "shop", "k8s.pod.name": "shop-1"})


def log(method="GET", route="/"):
    return AccessLog(
        connection=Connection(
            id=1,
            local=Address(host="10.0.0.1", port=80),
            remote=Address(host="10.0.0.2", port=4000),
            role=Role.SERVER,
            process=POD,
            opened=0,
            epoch=0,
        ),
        start=0,
        end=1,
        protocol="http",
        attributes={"http.request.method": method, "http.route": route},
    )


FIGURES = Report(
    exchanges=10,
    unhandled=1,
    connections=3,
    calls=40,
    breaks={"framing": 2},
    records_lost={"ring_full": 5},
    sinks=[SinkReport("jsonl", 8, {"queue_full": 1})],
    failures=[PluginFailure("x", "a: ValueError", "no", 2), PluginFailure("x", "b: ValueError", "no", 1)],
    noted={"connections evicted": 4},
    dropped={"filter health checks": 1, "quiet": 2},
)


def test_it_keeps_the_laws_of_sinks():
    check_sink(SPEC, {"port": free_port()})


def test_a_port_that_is_taken_refuses_the_run_before_anything_starts():
    sink = make()
    try:
        with pytest.raises(Exception, match=r"choose another sink\.prometheus\.port"):
            make(port=sink._where[1])
    finally:
        assert sink.close() == 0


def test_from_logs_to_the_page():
    sink = make()
    sink.inform(lambda: FIGURES)
    try:
        sink.write([log(), log(), log("PURGE")])
        page = page_of(sink)
        assert re.findall(r'_count{service_name="shop",http_request_method="(\w+)",.*} (\d)', page) == [
            ("GET", "2"),
            ("_OTHER", "1"),
        ]
        assert 'rover_sink_exchanges_lost_total{sink="jsonl",cause="queue_full"} 1\n' in page
        assert sink.counters() == {"scrapes": 1, "overflowed": 0}
    finally:
        sink.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(sink._where, SECONDS)


def test_what_is_set():
    sink = make(labels=["k8s.pod.name"], methods=["PURGE"], series=2)
    sink.inform(lambda: FIGURES)
    try:
        sink.write([log("PURGE"), log("GET", "/a"), log("GET", "/b"), log("GET", "/c")])
        page = page_of(sink)
        assert re.findall(r'_count{(?:k8s_pod_name="(\S+?)",)?(\w+)="(\S+?)".*} (\d)', page) == [
            ("shop-1", "http_request_method", "PURGE", "1"),
            ("shop-1", "http_request_method", "_OTHER", "1"),
            ("", "otel_metric_overflow", "true", "2"),
        ]
        assert "rover_series_overflowed_total 2\n" in page
        assert "rover_series 3\n" in page
    finally:
        sink.close()


def test_a_series_that_is_idle_leaves_the_page():
    sink = make(idle=0.05)
    sink.inform(lambda: FIGURES)
    try:
        sink.write([log()])
        deadline = time.monotonic() + SECONDS
        while "http_server_request" in page_of(sink):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        sink.close()


def test_figures_that_fail_are_an_error_to_the_client_and_no_other_page():
    sink = make()
    answers = iter([FIGURES, RuntimeError("changed meanwhile"), FIGURES])

    def figures():
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    sink.inform(figures)
    try:
        assert "rover_exchanges_total 10\n" in page_of(sink)
        with pytest.raises(urllib.request.HTTPError, match="500"):
            page_of(sink)
        assert "rover_exchanges_total 10\n" in page_of(sink)
    finally:
        sink.close()


def test_the_figures_of_a_run():
    counts = counts_of(FIGURES, {"protocol": 6})
    assert counts == {
        ("rover_exchanges", ()): 10,
        ("rover_exchanges_unhandled", ()): 1,
        ("rover_connections", ()): 3,
        ("rover_socket_calls", ()): 40,
        ("rover_exchanges_dropped", (("plugin", "filter"), ("rule", "health checks"))): 1,
        ("rover_exchanges_dropped", (("plugin", "quiet"),)): 2,
        ("rover_exchanges_unmeasured", (("cause", "protocol"),)): 6,
        ("rover_records_lost", (("cause", "ring_full"),)): 5,
        ("rover_protocol_breaks", (("reason", "framing"),)): 2,
        ("rover_sink_exchanges_logged", (("sink", "jsonl"),)): 8,
        ("rover_sink_exchanges_lost", (("sink", "jsonl"), ("cause", "queue_full"))): 1,
        ("rover_plugin_failures", (("plugin", "x"),)): 3,
        ("rover_connections_evicted", ()): 4,
    }
    for name, _ in counts:
        assert help_of(name)
    assert help_of("rover_connections_evicted") == "As in rover's totals: connections evicted."
    assert {name for name, _ in counts} - {"rover_connections_evicted"} <= set(HELP)


def test_who_tells_the_page():
    assert dict(target())["service.name"] == "rover"
    assert all(value for _, value in target())
