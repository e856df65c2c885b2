"""A conversation over one connection, watched at either end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rover.http import HttpExchange
from rover.testing import Play, check_delivery, connection
from rover.values.connection import ProtocolBreak
from rover.values.records import Direction, Role
from rover_plugin_http1 import make

Row = tuple[str, str, int | None, int | None, int | None, str]
"""(method, target, status, request body, response body, outcome)"""


class Talk:
    """Who asks and who answers; which direction that is depends on the end that is watched."""

    def __init__(self, role: Role, *, late: bool = False, **settings: int) -> None:
        self.role = role
        self.decoder = make(connection(None), settings, None)
        self.play = Play(self.decoder, late=late)
        client = role is Role.CLIENT
        self.requests = Direction.EGRESS if client else Direction.INGRESS
        self.responses = Direction.INGRESS if client else Direction.EGRESS

    def ask(self, *pieces: bytes, **how: int) -> None:
        """A call of the client's direction per piece."""
        for piece in pieces:
            self.play.send(self.requests, piece, **how)

    def answer(self, *pieces: bytes, **how: int) -> None:
        """A call of the server's direction per piece."""
        for piece in pieces:
            self.play.send(self.responses, piece, **how)

    def ask_unseen(self, data: bytes) -> None:
        """A call of the client's direction whose record is lost."""
        self.play.lose(self.requests, len(data))

    def answer_unseen(self, data: bytes) -> None:
        """A call of the server's direction whose record is lost."""
        self.play.lose(self.responses, len(data))

    def close(self) -> None:
        """The connection ends. Every call must have been delivered once by then."""
        self.play.close()
        check_delivery(self.play)

    @property
    def exchanges(self) -> list[HttpExchange]:
        found = []
        for exchange in self.play.exchanges:
            assert isinstance(exchange, HttpExchange)
            found.append(exchange)
        return found

    @property
    def rows(self) -> list[Row]:
        return [
            (
                e.request.method,
                e.request.target,
                e.response.status if e.response else None,
                e.request.body_size,
                e.response.body_size if e.response else None,
                e.outcome.value,
            )
            for e in self.exchanges
        ]

    @property
    def broken(self) -> str | None:
        return self.protocol_break.reason if self.protocol_break else None

    @property
    def protocol_break(self) -> ProtocolBreak | None:
        return self.play.protocol_break


@pytest.fixture(params=[Role.CLIENT, Role.SERVER], ids=["client", "server"])
def talk(request: Any) -> Talk:
    """Watched at the client, and again at the server."""
    return Talk(request.param)


@pytest.fixture(scope="session")
def talk_as() -> Callable[..., Talk]:
    """Makes conversations: `talk_as(Role.CLIENT, max_head=4096)`."""
    return Talk
