"""The sink: takes access logs from the core, and hands them to the sender in batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from rover import AccessLog
from rover.sending.exporter import Exporter
from rover_plugin_sink_oap.backend import Backend
from rover_plugin_sink_oap.collector import Collector
from rover_plugin_sink_oap.encode import Encoder
from rover_plugin_sink_oap.namespaces import Namespaces
from rover_plugin_sink_oap.naming import Namer
from rover_plugin_sink_oap.node import Node
from rover_plugin_sink_oap.settings import Configuration

CLOSE_PATIENCE = 3.0
"""Seconds the end may take: the core gives all sinks together ten (limits.stop_seconds)."""

logger = logging.getLogger("rover.oap")


class OapSink:
    """`write` encodes and returns; everything that can take long happens in the sender's thread."""

    kernel_logs = True

    def __init__(self, configuration: Configuration) -> None:
        """Raises RoverError for certificates or a spool that cannot be used.

        A server that does not answer is no error: it is said, and waited for.
        """
        tls = configuration.tls
        backend = Backend(configuration)
        self._encoder = Encoder(configuration.unanswered_status)
        self._collector = Collector(
            self._encoder,
            Namer(configuration.naming, Namespaces(), configuration.node_name, configuration.cluster),
            Node(configuration.node_name, configuration.cluster, configuration.exclude_namespaces),
            configuration.flush_max_count,
            configuration.flush_period,
        )
        self._exporter = Exporter(self._collector, backend, configuration.waiting, sink="oap")
        if tls is not None and tls.insecure:
            logger.warning("oap: tls_insecure: whoever answers at the server's address is believed")
        if unused := configuration.tls_unused:
            logger.warning("oap: %s without tls=true: access logs go in clear text", ", ".join(unused))

    def write(self, logs: Sequence[AccessLog]) -> None:
        """Takes a batch; never waits for the server."""
        self._exporter.write(logs)

    def flush(self) -> None:
        """Nothing: logs wait for others, up to flush_period."""

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """What was sent, waits, was shed and why, and what the protocol has no message for."""
        left_out = {f"left_out_{what}": n for what, n in dict(self._encoder.left_out).items() if n}
        return {**self._exporter.counters(), **self._collector.counters, **left_out}

    def close(self) -> int:
        """Sends what goes at once, saves the rest; returns the exchanges that were neither.

        Those left out are among them, for their method, protocol or want of a response: the server
        never hears of them.
        """
        lost, shed = self._exporter.close(CLOSE_PATIENCE)
        unsent = Counter(
            method=self._encoder.left_out["exchange_method"],
            protocol=self._encoder.left_out["exchange_protocol"],
            unanswered=self._encoder.left_out["exchange_unanswered"],
            invalid=self._collector.counters["invalid"],
        )
        if causes := unsent + shed:
            listed = ", ".join(f"{cause} {n}" for cause, n in sorted(causes.items()))
            logger.warning("oap: exchanges not sent, by cause: %s", listed)
        return lost + unsent.total()
