"""What the settings of a sink that sends to a server have to be, beyond their types.

`sink` is its name in the settings. What is wrong is a UsageError, which names the setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rover.errors import UsageError
from rover.sending import address
from rover.sending.tls import Tls

MAX_PERIOD = 86_400
"""Seconds: a day. Far beyond it, a thread cannot wait as long."""
MAX_SHOWN = 200
"""Characters of a wrong value in its error: one line."""
TLS = ("tls_ca", "tls_cert", "tls_key", "tls_server_name", "tls_insecure")
"""The settings that a `Tls` is made of."""


def check_periods(sink: str, given: Mapping[str, Any], names: Iterable[str]) -> None:
    """These are seconds that a thread can wait for."""
    for name in names:
        if not 0 < given[name] <= MAX_PERIOD:
            raise UsageError(
                f"sink.{sink}.{name} = {given[name]}: must be more than 0, and at most {MAX_PERIOD}"
            )


def text(sink: str, name: str, value: str) -> str:
    """The value, if it is UTF-8. Bytes of the environment that are none arrive as lone surrogates, which no
    message can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"sink.{sink}.{name} must be UTF-8") from None
    return value


def tls(sink: str, given: Mapping[str, Any]) -> Tls:
    """Of the settings in `TLS`."""
    ca, cert, key, host, insecure = (given[name] for name in TLS)
    if host and not address.is_host(host):
        raise UsageError(
            f"sink.{sink}.tls_server_name {host[:MAX_SHOWN]!r}: write a name in ASCII, or an IP address"
        )
    return Tls(ca, cert, key, host, insecure)
