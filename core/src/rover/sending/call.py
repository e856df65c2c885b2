"""One call to a server, without I/O."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Status(NamedTuple):
    """How a call ended."""

    code: str
    """Name of a gRPC status; "OK" where the server has taken the batch."""
    message: str = ""
    unprocessed: bool = False
    """The server says that it has not looked at the call: it may be sent again at once, and is not
    there twice (RFC 9113 section 8.7)."""
    retry_after: float | None = None
    """Seconds the server asks for before the next attempt."""


TAKEN_EARLY = Status("UNKNOWN", "the server took the batch before it had the whole of it")
"""Of a server that answers OK and cannot have the rest."""


class Call(Protocol):
    """Alternately give it what the socket read, and write what it gives."""

    status: Status | None
    """Set when the call is over."""
    answer: bytes
    """What the server answered, as far as it is kept."""

    def output(self) -> bytes:
        """What is to be written next; nothing while there is nothing."""

    def input(self, data: bytes) -> None:
        """What was read; empty says that the connection is closed."""
