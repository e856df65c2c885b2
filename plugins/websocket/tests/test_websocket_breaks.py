"""Bytes that no endpoint sends, and bytes that are missing where they matter: decoding ends for good."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode

CONTINUATION, TEXT, BINARY = Opcode.CONT, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG
HELLO = b"\x81\x05hello"
MASK = b"\0\0\0\0"


@pytest.mark.parametrize(
    ("sender", "extensions", "data", "found"),
    [
        ("client", None, HELLO, "the client sent it not masked"),
        ("server", None, b"\x81\x85" + MASK + b"hello", "the server sent it masked"),
        ("server", None, b"\x89\x80" + MASK, "the server sent it masked"),
        *[
            ("server", None, bytes([0x80 | code, 0]), f"opcode {code:#x}")
            for code in (*range(3, 8), *range(11, 16))
        ],
        ("server", None, b"\x09\x00", "a ping frame in fragments"),
        ("server", None, b"\x08\x00", "a close frame in fragments"),
        ("server", None, b"\x89\x7e\0\x7e" + bytes(126), "a ping frame of more than 125 bytes"),
        ("server", None, b"\x88\x7f" + bytes(8), "a close frame of more than 125 bytes"),
        ("server", None, b"\x88\x01\x03", "half of a code"),
        ("server", None, b"\x80\x00", "no message to continue"),
        ("server", None, b"\x01\x01a\x81\x01b", "text inside a message"),
        ("server", None, b"\x02\x01a\x01\x01b", "text inside a message"),
        ("server", None, b"\x82\x7f\x80" + bytes(7), "9223372036854775808 bytes long"),
        ("server", None, b"\xc1\x00", "reserved bits 0x40 of text"),
        ("server", "permessage-deflate", b"\xa1\x00", "reserved bits 0x20 of text"),
        ("server", "permessage-deflate", b"\xd1\x00", "reserved bits 0x10 of text"),
        ("server", "permessage-deflate", b"\xc9\x00", "reserved bits 0x40 of ping"),
        ("server", "permessage-deflate", b"\xc8\x00", "reserved bits 0x40 of close"),
        ("server", "permessage-deflate", b"\x41\x00\xc0\x00", "reserved bits 0x40 of continuation"),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
def test_what_no_endpoint_sends_is_a_break(opened, sender, extensions, data, found, bytewise):
    s = opened(extensions=extensions)
    before = s.plain(TEXT, b"before") if sender == "server" else s.masked(TEXT, b"before")
    for piece in [bytes([byte]) for byte in before + data] if bytewise else [before + data]:
        s.send(sender, piece)
    assert s.broken == "framing"
    said = s.play.protocol_break.detail
    assert said.startswith("frame at byte ")
    assert said.endswith(found)
    assert s.rows[0] == (sender, "text", 6, 1, "complete")
    assert {row[-1] for row in s.rows[1:]} <= {"aborted"}
    assert s.play.protocol_break.direction is s.ways[sender]
    s.close()


def test_a_length_with_more_bytes_than_it_needs_is_read_all_the_same(opened):
    s = opened()
    s.server(b"\x81\x7e\0\x05hello", b"\x81\x7f" + bytes(7) + b"\x05hello")
    assert s.rows == [("server", "text", 5, 1, "complete")] * 2


def test_every_reserved_bit_is_another_extensions_business(opened):
    s = opened(extensions="x-other")
    s.server(s.plain(PING, rsv=7), s.plain(TEXT, b"a", rsv=7, end=False), s.plain(CONTINUATION, b"b", rsv=7))
    s.server(s.plain(CLOSE, rsv=7))
    assert s.rows == [("server", "text", 2, 2, "complete")]
    assert s.broken is None


@pytest.mark.parametrize("lost", [1, 2, 5, 9, 300])
def test_bytes_missing_where_a_frame_begins_are_a_break(opened, lost):
    s = opened()
    s.client(s.masked(TEXT, b"hello"))
    s.server(s.plain(BINARY, b"half", end=False))
    s.lose("client", lost)
    s.client(s.masked(TEXT, b"after"))
    assert s.broken == "gap"
    assert s.play.protocol_break.position == 11
    assert s.play.protocol_break.detail == f"frame at byte 11: {lost} bytes missing in its header"
    assert s.rows == [("client", "text", 5, 1, "complete"), ("server", "binary", 4, 1, "aborted")]
    s.close()


@pytest.mark.parametrize("captured", range(1, 8))
def test_so_are_bytes_missing_in_a_header(opened, captured):
    s = opened()
    s.client(s.masked(TEXT, b"x" * 300), captured=captured)
    assert (s.broken, s.rows) == ("gap", [])
    s.close()


def test_a_break_cuts_what_is_open(opened):
    s = opened(log="connection")
    s.client(s.masked(TEXT, b"hello"))
    s.server(b"\xff\xff")
    (exchange,) = s.exchanges
    assert exchange.outcome.value == "aborted"
    assert exchange.attributes["websocket.client.messages"] == 1
    assert s.broken == "framing"
    s.close()
