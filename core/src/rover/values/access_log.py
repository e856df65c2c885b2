"""The exported value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rover.values.connection import Connection
from rover.values.exchange import Outcome
from rover.values.records import NO_ATTRIBUTES, Detail


class AccessLog(NamedTuple):
    """One exchange, or socket calls that belong to none, of one connection.

    Without an exchange it is a *kernel log* (`protocol` is empty): the details alone. The log
    of a break has outcome BREAK, the connection already downgraded (`connection.protocol_break`
    says why), and the details that were still waiting.
    """

    connection: Connection
    start: int
    """ns on the source's clock; `connection.epoch + start` is Unix time."""
    end: int
    protocol: str = ""
    """`network.protocol.name`: "http"; empty for a kernel log."""
    version: str = ""
    """`network.protocol.version`: "1.1", "2"."""
    attributes: Mapping[str, str | int | bool] = NO_ATTRIBUTES
    """What the protocol's plugin says of it, by OpenTelemetry name. Absent is absent."""
    details: tuple[Detail, ...] = ()
    outcome: Outcome = Outcome.COMPLETE

    def replace(self, **changes: Any) -> AccessLog:
        """The same log with these fields changed."""
        return self._replace(**changes)
