"""WebSocket conversations for tests. The `websockets` library writes the frames, not what is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from rover import Direction, Exchange, Headers, HttpRequest, HttpResponse, ProtocolBreak, Role
from rover.testing import Play
from rover_plugin_websocket import register_protocols


def handshake(
    target: str = "/chat?room=1",
    extensions: str | None = None,
    fields: Iterable[tuple[str, str]] = (),
    answered: Iterable[tuple[str, str]] = (),
) -> tuple[HttpRequest, HttpResponse]:
    """The exchange that opened it."""
    asked = [("host", "a.example"), ("upgrade", "websocket"), ("user-agent", "probe/1"), *fields]
    granted = [("upgrade", "websocket"), *answered]
    if extensions is not None:
        granted.append(("sec-websocket-extensions", extensions))
    return (
        HttpRequest(
            method="GET",
            target=target,
            version="1.1",
            headers=Headers(asked),
            start=1,
            end=2,
            header_size=100,
            body_size=0,
        ),
        HttpResponse(
            status=101, version="1.1", headers=Headers(granted), start=3, end=4, header_size=80, body_size=0
        ),
    )


class Socket:
    """One connection, seen at one end. `client` and `server` send bytes as one call."""

    def __init__(
        self,
        end: Role,
        *,
        upgraded: bool = True,
        known: bool = True,
        plugins: Sequence[object] = (),
        **changes: Any,
    ) -> None:
        """`known`: whether the handshake's messages are. `changes`: settings, arguments of `handshake`."""
        here, there = Direction.EGRESS, Direction.INGRESS
        self.ways = (
            {"client": here, "server": there} if end is Role.CLIENT else {"client": there, "server": here}
        )
        self.end = end
        (spec,) = register_protocols()
        given = {setting.name: changes.pop(setting.name, setting.default) for setting in spec.settings}
        request, response = handshake(**changes) if known else (None, None)
        found = ProtocolBreak(
            reason="upgrade",
            direction=self.ways["server"] if known else None,
            position=80,
            upgrade="websocket",
            request=request,
            response=response,
        )
        self.play = Play(spec.make, settings=given, upgrade=found if upgraded else None, plugins=plugins)

    # -- frames: a client's are masked, a server's are not ---------------------------------

    def masked(self, kind: Opcode, payload: bytes = b"", **how: Any) -> bytes:
        return _frame(kind, payload, mask=True, **how)

    def plain(self, kind: Opcode, payload: bytes = b"", **how: Any) -> bytes:
        return _frame(kind, payload, mask=False, **how)

    def frame(self, sender: str, kind: Opcode, payload: bytes = b"", **how: Any) -> bytes:
        return _frame(kind, payload, mask=sender == "client", **how)

    # -- calls ----------------------------------------------------------------------------

    def client(self, *parts: bytes, **how: int) -> None:
        self.send("client", *parts, **how)

    def server(self, *parts: bytes, **how: int) -> None:
        self.send("server", *parts, **how)

    def send(self, sender: str, *parts: bytes, **how: int) -> None:
        self.play.send(self.ways[sender], b"".join(parts), **how)

    def lose(self, sender: str, size: int) -> None:
        self.play.lose(self.ways[sender], size)

    def close(self) -> None:
        """The connection ends. Every call must have been delivered once by then."""
        self.play.close()
        delivered = [detail for taken in self.play.taken for detail in taken] + self.play.alone
        assert sorted(delivered, key=attrgetter("sequence")) == self.play.calls

    @property
    def exchanges(self) -> list[Exchange]:
        assert all(type(each) is Exchange for each in self.play.exchanges)
        return self.play.exchanges  # type: ignore[return-value]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """(sender, type, size, frames, outcome) of messages; (sender, "close", code, reason, outcome)."""
        return [row(each) for each in self.exchanges]

    @property
    def broken(self) -> str | None:
        return self.play.protocol_break.reason if self.play.protocol_break else None


def row(exchange: Exchange) -> tuple[Any, ...]:
    said, outcome = exchange.attributes, exchange.outcome.value
    if "websocket.close.sender" in said:
        closed = (said.get(f"websocket.close.{what}") for what in ("code", "reason"))
        return (said["websocket.close.sender"], "close", *closed, outcome)
    return (*(said[f"websocket.message.{what}"] for what in ("sender", "type", "size", "frames")), outcome)


def _frame(kind: Opcode, payload: bytes, *, mask: bool, end: bool = True, rsv: int = 0) -> bytes:
    """`rsv`: three bits, which the library knows no use for."""
    frame = bytearray(Frame(kind, payload, fin=end).serialize(mask=mask))
    frame[0] |= rsv << 4
    return bytes(frame)


@pytest.fixture(params=Role, ids=lambda role: role.value)
def opened(request: pytest.FixtureRequest) -> Callable[..., Socket]:
    """Makes conversations that are watched at either end."""
    return lambda **changes: Socket(request.param, **changes)


@pytest.fixture(scope="session")
def at() -> type[Socket]:
    """Makes them at the end that is given."""
    return Socket
