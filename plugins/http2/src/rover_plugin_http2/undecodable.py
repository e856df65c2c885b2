"""The one way in which decoding ends."""

from __future__ import annotations


class Undecodable(Exception):  # noqa: N818  (what it says is not an error of ours)
    """This connection cannot be decoded any further. Caught once, in the decoder."""

    def __init__(self, reason: str, found: str) -> None:
        """`reason`: one word, see `rover.ProtocolBreak.reason`. `found`: for people."""
        super().__init__(found)
        self.reason = reason
        self.found = found
