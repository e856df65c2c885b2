"""Heads that are not ordinary: h11 says what they mean.

h11 reads bare LF, folded fields, a missing reason phrase, bytes above 0x7f. It is asked without
the framing fields, which have rules of their own here (`framing`): it knows no coding but
chunked, and would refuse what a reader must follow.

What h11 refuses is read all the same when its start line is clearly one of HTTP/1.x: a watcher
is not the one to reject a message that client and server exchanged. Then a field is a line with
a colon, white space around names and values does not count, other lines are passed over.

h11 is imported for the first such head: most runs never meet one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from rover.http import Headers, text
from rover_plugin_http1.framing import UNSEEN, declared
from rover_plugin_http1.head import RequestHead, ResponseHead
from rover_plugin_http1.startline import (
    split_cut_line,
    split_doubtful_line,
    split_request_line,
    split_status_line,
)

Fields = list[tuple[bytes, bytes]]

# What no field may hold. h11 would refuse it as well, but its expression for fields goes through
# every way to share out a run of spaces before it does: minutes over a hundred kilobytes.
_NEVER = re.compile(rb"[\x00\x0b\x0c]|\r(?!\n)")
_CODING = b"transfer-encoding"
_LENGTH = b"content-length"


def judged_request(head: bytes) -> RequestHead | None:
    """Any head with a request line; None when its first line is none."""
    lines = _lines(head)
    start = split_request_line(lines[0])
    if start is None:
        return None
    event = _ask(head, lines)
    if event is not None:
        start = event.method, event.target, event.http_version
    method, target, version = start
    fields = _fields(event, lines)
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
    event = _ask(head, lines, status)
    fields = _fields(event, lines)
    return ResponseHead(status, text(version), _headers(fields), len(head), _content(fields))


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


def _framing_name(line: bytes) -> bytes:
    name = line.partition(b":")[0].lower()
    return name if name in (_CODING, _LENGTH) else b""


def _ask(head: bytes, lines: list[bytes], answered: int | None = None) -> Any:
    """h11's event for a request's head, or, with the status `answered`, for a response's; None when
    it refuses."""
    if _NEVER.search(head):
        return None
    import h11

    if answered is None:
        connection = h11.Connection(h11.SERVER, len(head))
    else:
        connection = h11.Connection(h11.CLIENT, len(head))
        asked = [("Host", "a")]
        if answered == 101:  # which answers nobody but who asks for an upgrade
            asked += [("Connection", "Upgrade"), ("Upgrade", "a")]
        connection.send(h11.Request(method="GET", target="/", headers=asked))
        connection.send(h11.EndOfMessage())
    shown = [lines[0]]
    shown += [b"x-" + line if _framing_name(line) else line for line in lines[1:]]
    connection.receive_data(b"\r\n".join(shown) + b"\r\n\r\n")
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request | h11.Response | h11.InformationalResponse) else None


def _fields(event: Any, lines: list[bytes]) -> Fields:
    if event is None:
        return list(tolerant_fields(lines[1:]))
    # One field per line that does not continue another: the framing fields get their names back.
    names = [_framing_name(line) for line in lines[1:] if line[:1] not in (b" ", b"\t")]
    return [(given or name, bytes(value)) for given, (name, value) in zip(names, event.headers, strict=True)]


def _headers(fields: Fields) -> Headers:
    return Headers((text(name), text(value)) for name, value in fields)


def _content(fields: Fields) -> int:
    return declared(
        (value for name, value in fields if name == _CODING),
        (value for name, value in fields if name == _LENGTH),
    )
