"""Why a connection cannot be decoded any further."""

from __future__ import annotations


class Undecodable(Exception):  # noqa: N818  # what the bytes are, not an error of ours
    """Becomes the connection's break."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(found)
        self.reason = reason
        """Of the break, one word."""
        self.found = found
        """For people."""
