"""The heads of messages, whoever read them."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from rover.http import Headers
from rover_plugin_http1.head_fields import HeadFields

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http1._head_fields import HeadFields  # type: ignore[no-redef]

__all__ = ["NO_REQUEST", "NO_RESPONSE", "HeadFields", "RequestHead", "ResponseHead"]


class RequestHead(NamedTuple):
    """A request up to its blank line."""

    method: str
    target: str
    version: str
    headers: Headers
    size: int
    """Bytes, with the blank line."""
    content: int
    """What it declares of its content, see `framing`."""
    expects: bool
    """Whether it asks for 100 (Continue) before it sends its content."""


class ResponseHead(NamedTuple):
    """A response up to its blank line."""

    status: int
    version: str
    headers: Headers
    size: int
    content: int


NO_REQUEST = RequestHead("", "", "", Headers(()), 0, 0, False)
NO_RESPONSE = ResponseHead(0, "", Headers(()), 0, 0)
