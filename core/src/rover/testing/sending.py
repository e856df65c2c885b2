"""What tests of sinks that send to a server have in common."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rover.contracts.sink import Sink
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.records import Address, Process, Role

PATIENCE = 15.0
"""Seconds a condition has to come true: far more than it takes, so that a failure is one."""

AnySink = TypeVar("AnySink", bound=Sink)


def eventually(condition: Callable[[], object]) -> None:
    """Waits until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never came true")
        time.sleep(0.005)


class Traffic:
    """Makes connections, and logs of them, as if they were seen now."""

    def __init__(self) -> None:
        self.epoch = time.time_ns() - time.monotonic_ns()
        self.process = Process(pid=os.getpid(), name="web")
        """This very one."""
        self._numbers = itertools.count(1)
        self._time = time.monotonic_ns()

    def connection(self, role: Role | None = Role.SERVER, **changes: Any) -> Connection:
        """Of this very process, unless told otherwise."""
        number = next(self._numbers)
        made = Connection(
            id=number,
            local=Address(host="10.0.0.1", port=80),
            remote=Address(host="10.0.0.2", port=10_000 + number),
            role=role,
            process=self.process,
            opened=self._time,
            epoch=self.epoch,
            protocol="http1",
        )
        return made.replace(**changes)

    def broken(self, connection: Connection) -> AccessLog:
        """The break of its protocol."""
        after = connection.replace(
            protocol="", protocol_break=ProtocolBreak(reason="upgrade", protocol=connection.protocol)
        )
        return AccessLog(connection=after, start=self._time, end=self._time, outcome=Outcome.BREAK)


class Unclosed:
    """The sinks of a test that it has not closed yet."""

    def __init__(self) -> None:
        self._sinks: list[Sink] = []

    def add(self, sink: AnySink) -> AnySink:
        """The same sink, which is told of here until it is closed."""
        close = sink.close

        def close_once() -> int:
            self._sinks.remove(sink)
            return close()

        sink.close = close_once  # type: ignore[method-assign]
        self._sinks.append(sink)
        return sink

    def close(self) -> None:
        """All of them."""
        for sink in self._sinks[:]:
            sink.close()
