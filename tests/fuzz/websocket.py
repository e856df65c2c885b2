"""The WebSocket decoder: frames and bytes, lost or not captured, in one piece or cut anywhere."""

from __future__ import annotations

from typing import Any

from rover.testing import connection
from rover.values.connection import ProtocolBreak
from rover.values.http import Headers, HttpRequest, HttpResponse
from rover_plugin_websocket import SETTINGS
from rover_plugin_websocket.decoder import WebSocketDecoder

from . import conversation
from .conversation import DOWN, FIN, LATER, LOST, UNSEEN, UP, control
from .script import Step, read, write

WORDS = (b"\x81\x05hello", b"\x82\xfe\0\x80abcd", b"\x88\x02\x03\xe8", b"\x89\0", b"\x7f\x7f", b"\xc1\x01a")
FRAMED, TOLD, DEFLATE, CONNECTION = 1, 2, 4, 8
"""Bits of the second setting. FRAMED: what is sent begins with a frame's first byte, and gets a length and,
sent up, a mask, so that the fuzzer need not find them. TOLD: the handshake was seen. DEFLATE: it agreed on
permessage-deflate. CONNECTION: one log per connection."""
KEY = b"\x11\x22\x33\x44"


def _make_decoder(number: int) -> Any:
    settings: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}
    if number & CONNECTION:
        settings["log"] = "connection"
    if not number & TOLD:
        return WebSocketDecoder(
            connection(None), settings, ProtocolBreak(reason="upgrade", upgrade="websocket")
        )
    agreed = [("sec-websocket-extensions", "permessage-deflate")] if number & DEFLATE else []
    request = HttpRequest(
        method="GET",
        target="/chat?a=1",
        version="1.1",
        headers=Headers([("host", "a")]),
        start=1,
        end=2,
        header_size=60,
        body_size=0,
    )
    response = HttpResponse(
        status=101, version="1.1", headers=Headers(agreed), start=3, end=4, header_size=60, body_size=0
    )
    upgrade = ProtocolBreak(
        reason="upgrade", direction=DOWN, upgrade="websocket", request=request, response=response
    )
    return WebSocketDecoder(connection(None), settings, upgrade)


def frame(step: Step) -> bytes:
    """(first byte, payload) with the rest of a frame's header (RFC 6455 section 5.2)."""
    first, payload = step.payload[:1], step.payload[1:]
    size, key = len(payload), KEY if step.bits(0, 1) == UP else b""
    short = min(size, 126)
    length = size.to_bytes(2, "big") if short == 126 else b""
    return first + bytes([short | (0x80 if key else 0)]) + length + key + payload


def _script(data: bytes) -> tuple[bytes, list[Step]]:
    settings, steps = read(data)
    if settings[1] & FRAMED:
        steps = [
            step._replace(payload=frame(step)) if 0 < len(step.payload) < 65_536 else step for step in steps
        ]
    return settings, steps


def _decoder_of(data: bytes) -> tuple[Any, list[Step]]:
    settings, steps = _script(data)
    return _make_decoder(settings[1]), steps


RUNS = conversation.runs(_decoder_of)


def check(data: bytes) -> int:
    """See FRAMED for what the second setting is."""
    settings, steps = _script(data)
    return conversation.check(steps, settings[0], lambda: _make_decoder(settings[1]), conversation.log_of)


def seeds() -> list[bytes]:
    """Conversations of whole frames, and the same as bytes."""
    hello, answer = (UP, b"\x81hello"), (DOWN, b"\x82" + bytes(300))
    parts = [(UP, b"\1one"), (DOWN, b"\x89ping"), (UP, b"\x8apong"), (UP, b"\0two"), (UP, b"\x80three")]
    closing = [(UP, b"\x88\x03\xe8bye"), (DOWN, b"\x88\x03\xe8"), (DOWN, b"what follows")]
    talks = [
        [hello, answer, *parts, *closing],
        [(DOWN, b"\xc1squeezed"), (DOWN, b"\x41some"), (DOWN, b"\x80more"), hello],
        [hello, (control(DOWN, UNSEEN, 9), b"\x82" + bytes(100)), answer, (control(UP, LATER), b""), hello],
        [hello, parts[0], (control(UP, LOST, 6), b""), hello, answer],
        [answer, parts[0], (control(UP, LATER), b""), *parts[1:], (control(UP, FIN), b"")],
        [hello, answer, (UP, b"\x83"), (DOWN, b"\x80")],
    ]
    told = [FRAMED | TOLD | (DEFLATE if n == 1 else 0) for n in range(len(talks))]
    framed = [write(bytes([n, bits]), talk) for n, (bits, talk) in enumerate(zip(told, talks, strict=True))]
    plain = [
        write(bytes([n, CONNECTION if n & 1 else 0]), [(c, frame(Step(c, p)) if p else p) for c, p in talk])
        for n, talk in enumerate(talks)
    ]
    return [*framed, *plain, write(bytes([7, FRAMED | TOLD | CONNECTION]), talks[0])]
