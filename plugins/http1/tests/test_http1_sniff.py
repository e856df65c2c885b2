"""What opens an HTTP/1.x message, from its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.contracts.protocol import Verdict
from rover_plugin_http1.sniff import LOOK_AHEAD, sniff

YES, NO, MAYBE = Verdict.YES, Verdict.NO, Verdict.MAYBE
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT"]


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", MAYBE),
        (b"\r\n", MAYBE),
        (b"G", MAYBE),
        (b"GET", MAYBE),
        (b"GET ", MAYBE),
        (b"GET / HTTP/1.", MAYBE),
        (b"GET / HTTP/1.1\r\n", YES),
        (b"\r\nGET / HTTP/1.0\n", YES),
        (b"GET /somewhat/long", YES),
        (b"GET /\r\n", MAYBE),  # HTTP/0.9: its answer tells
        (b"GET a-key-of-some-other-protocol\r\n", MAYBE),
        (b"OPTIONS\r\n", MAYBE),
        (b"PROPFIND / HTTP/1.\r\n", MAYBE),
        (b"PROPFIND /\r\n", NO),
        (b"GET  /  HTTP/1.1\r\n", YES),
        (b"PROPFIND /somewhat/long/path", MAYBE),
        (b"PROPFIND /somewhat/long/path HTTP/1.1\r\n", YES),
        (b"get / HTTP/1.1\r\n", YES),
        (b"A" * 33, NO),
        (b"A" * 32 + b" / HTTP/1.1\r\n", YES),
        (b"H", MAYBE),
        (b"HTTP/", MAYBE),
        (b"HTTP/1", MAYBE),
        (b"HTTP/1.", YES),
        (b"HTTP/1.1 200 OK\r\n", YES),
        (b"HTTP/2", NO),
        (b"PRI ", NO),
        (b"PRI", MAYBE),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO),
        (b"\x16\x03\x01\x02\x00", NO),
        (b"\x00", NO),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", NO),
        (b"* OK IMAP4rev1 ready\r\n", NO),
        (b"EHLO example.com\r\n", NO),
        (b"*3\r\n$3\r\nSET\r\n", NO),
        (b"OPTIONS rtsp://a/b RTSP/1.0\r\n", NO),
    ],
)
def test_sniff(data, verdict):
    assert sniff(data) is verdict
    assert sniff(bytearray(data)) is verdict


@pytest.mark.parametrize("method", METHODS)
def test_a_known_method_is_known_from_its_sixteenth_byte(method):
    line = f"{method} /0123456789abcdef".encode()
    assert sniff(line[:15]) is MAYBE
    assert sniff(line[:16]) is YES


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=40), st.text("GETPOS /HTP1.\r\n", max_size=40).map(str.encode)))
def test_more_bytes_never_change_a_verdict_but_maybe(data):
    verdicts = [sniff(data[:size]) for size in range(len(data) + 1)]
    if data[:1] not in (b"\r", b"\n"):
        decided = [verdict for verdict in verdicts if verdict is not MAYBE]
        # A known method is taken for one at 16 bytes; its line may yet turn out to be none.
        assert NO not in decided or YES not in decided[decided.index(NO) :]


@given(st.binary(max_size=30))
def test_maybe_ends(data):
    assert sniff(data.ljust(LOOK_AHEAD, b"x")) is not MAYBE
    assert sniff(b"x /" + data.replace(b"\n", b"").ljust(LOOK_AHEAD, b"x")) is not MAYBE
