"""A connection to Redis in the plugin's decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rover import Direction, Role
from rover.testing import Play
from rover_plugin_redis.decoder import RedisDecoder

COMMANDS, REPLIES = Direction.INGRESS, Direction.EGRESS
"""As the server's end, which is watched, sees them."""


class Talk(Play):
    """A client's commands and a server's replies, watched at the server's end."""

    def __init__(self, *, role: Role | None = Role.SERVER, late: bool = False, **settings: Any) -> None:
        super().__init__(RedisDecoder, role=role, late=late, settings=settings)

    def ask(self, *commands: bytes) -> None:
        """One call of the client."""
        self.send(COMMANDS, b"".join(commands))

    def answer(self, *replies: bytes) -> None:
        """One call of the server."""
        self.send(REPLIES, b"".join(replies))

    def turn(self, command: bytes, reply: bytes) -> None:
        """A command and its reply."""
        self.ask(command)
        self.answer(reply)

    @property
    def said(self) -> list[dict[str, Any]]:
        """What was logged, with the outcome."""
        return [{**each.attributes, "outcome": each.outcome.value} for each in self.logs]

    @property
    def names(self) -> list[Any]:
        return [each.get("db.operation.name") for each in self.said]

    @property
    def sizes(self) -> list[tuple[Any, Any]]:
        """(name, bytes of the reply) of each log."""
        return [(each.get("db.operation.name"), each.get("redis.response.size")) for each in self.said]


@pytest.fixture(scope="session")
def make_talk() -> Callable[..., Talk]:
    """Begins a connection."""
    return Talk


@pytest.fixture
def talk() -> Talk:
    """A connection whose beginning was seen."""
    return Talk()


@pytest.fixture(scope="session")
def command() -> Callable[..., bytes]:
    """Makes an array of strings: a command as clients send it, and a reply that looks like one."""

    def make(*words: bytes | str) -> bytes:
        raw = [word.encode() if isinstance(word, str) else word for word in words]
        return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw)

    return make
