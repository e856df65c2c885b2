"""The exported value."""

from __future__ import annotations

from collections.abc import Mapping

from rover.values.attributes import AttributeValue
from rover.values.connection import Connection
from rover.values.exchange import Outcome
from rover.values.records import NO_ATTRIBUTES, Detail
from rover.values.value import Value


class AccessLog(Value):
    """One exchange, or socket calls that belong to none, of one connection.

    Without an exchange it is a *kernel log* (`protocol` is empty): the details alone. The log
    of a break has outcome BREAK, the connection already downgraded (`connection.protocol_break`
    says why), and the details that were still waiting.
    """

    __slots__ = ("attributes", "connection", "details", "end", "outcome", "protocol", "start", "version")

    def __init__(
        self,
        *,
        connection: Connection,
        start: int,
        end: int,
        protocol: str = "",
        version: str = "",
        attributes: Mapping[str, AttributeValue] = NO_ATTRIBUTES,
        details: tuple[Detail, ...] = (),
        outcome: Outcome = Outcome.COMPLETE,
    ) -> None:
        self.connection = connection
        self.start = start
        """ns on the source's clock; `connection.epoch + start` is Unix time."""
        self.end = end
        self.protocol = protocol
        """`network.protocol.name`: "http"; empty for a kernel log."""
        self.version = version
        """`network.protocol.version`: "1.1", "2"."""
        self.attributes = attributes
        """What the protocol's plugin says of it, by OpenTelemetry name. Absent is absent."""
        self.details = details
        self.outcome = outcome


def new_log(
    connection: Connection,
    start: int,
    end: int,
    protocol: str,
    version: str,
    attributes: Mapping[str, AttributeValue],
    details: tuple[Detail, ...],
    outcome: Outcome,
) -> AccessLog:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = AccessLog.__new__(AccessLog)
    made.connection = connection
    made.start = start
    made.end = end
    made.protocol = protocol
    made.version = version
    made.attributes = attributes
    made.details = details
    made.outcome = outcome
    return made
