"""What can open an HTTP/1.x message: a request line or a status line (RFC 9112 sections 3 and 4).

Read leniently: white space may be more than one space, a target may hold spaces of its own and
bytes outside ASCII, the minor version may be any digit. What answers a request may call itself
any version of HTTP, or SHOUTcast's ICY: clients take it. The HTTP/2 preface, `PRI * HTTP/2.0`,
opens nothing here.

A line that is not well formed can still be what a server took for a request and answered, most
often with 400: `GET /HTTP/1.1`, `GET / HTTP/1.`, and the request line of HTTP/0.9. On its own it
is *doubtful*: other protocols have a GET, too. Only the answer, a status line, shows what it was.
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

KNOWN_METHODS = frozenset(
    (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT")
)
"""Those of RFC 9110 section 9, and PATCH (RFC 5789)."""

# No expression here goes through any byte twice, whatever it fails at: each runs over what the next
# part of it cannot begin with.
_METHOD = re.compile(TOKEN_CHAR + b"{1,%d}+" % MAX_METHOD)
_REQUEST_PREFIX = re.compile(TOKEN_CHAR + rb"{1,%d}+(?:[ \t]|\r?\Z)" % MAX_METHOD)
_VERSION = re.compile(rb"[ \t]HTTP/1\.[0-9]")
_CUT_LINE = re.compile(
    rb"(%b++) ([\x21-\x7e]++) (?:H|HT|HTT|HTTP|HTTP/|HTTP/1|HTTP/1\.(?:([0-9])\r?)?)?" % TOKEN_CHAR
)
_DIGITS = re.compile(rb"[0-9](?:\.[0-9])?")
_UNKNOWN_METHOD = re.compile(rb"[A-Z_-]++[ \t]++/")
_OTHER_PROTOCOL = re.compile(rb"(?!HTTP/)[A-Z]{2,12}+/[0-9.]++")
_STATUS_LINE = re.compile(rb"(?:HTTP/([^ \t\r\n]{1,16}+)|ICY)[ \t]++([1-9][0-9]{2})(?:[^0-9]|\Z)")

# Where reading may go on after a loss. Stricter than the above, for almost any text passes before
# a true start is met: a request line with an unknown method must open a line.
_KNOWN = tuple(sorted(KNOWN_METHODS))
_MAX_TARGET = 8192
_TARGET = re.compile(rb"[^\x00-\x20\x7f]++")
_LINE_END = re.compile(rb"HTTP/1\.[0-9]\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: |\r?\n)")


def start_ahead(
    data: bytes | bytearray, start: int, end: int, *, requests: bool, responses: bool, ragged: bool = False
) -> int:
    """Where the next plausible request or status line begins between two indices; -1 for nowhere.

    Lines that do not end there are not looked at. `ragged`: the first one may have begun before
    `start`, so that an unknown method there may lack its first letters.

    Both kinds of lines say "HTTP/1." where they can be told. Each line is looked through a fixed
    number of times, however often it says so.
    """
    at = data.find(STATUS_PREFIX, start, end)
    newline = -1
    line = last_return = last = start
    while at >= 0:
        if at > newline:
            line = max(start, data.rfind(b"\n", start, at) + 1)
            newline = data.find(b"\n", at, end)
            if newline < 0:
                return -1
            # A reason phrase has none but that of the line's end; a request line says its version last.
            last_return = data.rfind(b"\r", at, newline - 1)
            last = data.rfind(STATUS_PREFIX, at, newline)
        if responses and at > last_return and _STATUS.match(data, at):
            return at
        if requests and at == last and _LINE_END.match(data, at):
            found = _request_ahead(data, line, at, ragged=ragged and line == start)
            if found >= 0:
                return found
        here = at + len(STATUS_PREFIX)
        if not responses:
            here = max(here, last)
        elif last_return > here:
            here = min(last_return, last) if requests and last > at else last_return
        at = data.find(STATUS_PREFIX, here, end)
    return -1


def _request_ahead(data: bytes | bytearray, line: int, version: int, *, ragged: bool) -> int:
    """Where a request line begins whose version ends the line that begins at `line`; else -1."""
    stop = version - 1
    space = data.rfind(b" ", line, stop)
    if data[stop:version] != b" " or space < 0 or stop - space > _MAX_TARGET + 1:
        return -1
    if not _TARGET.fullmatch(data, space + 1, stop):
        return -1
    if not ragged and _METHOD.fullmatch(data, line, space):
        return line
    for method in _KNOWN:
        if data.endswith(method, line, space):
            return space - len(method)
    return -1


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


def split_doubtful_line(line: bytes | bytearray) -> tuple[bytes, bytes, bytes] | None:
    """(method, target, version) of what may have been meant as a request line, else None.

    A known method and anything, or one in capitals, a path, and somewhere in or after it "HTTP/";
    but no line that ends in the version of another protocol, as those of RTSP and SIP do. The
    target may be empty. The version is empty when none was sent, or none that looks like one.
    """
    line = bytes(line).removesuffix(b"\n").removesuffix(b"\r").rstrip(b" \t")
    method, _, rest = line.replace(b"\t", b" ", 1).partition(b" ")
    if not _METHOD.fullmatch(method) or method == b"PRI":  # RFC 9113 section 11.6
        return None
    target = rest.strip(b" \t")
    if method not in KNOWN_METHODS:
        path = _UNKNOWN_METHOD.match(line)
        if path is None or line.find(b"HTTP/", path.end()) < 0 or b"\n" in line:
            return None
    words, _, last = rest.rstrip(b" \t").replace(b"\t", b" ").rpartition(b" ")
    if rest and _OTHER_PROTOCOL.fullmatch(last):
        return None
    version = b""
    # Of "GET  HTTP/1.1" the target is empty, of "GET HTTP/1.1" the version is missing.
    if (words or rest[:1] == b" ") and last.upper().startswith(b"HTTP/"):
        target = target[: -len(last)].rstrip(b" \t")
        version = last[5:] if _DIGITS.fullmatch(last, 5) else b""
    return method, target, version


def split_cut_line(line: bytes | bytearray) -> tuple[bytes, bytes, bytes] | None:
    """(method, target, version) of a request line whose end was not captured, else None.

    Only with a known method, and a target that is whole; the version is empty when it is not.
    """
    match = _CUT_LINE.fullmatch(line)
    if match is None or match[1] not in KNOWN_METHODS:
        return None
    return match[1], match[2], b"1." + match[3] if match[3] else b""


def split_status_line(line: bytes | bytearray) -> tuple[bytes, int] | None:
    """(version as sent, status) of a status line with or without its line end, else None.

    ICY is read as HTTP/1.0, as curl does.
    """
    match = _STATUS_LINE.match(line)
    return (bytes(match[1] or b"1.0"), int(match[2])) if match else None


def may_open_request(opening: bytes | bytearray) -> bool:
    """Whether these bytes, a line that is not over, can become a request line."""
    return _REQUEST_PREFIX.match(opening[: MAX_METHOD + 1]) is not None


def may_open_response(opening: bytes | bytearray) -> bool:
    """Whether these bytes, a line that is not over, can become a status line."""
    return b"HTTP/".startswith(opening[:5]) or b"ICY".startswith(opening[:3])
