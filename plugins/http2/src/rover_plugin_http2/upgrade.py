"""A connection that goes on in HTTP/2 after a request of HTTP/1.1 (RFC 7540 section 3.2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from rover.http import Headers, HttpRequest
from rover_plugin_http2.fields import pack


def settings_of(request: HttpRequest) -> bytes | None:
    """The payload of a SETTINGS frame that the request has in a field; None where it is none.

    That is not worth a break: the SETTINGS frame after the client's preface says it again.
    """
    coded = (request.headers.get("http2-settings") or "").strip().rstrip("=")
    try:
        payload = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
    except (binascii.Error, ValueError):
        return None
    return payload if len(payload) % 6 == 0 else None


def fields_of(request: HttpRequest) -> tuple[bytes, bytes]:
    """Its fields as a header block has them, packed: pseudo-header fields, and the others."""
    host = request.headers.get("host") or ""
    said = {":method": request.method, ":scheme": "http", ":authority": host, ":path": request.target}
    return pack(_lines(said.items())), pack(_lines(_end_to_end(request.headers)))


def _lines(fields: Iterable[tuple[str, str]]) -> list[bytes]:
    return [f"{name}\0{value}".encode(errors="replace") for name, value in fields]


def _end_to_end(headers: Headers) -> list[tuple[str, str]]:
    """Without the fields that speak of the connection (RFC 9110 section 7.6.1)."""
    dropped = {
        "connection",
        "upgrade",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
    }
    for value in headers.get_all("connection"):
        dropped.update(token.strip().lower() for token in value.split(","))
    return [(name, value) for name, value in headers if name not in dropped]
