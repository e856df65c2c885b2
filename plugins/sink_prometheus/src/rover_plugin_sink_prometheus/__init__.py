"""Metrics of the requests that rover sees, on a page for Prometheus to scrape.

What serves the page is imported when a sink is made, not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import Setting, Sink, SinkSpec, Worker, hookimpl
from rover.http import KNOWN_METHODS

SETTINGS = [
    Setting(
        "host",
        "127.0.0.1",
        "address to listen on; 0.0.0.0 is every one of IPv4, :: every one",
        environment="OTEL_EXPORTER_PROMETHEUS_HOST",
    ),
    Setting(
        "port",
        9464,
        "port to listen on",
        minimum=1,
        maximum=65535,
        environment="OTEL_EXPORTER_PROMETHEUS_PORT",
    ),
    Setting("series", 10_000, "histograms at most; what is beyond is one for each instrument", minimum=1),
    Setting(
        "idle", 3600.0, "time after which a series that counts nothing is dropped", minimum=1, seconds=True
    ),
    Setting(
        "labels",
        ["service.namespace", "service.name"],
        "attributes of the process that are labels of its series",
    ),
    Setting(
        "methods",
        sorted(KNOWN_METHODS),
        "methods of HTTP that are told; others are _OTHER",
        environment="OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
    ),
]


@hookimpl
def register_sinks() -> Sequence[SinkSpec]:
    """`prometheus`."""
    return [SinkSpec("prometheus", _prometheus, SETTINGS, _prometheus)]


def _prometheus(settings: Mapping[str, Any], worker: Worker | None = None) -> Sink:
    from rover_plugin_sink_prometheus.sink import PrometheusSink

    return PrometheusSink(settings, worker)
