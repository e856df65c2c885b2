"""Where a signal is sent: the URL of a receiver (OpenTelemetry's "OTLP Exporter Configuration")."""

from __future__ import annotations

import dataclasses

from rover.sending import address

PORTS = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver of one signal."""

    address: str
    """`host:port`."""
    path: str
    """Of the URL; "/" at least."""
    secure: bool
    """Whether it is reached by TLS."""


def read(url: str, *, insecure: bool) -> Endpoint:
    """`http://host:4318/path`. Without a scheme it is `host:port` of gRPC, which `insecure` makes one
    without TLS.

    Raises ValueError: how to write it.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator:
        scheme, rest = "http" if insecure else "https", url.strip()
    if scheme not in PORTS:
        raise ValueError("write a URL that begins with http:// or https://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise ValueError("write the URL without a user; set sink.otlp.headers")
    if any(mark in rest for mark in "?#") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("write the URL with host, port and path, and no more, in ASCII")
    try:
        found = address.read(authority, PORTS[scheme])
    except ValueError as error:
        raise ValueError(str(error).replace("host:port", f"{scheme}://host:port", 1)) from None
    return Endpoint(found, slash + path or "/", scheme == "https")
