"""What gets a log: each message, or each connection. This file knows no frames.

A `Tally` counts what is to be logged of one sender. Sizes are bytes of payload as they were sent: those of
a compressed message count compressed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rover import Exchange, Outcome
from rover_plugin_websocket.handshake import Attributes

NAME = "websocket"
CONNECTION = 0
"""The owner of all calls where a connection has one log."""


class Tally:
    """A message of one sender that is under way, or all its messages."""

    __slots__ = ("compressed", "frames", "kind", "messages", "owner", "sender", "since", "size", "start")

    def __init__(self, owner: int, sender: str, start: int) -> None:
        self.owner = owner
        self.sender = sender
        """`client` or `server`."""
        self.start = start
        """ns, first byte."""
        self.since = start
        """ns, when it began, or was logged last."""
        self.kind = ""
        """`text` or `binary`."""
        self.compressed: bool | None = None
        """None where nobody knows, or nothing may be."""
        self.messages = 0
        """How many have ended."""
        self.frames = 0
        self.size = 0

    def restart(self, now: int) -> None:
        """What there was has been logged; what follows is counted from zero."""
        self.since = now
        self.messages = self.frames = self.size = 0


class Closing:
    """The closing handshake, from its first Close frame on (RFC 6455 section 7)."""

    __slots__ = ("code", "owner", "reason", "sender", "start")

    def __init__(self, owner: int, sender: str, start: int, code: int | None, reason: str) -> None:
        self.owner = owner
        self.sender = sender
        self.start = start
        self.code = code
        """None where the frame had none, or it is missing."""
        self.reason = reason

    def hear(self, sender: str, start: int, code: int | None, reason: str) -> None:
        """The other side's Close frame. Its record may be the second, and the frame the first, where one
        thread writes and another reads."""
        if 0 < start < self.start:
            self.sender, self.start, self.code, self.reason = sender, start, code, reason

    def attributes(self) -> Attributes:
        """Who closed, and why."""
        said: Attributes = {"websocket.close.sender": self.sender}
        if self.code is not None:
            said["websocket.close.code"] = self.code
        if self.reason:
            said["websocket.close.reason"] = self.reason
        return said


class Logs(Protocol):
    """Makes exchanges of what the decoder saw."""

    control: int | None
    """The owner of frames that belong to no message."""

    def begun(self, sender: str, kind: str, compressed: bool | None, start: int) -> Tally:
        """A message begins; its frames and sizes are counted in what is returned."""

    def ended(self, tally: Tally, now: int) -> Exchange | None:
        """It has ended."""

    def closing(self, sender: str, start: int, code: int | None, reason: str) -> int:
        """One side has sent Close; returns the frame's owner."""

    def closed(self, now: int) -> Exchange | None:
        """Both sides have."""

    def split(self, now: int) -> Iterable[Exchange]:
        """What has been open for long, as far as it got."""

    def cut(self, now: int) -> Iterable[Exchange]:
        """Nothing follows: what is open was cut."""


class MessageLogs:
    """A log for each message, and one for the closing handshake."""

    control: int | None = None

    def __init__(self, endpoint: Attributes, split_after: int) -> None:
        """`split_after`: ns a message may be under way before it is logged for the first time."""
        self._endpoint = endpoint
        self._split_after = split_after
        self._owners = 0
        self._open: dict[str, Tally] = {}  # by sender
        self._closing: Closing | None = None

    def begun(self, sender: str, kind: str, compressed: bool | None, start: int) -> Tally:
        """See `Logs`."""
        tally = self._open[sender] = Tally(self._next_owner(), sender, start)
        tally.kind, tally.compressed = kind, compressed
        return tally

    def ended(self, tally: Tally, now: int) -> Exchange | None:
        """See `Logs`."""
        del self._open[tally.sender]
        return self._message(tally, now, Outcome.COMPLETE)

    def closing(self, sender: str, start: int, code: int | None, reason: str) -> int:
        """See `Logs`."""
        if self._closing is None:
            self._closing = Closing(self._next_owner(), sender, start, code, reason)
        else:
            self._closing.hear(sender, start, code, reason)
        return self._closing.owner

    def closed(self, now: int) -> Exchange | None:
        """See `Logs`."""
        return self._handshake(now, Outcome.COMPLETE)

    def split(self, now: int) -> Iterable[Exchange]:
        """See `Logs`."""
        old = [tally for tally in self._open.values() if now - tally.since >= self._split_after]
        exchanges = [self._message(tally, now, Outcome.SPLIT) for tally in old]
        for tally in old:
            tally.restart(now)
        return exchanges

    def cut(self, now: int) -> Iterable[Exchange]:
        """See `Logs`."""
        exchanges = [self._message(tally, now, Outcome.ABORTED) for tally in self._open.values()]
        self._open.clear()
        if (handshake := self._handshake(now, Outcome.ABORTED)) is not None:
            exchanges.append(handshake)
        return exchanges

    def _next_owner(self) -> int:
        self._owners += 1
        return self._owners

    def _message(self, tally: Tally, now: int, outcome: Outcome) -> Exchange:
        said: Attributes = {
            "websocket.message.type": tally.kind,
            "websocket.message.sender": tally.sender,
            "websocket.message.size": tally.size,
            "websocket.message.frames": tally.frames,
        }
        if tally.compressed is not None:
            said["websocket.message.compressed"] = tally.compressed
        return Exchange(
            owner=tally.owner,
            start=tally.start,
            end=now,
            name=NAME,
            attributes=said | self._endpoint,
            outcome=outcome,
        )

    def _handshake(self, now: int, outcome: Outcome) -> Exchange | None:
        closing, self._closing = self._closing, None
        if closing is None:
            return None
        return Exchange(
            owner=closing.owner,
            start=closing.start,
            end=now,
            name=NAME,
            attributes=closing.attributes() | self._endpoint,
            outcome=outcome,
        )


class ConnectionLog:
    """One log for all messages of a connection."""

    control: int | None = CONNECTION

    def __init__(self, endpoint: Attributes, split_after: int, start: int) -> None:
        """`split_after`: ns until it is logged for the first time. `start`: ns, when it was opened; 0 for
        its first frame."""
        self._endpoint = endpoint
        self._split_after = split_after
        self._start = self._since = start
        self._sides = {sender: Tally(CONNECTION, sender, start) for sender in ("client", "server")}
        self._closing: Closing | None = None
        self._over = False

    def begun(self, sender: str, kind: str, compressed: bool | None, start: int) -> Tally:  # noqa: ARG002
        """See `Logs`."""
        self._begin(start)
        return self._sides[sender]

    def ended(self, tally: Tally, now: int) -> Exchange | None:  # noqa: ARG002
        """See `Logs`."""
        tally.messages += 1
        return None

    def closing(self, sender: str, start: int, code: int | None, reason: str) -> int:
        """See `Logs`."""
        self._begin(start)
        if self._closing is None:
            self._closing = Closing(CONNECTION, sender, start, code, reason)
        else:
            self._closing.hear(sender, start, code, reason)
        return CONNECTION

    def closed(self, now: int) -> Exchange | None:
        """See `Logs`."""
        self._over = True
        return self._log(now, Outcome.COMPLETE)

    def split(self, now: int) -> Iterable[Exchange]:
        """See `Logs`."""
        self._begin(now)
        if self._over or now - self._since < self._split_after:
            return []
        log = self._log(now, Outcome.SPLIT)
        self._since = now
        for tally in self._sides.values():
            tally.restart(now)
        return [log]

    def cut(self, now: int) -> Iterable[Exchange]:
        """See `Logs`."""
        if self._over:
            return []
        self._begin(now)
        self._over = True
        return [self._log(now, Outcome.ABORTED)]

    def _begin(self, now: int) -> None:
        if not self._start:
            self._start = self._since = now

    def _log(self, now: int, outcome: Outcome) -> Exchange:
        said: Attributes = {}
        for sender, tally in self._sides.items():
            said[f"websocket.{sender}.messages"] = tally.messages
            said[f"websocket.{sender}.size"] = tally.size
        if self._closing is not None:
            said |= self._closing.attributes()
        return Exchange(
            owner=CONNECTION,
            start=self._start,
            end=now,
            name=NAME,
            attributes=said | self._endpoint,
            outcome=outcome,
        )
