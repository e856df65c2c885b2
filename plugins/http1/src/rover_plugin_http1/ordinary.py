"""Ordinary heads, read fast: one regular expression, a few searches, fields only when asked for.

`_ordinary.pyx` is the same, compiled.

What is accepted here a strict reader, h11, accepts too, and means the same by it; everything else is
left to `judge`. A head is read whole, from its start line to its blank line. Its lines end with CR LF
or, as small clients and servers send them, with LF.
"""

from __future__ import annotations

import re

from rover.streams.buffer import StreamBuffer
from rover_plugin_http1.framing import CHUNKED, NOTHING
from rover_plugin_http1.head import HeadFields, RequestHead, ResponseHead
from rover_plugin_http1.startline import MAX_METHOD, TOKEN_CHAR

# A field value is what RFC 9110 section 5.5 allows, and, as for h11, the control characters that
# are neither NUL nor white space. Possessive, so that a head that fails has failed in one pass.
_FIELDS = rb"(?:%b++:[^\x00\n\r\x0b\x0c]*+\r?\n)*+\r?\n" % TOKEN_CHAR
_REQUEST_LINE = rb"(%b{1,%d}+) ([\x21-\x7e]++) HTTP/(1\.[01])\r?\n" % (TOKEN_CHAR, MAX_METHOD)
_REQUEST = re.compile(_REQUEST_LINE + _FIELDS)
_OPENING = re.compile(_REQUEST_LINE)
_RESPONSE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: [^\x00\n\r\x0b\x0c]*+)?\r?\n" + _FIELDS)

_VERSIONS = {b"1.1": "1.1", b"1.0": "1.0"}
_MAX_DIGITS = 18
"""Of a length that certainly fits 63 bits."""


def opens_ordinary_request(data: bytes | bytearray, limit: int) -> bool:
    """Whether the first line is an ordinary request's, and whole before `limit`."""
    return _OPENING.match(data, 0, limit) is not None


def next_request(buffer: StreamBuffer, limit: int) -> RequestHead | None:
    """The head that is next, if it is an ordinary one, whole, and has at most `limit` bytes."""
    return ordinary_request(buffer.data, buffer.offset, buffer.offset + min(buffer.here, limit))


def next_response(buffer: StreamBuffer, limit: int) -> ResponseHead | None:
    """The same of a response."""
    return ordinary_response(buffer.data, buffer.offset, buffer.offset + min(buffer.here, limit))


def ordinary_request(data: bytes | bytearray, start: int, limit: int) -> RequestHead | None:
    """The head at `start`, if it is an ordinary one and whole before `limit`."""
    match = _REQUEST.match(data, start, limit)
    if match is None:
        return None
    end = match.end()
    head = bytes(data[start:end])
    lower = head.lower()
    method, target, version = match.groups()
    host = lower.find(b"\nhost:")
    if host < 0:
        if version == b"1.1":
            return None
    elif lower.find(b"\nhost:", host + 6) >= 0:
        return None
    content = _declared(lower)
    if content is None:
        return None
    headers = HeadFields(head)
    return RequestHead(
        method.decode("ascii"),
        target.decode("ascii"),
        _VERSIONS[version],
        headers,
        end - start,
        content,
        b"\nexpect:" in lower and "100-continue" in (headers.get("expect") or "").lower(),
    )


def ordinary_response(data: bytes | bytearray, start: int, limit: int) -> ResponseHead | None:
    """The head at `start`, if it is an ordinary one and whole before `limit`."""
    match = _RESPONSE.match(data, start, limit)
    if match is None:
        return None
    end = match.end()
    head = bytes(data[start:end])
    lower = head.lower()
    content = _declared(lower)
    if content is None:
        return None
    version, status = match.groups()
    return ResponseHead(int(status), _VERSIONS[version], HeadFields(head), end - start, content)


def _declared(lower: bytes) -> int | None:
    """What an ordinary head, in lower case, declares of its content; None when that is unusual."""
    length = lower.find(b"\ncontent-length:")
    coding = lower.find(b"\ntransfer-encoding:")
    if length < 0:
        if coding < 0:
            return NOTHING
        start = coding + 19
        value = lower[start : lower.find(b"\n", start)].strip(b" \t\r")
        if value != b"chunked" or lower.find(b"\ntransfer-encoding:", start) >= 0:
            return None
        return CHUNKED
    start = length + 16
    value = lower[start : lower.find(b"\n", start)].strip(b" \t\r")
    if coding >= 0 or not value.isdigit() or len(value) > _MAX_DIGITS:
        return None
    if lower.find(b"\ncontent-length:", start) >= 0:
        return None
    return int(value)
