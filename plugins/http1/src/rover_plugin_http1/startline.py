"""What can open an HTTP/1.x message: a request line or a status line (RFC 9112 sections 3 and 4).

Read leniently: white space may be more than one space, a target may hold spaces of its own and
bytes outside ASCII, the minor version may be any digit. What answers a request may call itself
any version of HTTP: clients take it. HTTP/0.9 has no version and is not HTTP here, and neither is
the HTTP/2 preface, `PRI * HTTP/2.0`.
"""

from __future__ import annotations

import re

TOKEN_CHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""RFC 9110 section 5.6.2, as a regular expression."""
MAX_METHOD = 32
"""Characters of a method. The longest registered one, UPDATEREDIRECTREF, has 17
(https://www.iana.org/assignments/http-methods)."""
STATUS_PREFIX = b"HTTP/1."
"""What a status line begins with where nothing is known of the direction."""

_METHOD = re.compile(TOKEN_CHAR + b"{1,%d}" % MAX_METHOD)
_REQUEST_PREFIX = re.compile(TOKEN_CHAR + rb"{1,%d}(?:[ \t]|\Z)" % MAX_METHOD)
_VERSION = re.compile(rb"[ \t]HTTP/1\.[0-9]")
_STATUS_LINE = re.compile(rb"HTTP/([^ \t\r\n]{1,16})[ \t]++([1-9][0-9]{2})(?:[^0-9]|\Z)")

# Where reading may go on after a loss. Stricter than the above, for almost any text passes before
# a true start is met: a request line with an unknown method must open a line.
_KNOWN = b"GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS|TRACE|CONNECT"
_TARGET = rb"[^\x00-\x20\x7f]{1,8192}"
_REQUEST = rb"(?:^(?:%b){1,%d}|%b) %b HTTP/1\.[0-9]\r?\n" % (TOKEN_CHAR, MAX_METHOD, _KNOWN, _TARGET)
_RESPONSE = rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [^\r\n]*+)?\r?\n"
REQUEST_AHEAD = re.compile(_REQUEST, re.MULTILINE)
"""The next plausible request line in bytes of which nothing is known."""
RESPONSE_AHEAD = re.compile(_RESPONSE)
"""The next plausible status line."""
ANY_AHEAD = re.compile(_REQUEST + b"|" + _RESPONSE, re.MULTILINE)
"""The next of either, while it is not known which of them the direction carries."""


def split_request_line(line: bytes | bytearray) -> tuple[bytes, bytes, bytes] | None:
    """(method, target, version) of a request line with or without its line end, else None."""
    line = bytes(line).rstrip()
    if not _VERSION.fullmatch(line, max(0, len(line) - 9)):
        return None
    method, _, target = line[:-9].replace(b"\t", b" ", 1).partition(b" ")
    target = target.strip(b" \t")
    if not target or not _METHOD.fullmatch(method):
        return None
    return method, target, line[-3:]


def split_status_line(line: bytes | bytearray) -> tuple[bytes, int] | None:
    """(version as sent, status) of a status line with or without its line end, else None."""
    match = _STATUS_LINE.match(line)
    return (bytes(match[1]), int(match[2])) if match else None


def may_open_request(opening: bytes | bytearray) -> bool:
    """Whether these bytes, a line that is not over, can become a request line."""
    return _REQUEST_PREFIX.match(opening[: MAX_METHOD + 1]) is not None


def may_open_response(opening: bytes | bytearray) -> bool:
    """Whether these bytes, a line that is not over, can become a status line."""
    return b"HTTP/".startswith(opening[:5])
