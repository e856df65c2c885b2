"""The laws that every decoder keeps, as authors of plugins check theirs."""

from __future__ import annotations

from rover import Role
from rover.testing import Conversation, check_decoder
from rover_plugin_http1 import register_protocols

(HTTP1,) = register_protocols()
CLIENT, SERVER = Role.CLIENT, Role.SERVER
GET = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
CHUNKED = b"\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"

CONVERSATIONS: dict[str, Conversation] = {
    "turns": [
        (CLIENT, GET),
        (SERVER, OK),
        (CLIENT, b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        (SERVER, b"HTTP/1.1 404 Not Found" + CHUNKED),
    ],
    "pipelined": [
        (CLIENT, GET + GET.replace(b"/a", b"/b")),
        (CLIENT, b"PUT /c HTTP/1.1" + CHUNKED),
        (SERVER, OK + OK.replace(b"200 OK", b"500 No")),
        (SERVER, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
    "no bodies": [
        (CLIENT, b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n"),
        (SERVER, OK[:-3]),
        (CLIENT, b"PUT /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        (SERVER, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CLIENT, b"ok"),
        (SERVER, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    ],
    "ended by a close": [
        (CLIENT, b"GET /z HTTP/1.0\r\n\r\n"),
        (SERVER, b"HTTP/1.0 200 OK\r\n\r\nto the end"),
    ],
}


def test_the_decoder_keeps_the_laws():
    check_decoder(HTTP1, list(CONVERSATIONS.values()), growth=False)


def test_time_and_memory_are_bounded():
    check_decoder(HTTP1, [CONVERSATIONS["turns"]], examples=1)
