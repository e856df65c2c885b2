"""Made access logs, and a real receiver for what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover import AccessLog, Connection, Process, Role
from rover.testing import sending
from rover.testing.sending import PATIENCE, Unclosed, eventually
from rover_plugin_sink_otlp.receiver.items import items
from rover_plugin_sink_otlp.receiver.server import Faults, Receiver
from rover_plugin_sink_otlp.settings import configure
from rover_plugin_sink_otlp.sink import OtlpSink

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Traffic(sending.Traffic):
    """Both ends of a connection, and traces."""

    def connection(self, role: Role | None = Role.SERVER, **changes: Any) -> Connection:
        """Of this very process, unless told otherwise; a client's local end is its own."""
        made = super().connection(role)
        if role is Role.CLIENT:
            made = made.replace(local=made.remote, remote=made.local)
        return made.replace(**changes)

    def other_end(self, connection: Connection, **changes: Any) -> Connection:
        """The same socket's other end, of another process."""
        values: dict[str, Any] = {
            "local": connection.remote,
            "remote": connection.local,
            "role": Role.CLIENT if connection.role is Role.SERVER else Role.SERVER,
            "process": Process(pid=1, name="other"),
        }
        return connection.replace(id=next(self._numbers), **(values | changes))

    def exchange(
        self, connection: Connection, path: str = "/", said: dict[str, Any] | None = None, **changes: Any
    ) -> AccessLog:
        """A GET, answered with 200. `said`: further attributes; None leaves one out."""
        self._time += 1000
        attributes = {
            "http.request.method": "GET",
            "url.original": path,
            "url.path": path.partition("?")[0],
            "http.request.header.host": ("example.org",),
            "http.response.status_code": 200,
            **(said or {}),
        }
        values: dict[str, Any] = {
            "connection": connection,
            "start": self._time,
            "end": self._time + 500,
            "protocol": "http",
            "version": "1.1",
            "attributes": {name: value for name, value in attributes.items() if value is not None},
        }
        return AccessLog(**(values | changes))

    def traced(
        self,
        connection: Connection,
        path: str = "/",
        trace: str = TRACE,
        caller: str = CALLER,
        **changes: Any,
    ) -> AccessLog:
        """The same with a W3C trace context."""
        context = {"trace.provider": "w3c", "trace_id": trace, "span_id": caller}
        return self.exchange(connection, path, context, **changes)


class Listener:
    """A receiver, and everything it accepted, in order."""

    def __init__(self, grpc: bool, http: bool, port: int, **options: Any) -> None:
        self.items: list[dict[str, Any]] = []
        self.requests: list[tuple[str, Any]] = []
        self.changed = threading.Condition()
        self.receiver = Receiver(
            f"127.0.0.1:{port if grpc and not http else 0}" if grpc else None,
            f"127.0.0.1:{port}" if http else None,
            accepted=self._accepted,
            **options,
        )
        self.grpc, self.http = self.receiver.grpc_address, self.receiver.http_address
        self.receiver.start()

    def _accepted(self, signal: str, request: Any) -> None:
        with self.changed:
            self.requests.append((signal, request))
            self.items += items(signal, request)
            self.changed.notify_all()

    def of(self, signal: str) -> list[dict[str, Any]]:
        """Everything of a signal."""
        return [item for item in self.items if item["signal"] == signal]

    @property
    def paths(self) -> list[str]:
        """Of all server's spans."""
        return [item["attributes"]["url.path"] for item in self.of("traces")]

    def wait(self, condition: Callable[[], object]) -> None:
        """Until it is true, looked at after each request."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), self.items[-10:]

    def settings(self, protocol: str) -> dict[str, Any]:
        """To reach it."""
        address = self.grpc if protocol == "grpc" else self.http
        return {"protocol": protocol, "endpoint": f"http://{address}"}


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts receivers: listen(grpc=True, http=True, port=0, faults=Faults(...), ...)."""
    listeners: list[Listener] = []

    def start(grpc: bool = True, http: bool = True, port: int = 0, **options: Any) -> Listener:
        listeners.append(Listener(grpc, http, port, **options))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.receiver.stop()


@pytest.fixture
def make_sink(tmp_path: Path) -> Iterator[Callable[..., OtlpSink]]:
    """Makes sinks with quick settings; those not closed by the test are closed at its end."""
    unclosed = Unclosed()

    def make(**settings: Any) -> OtlpSink:
        quick = {
            "flush_period": 0.05,
            "retry_max": 0.05,
            "spool_path": str(tmp_path / "spool"),
            "host_name": "host",
            "signals": ["traces"],
        }
        return unclosed.add(OtlpSink(configure({**quick, **settings})))

    yield make
    unclosed.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    return eventually


@pytest.fixture
def faults() -> type[Faults]:
    return Faults
