"""The fields of an HTTP/1 head, found in its bytes when they are asked for.

`_head_fields.pyx` is the same, compiled.
"""

from __future__ import annotations

from collections.abc import Iterable

from rover.values.http import Headers, text


class HeadFields(Headers):
    """Most of a head's fields are never looked at, so none is taken out before it is.

    The head ends with its blank line; its lines end with CR LF or LF, and each but the first is a
    name, a colon and a value: whoever makes one of these has checked that. No value begins or ends with
    CR. The first line, which is not looked at, may be empty.
    """

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes) -> None:
        self._fields = None
        self._head = head
        self._lower = b""

    def get(self, name: str) -> str | None:
        """The first value of a lower-case name, None when absent."""
        lower = self._lower
        if not lower:
            lower = self._lower = self._head.lower()
        key = b"\n%b:" % name.encode()
        found = lower.find(key)
        if found < 0:
            return None
        start = found + len(key)
        return text(self._head[start : self._head.find(b"\n", start)].strip(b" \t\r"))

    def _parse(self) -> Iterable[tuple[str, str]]:
        for line in self._head.split(b"\n")[1:-2]:
            name, _, value = line.partition(b":")
            yield text(name.lower()), text(value.strip(b" \t\r"))
