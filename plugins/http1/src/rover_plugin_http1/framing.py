"""Where a message's content ends (RFC 9112 section 6.3).

A head declares a length of 0 or more, or one of the negative numbers below.
"""

from __future__ import annotations

from collections.abc import Iterable

NOTHING = -1
"""Neither Transfer-Encoding nor Content-Length."""
CHUNKED = -2
CODED = -3
"""A Transfer-Encoding whose last coding is not chunked."""
INVALID = -4
"""Lengths that contradict each other or are none: no message boundary can be trusted."""
UNTIL_CLOSE = -5
"""Of a response: everything that follows, up to the end of the stream. Of a request: where it
ends cannot be told, and nothing that follows can be trusted."""

UNSEEN = -6
"""The end of the head was not captured: nothing is known of the content."""

MAX_LENGTH = (1 << 63) - 1
"""Stream positions are 63 bits wide wherever they are kept: a longer content is an attack."""
MAX_DIGITS = 20
"""Of a length; leading zeros included."""


def declared(codings: Iterable[bytes], lengths: Iterable[bytes]) -> int:
    """What the values of Transfer-Encoding and of Content-Length, in the order sent, declare.

    Transfer-Encoding wins; each is a list that may be spread over several fields. `identity`
    (RFC 2616) says nothing. Equal lengths are one length.
    """
    last = b""
    for value in codings:
        for coding in value.lower().split(b","):
            name = coding.partition(b";")[0].strip()
            if name and name != b"identity":
                last = name
    if last:
        return CHUNKED if last == b"chunked" else CODED
    size = NOTHING
    for value in lengths:
        for part in value.split(b","):
            digits = part.strip()
            if not digits:
                continue
            if not digits.isdigit() or len(digits) > MAX_DIGITS or int(digits) > MAX_LENGTH:
                return INVALID
            if size not in (NOTHING, int(digits)):
                return INVALID
            size = int(digits)
    return size


def request_content(declaration: int) -> int:
    """Length, CHUNKED, UNTIL_CLOSE or UNSEEN of a request's content."""
    if declaration >= 0:
        return declaration
    if declaration == NOTHING:
        return 0
    return UNTIL_CLOSE if declaration in (CODED, INVALID) else declaration


def response_content(declaration: int, status: int, method: str | None) -> int:
    """Length, CHUNKED, UNTIL_CLOSE, INVALID or UNSEEN of a response's content.

    `method` of the request it answers; None when that is not known.
    """
    if declaration < 0 and declaration == UNSEEN:
        return UNSEEN
    if status < 200 or status == 204 or status == 304:
        return 0
    if method is not None and (method == "HEAD" or (method == "CONNECT" and status < 300)):
        return 0
    if declaration >= 0:
        return declaration
    return UNTIL_CLOSE if declaration in (NOTHING, CODED) else declaration
