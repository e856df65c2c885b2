"""What decoders produce for protocols other than HTTP, and how any exchange can end."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rover.values.attributes import AttributeValue
from rover.values.value import Value

if TYPE_CHECKING:
    from rover.values.connection import Connection
    from rover.values.records import Detail


class Outcome(enum.Enum):
    """How the subject of an access log ended."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    """Cut by close, reset, time or missing bytes; logged with what is known."""
    UNFINISHED = "unfinished"
    """Still under way when the agent, or what it reads, ended; logged with what is known."""
    SPLIT = "split"
    """A long-lived stream, logged so far; more follows."""
    BREAK = "break"
    """The connection's protocol broke here."""


class Exchange(Value):
    """A request with its response, in a protocol the core has no name for."""

    __slots__ = ("assumed", "attributes", "content", "end", "name", "outcome", "owner", "start")

    def __init__(
        self,
        *,
        owner: int,
        start: int,
        end: int,
        name: str,
        attributes: Mapping[str, AttributeValue],
        outcome: Outcome = Outcome.COMPLETE,
        content: object = None,
        assumed: bool = False,
    ) -> None:
        self.owner = owner
        """The key under which its bytes were consumed (`StreamBuffer.consume`)."""
        self.start = start
        """ns, first byte of the request, on the source's clock."""
        self.end = end
        """ns, last byte of the response."""
        self.name = name
        """Protocol name for `network.protocol.name`."""
        self.attributes = attributes
        """What the access log shows, OpenTelemetry names where they exist."""
        self.outcome = outcome
        self.content = content
        """Whatever the protocol's plugin wants its own hook to see."""
        self.assumed = assumed
        """Whether bytes were lost so that no count proves any more that the reply answers this request: its
        log carries `rover.pairing`."""

    @staticmethod
    def hook() -> str:
        """The hook that it goes to."""
        return "handle_exchange"

    def arguments(self, connection: Connection, details: tuple[Detail, ...]) -> tuple[object, ...]:
        """What that is called with."""
        return connection, self, details
