"""Where a server is: a host and a port, as a user writes them.

Checked at the start, for what no resolver can be asked would fail at each attempt, and in other ways than a
name that is only unknown today.
"""

from __future__ import annotations

import ipaddress
import re

MAX_HOST = 253
"""Characters of a host name (RFC 1035 section 2.3.4, without the lengths of its labels)."""

# RFC 1123 section 2.1, and the underscore, which DNS allows and Compose puts into names.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?[0-9]+\.?")


def read(value: str, default_port: int) -> str:
    """`host:port`; without a port it is the default one. An IPv6 address stands in brackets.

    Raises ValueError: how to write it.
    """
    if "://" in value:
        raise ValueError("write host:port, without a scheme")
    host, colon, port = value.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = value, str(default_port)
    if ":" in host and not host.startswith("["):
        raise ValueError("write host:port, an IPv6 address in brackets")
    if not is_host(host):
        raise ValueError("write host:port, the host as a name in ASCII or an IP address (IPv6 in brackets)")
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise ValueError("write host:port, the port from 1 to 65535")
    return f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port of what `read` made."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def authority(address: str) -> str:
    """The same for a server: an interface of this host is none of its business (RFC 6874 section 4)."""
    return re.sub(r"%[^]]*", "", address)


def is_host(text: str) -> bool:
    """Whether it can be a host: a name for DNS, an IPv4 address, an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return _is_ip(text[1:-1], ipaddress.IPv6Address)
    if _ENDS_IN_NUMBER.fullmatch(text):
        # No top-level domain is a number: it is meant as an address.
        return _is_ip(text, ipaddress.IPv4Address)
    return len(text.removesuffix(".")) <= MAX_HOST and _NAME.fullmatch(text) is not None


def _is_ip(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return text.isascii() and text.isprintable() and " " not in text
