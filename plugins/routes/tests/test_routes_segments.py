"""What a segment of a path is by its shape: a word, or a value."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_plugin_routes.segments import MAX_DEPTH, MAX_PATH, MAX_WORD, is_value, split

VALUES = """
0 123 -5 12.5.3 555-1234 10.0.0.1 +15551234 2026-11-26 26.11.2026 20261126 20261126T101500Z 2026-W48
10:15:00 123e4567-e89b-12d3-a456-426614174000 123E4567-E89B-12D3-A456-426614174000
urn:uuid:123e4567-e89b-12d3-a456-426614174000 9f1c2ab DEADBEEF01 507f1f77bcf86cd799439011
d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709 app.3f2a1b9c.js
i-0abcd1234ef567890 aGVsbG8gd29ybGQ= YWJj+ZGVm eyJhbGciOiJIUzI1NiJ9 dQw4w9WgXcQ
V1StGXR8_Z5jdHi6B-myT 01ARZ3NDEKTSV4RRFFQ69G5FAV cjld2cjxh0000qzrmn831i7rn cus_NffrFeUfNV2Hib
C024BE91L order-12345 INV-2024-0001 T12345 user_4217 who@example.org @alice a,b,c key=value
Products(5) . .. ... {} {...} {id} * ; ~
"""
WORDS = """
- _ users orders api v1 v2.1 v1beta1 v10 1.1 2.0 en-US zh_CN _search _cat $metadata .well-known
openid-configuration oauth2 s3 h264 utf8mb4 iso8601 md5 k8s-pods e2e-tests log4j2-config
x509v3extensions step-2 getUserByIdAndName getHTTPResponseCode OAuth2Callback CreateEC2Instance
MySQLTableXML UserService ISO3166 index.html logo.png wp-login.php jquery.min.js
apple-touch-icon.png api-docs.json things:batchGet deadbeef facade helloworld.Greeter base64decode
"""
TITLES = ["a-word" * 9, "caf\u00e9", "\u5546\u54c1", "a b", "\x00", "a\nb", "\ufffd"]


@pytest.mark.parametrize("segment", [*VALUES.split(), *TITLES])
def test_values(segment: str) -> None:
    assert is_value(segment)


@pytest.mark.parametrize("segment", WORDS.split())
def test_words(segment: str) -> None:
    assert not is_value(segment)


@given(st.integers(0).map(str) | st.uuids().map(str) | st.dates().map(str) | st.datetimes().map(str))
def test_numbers_uuids_and_times_are_values(text: str) -> None:
    assert is_value(text)


@given(st.binary(min_size=4, max_size=20).map(bytes.hex).filter(lambda text: not text.isalpha()))
def test_hashes_are_values(text: str) -> None:
    assert is_value(text)


@pytest.mark.parametrize(
    ("path", "segments", "cut"),
    [
        ("/", [], False),
        ("//", [], False),
        ("/users/", ["users"], False),
        ("/users//7", ["users", "7"], False),
        ("users/7", ["users", "7"], False),
        ("/cart;jsessionid=A1/items;x=1;y=2", ["cart", "items"], False),
        ("/;x/a", [";", "a"], False),
        ("/caf%C3%A9/%75sers", ["caf\u00e9", "users"], False),
        ("/a%2Fb/c", ["a/b", "c"], False),
        ("/%", ["%"], False),
        ("/%FF", ["\ufffd"], False),
        ("/a" * MAX_DEPTH, ["a"] * MAX_DEPTH, False),
        ("/a" * (MAX_DEPTH + 1), ["a"] * MAX_DEPTH, True),
        ("/" + "a" * MAX_PATH, [], True),
        ("/a/" + "b" * MAX_PATH + "/c", ["a"], True),
        ("/" * 100_000 + "a", [], True),
    ],
)
def test_a_path_in_segments(path: str, segments: list[str], cut: bool) -> None:
    assert split(path) == (segments, cut)


@given(st.text(max_size=2000))
def test_segments_are_few_and_words_are_plain(path: str) -> None:
    segments, _ = split(path)
    assert len(segments) <= MAX_DEPTH
    assert sum(map(len, segments)) <= MAX_PATH
    for segment in segments:
        assert segment
        if not is_value(segment):
            assert quote(segment, safe="~$:") == segment
            assert len(segment) <= MAX_WORD
