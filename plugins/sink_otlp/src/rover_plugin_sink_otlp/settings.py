"""What a user may set, and how it is read."""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rover import Setting, UsageError
from rover.sending.exporter import Waiting
from rover.sending.settings import MAX_SHOWN, TLS, check_periods, text, tls
from rover.sending.tls import Tls
from rover_plugin_sink_otlp import endpoint
from rover_plugin_sink_otlp.endpoint import Endpoint

SPOOL_PATH = "/var/lib/rover/otlp"
MEGABYTE = 1 << 20
GRPC, HTTP = "grpc", "http/protobuf"
DEFAULT = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
SIGNALS = ("traces", "metrics", "logs")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.1
OWN_HEADERS = frozenset(
    ("connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding")
)
"""Those that the protocol itself sets; so are all that begin with `grpc-`."""

# The variables are those of OpenTelemetry's specification.
SETTINGS: Sequence[Setting] = (
    Setting(
        "endpoint",
        "",
        "URL of the receiver; empty is port 4318 (http/protobuf) or 4317 (grpc) of localhost",
        environment="OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    *(
        Setting(
            f"{signal}_endpoint",
            "",
            f"URL for {signal}, if another one; with http/protobuf its path is taken as it is",
            environment=f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT",
        )
        for signal in SIGNALS
    ),
    Setting("signals", ["traces", "metrics"], f"what is sent: {', '.join(SIGNALS)}"),
    Setting(
        "protocol",
        HTTP,
        "how it is sent",
        choices=(GRPC, HTTP),
        environment="OTEL_EXPORTER_OTLP_PROTOCOL",
    ),
    Setting(
        "headers",
        [],
        "headers of each request, as in name=value; %XX in a value is decoded",
        environment="OTEL_EXPORTER_OTLP_HEADERS",
    ),
    Setting(
        "compression",
        "none",
        "of requests",
        choices=("none", "gzip"),
        environment="OTEL_EXPORTER_OTLP_COMPRESSION",
    ),
    Setting(
        "insecure",
        False,
        "no TLS to an endpoint without a scheme",
        environment="OTEL_EXPORTER_OTLP_INSECURE",
    ),
    Setting(
        "tls_ca",
        "",
        "PEM file of the CA; empty is the system's",
        environment="OTEL_EXPORTER_OTLP_CERTIFICATE",
    ),
    Setting(
        "tls_cert",
        "",
        "PEM file of the client certificate, with its chain",
        environment="OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ),
    Setting("tls_key", "", "PEM file of its key", environment="OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    Setting("tls_server_name", "", "name the server's certificate must have, if not that of the endpoint"),
    Setting("tls_insecure", False, "take any server certificate: anybody can then read and answer"),
    Setting(
        "resource",
        [],
        "attributes of every resource, as in name=value; %XX in a value is decoded",
        environment="OTEL_RESOURCE_ATTRIBUTES",
    ),
    Setting("host_name", "", "name of this host; empty is its hostname"),
    Setting(
        "flush_max_count",
        4096,
        "spans or log records sent at once, at most",
        minimum=1,
    ),
    Setting("flush_period", 5.0, "seconds a span waits for others before it is sent", seconds=True),
    Setting(
        "metrics_period",
        60.0,
        "seconds between two requests of metrics",
        environment="OTEL_METRIC_EXPORT_INTERVAL",
        seconds=True,
        milliseconds=True,
    ),
    Setting("max_series", 10_000, "series of metrics; beyond it one takes all the others", minimum=1),
    Setting(
        "timeout",
        10.0,
        "seconds the receiver has to take one request",
        environment="OTEL_EXPORTER_OTLP_TIMEOUT",
        seconds=True,
        milliseconds=True,
    ),
    Setting("retry_max", 10.0, "longest pause between two attempts, seconds", seconds=True),
    Setting("queue_mb", 32, "MB of each signal that wait in memory", minimum=1),
    Setting("spool", True, "keep spans and log records on disk while the receiver is away"),
    Setting("spool_path", SPOOL_PATH, "directory of the spool"),
    Setting(
        "spool_max_mb", 1024, "MB each signal may take of it; beyond it the oldest batch goes", minimum=1
    ),
    Setting(
        "spool_max_age",
        86_400.0,
        "seconds after which a spooled batch is not worth sending",
        minimum=1,
        seconds=True,
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, read."""

    endpoints: Mapping[str, Endpoint]
    """By signal: those that are sent."""
    grpc: bool
    headers: tuple[tuple[str, str], ...]
    """Names in small letters."""
    gzip: bool
    tls: Tls
    tls_unused: tuple[str, ...]
    """Settings of TLS that were given, while no endpoint has it."""
    resource: Mapping[str, str]
    host_name: str
    flush_max_count: int
    flush_period: float
    metrics_period: float
    max_series: int
    timeout: float
    waiting: Mapping[str, Waiting]
    """By signal."""
    worker: int
    workers: int
    """Which of how many processes this is."""


def configure(settings: Mapping[str, Any], worker: int = 0, workers: int = 1) -> Configuration:
    """The settings of `sink.otlp`, or their defaults; of one of several processes.

    Raises UsageError naming what is wrong.
    """
    given = {setting.name: settings.get(setting.name, setting.default) for setting in SETTINGS}
    check_periods("otlp", given, ("flush_period", "metrics_period", "timeout", "retry_max"))
    signals = given["signals"]
    if not signals or not set(signals) <= set(SIGNALS):
        raise UsageError(f"sink.otlp.signals = {str(signals)[:MAX_SHOWN]}: name some of {', '.join(SIGNALS)}")
    endpoints = {signal: _endpoint(signal, given) for signal in SIGNALS if signal in signals}
    secure = any(each.secure for each in endpoints.values())
    spool = Path(given["spool_path"]) if given["spool"] and given["spool_path"] else None
    return Configuration(
        endpoints=endpoints,
        grpc=given["protocol"] == GRPC,
        headers=tuple(_headers(given["headers"])),
        gzip=given["compression"] == "gzip",
        tls=tls("otlp", given),
        tls_unused=() if secure else tuple(name for name in TLS if given[name]),
        resource=dict(_pairs("resource", given["resource"])),
        host_name=text("otlp", "host_name", given["host_name"] or socket.gethostname()),
        flush_max_count=given["flush_max_count"],
        flush_period=given["flush_period"],
        metrics_period=given["metrics_period"],
        max_series=given["max_series"],
        timeout=given["timeout"],
        waiting={
            signal: Waiting(
                queue_bytes=given["queue_mb"] * MEGABYTE,
                # The newest point of a series tells all that the ones before it told.
                spool=spool / signal if spool is not None and signal != "metrics" else None,
                spool_chosen=given["spool_path"] != SPOOL_PATH,
                spool_max_bytes=given["spool_max_mb"] * MEGABYTE,
                spool_max_age=given["spool_max_age"],
                retry_max=given["retry_max"],
                worker=worker,
                workers=workers,
            )
            for signal in endpoints
        },
        worker=worker,
        workers=workers,
    )


def _endpoint(signal: str, given: Mapping[str, Any]) -> Endpoint:
    own, common = given[f"{signal}_endpoint"], given["endpoint"]
    name, url = (f"{signal}_endpoint", own) if own else ("endpoint", common or DEFAULT[given["protocol"]])
    try:
        found = endpoint.read(url, insecure=given["insecure"])
    except ValueError as error:
        raise UsageError(f"sink.otlp.{name} {url[:MAX_SHOWN]!r}: {error}") from None
    if given["protocol"] == HTTP and not own:
        return dataclasses.replace(found, path=f"{found.path.rstrip('/')}/v1/{signal}")
    return found


def _headers(values: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for name, value in _pairs("headers", values):
        lower = name.lower()
        if not _HEADER.fullmatch(name) or lower in OWN_HEADERS or lower.startswith("grpc-"):
            raise UsageError(
                f"sink.otlp.headers: {name[:MAX_SHOWN]!r} is no name of a header that can be set"
            )
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"sink.otlp.headers: the value of {name} must be printable ASCII")
        found.append((lower, value))
    return found


def _pairs(setting: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """`name=value` each; the values are percent-encoded, as in W3C Baggage."""
    found = []
    for each in values:
        name, equals, value = each.partition("=")
        name = name.strip()
        if not equals or not name:
            # Never the value, which may be a secret.
            raise UsageError(f"sink.otlp.{setting}: write each as name=value")
        found.append((text("otlp", setting, name), text("otlp", setting, unquote(value.strip()))))
    return found
