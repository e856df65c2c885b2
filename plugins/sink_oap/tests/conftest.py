"""Made access logs, and a real receiver for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover import AccessLog, Connection, Detail, Syscall
from rover.testing import sending
from rover.testing.sending import PATIENCE, Unclosed, eventually
from rover_plugin_sink_oap.receiver.rules import LogStream
from rover_plugin_sink_oap.receiver.server import Faults, Receiver
from rover_plugin_sink_oap.settings import configure
from rover_plugin_sink_oap.sink import OapSink


class Traffic(sending.Traffic):
    """Every socket call has times of its own."""

    def detail(self, connection: Connection, syscall: int = Syscall.READ, **changes: Any) -> Detail:
        """The next socket call."""
        self._time += 1000
        values: dict[str, Any] = {
            "connection": connection.id,
            "sequence": next(self._numbers),
            "start": self._time,
            "end": self._time + 500,
            "position": 0,
            "size": 100,
            "pid": 1,
            "fd": 3,
            "syscall": syscall,
            "direction": 1 if syscall >= Syscall.WRITE else 0,
            "error": 0,
        }
        return Detail(**(values | changes))

    def exchange(self, connection: Connection, path: str = "/", **changes: Any) -> AccessLog:
        """A request read and a response written."""
        details = (self.detail(connection), self.detail(connection, Syscall.WRITE))
        attributes = {
            "http.request.method": "GET",
            "url.original": path,
            "url.path": path.partition("?")[0],
            "http.response.status_code": 200,
        }
        values: dict[str, Any] = {
            "connection": connection,
            "start": details[0].start,
            "end": details[1].end,
            "protocol": "http",
            "version": "1.1",
            "attributes": attributes,
            "details": details,
        }
        return AccessLog(**(values | changes))

    def call(self, connection: Connection, syscall: int = Syscall.READ, **changes: Any) -> AccessLog:
        """A socket call alone."""
        detail = self.detail(connection, syscall, **changes)
        return AccessLog(connection=connection, start=detail.start, end=detail.end, details=(detail,))


class Listener:
    """A receiver, and everything it accepted, in order."""

    def __init__(self, listen: str, **options: Any) -> None:
        self.messages: list[Any] = []
        self.streams: list[LogStream] = []
        self.receiver = Receiver(listen, accepted=self._accepted, **options)
        self.address = self.receiver.address
        self.receiver.start()

    def _accepted(self, stream: LogStream) -> None:
        self.streams.append(stream)
        self.messages += stream.messages

    @property
    def paths(self) -> list[str]:
        """Of all exchanges."""
        return [m.protocolLog.http.request.path for m in self.messages if m.HasField("protocolLog")]

    @property
    def totals(self) -> Any:
        return self.receiver.received.totals

    def wait(self, condition: Callable[[], object]) -> None:
        """Until it is true, looked at after each stream."""
        with self.receiver.changed:
            assert self.receiver.changed.wait_for(condition, PATIENCE), str(self.totals)

    def expect(self, paths: list[str]) -> None:
        """Exactly these exchanges, once each and in order, and no rule broken."""
        self.wait(lambda: len(self.paths) >= len(paths))
        assert self.paths == paths
        assert not self.totals.broken, self.receiver.received.findings


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Starts receivers: listen(faults=Faults(...), port=0, authentication=..., credentials=...)."""
    listeners: list[Listener] = []

    def start(port: int = 0, **options: Any) -> Listener:
        listeners.append(Listener(f"127.0.0.1:{port}", **options))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.receiver.stop()


@pytest.fixture
def make_sink(tmp_path: Path) -> Iterator[Callable[..., OapSink]]:
    """Makes sinks with quick settings; those not closed by the test are closed at its end."""
    unclosed = Unclosed()

    def make(address: str | list[str], **settings: Any) -> OapSink:
        addresses = [address] if isinstance(address, str) else address
        quick = {"flush_period": 0.05, "retry_max": 0.05, "spool_path": str(tmp_path / "spool")}
        sink = OapSink(configure({"address": addresses, "node_name": "host", **quick, **settings}))
        return unclosed.add(sink)

    yield make
    unclosed.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    return eventually


@pytest.fixture
def faults() -> type[Faults]:
    return Faults
