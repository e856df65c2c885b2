"""The sink: takes access logs from the core, and hands them to an exporter for each signal."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from rover import AccessLog
from rover.export.exporter import Exporter
from rover_plugin_sink_otlp.backend import Backend
from rover_plugin_sink_otlp.identity import Identities, Identity
from rover_plugin_sink_otlp.logs import LogCollector
from rover_plugin_sink_otlp.request import Request
from rover_plugin_sink_otlp.resource import Resources
from rover_plugin_sink_otlp.settings import Configuration
from rover_plugin_sink_otlp.spans import SpanCollector

CLOSE_PATIENCE = 3.0
"""Seconds the end may take: the core gives all sinks together ten (limits.stop_seconds)."""
NAMES = {"traces": "spans", "metrics": "metrics", "logs": "log records"}
"""What is sent of a signal, for the lines that say so."""

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
        if "logs" in signals:
            self._collectors["logs"] = LogCollector(request())
        self._exporters: dict[str, Exporter[Any]] = {}
        try:
            for signal, collector in self._collectors.items():
                self._exporters[signal] = Exporter(
                    collector,
                    self._backends[signal],
                    configuration.waiting[signal],
                    sink="otlp",
                    what=NAMES[signal],
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
                "invalid": self._collectors[signal].counters["invalid"],
            }
            figures |= {f"{signal}_{name}": n for name, n in own.items() if n}
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
            own = Counter(
                invalid=self._collectors[signal].counters["invalid"], rejected=self._backends[signal].rejected
            )
            if causes := own + shed:
                listed = ", ".join(f"{cause} {n}" for cause, n in sorted(causes.items()))
                logger.warning("otlp: %s not sent, by cause: %s", NAMES[signal], listed)
            if signal != "metrics":
                most = max(most, lost + own.total())
        return most
