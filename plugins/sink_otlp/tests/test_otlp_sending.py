"""The sink against a real receiver, by gRPC and by HTTP: once, in order, bounded, whatever the receiver
does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover import Role, RoverError
from rover.sending import sender as sender_module
from rover_plugin_sink_otlp import request, spans

Wait = Callable[[Callable[[], object]], None]
both = pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def exchanges(traffic: Any, number: int, start: int = 0) -> list[Any]:
    connection = traffic.connection()
    return [traffic.exchange(connection, f"/{n}") for n in range(start, start + number)]


def numbered(number: int) -> list[str]:
    return [f"/{n}" for n in range(number)]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def alone(protocol: str) -> dict[str, bool]:
    """A receiver that speaks this only."""
    return {"grpc": protocol == "grpc", "http": protocol != "grpc"}


# -- what arrives --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_everything_arrives_once_and_in_order(
    listen: Any, make_sink: Any, traffic: Any, protocol: str, compression: str
) -> None:
    listener = listen()
    sink = make_sink(
        **listener.settings(protocol),
        compression=compression,
        flush_max_count=100,
        signals=["traces", "logs"],
        resource=["deployment.environment.name=a%20b", "service.version=1"],
    )
    sink.write(exchanges(traffic, 250))
    listener.wait(lambda: len(listener.paths) == len(listener.of("logs")) == 250)
    assert sink.close() == 0
    assert listener.paths == numbered(250)
    spans, records = listener.of("traces"), listener.of("logs")
    assert [span["trace_id"] for span in spans] == [record["trace_id"] for record in records]
    assert [span["span_id"] for span in spans] == [record["span_id"] for record in records]
    assert spans[0]["resource"] == {
        "service.name": "web",
        "service.version": "1",
        "service.instance.id": f"{os.getpid()}@host",
        "host.name": "host",
        "process.pid": os.getpid(),
        "process.executable.name": "web",
        "deployment.environment.name": "a b",
    }
    assert (records[0]["body"], records[0]["severity"], records[0]["event"]) == (
        "GET /0 200",
        "INFO",
        "rover.exchange",
    )
    counters = sink.counters()
    assert counters["traces_sent_exchanges"] == counters["logs_sent_exchanges"] == 250
    assert listener.receiver.requests["traces"] >= 3


def test_scopes_and_schemas(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    make_sink(**listener.settings("grpc")).write(exchanges(traffic, 1))
    listener.wait(lambda: listener.items)
    ((_, sent),) = listener.requests
    (group,) = sent.resource_spans
    (scoped,) = group.scope_spans
    assert scoped.scope.name == "rover"
    assert scoped.scope.version
    assert group.schema_url == scoped.schema_url == "https://opentelemetry.io/schemas/1.44.0"


def test_each_process_is_a_resource(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    connections = [traffic.connection() for _ in range(2)]
    said = {"service.name": "shop", "k8s.pod.name": "shop-1", "process.command": "x"}
    other = traffic.process.replace(pid=7, name="cat", attributes=said)
    connections.append(traffic.connection(process=other))
    connections.append(traffic.connection(process=None))
    sink = make_sink(**listener.settings("grpc"))
    sink.write([traffic.exchange(connection) for connection in connections])
    assert sink.close() == 0
    ((_, sent),) = listener.requests
    assert len(sent.resource_spans) == 3
    resources = {span["resource"]["service.name"]: span["resource"] for span in listener.items}
    assert resources["shop"].items() >= {**said, "process.pid": 7}.items()
    assert resources["unknown_service"] == {
        "service.name": "unknown_service",
        "service.instance.id": "host",
        "host.name": "host",
    }


@both
def test_a_request_is_bounded(
    listen: Any, make_sink: Any, traffic: Any, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bytes, under what receivers take: one span is some 4 kB here."""
    listener = listen()
    sink = make_sink(**listener.settings(protocol), flush_period=5)
    connection = traffic.connection()
    sink.write([traffic.exchange(connection, "/" + "x" * 4000, {"n": n}) for n in range(1500)])
    assert sink.close() == 0
    sizes = [sent.ByteSize() for _, sent in listener.requests]
    assert max(sizes) <= request.MAX_BYTES
    assert len(sizes) == 3
    assert [item["attributes"]["n"] for item in listener.items] == list(range(1500))


def test_breaks_are_log_records(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["traces", "logs"])
    sink.write([traffic.broken(traffic.connection())])
    assert sink.close() == 0
    (record,) = listener.items
    assert record["signal"] == "logs"
    assert (record["event"], record["severity"]) == ("rover.break", "WARN")
    assert record["attributes"].items() >= {"rover.break.reason": "upgrade", "rover.outcome": "break"}.items()
    assert "trace_id" not in record


# -- one trace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["client", "server", "server, a batch before"])
def test_both_ends_join_into_one_trace(
    listen: Any, make_sink: Any, traffic: Any, first: str, wait_until: Wait
) -> None:
    """The caller's span, the client's end, the server's end: whichever is logged first."""
    listener = listen()
    server = traffic.connection()
    client = traffic.other_end(server)
    logs = [traffic.traced(client), traffic.traced(server)]
    if first != "client":
        logs.reverse()
    sink = make_sink(**listener.settings("grpc"))
    if first.endswith("before"):
        sink.write(logs[:1])
        time.sleep(0.2)  # batches are sealed after 0.05 s
        sink.write(logs[1:])
    else:
        sink.write(logs)
    assert sink.close() == 0
    found = {span["kind"]: span for span in listener.items}
    assert {span["trace_id"] for span in found.values()} == {TRACE}
    assert found["client"]["parent_span_id"] == CALLER
    assert found["server"]["parent_span_id"] == found["client"]["span_id"]


def test_a_server_whose_client_is_not_watched_is_the_callers_child(
    listen: Any, make_sink: Any, traffic: Any
) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"))
    sink.write([traffic.traced(traffic.connection())])
    listener.wait(lambda: listener.items)  # it does not wait for ever
    assert listener.items[0]["parent_span_id"] == CALLER


def test_spans_that_wait_are_bounded(
    listen: Any, make_sink: Any, traffic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "MAX_HELD", 10)
    monkeypatch.setattr(spans, "SETTLE", 3600.0)
    listener = listen()
    sink = make_sink(**listener.settings("grpc"))
    connection = traffic.connection()
    sink.write([traffic.traced(connection, f"/{n}") for n in range(100)])
    listener.wait(lambda: listener.paths == numbered(90))
    assert sink.close() == 0
    assert listener.paths == numbered(100)


def test_flags_say_that_the_parent_is_remote(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"))
    sink.write([traffic.traced(traffic.connection(Role.CLIENT)), traffic.exchange(traffic.connection())])
    assert sink.close() == 0
    spans = [s for _, sent in listener.requests for g in sent.resource_spans for s in g.scope_spans[0].spans]
    assert {span.flags for span in spans if span.parent_span_id} == {0x300}
    assert {span.flags for span in spans if not span.parent_span_id} == {0}


# -- a receiver that is away ---------------------------------------------------------------------------


@both
def test_a_receiver_that_is_away_is_waited_for(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    free_port: int,
    protocol: str,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "rover.otlp"):
        sink = make_sink(protocol=protocol, endpoint=f"http://127.0.0.1:{free_port}", flush_max_count=10)
        sink.write(exchanges(traffic, 100))
        wait_until(lambda: "takes no spans" in caplog.text)
        listener = listen(port=free_port, **alone(protocol))
        listener.wait(lambda: len(listener.paths) == 100)
        wait_until(lambda: "takes spans now" in caplog.text)
    assert listener.paths == numbered(100)
    assert sink.close() == 0
    assert len(caplog.records) == 2


@both
def test_a_receiver_that_dies_again_and_again(
    listen: Any, make_sink: Any, traffic: Any, protocol: str, free_port: int
) -> None:
    """None missing; twice there is at most what was under way: one batch for each death."""
    listeners = [listen(port=free_port, **alone(protocol))]
    sink = make_sink(protocol=protocol, endpoint=f"http://127.0.0.1:{free_port}", flush_max_count=50)
    for n in range(0, 3000, 100):
        sink.write(exchanges(traffic, 100, start=n))
        if n in (500, 1500):
            listeners[-1].wait(lambda: len(listeners[-1].paths) >= 100)
            listeners[-1].receiver.stop()
            listeners.append(listen(port=free_port, **alone(protocol)))
    listeners[-1].wait(lambda: "/2999" in listeners[-1].paths)
    assert sink.close() == 0
    arrived = [path for each in listeners for path in each.paths]
    assert set(arrived) == set(numbered(3000))
    assert len(arrived) <= 3000 + 2 * 50


def test_a_killed_agents_spool_is_sent_by_the_next_one(
    listen: Any, make_sink: Any, traffic: Any, free_port: int, tmp_path: Path, wait_until: Wait
) -> None:
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import Traffic
        from rover_plugin_sink_otlp.settings import configure
        from rover_plugin_sink_otlp.sink import OtlpSink
        sink = OtlpSink(configure({{"endpoint": "http://127.0.0.1:{free_port}", "signals": ["traces"],
                                    "spool_path": {str(tmp_path / "spool")!r}, "flush_max_count": 10}}))
        traffic = Traffic()
        connection = traffic.connection()
        while not sink.counters().get("traces_failed_unavailable"):
            sink.write([traffic.exchange(connection, "/first") for _ in range(10)])
            time.sleep(0.01)
        sink.write([traffic.exchange(connection, f"/{{n}}") for n in range(100)])
        print("written", flush=True)
        time.sleep(60)
    """
    agent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"written\n"
    agent.send_signal(signal.SIGKILL)
    agent.communicate()
    listener = listen()
    sink = make_sink(**listener.settings("http/protobuf"))
    listener.wait(lambda: "/99" in listener.paths)
    assert sink.close() == 0
    assert [path for path in listener.paths if path != "/first"] == numbered(100)


def test_without_a_spool_the_end_counts_what_it_loses(make_sink: Any, traffic: Any, free_port: int) -> None:
    sink = make_sink(endpoint=f"http://127.0.0.1:{free_port}", spool=False, signals=["traces", "logs"])
    sink.write(exchanges(traffic, 30))
    assert sink.close() == 30
    assert sink.counters()["traces_shed_unsent"] == 30


def test_a_signal_that_is_refused_holds_up_no_other(
    listen: Any, make_sink: Any, traffic: Any, free_port: int
) -> None:
    listener = listen()
    sink = make_sink(
        **listener.settings("http/protobuf"),
        signals=["traces", "logs"],
        logs_endpoint=f"http://127.0.0.1:{free_port}/v1/logs",
    )
    sink.write(exchanges(traffic, 30))
    listener.wait(lambda: len(listener.paths) == 30)
    assert not listener.of("logs")


# -- what answers mean ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "status"),
    [
        *(("grpc", code) for code in ("UNAVAILABLE", "ABORTED", "DATA_LOSS", "CANCELLED", "OUT_OF_RANGE")),
        *(("http/protobuf", code) for code in ("429", "502", "503", "504")),
    ],
)
def test_a_passing_failure_loses_nothing(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait, protocol: str, status: str
) -> None:
    listener = listen(faults=faults(refuse=status))
    sink = make_sink(**listener.settings(protocol), flush_max_count=10)
    sink.write(exchanges(traffic, 30))
    named = status.lower() if protocol == "grpc" else f"http_{status}"
    wait_until(lambda: sink.counters().get(f"traces_failed_{named}", 0) >= 3)
    listener.receiver.faults = faults()
    listener.wait(lambda: len(listener.paths) == 30)
    assert listener.paths == numbered(30)
    assert sink.close() == 0


@pytest.mark.parametrize(
    ("protocol", "status", "fix"),
    [
        ("grpc", "INVALID_ARGUMENT", "its own log may say why"),
        ("grpc", "UNIMPLEMENTED", "sink.otlp.signals"),
        ("grpc", "UNAUTHENTICATED", "sink.otlp.headers"),
        ("grpc", "RESOURCE_EXHAUSTED", "sink.otlp.flush_max_count"),
        ("grpc", "INTERNAL", "its own log may say why"),
        ("http/protobuf", "400", "its own log may say why"),
        ("http/protobuf", "401", "sink.otlp.headers"),
        ("http/protobuf", "404", "sink.otlp.signals"),
        ("http/protobuf", "500", "its own log may say why"),
    ],
)
def test_what_a_receiver_will_never_take_is_not_sent_again(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    faults: Any,
    wait_until: Wait,
    protocol: str,
    status: str,
    fix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = listen(faults=faults(refuse=status))
    with caplog.at_level(logging.WARNING, "rover.otlp"):
        sink = make_sink(**listener.settings(protocol), flush_max_count=10)
        sink.write(exchanges(traffic, 30))
        wait_until(lambda: sink.counters().get("traces_shed_refused") == 30)
        assert fix in caplog.text
        assert "told to refuse" in caplog.text
        assert len(caplog.records) == 1
        listener.receiver.faults = faults()
        sink.write(exchanges(traffic, 10, start=30))
        listener.wait(lambda: len(listener.paths) == 10)
        assert sink.close() == 30
    named = status.lower() if protocol == "grpc" else f"http_{status}"
    assert sink.counters()[f"traces_failed_{named}"] == 3
    assert "refused 30" in caplog.text


@pytest.mark.parametrize(
    ("protocol", "status"),
    [("grpc", "UNAVAILABLE"), ("grpc", "RESOURCE_EXHAUSTED"), ("http/protobuf", "429")],
)
def test_a_receiver_that_says_when_is_not_asked_before(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait, protocol: str, status: str
) -> None:
    listener = listen(faults=faults(refuse=status, retry_after=1))
    sink = make_sink(**listener.settings(protocol), retry_max=0.01)
    began = time.monotonic()
    sink.write(exchanges(traffic, 1))
    wait_until(lambda: [name for name in sink.counters() if "failed" in name])
    listener.receiver.faults = faults()
    listener.wait(lambda: listener.paths)
    assert time.monotonic() - began >= 1
    assert sum(n for name, n in sink.counters().items() if "failed" in name) == 1


def test_a_receiver_that_asks_for_too_much_time_is_asked_before(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    faults: Any,
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender_module, "MAX_ASKED", 0.1)
    listener = listen(faults=faults(refuse="503", retry_after=100_000_000))
    sink = make_sink(**listener.settings("http/protobuf"))
    sink.write(exchanges(traffic, 1))
    wait_until(lambda: sink.counters().get("traces_failed_http_503", 0) >= 2)


@both
def test_a_partial_success_is_counted_and_said(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(faults=faults(reject=3))
    with caplog.at_level(logging.WARNING, "rover.otlp"):
        sink = make_sink(**listener.settings(protocol), flush_max_count=10)
        sink.write(exchanges(traffic, 30))
        listener.wait(lambda: len(listener.paths) == 30)
        assert sink.close() == 9
    assert sink.counters()["traces_rejected"] == 9
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].endswith("does not take 3 of its spans: told to reject")
    assert lines[1] == "otlp: spans not sent, by cause: rejected 9"


@both
def test_headers_are_sent(listen: Any, make_sink: Any, traffic: Any, protocol: str) -> None:
    listener = listen(headers={"authorization": "Bearer a,b", "x-scope": "1"})
    sink = make_sink(**listener.settings(protocol), headers=["Authorization=Bearer%20a%2Cb", "x-scope=1"])
    sink.write(exchanges(traffic, 3))
    listener.wait(lambda: len(listener.paths) == 3)


@both
def test_the_end_is_within_its_time_and_keeps_what_is_left(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    faults: Any,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rover_plugin_sink_otlp.sink.CLOSE_PATIENCE", 0.3)
    listener = listen(faults=faults(delay=60.0))
    sink = make_sink(**listener.settings(protocol), flush_max_count=10, signals=["traces", "logs"])
    sink.write(exchanges(traffic, 50))
    began = time.monotonic()
    assert sink.close() == 0
    assert time.monotonic() - began < 10
    listener.receiver.faults = faults()
    again = make_sink(**listener.settings(protocol))
    listener.wait(lambda: set(listener.paths) == set(numbered(50)))
    again.close()


def test_what_a_plugin_made_wrong_is_counted(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(**listener.settings("grpc"), signals=["traces", "logs"])
    connection = traffic.connection()
    wrong = [traffic.exchange(connection, start=-(1 << 80)), traffic.exchange(connection, end="x")]
    sink.write([*wrong, traffic.exchange(connection)])
    assert sink.close() == 2
    assert len(listener.paths) == 1
    assert sink.counters()["traces_invalid"] == sink.counters()["logs_invalid"] == 2


def test_a_spool_in_use_is_an_error(make_sink: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoverError, match=r"sink\.otlp\.spool_path"):
        make_sink(spool_path=str(tmp_path / "file" / "spool"))
