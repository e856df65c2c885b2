"""Spans of a real client and a real server on this host, traced with W3C headers, by the real agent."""

import pytest

from harness import curl, free_port, wait_until
from otlp_witness import OtlpReceiver

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def receiver():
    started = OtlpReceiver()
    yield started
    started.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_client_and_a_server_join_into_one_trace(nginx, start_agent, receiver, protocol, tmp_path):
    agent = start_agent(
        *("--port", str(nginx.port), *receiver.options(protocol)),
        *("--set", f"sink.otlp.spool_path={tmp_path / 'otlp'}", "--set", "sink.otlp.flush_period=0.2"),
        sinks=("otlp", "jsonl"),
    )
    # One connection, one context, several requests: every pair must still find its own.
    urls = [f"{nginx.url}/{n}" for n in range(5)]
    curl("-H", f"traceparent: 00-{TRACE}-{CALLER}-01", *urls)
    curl(f"{nginx.url}/untraced")
    agent.wait_for_exchanges(12)
    totals = agent.finish()
    assert set(totals.lost.values()) == {0}
    wait_until(lambda: len(receiver.items("traces")) == len(receiver.items("logs")) == 12, "all spans")
    spans = receiver.items("traces")
    traced = [span for span in spans if span["trace_id"] == TRACE]
    clients = {span["attributes"]["url.full"]: span for span in traced if span["kind"] == "client"}
    servers = {span["attributes"]["url.path"]: span for span in traced if span["kind"] == "server"}
    assert (len(clients), len(servers), len(traced)) == (5, 5, 10)
    for number, url in enumerate(urls):
        client, server = clients[url], servers[f"/{number}"]
        assert client["parent_span_id"] == CALLER
        assert server["parent_span_id"] == client["span_id"]
        assert client["resource"]["service.name"] == "curl"
        assert server["resource"]["service.name"] == "nginx"
        # Sooner begun, later ended, but for clocks of two processors.
        assert client["start"] <= server["start"] + 1_000_000
        assert server["end"] <= client["end"] + 1_000_000
    assert len({span["span_id"] for span in spans}) == 12
    untraced = [span for span in spans if span["trace_id"] != TRACE]
    assert len({span["trace_id"] for span in untraced}) == 2
    assert not [span for span in untraced if "parent_span_id" in span]
    lines = agent.exchanges()
    told = {span["attributes"]["rover.connection"] for span in spans}
    assert told == {line["rover.connection"] for line in lines}
    counts = {point["name"]: 0 for point in receiver.items("metrics")}
    for point in receiver.items("metrics"):
        counts[point["name"]] += point["count"]
    assert counts == {"http.server.request.duration": 6, "http.client.request.duration": 6}


def test_a_receiver_that_is_not_there_is_one_line(nginx, start_agent, tmp_path):
    agent = start_agent(
        *("--port", str(nginx.port), "--set", f"sink.otlp.endpoint=http://127.0.0.1:{free_port()}"),
        *("--set", "sink.otlp.signals=traces", "--set", f"sink.otlp.spool_path={tmp_path / 'otlp'}"),
        sinks=("otlp", "jsonl"),
    )
    curl(f"{nginx.url}/")
    agent.wait_for_exchanges(2)
    assert agent.stop() == 0, agent.err  # its totals tell of calls that failed
    said = [line for line in agent.err if "takes no spans" in line]
    assert len(said) == 1
    assert [line for line in agent.err if "left in the spool for the next start: 1 batch" in line]
