"""Paths with secrets in them, as the user names them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from rover import UsageError

MASK = "REDACTED"
"""What stands in a secret's place, as OpenTelemetry has it."""
ANY = None
"""Of a pattern: any segment."""
SECRET = ...
"""Of a pattern: any segment, which is masked."""


class Paths:
    """Patterns of the beginnings of paths: `/reset/{token}`, `/users/*/keys/{key}`."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Raises UsageError for one that is no path, or has nothing to mask."""
        self._patterns = tuple(map(_parsed, patterns))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._patterns)

    def masked(self, path: str) -> str:
        """The path without its secrets. What a pattern says of a path, it says of all that go on from it."""
        segments = path.split("/")
        changed = False
        for pattern in self._patterns:
            if len(segments) >= len(pattern) and all(map(_fits, pattern, segments)):
                for at, part in enumerate(pattern):
                    if part is SECRET and segments[at]:
                        segments[at] = MASK
                        changed = True
        return "/".join(segments) if changed else path


def _fits(part: object, segment: str) -> bool:
    if part is ANY or part is SECRET:
        return True
    return part == segment or ("%" in segment and part == unquote(segment))


def _parsed(pattern: str) -> tuple[object, ...]:
    what = f"plugin.mask.paths = {pattern[:60]!r}"
    if not pattern.startswith("/"):
        raise UsageError(f"{what}: a path begins with /")
    parts: list[object] = []
    for segment in pattern.split("/"):
        if segment == "*":
            parts.append(ANY)
        elif segment.startswith("{") and segment.endswith("}"):
            parts.append(SECRET)
        elif set(segment) & set("{}*"):
            raise UsageError(f"{what}: {segment[:20]!r} is no segment: * and {{name}} stand for a whole one")
        else:
            parts.append(segment)
    if SECRET not in parts:
        raise UsageError(f"{what}: no segment is in braces, as in /reset/{{token}}")
    return tuple(parts)
