"""Where reading goes on after a loss: a scan whose meaning is an expression that would be too slow."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rover_plugin_http1.startline import KNOWN_METHODS, MAX_METHOD, TOKEN_CHAR, start_ahead

KNOWN = b"|".join(sorted(KNOWN_METHODS))
REQUEST = rb"(?:^%b{1,%d}|%b) [^\x00-\x20\x7f]{1,8192} HTTP/1\.[0-9]\r?\n" % (TOKEN_CHAR, MAX_METHOD, KNOWN)
RESPONSE = rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n"
KINDS = {
    (True, False): re.compile(REQUEST, re.MULTILINE),
    (False, True): re.compile(RESPONSE),
    (True, True): re.compile(REQUEST + b"|" + RESPONSE, re.MULTILINE),
}
WORDS = [
    *(b"GET", b"POST", b"PURGE", b"xGET", b" ", b" ", b" ", b"/", b"/a", b"\r\n", b"\n", b"\r", b"\t"),
    *(b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0 200", b"HTTP/1.x", b"200", b"OK", b"HTTP/1.1 404 No\r\n"),
    *(b"GET / HTTP/1.1\r\n", b"A" * 33, b"\x00", b"\xff", b":"),
]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join)


@settings(max_examples=1000, deadline=None)
@given(texts, st.sampled_from(sorted(KINDS)), st.booleans())
@example(b"ET / HTTP/1.1\r\n", (True, False), True)
@example(b"xGET / HTTP/1.1\r\n", (True, True), True)
@example(b"HTTP/1.1 200 \rHTTP/1.0 200 OK\r\r\n", (False, True), False)
@example(b"HTTP/1.1 200 a\rb HTTP/1.0 200\n", (True, True), False)
def test_the_scan_finds_what_the_expression_finds(data, kinds, ragged):
    requests, responses = kinds
    expected = -1
    for match in KINDS[kinds].finditer(data):
        expected = match.start()
        break
    if ragged and expected == 0 and not re.match(rb"(?:%b) |HTTP/" % KNOWN, data):
        # Its method may lack its first letters: the next one, in or after this line.
        later = KINDS[kinds].search(data, 1)
        expected = later.start() if later else -1
    for given_data, before in ((data, 0), (bytearray(b"GET\n" + data + b"!"), 4)):
        end = before + len(data)
        found = start_ahead(given_data, before, end, requests=requests, responses=responses, ragged=ragged)
        assert found == (expected + before if expected >= 0 else -1)


@pytest.mark.parametrize(("size", "found"), [(8192, 0), (8193, -1)])
def test_a_target_is_bounded(size, found):
    line = b"GET /" + b"a" * (size - 1) + b" HTTP/1.1\r\n"
    assert start_ahead(line, 0, len(line), requests=True, responses=True) == found
