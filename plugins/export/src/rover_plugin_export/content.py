"""What a message carried, and how HAR shows it: text, decoded."""

from __future__ import annotations

import base64
import codecs
import zlib
from typing import NamedTuple

from rover import Headers

CHARSETS = ("utf", "ascii", "iso8859", "cp", "gb", "big5", "shift_jis", "euc_", "koi8")
"""How the names of Python's decoders begin that take time as the bytes grow: punycode's does not."""


class Content(NamedTuple):
    """Content as it was sent, without framing."""

    data: bytes
    """Its beginning, as far as it was captured and is kept."""
    size: int
    """Of all of it; -1 where that is not known."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return len(self.data) == self.size


NO_CONTENT = Content(b"", -1)
"""Of a message whose content was not found."""


class Shown(NamedTuple):
    """Content as HAR has it."""

    size: int
    """Bytes, decoded; -1 where it is not known."""
    text: str | None
    """None where it is not whole, or cannot be decoded."""
    base64: bool
    """Whether the text is its bytes in base64: they are no text."""
    comment: str
    """Why it is not there; empty where it is."""


def shown(content: Content, headers: Headers, limit: int) -> Shown:
    """Content of a message with these headers, at most `limit` bytes of it, decoded."""
    if not content.whole:
        return Shown(content.size, None, False, "not recorded as a whole, or larger than --content")
    data = content.data
    for coding in reversed(",".join(headers.get_all("content-encoding")).lower().split(",")):
        coding = coding.strip()
        if not data or coding in ("", "identity"):
            continue
        if coding not in ("gzip", "x-gzip", "deflate"):
            return Shown(content.size, None, False, f"content-encoding {coding[:40]} is not decoded")
        inflated = _inflated(data, limit)
        if inflated is None:
            return Shown(content.size, None, False, "not decoded: damaged, or larger than --content")
        data = inflated
    text = _text(data, headers)
    if text is None:
        return Shown(len(data), base64.b64encode(data).decode(), True, "")
    return Shown(len(data), text, False, "")


def _inflated(data: bytes, limit: int) -> bytes | None:
    """Of gzip or zlib, or of deflate without a header, which some send; None where it is neither, is cut off
    or is more than `limit` bytes."""
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        inflate = zlib.decompressobj(bits)
        try:
            inflated = inflate.decompress(data, limit + 1)
        except zlib.error:
            continue
        return inflated if len(inflated) <= limit and inflate.eof else None
    return None


def _text(data: bytes, headers: Headers) -> str | None:
    """None for what is none: bytes of another kind, or controls that no text has."""
    kind, _, parameters = (headers.get("content-type") or "").partition(";")
    charset = "utf-8"
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'")
    if kind.strip().lower().startswith(("image/", "audio/", "video/", "font/", "application/grpc")):
        return None
    try:
        if not codecs.lookup(charset).name.startswith(CHARSETS):
            return None
        text = data.decode(charset)
        text.encode()
    except (LookupError, ValueError):
        return None
    return None if "\0" in text else text
