"""Settings, and OpenTelemetry's variables."""

from __future__ import annotations

from typing import Any

import pytest

from rover import UsageError
from rover.contracts.settings import Settings, read_environment
from rover_plugin_sink_otlp.endpoint import Endpoint, read
from rover_plugin_sink_otlp.settings import SETTINGS, configure

DECLARED = {setting.name: setting for setting in SETTINGS}


def from_environment(variables: dict[str, str]) -> dict[str, Any]:
    settings = Settings(DECLARED, read_environment(DECLARED, variables))
    return {name: settings[name] for name in DECLARED}


def endpoints(**settings: Any) -> dict[str, str]:
    found = configure({"signals": ["traces", "metrics", "logs"], **settings}).endpoints
    return {
        signal: f"{'https' if each.secure else 'http'}://{each.address}{each.path}"
        for signal, each in found.items()
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "http://localhost:4318/v1/{}"),
        ({"protocol": "grpc"}, "http://localhost:4317/"),
        ({"endpoint": "http://c:1"}, "http://c:1/v1/{}"),
        ({"endpoint": "https://c:1/"}, "https://c:1/v1/{}"),
        ({"endpoint": "https://c/otlp/x"}, "https://c:443/otlp/x/v1/{}"),
        ({"endpoint": "http://c/"}, "http://c:80/v1/{}"),
        ({"endpoint": "HTTP://[::1]:4318"}, "http://[::1]:4318/v1/{}"),
        ({"protocol": "grpc", "endpoint": "c:4317"}, "https://c:4317/"),
        ({"protocol": "grpc", "endpoint": "c:4317", "insecure": True}, "http://c:4317/"),
        ({"protocol": "grpc", "endpoint": "http://c:4317", "insecure": False}, "http://c:4317/"),
    ],
)
def test_endpoints(settings: dict[str, Any], expected: str) -> None:
    assert endpoints(**settings) == {each: expected.format(each) for each in ("traces", "metrics", "logs")}


def test_a_signals_own_endpoint_is_taken_as_it_is() -> None:
    found = endpoints(endpoint="http://c:1", traces_endpoint="http://t:2/x", logs_endpoint="http://l:3")
    assert found == {"traces": "http://t:2/x", "metrics": "http://c:1/v1/metrics", "logs": "http://l:3/"}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://c", "begins with http"),
        ("http://", "host as a name"),
        ("http://c:x", "port from 1"),
        ("http://c:0", "port from 1"),
        ("http://user:secret@c", "without a user"),
        ("http://c/?a=b", "no more"),
        ("http://c/#a", "no more"),
        ("http://c/ä", "no more"),
        ("http://c/a b", "no more"),
        ("http://c/\r\nx: y", "no more"),
        ("http://ä", "host as a name"),
        ("http://::1", "brackets"),
        ("grpc", None),
        ("", "host as a name"),
    ],
)
def test_urls_that_are_none(url: str, words: str | None) -> None:
    if words is None:
        assert read(url, insecure=True) == Endpoint("grpc:80", "/", False)
        return
    with pytest.raises(ValueError, match=words):
        read(url, insecure=False)


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1", "endpoint", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1", "traces_endpoint", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:1", "metrics_endpoint", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c:1", "logs_endpoint", "http://c:1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "protocol", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b, c=d%20e", "headers", ["a=b", "c=d%20e"]),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "compression", "gzip"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true", "insecure", True),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca", "tls_ca", "/ca"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert", "tls_cert", "/cert"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key", "tls_key", "/key"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500", "timeout", 2.5),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2s", "timeout", 2.0),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60000", "metrics_period", 60.0),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c=d", "resource", ["a=b", "c=d"]),
    ],
)
def test_variables(variable: str, value: str, name: str, expected: object) -> None:
    assert from_environment({variable: value})[name] == expected


def test_headers_and_resource_are_read() -> None:
    found = configure({"headers": ["Api-Key=a%2Cb=", "x=1"], "resource": ["a.b=c%20d"]})
    assert found.headers == (("api-key", "a,b="), ("x", "1"))
    assert found.resource == {"a.b": "c d"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"headers": ["secret"]}, "sink.otlp.headers: write each as name=value"),
        ({"headers": ["a b=c"]}, "no name of a header"),
        ({"headers": ["Content-Length=1"]}, "no name of a header that can be set"),
        ({"headers": ["grpc-timeout=1"]}, "no name of a header that can be set"),
        ({"headers": ["a=b%0d%0ac: d"]}, "the value of a must be printable ASCII"),
        ({"headers": ["a=ä"]}, "the value of a must be printable ASCII"),
        ({"resource": ["=x"]}, "sink.otlp.resource: write each as name=value"),
        ({"resource": ["a=\udc80"]}, "must be UTF-8"),
        ({"signals": []}, "name some of traces, metrics, logs"),
        ({"signals": ["spans"]}, "name some of traces, metrics, logs"),
        ({"endpoint": "c"}, None),
        ({"endpoint": "ftp://c"}, "sink.otlp.endpoint 'ftp://c'"),
        ({"traces_endpoint": "ftp://c"}, "sink.otlp.traces_endpoint 'ftp://c'"),
        ({"timeout": 0}, "sink.otlp.timeout"),
        ({"flush_period": 1e9}, "sink.otlp.flush_period"),
        ({"tls_server_name": "ä"}, "sink.otlp.tls_server_name"),
        ({"host_name": "\udc80"}, "must be UTF-8"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, Any], words: str | None) -> None:
    if words is None:
        configure(settings)
        return
    with pytest.raises(UsageError) as raised:
        configure(settings)
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)


def test_each_signal_has_its_spool_but_metrics() -> None:
    found = configure({"signals": ["traces", "metrics", "logs"], "spool_path": "/x"}, 2, 4).waiting
    assert {signal: str(each.spool) for signal, each in found.items()} == {
        "traces": "/x/traces",
        "metrics": "None",
        "logs": "/x/logs",
    }
    assert {(each.worker, each.workers) for each in found.values()} == {(2, 4)}
    assert configure({"spool": False}).waiting["traces"].spool is None


def test_tls_settings_that_do_nothing_are_named() -> None:
    assert configure({"tls_ca": "/ca"}).tls_unused == ("tls_ca",)
    assert configure({"tls_ca": "/ca", "logs_endpoint": "https://c"}).tls_unused == ("tls_ca",)
    assert configure({"tls_ca": "/ca", "traces_endpoint": "https://c"}).tls_unused == ()
