"""The sink: counts access logs, and serves what they come to."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rover import AccessLog, RoverError, RunFigures, Worker
from rover.metrics import Pairs, Requests, named_by
from rover_plugin_sink_prometheus.exposition import Snapshot
from rover_plugin_sink_prometheus.figures import Counts, add
from rover_plugin_sink_prometheus.http_server import Server, listen
from rover_plugin_sink_prometheus.page import Page
from rover_plugin_sink_prometheus.relay import Collection, Relay, name_of
from rover_plugin_sink_prometheus.share import Portion, Share


class PrometheusSink:
    """Counts in the sink's thread; the page is made and served in another one."""

    kernel_logs = False

    def __init__(self, settings: Mapping[str, Any], worker: Worker | None = None) -> None:
        """Raises RoverError when nobody can listen there."""
        self._where = settings["host"], settings["port"]
        self._worker = worker
        self._requests = Requests(
            resource=named_by(settings["labels"]),
            methods=frozenset(settings["methods"]),
            most=settings["series"],
            idle=settings["idle"],
        )
        self._share = Share(self._requests)
        self._counts: Counts = {}
        self._page = Page(self._collect)
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._relay: Relay | None = None
        self._others = Collection([])
        self._closed = False
        # Worker 0 says when the port is taken. One that takes a dead one's place finds it taken by another.
        self._listener = listen(*self._where) if worker is None or self._is_first(worker) else None

    @staticmethod
    def _is_first(worker: Worker) -> bool:
        return worker.number == 0 and not worker.again

    def inform(self, figures: Callable[[], RunFigures]) -> None:
        """Begins to serve: the source has started, and what that forks has been forked."""
        self._share.begin(figures, whole=self._worker is None or self._is_first(self._worker))
        if self._listener is not None:
            self._serve(self._listener)
        elif self._worker is not None:
            name = name_of(*self._where, self._worker.number)
            self._relay = Relay(name, self._share, self._take_port)
            self._relay.start()

    def _serve(self, listener: socket.socket) -> None:
        with self._lock:
            if self._closed:
                listener.close()
                return
            worker = self._worker
            if worker is not None:
                others = [number for number in range(worker.count) if number != worker.number]
                self._others = Collection([name_of(*self._where, number) for number in others])
            self._server = Server(listener, self._page.answer)
            self._server.start()

    def _take_port(self) -> bool:
        """Whether it was free; in the relay's thread."""
        try:
            listener = listen(*self._where)
        except RoverError:
            return False
        add(self._counts, self._share.withdraw(time.time_ns()))
        self._serve(listener)
        return True

    # -- in the server's thread ----------------------------------------------------------------

    def _collect(self) -> Snapshot:
        told = self._others.gather(self._take)
        add(self._counts, self._share.counts())
        points = self._requests.points(time.time_ns())
        counts = self._counts | {("rover_series_overflowed", ()): self._requests.overflowed}
        return Snapshot(target(), points, counts, {"rover_series": len(points), "rover_workers": told + 1})

    def _take(self, portion: Portion) -> None:
        self._requests.add(portion.points, time.time_ns())
        add(self._counts, portion.counts)

    # -- in the sink's thread ------------------------------------------------------------------

    def write(self, logs: Sequence[AccessLog]) -> None:
        """Counts them."""
        self._requests.observe(logs, time.time_ns())

    def flush(self) -> None:
        """Nothing waits."""

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """Of the series and of who asked for them; exchanges that no histogram is for."""
        unmeasured = {f"unmeasured_{cause}": n for cause, n in self._requests.unmeasured.items()}
        return {"scrapes": self._page.scrapes, "overflowed": self._requests.overflowed, **unmeasured}

    def close(self) -> int:
        """The page is gone."""
        with self._lock:
            self._closed = True
            server = self._server
        if self._relay is not None:
            self._relay.stop()
        if server is not None:
            server.stop()
        elif self._listener is not None:
            self._listener.close()
        return 0


def target() -> Pairs:
    """Who tells the page."""
    return (
        ("service.name", "rover"),
        ("service.version", importlib.metadata.version("rover-core")),
        ("host.name", platform.node()),
    )
