"""The heads of messages, whoever read them."""

from __future__ import annotations

from typing import NamedTuple

from rover.http import Headers


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
