"""The decoder keeps the laws that the core relies on."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode

from rover import Headers, HttpRequest, HttpResponse, ProtocolBreak, Role
from rover.testing import check_decoder
from rover_plugin_websocket import register_protocols

CLIENT, SERVER = Role
TEXT, BINARY, CONTINUATION, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE


@pytest.fixture
def upgrade() -> ProtocolBreak:
    """Of either end's connection: which way the 101 went is not told."""
    request = HttpRequest(
        method="GET",
        target="/chat",
        version="1.1",
        headers=Headers([("host", "a.example")]),
        start=5,
        end=6,
        header_size=100,
        body_size=0,
    )
    agreed = Headers([("sec-websocket-extensions", "permessage-deflate")])
    response = HttpResponse(
        status=101, version="1.1", headers=agreed, start=7, end=8, header_size=80, body_size=0
    )
    return ProtocolBreak(reason="upgrade", upgrade="websocket", request=request, response=response)


def masked(socket, kind, payload=b"", **how):
    return CLIENT, socket.masked(socket, kind, payload, **how)


def plain(socket, kind, payload=b"", **how):
    return SERVER, socket.plain(socket, kind, payload, **how)


@pytest.fixture
def conversations(at):
    return [
        [
            masked(at, TEXT, b"hello"),
            plain(at, BINARY, bytes(9)),
            masked(at, TEXT, b"again!!"),
            plain(at, TEXT),
        ],
        [
            masked(at, BINARY, b"one", end=False),
            plain(at, Opcode.PING, b"there?"),
            masked(at, Opcode.PONG, b"there?"),
            masked(at, CONTINUATION, b"two", end=False),
            masked(at, CONTINUATION, b"three"),
            plain(at, TEXT, b"squeezed", rsv=4),
            masked(at, CLOSE, b"\3\xe8bye"),
            plain(at, CLOSE, b"\3\xe8"),
        ],
    ]


def test_the_laws(conversations, upgrade):
    """With a log per message. Where a connection has one, that of a part of it was never spoken."""
    (spec,) = register_protocols()
    check_decoder(spec, conversations, upgrade=upgrade)
