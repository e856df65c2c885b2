"""The sink: takes access logs from the core, and hands them to an exporter for each signal."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, cast

from rover import AccessLog, Process
from rover.metrics import Pairs, Requests
from rover.sending.exporter import Exporter
from rover_plugin_sink_otlp.backend import ITEMS, Backend
from rover_plugin_sink_otlp.identity import Identities, Identity
from rover_plugin_sink_otlp.logs import LogCollector
from rover_plugin_sink_otlp.metrics import MetricCollector
from rover_plugin_sink_otlp.request import Request
from rover_plugin_sink_otlp.resource import Resources
from rover_plugin_sink_otlp.settings import Configuration
from rover_plugin_sink_otlp.spans import SpanCollector

CLOSE_PATIENCE = 3.0
"""Seconds the end may take: the core gives all sinks together ten (limits.stop_seconds)."""

logger = logging.getLogger("rover.otlp")


class OtlpSink:
    """`write` encodes and returns; everything that can take long happens in the senders' threads."""

    kernel_logs = False

    def __init__(self, configuration: Configuration) -> None:
        """Raises RoverError for certificates or a spool that cannot be used.

        A receiver that does not answer is no error: it is said, and waited for.
        """
        signals = configuration.endpoints
        version = metadata.version("rover-plugin-sink-otlp")
        resources = Resources(configuration.host_name, configuration.resource)
        self._identities = Identities()
        self._backends = {signal: Backend(configuration, signal) for signal in signals}

        def request() -> Request:
            return Request(resources, version, configuration.flush_max_count, configuration.flush_period)

        self._collectors: dict[str, Any] = {}
        if "traces" in signals:
            self._collectors["traces"] = SpanCollector(self._identities, request())
        self._requests: Requests | None = None
        if "metrics" in signals:
            # Each worker counts for itself: what it tells must not be taken for what another one does.
            worker = configuration.worker if configuration.workers > 1 else None

            def resource(process: Process | None) -> Pairs:
                return cast("Pairs", resources.service(process, worker))

            self._requests = Requests(resource=resource, most=configuration.max_series)
            nobody = resource(None)
            self._collectors["metrics"] = MetricCollector(
                self._requests, nobody, version, configuration.metrics_period
            )
        if "logs" in signals:
            self._collectors["logs"] = LogCollector(request())
        self._reads = "traces" in signals or "logs" in signals
        self._exporters: dict[str, Exporter[Any]] = {}
        try:
            for signal, collector in self._collectors.items():
                self._exporters[signal] = Exporter(
                    collector,
                    self._backends[signal],
                    configuration.waiting[signal],
                    sink="otlp",
                    what=ITEMS[signal],
                )
        except BaseException:
            for exporter in self._exporters.values():
                exporter.close(0.0)
            raise
        if configuration.tls.insecure and not configuration.tls_unused:
            logger.warning("otlp: tls_insecure: whoever answers at the receiver's address is believed")
        if unused := configuration.tls_unused:
            logger.warning("otlp: %s without https: everything goes in clear text", ", ".join(unused))

    def write(self, logs: Sequence[AccessLog]) -> None:
        """Takes a batch; never waits for the receiver."""
        if self._requests is not None:
            self._requests.observe(logs, time.time_ns())
        if not self._reads:
            return
        identity = self._identities.of
        spans: list[tuple[AccessLog, Identity]] = [(log, identity(log)) for log in logs if log.protocol]
        if traces := self._exporters.get("traces"):
            traces.write(spans)
        if records := self._exporters.get("logs"):
            breaks = [(log, None) for log in logs if not log.protocol]
            records.write([*spans, *breaks])

    def flush(self) -> None:
        """Nothing: spans wait for others, up to flush_period."""

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """What was sent, waits, was shed and why, by signal."""
        figures: dict[str, int] = {}
        for signal, exporter in self._exporters.items():
            own = {
                **exporter.counters(),
                "rejected": self._backends[signal].rejected,
                "invalid": self._invalid(signal),
            }
            figures |= {f"{signal}_{name}": n for name, n in own.items() if n}
        if self._requests is not None:
            unmeasured = dict(self._requests.unmeasured)
            figures |= {f"metrics_left_out_{why}": n for why, n in unmeasured.items() if n}
            figures |= {"metrics_overflowed": self._requests.overflowed} if self._requests.overflowed else {}
        return figures

    def close(self) -> int:
        """Sends what goes at once, saves the rest; returns the exchanges that were neither.

        Of an exchange that is sent as a span and as a log record it is enough that one of both is lost.
        """
        for exporter in self._exporters.values():
            exporter.begin_close()
        deadline = time.monotonic() + CLOSE_PATIENCE
        most = 0
        for signal, exporter in self._exporters.items():
            lost, shed = exporter.close(max(0.0, deadline - time.monotonic()))
            own = Counter(invalid=self._invalid(signal), rejected=self._backends[signal].rejected)
            if causes := own + shed:
                listed = ", ".join(f"{cause} {n}" for cause, n in sorted(causes.items()))
                logger.warning("otlp: %s not sent, by cause: %s", ITEMS[signal], listed)
            if signal != "metrics":
                most = max(most, lost + own.total())
        return most

    def _invalid(self, signal: str) -> int:
        """Exchanges that no message could be made of."""
        counters: Mapping[str, int] = getattr(self._collectors[signal], "counters", {})
        return counters.get("invalid", 0)
