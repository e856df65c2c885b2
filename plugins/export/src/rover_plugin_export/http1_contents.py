"""The content of HTTP/1.x messages, found in the bytes of their connection (RFC 9112).

The decoder has read these messages: their first line and the size of their head are known. So a message is
where that line stands, and a head of that size ends.
"""

from __future__ import annotations

from rover import HttpRequest, HttpResponse
from rover.http import text
from rover_plugin_export.content import NO_CONTENT, Content
from rover_plugin_export.kept_bytes import KeptBytes

USUAL_CHUNK_LINE, MAX_CHUNK_LINE = 32, 8192
"""Bytes of the line in front of a chunk that are looked at: first, and where it has extensions."""
MAX_CANDIDATES = 16
"""Places where the first line of a message stands that are looked at: content may hold it, and so may
messages that nobody answered."""
_HEX = frozenset(b"0123456789abcdefABCDEF")


def content_of_request(kept: KeptBytes, request: HttpRequest, limit: int) -> Content:
    """What a request carried, at most `limit` bytes of it. Bytes up to the end of it are forgotten."""
    line = f"{request.method} {request.target} HTTP/{request.version}"
    return _content(kept, line, request, limit)[0]


def content_of_response(kept: KeptBytes, response: HttpResponse, limit: int) -> tuple[Content, str]:
    """The same of a response, and its reason phrase."""
    content, line = _content(kept, f"HTTP/{response.version} {response.status}", response, limit)
    return content, line.partition(" ")[2].partition(" ")[2]


def _content(
    kept: KeptBytes, line: str, message: HttpRequest | HttpResponse, limit: int
) -> tuple[Content, str]:
    """(content, the first line); the line is empty where the message is not found."""
    start, head = _found(kept, line, message)
    if start < 0:
        return NO_CONTENT, ""
    begin = start + len(head)
    first = head.partition(b"\n")[0].rstrip(b"\r").decode("latin-1")
    codings = ",".join(message.headers.get_all("transfer-encoding")).lower().split(",")
    if message.body_size == 0:  # in any coding, as of a response to HEAD
        content, end = Content(b"", 0), begin
    elif codings[-1].strip() == "chunked":
        content, end = _chunked(kept, begin, limit)
    else:
        size = message.body_size or 0
        content = Content(kept.read(begin, begin + min(size, limit)), size)
        end = begin + size
    kept.forget(end)
    return content, first


def _found(kept: KeptBytes, line: str, message: HttpRequest | HttpResponse) -> tuple[int, bytes]:
    """(position, head) of a message; -1 where it is not found."""
    for wanted in {_bytes(line, "utf-8"), _bytes(line, "latin-1")}:
        start = kept.find(wanted)
        for _ in range(MAX_CANDIDATES):
            if start < 0:
                break
            head = kept.read(start, start + message.header_size)
            if _is_head(head, message):
                return start, head
            start = kept.find(wanted, start + 1)
    return -1, b""


def _is_head(head: bytes, message: HttpRequest | HttpResponse) -> bool:
    """Whether a head that stands where one was looked for is this message's, and not one that was lost."""
    if len(head) != message.header_size or not head.endswith((b"\n\r\n", b"\n\n")):
        return False
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")[1:-2]]
    if any(line.startswith((b" ", b"\t")) for line in lines):  # a value that goes on in the next line
        return True
    fields = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    return [(text(name), text(value)) for name, value in fields] == list(message.headers)


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "replace")


def _chunked(kept: KeptBytes, position: int, limit: int) -> tuple[Content, int]:
    """Chunks that begin at `position`, as far as they are kept; and where they end (RFC 9112 section 7.1)."""
    data = bytearray()
    size = 0
    while True:
        line = kept.read(position, position + USUAL_CHUNK_LINE)
        if b"\n" not in line:
            line = kept.read(position, position + MAX_CHUNK_LINE)
        before, newline, _ = line.partition(b"\n")
        digits = before.partition(b";")[0].strip()
        if not newline or not digits or len(digits) > 16 or not _HEX.issuperset(digits):
            return Content(bytes(data), -1), position
        length = int(digits, 16)
        position += len(before) + 1
        if not length:
            return Content(bytes(data), size), position
        data += kept.read(position, position + min(length, limit - len(data)))
        size += length
        position += length
        position += len(kept.read(position, position + 2).partition(b"\n")[0]) + 1
