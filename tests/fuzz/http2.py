"""The HTTP/2 decoder: frames and bytes, lost or not captured, in one piece or cut anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from rover.contracts.protocol import Verdict
from rover.testing import connection
from rover.values.access_log import AccessLog
from rover.values.connection import ProtocolBreak
from rover.values.http import Headers, HttpRequest, HttpStream, text
from rover.values.records import Detail
from rover_plugin_http2 import SETTINGS
from rover_plugin_http2.decoder import Http2Decoder
from rover_plugin_http2.logs import access_log
from rover_plugin_http2.sniff import sniff

from . import conversation
from .conversation import DOWN, FIN, LATER, LOST, UNSEEN, UP, control
from .script import Step, read, write

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WORDS = (
    *(PREFACE, b"\x82\x86\x84\x41\x01a", b"\x88", b"\x8d", b"\x44\x02/a", b"\x40\x01a\x01b", b"\x3f\xe1\x1f"),
    *(b"\x0f\x2f\x01a", b"\xbe", b"\xbf", b"\x20", b"\x40\x0bgrpc-status\x010", b"\x48\x03200"),
    *(b"\1\4\0\1", b"\1\5\0\1", b"\0\1\0\1", b"\0\0\0\1", b"\x09\4\0\1", b"\3\0\0\1\0\0\0\x08"),
    *(
        b"\7\0\0\0\0\0\0\1\0\0\0\0",
        b"\5\4\0\1\0\0\0\2\x82",
        b"\4\0\0\0\0\1\0\0\0\0",
        b"\x5f\x10application/grpc",
    ),
)
FRAMED, UPGRADED, SMALL = 1, 2, 4
"""Bits of the second setting. FRAMED: what is sent begins with type, flags and two bytes of stream,
and gets a frame header around it, so that the fuzzer need not find lengths. UPGRADED: joined by an
HTTP/1.1 Upgrade, the first step being its HTTP2-Settings. SMALL: little memory."""


def _make_decoder(number: int, asked: bytes) -> Any:
    settings = {setting.name: setting.default for setting in SETTINGS}
    if number & SMALL:
        settings["memory"] = 64
    upgrade = None
    if number & UPGRADED:
        headers = Headers([("host", "a"), ("connection", "upgrade, x-hop"), ("http2-settings", text(asked))])
        request = HttpRequest(
            method="GET",
            target="/asked",
            version="1.1",
            headers=headers,
            start=1,
            end=2,
            header_size=60,
            body_size=0,
        )
        upgrade = ProtocolBreak(reason="upgrade", direction=DOWN, upgrade="h2c", request=request)
    return Http2Decoder(connection(None), settings, upgrade)


def _log(exchange: HttpStream, details: tuple[Detail, ...]) -> AccessLog | None:
    return access_log(connection(), exchange, details)


def frame(brief: bytes) -> bytes:
    """(type, flags, stream in two bytes, payload), with a whole frame header (RFC 9113 section 4.1)."""
    if len(brief) < 4 or brief.startswith(PREFACE[:4]):
        return brief
    kind, flags, stream = struct.unpack_from(">BBH", brief)
    return struct.pack(">I", len(brief) - 4)[1:] + struct.pack(">BBI", kind, flags, stream) + brief[4:]


def _script(data: bytes) -> tuple[bytes, bytes, list[Step]]:
    settings, steps = read(data)
    asked = steps.pop(0).payload if settings[1] & UPGRADED and steps else b""
    if settings[1] & FRAMED:
        steps = [step._replace(payload=frame(step.payload)) for step in steps]
    return settings, asked, steps


def _decoder_of(data: bytes) -> tuple[Any, list[Step]]:
    settings, asked, steps = _script(data)
    return _make_decoder(settings[1], asked), steps


RUNS = conversation.runs(_decoder_of)


def check(data: bytes) -> int:
    """See FRAMED for what the second setting is."""
    settings, asked, steps = _script(data)
    for step in steps:
        assert sniff(step.payload) in Verdict
    return conversation.check(steps, settings[0], lambda: _make_decoder(settings[1], asked), _log)


HEADERS, DATA, RESET, SET, PUSH, GOAWAY, CONTINUED = 1, 0, 3, 4, 5, 7, 9
GET = b"\x82\x86\x84\x41\x01a"
POST = b"\x83\x86\x44\x07/p.S/Me\x41\x01a\x5f\x10application/grpc"
OK = b"\x88\x40\x01x\x01y"


def _brief(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BBH", kind, flags, stream) + payload


def seeds() -> list[bytes]:
    """Conversations of whole frames, and the same as bytes."""
    opening = [(UP, PREFACE), (UP, _brief(SET, 0, 0)), (DOWN, _brief(SET, 0, 0, b"\0\1\0\0\0\0"))]
    get = [
        (UP, _brief(HEADERS, 5, 1, GET)),
        (DOWN, _brief(HEADERS, 4, 1, OK)),
        (DOWN, _brief(DATA, 1, 1, b"body")),
    ]
    call = [
        (UP, _brief(HEADERS, 4, 3, POST)),
        (UP, _brief(DATA, 1, 3, b"\0\0\0\0\1a")),
        (DOWN, _brief(HEADERS, 4, 3, b"\x88")),
        (DOWN, _brief(DATA, 8, 3, b"\2ab\0\0")),
        (DOWN, _brief(HEADERS, 5, 3, b"\x40\x0bgrpc-status\x010")),
    ]
    again = [(UP, _brief(HEADERS, 5, 5, b"\x82\x86\x84\xbe")), (DOWN, _brief(HEADERS, 5, 5, b"\x88\xbe"))]
    parts = [
        (UP, _brief(HEADERS, 0x29, 7, b"\2\0\0\0\0\x0f" + GET[:2] + b"\0\0")),
        (UP, _brief(CONTINUED, 4, 7, GET[2:])),
        (DOWN, _brief(PUSH, 4, 7, b"\0\0\0\2" + GET)),
        (DOWN, _brief(HEADERS, 5, 2, b"\x88")),
        (DOWN, _brief(RESET, 0, 7, b"\0\0\0\x08")),
    ]
    leaving = [(DOWN, _brief(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0bye")), (UP, _brief(6, 0, 0, b"pingpong"))]
    table = [
        (UP, _brief(SET, 0, 0, b"\0\1\0\0\0\x40\0\5\0\0\x40\0")),
        (DOWN, _brief(HEADERS, 5, 1, b"\x3f\x21\x88")),
    ]
    early = [(DOWN, _brief(HEADERS, 4, 1, b"\x08\x03103"))]
    large = GET + b"\x40\x01x\x7f\xe9\x06" + b"y" * 1000
    indexed = [(UP, _brief(HEADERS, 1, 1, large)), *[(UP, _brief(CONTINUED, 0, 1, b"\xbe" * 20))] * 9]
    crumbs = [(UP, _brief(HEADERS, 1, 1, GET)), *[(UP, _brief(CONTINUED, 0, 1, b"\x60\x01a"))] * 9]
    name = GET + b"\x40\x7f\xe9\x06" + b"y" * 1000 + b"\x01v"
    named = [(UP, _brief(HEADERS, 1, 1, name)), *[(UP, _brief(CONTINUED, 0, 1, b"\x0f\x2f\x00" * 20))] * 4]
    ended = (UP, _brief(CONTINUED, 4, 1, b"\xbe"))
    talks: list[Iterable[tuple[int, bytes]]] = [
        [*opening, *get, *call, *again],
        [*opening, *call, *parts],
        [*opening, get[0], *early, *get[1:], *leaving],
        [*opening, *table, *get],
        [*get, *call],
        [*opening, get[0], (control(UP, LATER), b""), *get[1:], (control(UP, FIN), b"")],
        [*opening, *get[:2], (control(DOWN, UNSEEN, 4), _brief(DATA, 0, 1, b"1")), get[2]],
        [*opening, get[0], (control(DOWN, LOST, 6), b""), *get[1:], *call],
        [*opening, *indexed, ended, *get[1:]],
        [*opening, *crumbs, ended, *get[1:]],
        [*named, ended, *get[1:]],
    ]
    framed = [write(bytes([n, FRAMED | (n & 1) * SMALL]), talk) for n, talk in enumerate(talks)]
    plain = [
        write(bytes([n, 0]), [(c, frame(payload)) for c, payload in talk]) for n, talk in enumerate(talks)
    ]
    asked = [(0, b"AAMAAABkAAQAoAAAAAIAAAAA"), *opening, (DOWN, _brief(HEADERS, 5, 1, OK)), *call]
    return [*framed, *plain, write(bytes([9, FRAMED | UPGRADED]), asked)]
