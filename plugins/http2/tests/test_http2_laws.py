"""The laws that every decoder keeps, as authors of plugins check theirs."""

from __future__ import annotations

from rover import Role
from rover.testing import check_decoder
from rover_plugin_http2 import register_protocols

(HTTP2,) = register_protocols()
CLIENT, SERVER = Role.CLIENT, Role.SERVER
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_the_decoder_keeps_the_laws_when_streams_take_turns(talk):
    c = talk(late=True)
    conversation = [
        (CLIENT, PREFACE + c.settings()),
        (SERVER, c.settings() + c.settings(ack=True)),
        (CLIENT, c.request(1, path="/x")),
        (SERVER, c.response(1, end=False) + c.data(1, b"hello")),
        (CLIENT, c.request(3, path="/y", end=False) + c.data(3, b"abc")),
        (SERVER, c.response(3, [(":status", "404"), ("x", "y")])),
    ]
    check_decoder(HTTP2, [conversation])


def test_the_decoder_keeps_the_laws_when_streams_interleave(talk):
    c = talk(late=True)
    asked = c.request(1, path="/x", end=False) + c.request(3, path="/y") + c.data(1, b"abc")
    conversation = [
        (CLIENT, PREFACE + c.settings() + asked),
        (SERVER, c.settings() + c.response(3, end=False) + c.response(1, end=False)),
        (SERVER, c.data(1, b"one", end=False) + c.data(3, b"three") + c.data(1)),
    ]
    check_decoder(HTTP2, [conversation], growth=False)
