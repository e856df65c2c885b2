"""The HTTP/1.x decoder: whatever is sent, lost or not captured, in one piece or cut anywhere."""

from __future__ import annotations

from typing import Any

from rover.contracts.protocol import Verdict
from rover.testing import connection
from rover.values.access_log import AccessLog
from rover.values.http import HttpExchange
from rover.values.records import Detail
from rover_plugin_http1 import handle_http_data, make
from rover_plugin_http1.sniff import sniff

from . import conversation
from .conversation import DOWN, FIN, LATER, LOST, UNSEEN, UP, control
from .script import Step, read, write

WORDS = (
    *(
        b"GET / HTTP/1.1\r\n",
        b"POST ",
        b"HEAD ",
        b"CONNECT ",
        b"PURGE ",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
    ),
    *(b" 204 ", b" 304 ", b" 101 ", b" 100 ", b" 103 ", b"\r\n\r\n", b"\n\n", b"\r\n ", b": "),
    *(b"Host: a", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"gzip, chunked", b"identity"),
    *(b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n"),
    *(b"5\r\nhello\r\n", b"0\r\n\r\n", b";ext=1", b"ICY 200 OK\r\n", b"traceparent: 00-", b"sw8: 1-"),
)
MAX_HEAD = (1024, 128 << 10)


def _make_decoder(number: int) -> Any:
    return make(connection(None), {"max_head": MAX_HEAD[number & 1], "exchange_timeout": 600}, None)


def _log(exchange: HttpExchange, details: tuple[Detail, ...]) -> AccessLog:
    return handle_http_data(connection(), exchange.request, exchange.response, details)


def check(data: bytes) -> int:
    """The second setting chooses the largest head."""
    settings, steps = read(data)
    for step in steps:
        assert sniff(step.payload) in Verdict
    return conversation.check(steps, settings[0], lambda: _make_decoder(settings[1]), _log)


def _decoder_of(data: bytes) -> tuple[Any, list[Step]]:
    settings, steps = read(data)
    return _make_decoder(settings[1]), steps


RUNS = conversation.runs(_decoder_of)


def seeds() -> list[bytes]:
    """Conversations, and what may happen to them."""
    get = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\n\r\n"
    post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
    told = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n"
    closing = b"HTTP/1.0 404 Not Found\r\nX: y\r\n\r\nuntil the end"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upgrade = b"GET /u HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nabc"
    lf = b"GET / HTTP/1.1\nHost: a\na:\na:\na:\n\n"
    attacks = [
        [(UP, get), (control(DOWN, LOST, 1), b""), (DOWN, b"HTTP/1.1 200 " * 4 + b"\rX\n" + ok)],
        [(UP, get), (control(UP, LOST, 1), b""), (UP, b"GET /a" * 8 + b" HTTP/1.x\r\n" + get), (DOWN, ok)],
        [(UP, lf + lf + lf), (DOWN, ok)],
        [(UP, get), (DOWN, b"HTTP/1.1 200 OK\r\na: b" + b" " * 20 + b"\0\r\n\r\n")],
        [(UP, b"GET / HTTP/1.\r\n" + b"x\r\n" * 9), (DOWN, ok)],
        [(UP, get), (DOWN, told[:-4] + b"a:\n" * 9 + b"\n")],
        [
            (UP, b"HEAD / HTTP/1.0\r\n\r\n"),
            (DOWN, b"HTTP/1.0 200 OK\r\n\r\n" + b"HTTP/1.0 200 " * 4),
            (UP, get),
        ],
    ]
    talks: list[list[tuple[int, bytes]]] = [
        [(UP, get), (DOWN, ok), (UP, post), (DOWN, told)],
        [(UP, get + get + post), (DOWN, ok + told), (DOWN, early + ok)],
        [(UP, chunked), (DOWN, early), (DOWN, b"HTTP/1.1 204 No Content\r\n\r\n"), (UP, get), (DOWN, ok)],
        [(UP, get), (DOWN, closing), (control(DOWN, FIN), b"")],
        [(UP, upgrade), (DOWN, switching), (DOWN, b"\0\0\0\4\0\0\0\0\0")],
        [
            (UP, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
            (DOWN, b"HTTP/1.1 200 \r\n\r\n"),
            (UP, b"\x16\3"),
        ],
        [
            (UP, b"HEAD / HTTP/1.1\r\n\r\n"),
            (DOWN, large[:-3]),
            (UP, get),
            (DOWN, b"HTTP/1.1 304 Same\r\n\r\n"),
        ],
        [(UP, get), (control(DOWN, UNSEEN, 8), large), (UP, get), (DOWN, ok)],
        [(UP, get), (DOWN, large), (control(DOWN, LOST, 8), b""), (UP, get), (DOWN, ok + ok)],
        [(control(UP, LOST, 7), b""), (UP, b"tail\r\n\r\n" + get), (DOWN, ok + ok), (UP, post), (DOWN, ok)],
        [(UP, get), (control(UP, LATER), b""), (DOWN, ok), (UP, post[:-2]), (control(UP, FIN), b"")],
        [(DOWN, ok), (UP, get), (DOWN, ok), (UP, b"\r\n" + get.replace(b"\r\n", b"\n")), (DOWN, told)],
        [(UP, get.replace(b"\r\nUser", b"\r\n folded\r\nUser")), (DOWN, b"ICY 200 OK\r\n\r\naudio")],
    ]
    return [write(bytes([seed, seed & 1]), talk) for seed, talk in enumerate([*talks, *attacks])]
