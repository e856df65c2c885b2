"""Heads that are not ordinary, read as whoever gets them would, or more leniently.

A watcher is not the one to reject a message that client and server exchanged: a head is read when
its start line is clearly one of HTTP/1.x. A field is a line with a colon, white space around names
and values does not count, a line that begins with white space goes on with the value before
(RFC 9112 section 5.2), other lines are passed over.

Each head is gone through once. What is kept of it takes no more room than it took on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rover.http import Headers, text
from rover_plugin_http1.framing import UNSEEN, declared
from rover_plugin_http1.head import HeadFields, RequestHead, ResponseHead
from rover_plugin_http1.startline import (
    split_cut_line,
    split_doubtful_line,
    split_request_line,
    split_status_line,
)

Fields = list[tuple[bytes, bytes]]

_CODING = b"transfer-encoding"
_LENGTH = b"content-length"


def judged_request(head: bytes) -> RequestHead | None:
    """Any head with a request line; None when its first line is none."""
    lines = _lines(head)
    start = split_request_line(lines[0])
    if start is None:
        return None
    method, target, version = start
    fields = list(tolerant_fields(lines[1:]))
    expects = any(name == b"expect" and b"100-continue" in value.lower() for name, value in fields)
    return RequestHead(
        text(method),
        text(target),
        text(version),
        _headers(fields),
        len(head),
        _content(fields),
        expects,
    )


def doubtful_request(head: bytes) -> RequestHead | None:
    """A head whose first line is no request line, but was answered like one; None if it cannot be.

    Of a line without version, a head may be all there is (RFC 1945 section 4.1).
    """
    lines = _lines(head) if head.count(b"\n") > 1 else [head.rstrip(b"\r\n")]
    start = split_doubtful_line(lines[0])
    if start is None:
        return None
    method, target, version = start
    fields = list(tolerant_fields(lines[1:]))
    return RequestHead(
        text(method),
        text(target),
        text(version),
        _headers(fields),
        len(head),
        _content(fields),
        expects=False,
    )


def cut_request(start: bytes) -> RequestHead | None:
    """What was captured of a head, up to where bytes are missing; None without a start line."""
    lines = start.split(b"\n")
    line = split_request_line(lines[0]) if len(lines) > 1 else split_cut_line(lines[0])
    if line is None:
        return None
    method, target, version = line
    headers = _headers(list(tolerant_fields(lines[1:-1])))
    return RequestHead(text(method), text(target), text(version), headers, len(start), UNSEEN, expects=False)


def cut_response(start: bytes) -> ResponseHead | None:
    """The same of a response."""
    lines = start.split(b"\n")
    line = split_status_line(lines[0])
    if line is None:
        return None
    version, status = line
    headers = _headers(list(tolerant_fields(lines[1:-1])))
    return ResponseHead(status, text(version), headers, len(start), UNSEEN)


def judged_response(head: bytes) -> ResponseHead | None:
    """Any head with a status line; None when its first line is none."""
    lines = _lines(head)
    start = split_status_line(lines[0])
    if start is None:
        return None
    version, status = start
    fields = list(tolerant_fields(lines[1:]))
    return ResponseHead(status, text(version), _headers(fields), len(head), _content(fields))


def judged_trailers(section: bytes) -> Headers:
    """The fields of a trailer section that ends with its blank line."""
    return _headers(list(tolerant_fields(_lines(section))))


def tolerant_fields(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(lower-case name, value) of every line that can be read as a field."""
    name, parts = b"", [b""]
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            parts.append(line.strip())
            continue
        if name:
            yield name, b" ".join(parts).strip()
        name, colon, value = line.partition(b":")
        name = name.strip().lower() if colon else b""
        parts = [value.strip()]
    if name:
        yield name, b" ".join(parts).strip()


def _lines(head: bytes) -> list[bytes]:
    """The lines of a head, its blank line left out."""
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    return lines[:-2]


def _headers(fields: Fields) -> Headers:
    return HeadFields(b"\n".join((b"", *(name + b":" + value for name, value in fields), b"", b"")))


def _content(fields: Fields) -> int:
    return declared(
        (value for name, value in fields if name == _CODING),
        (value for name, value in fields if name == _LENGTH),
    )
