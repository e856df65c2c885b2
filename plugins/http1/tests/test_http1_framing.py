"""Where content ends, by what the head declares (RFC 9112 section 6.3)."""

from __future__ import annotations

import pytest

from rover_plugin_http1.framing import (
    CHUNKED,
    CODED,
    INVALID,
    NOTHING,
    UNTIL_CLOSE,
    declared,
    request_content,
    response_content,
)


@pytest.mark.parametrize(
    ("codings", "lengths", "expected"),
    [
        ([], [], NOTHING),
        ([], [b"0"], 0),
        ([], [b"42"], 42),
        ([], [b" 42\t"], 42),
        ([], [b"00042"], 42),
        ([], [b"42", b"42"], 42),
        ([], [b"42, 042"], 42),
        ([], [b"42", b"43"], INVALID),
        ([], [b"42,43"], INVALID),
        ([], [b""], NOTHING),
        ([], [b"-1"], INVALID),
        ([], [b"1.5"], INVALID),
        ([], [b"\xb2"], INVALID),
        ([], [b"9223372036854775807"], (1 << 63) - 1),
        ([], [b"9223372036854775808"], INVALID),
        ([], [b"0" * 21], INVALID),
        ([], [b"9" * 100_000], INVALID),
        ([b"chunked"], [], CHUNKED),
        ([b"gzip", b"CHUNKED"], [b"1", b"2"], CHUNKED),
        ([b"gzip,chunked"], [], CHUNKED),
        ([b"chunked;x=y"], [], CHUNKED),
        ([b"chunked, identity"], [], CHUNKED),
        ([b"gzip"], [b"5"], CODED),
        ([b"chunked, gzip"], [], CODED),
        ([b"xchunked"], [], CODED),
        ([b"identity"], [b"5"], 5),
        ([b" , "], [b"5"], 5),
    ],
)
def test_declared(codings, lengths, expected):
    assert declared(codings, lengths) == expected


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [(NOTHING, 0), (0, 0), (7, 7), (CHUNKED, CHUNKED), (CODED, UNTIL_CLOSE), (INVALID, UNTIL_CLOSE)],
)
def test_request_content(declaration, expected):
    assert request_content(declaration) == expected


@pytest.mark.parametrize(
    ("declaration", "status", "method", "expected"),
    [
        (7, 200, "GET", 7),
        (7, 200, None, 7),
        (CHUNKED, 200, "GET", CHUNKED),
        (NOTHING, 200, "GET", UNTIL_CLOSE),
        (CODED, 200, "GET", UNTIL_CLOSE),
        (INVALID, 200, "GET", INVALID),
        (INVALID, 200, "HEAD", 0),
        (7, 200, "HEAD", 0),
        (7, 199, "GET", 0),
        (7, 204, "GET", 0),
        (7, 304, "GET", 0),
        (7, 404, "GET", 7),
        (7, 200, "CONNECT", 0),
        (NOTHING, 299, "CONNECT", 0),
        (7, 300, "CONNECT", 7),
        (7, 101, "GET", 0),
    ],
)
def test_response_content(declaration, status, method, expected):
    assert response_content(declaration, status, method) == expected
