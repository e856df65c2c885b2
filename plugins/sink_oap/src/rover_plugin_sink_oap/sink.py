"""The sink: takes access logs from the core, and hands them to the sender in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from rover import AccessLog, RoverError
from rover_plugin_sink_oap.backend import Backend
from rover_plugin_sink_oap.backlog import Backlog
from rover_plugin_sink_oap.collector import Collector
from rover_plugin_sink_oap.encode import Encoder
from rover_plugin_sink_oap.namespaces import Namespaces
from rover_plugin_sink_oap.naming import Namer
from rover_plugin_sink_oap.node import Node
from rover_plugin_sink_oap.sender import Sender, batches
from rover_plugin_sink_oap.settings import Configuration
from rover_plugin_sink_oap.spool import Spool, orphans, spool_of

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
        spool = _spool(configuration)
        if tls is not None and tls.insecure:
            logger.warning("oap: tls_insecure: whoever answers at the server's address is believed")
        if unused := configuration.tls_unused:
            logger.warning("oap: %s without tls=true: access logs go in clear text", ", ".join(unused))
        self._changed = threading.Condition()
        self._encoder = Encoder(configuration.unanswered_status)
        self._collector = Collector(
            self._encoder,
            Namer(configuration.naming, Namespaces(), configuration.node_name, configuration.cluster),
            Node(configuration.node_name, configuration.cluster, configuration.exclude_namespaces),
            configuration.flush_max_count,
            configuration.flush_period,
        )
        # A share for each worker; but what workers of before have left, when they were fewer or more, is
        # no more than all may have together, and is not shed for it.
        most, shares = configuration.spool_max_bytes, configuration.workers
        left = sum(stored.size for stored in spool.found()) if spool and shares > 1 else 0
        self._backlog = Backlog(
            configuration.queue_bytes // shares,
            spool,
            max(most // shares, min(left, most)),
            configuration.spool_max_age,
        )
        self._spool = spool
        self._sender = Sender(
            self._changed,
            self._collector,
            self._backlog,
            backend,
            retry_max=configuration.retry_max,
            where=str(spool.path) if spool else "memory",
        )
        self._sender.start()

    def write(self, logs: Sequence[AccessLog]) -> None:
        """Takes a batch; never waits for the server."""
        with self._changed:
            now = time.monotonic()
            idle = self._collector.due is None
            add = self._collector.add
            for log in logs:
                add(log, now)
            if self._sender.gather(now) or idle:
                self._changed.notify_all()

    def flush(self) -> None:
        """Nothing: logs wait for others, up to flush_period."""

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """What was sent, waits, was shed and why, and what the protocol has no message for."""
        with self._changed:
            backlog = self._backlog
            figures = {
                "waiting_batches": len(backlog),
                "memory_bytes": backlog.memory,
                "spool_bytes": backlog.disk,
                "corrupt_files": self._spool.corrupt if self._spool else 0,
                "shed_calls": backlog.shed_calls,
                **self._sender.counters,
                **self._collector.counters,
            }
            figures |= {f"shed_{cause}": n for cause, n in backlog.shed.items()}
            figures |= {f"left_out_{what}": n for what, n in self._encoder.left_out.items() if n}
            return figures

    def close(self) -> int:
        """Sends what goes at once, saves the rest; returns the exchanges that were neither.

        Those left out are among them, for their method, protocol or want of a response: the server
        never hears of them.
        """
        self._sender.stop(CLOSE_PATIENCE)
        with self._changed:
            self._sender.gather(None)
            lost = self._backlog.close()
            if left := len(self._backlog):
                logger.warning("oap: left in the spool for the next start: %s", batches(left))
            unsent = Counter(
                method=self._encoder.left_out["exchange_method"],
                protocol=self._encoder.left_out["exchange_protocol"],
                unanswered=self._encoder.left_out["exchange_unanswered"],
                invalid=self._collector.counters["invalid"],
            )
            if causes := unsent + self._backlog.shed:
                listed = ", ".join(f"{cause} {n}" for cause, n in sorted(causes.items()))
                logger.warning("oap: exchanges not sent, by cause: %s", listed)
            return lost + unsent.total()


def _spool(configuration: Configuration) -> Spool | None:
    if configuration.spool is None:
        return None
    number, workers = configuration.worker, configuration.workers
    try:
        spool = Spool(spool_of(configuration.spool, number))
    except RoverError as error:
        if configuration.spool_chosen:
            raise
        logger.warning("oap: %s; until then access logs wait in memory only", error)
        return None
    for orphan in orphans(configuration.spool, number, workers):
        try:
            adopted = spool.adopt(orphan)
            logger.info("oap: %s from %s, of a worker there is no more", batches(adopted), orphan)
        except RoverError as error:
            logger.warning("oap: %s", error)
    return spool
