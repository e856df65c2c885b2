"""The heads of messages, whoever read them."""

from __future__ import annotations

import contextlib

from rover.http import Headers
from rover_plugin_http1.head_fields import HeadFields

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http1._head_fields import HeadFields  # type: ignore[no-redef]

__all__ = ["NO_REQUEST", "NO_RESPONSE", "HeadFields", "RequestHead", "ResponseHead"]


class RequestHead:
    """A request up to its blank line. Nobody changes it: once compiled, it is read-only."""

    __slots__ = ("content", "expects", "headers", "method", "size", "special", "target", "version")

    def __init__(
        self, method: str, target: str, version: str, headers: Headers, size: int, content: int, expects: bool
    ) -> None:
        self.method = method
        self.special = method in ("HEAD", "CONNECT")
        """Whether the content of what answers it depends on the method."""
        self.target = target
        self.version = version
        self.headers = headers
        self.size = size
        """Bytes, with the blank line."""
        self.content = content
        """What it declares of its content, see `framing`."""
        self.expects = expects
        """Whether it asks for 100 (Continue) before it sends its content."""


class ResponseHead:
    """A response up to its blank line, as read-only."""

    __slots__ = ("content", "headers", "size", "status", "version")

    def __init__(self, status: int, version: str, headers: Headers, size: int, content: int) -> None:
        self.status = status
        self.version = version
        self.headers = headers
        self.size = size
        self.content = content


NO_REQUEST = RequestHead("", "", "", Headers(()), 0, 0, expects=False)
NO_RESPONSE = ResponseHead(0, "", Headers(()), 0, 0)
