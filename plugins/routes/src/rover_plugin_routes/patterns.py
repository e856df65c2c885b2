"""Patterns of the user: `/users/{id}`, `/files/{path...}`, `/reports/{name}.pdf`, `shop/orders/{id}`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rover import UsageError
from rover_plugin_routes.segments import MAX_DEPTH, MAX_PATH, split

MAX_PATTERNS = 10_000
"""Patterns: ten times what the largest interfaces have."""

_PLACEHOLDER = re.compile(r"(?P<before>[^{}]*)\{(?P<name>[A-Za-z0-9_-]*)\}(?P<after>[^{}]*)")
_REST = re.compile(r"\{[A-Za-z0-9_-]*\.\.\.\}")


class Level:
    """What patterns that begin alike say of the next segment."""

    __slots__ = ("anything", "literals", "partly", "rest", "route")

    def __init__(self) -> None:
        self.literals: dict[str, Level] = {}
        self.partly: dict[tuple[str, str], Level] = {}
        """By what is before the placeholder and what is after it."""
        self.anything: Level | None = None
        self.route = ""
        """The pattern that ends here."""
        self.rest = ""
        """The pattern that takes all segments from here on."""


class Patterns:
    """Patterns of one service, or of all. The most precise one holds, from the left: a word goes before a
    placeholder with text, that before one alone, that before the rest of the path."""

    def __init__(self) -> None:
        self._first = Level()

    def add(self, pattern: str) -> None:
        """Raises ValueError, which says what is wrong with it."""
        segments, cut = split(pattern)
        if cut:
            raise ValueError(f"it has more than {MAX_DEPTH} segments, or {MAX_PATH} characters")
        level = self._first
        for number, segment in enumerate(segments, 1):
            if _REST.fullmatch(segment):
                if number < len(segments):
                    raise ValueError(f"{segment} is the rest of the path, so nothing can follow it")
                level.rest = level.rest or pattern
                return
            level = self._next(level, segment)
        level.route = level.route or pattern

    def _next(self, level: Level, segment: str) -> Level:
        if "{" not in segment and "}" not in segment:
            return level.literals.setdefault(segment, Level())
        match = _PLACEHOLDER.fullmatch(segment)
        if match is None:
            raise ValueError(
                f"{segment}: a segment has one placeholder, as in {{id}}, or in {{rest...}} at the end"
            )
        around = match["before"], match["after"]
        if any(around):
            return level.partly.setdefault(around, Level())
        if level.anything is None:
            level.anything = Level()
        return level.anything

    def find(self, segments: list[str], cut: bool) -> str:
        """The pattern of a path; empty when there is none. `cut`: there are more segments.

        Each level is looked at once at most, because one way leads to it: hostile paths take as long as
        there are patterns.
        """
        return self._find(self._first, segments, 0, cut)

    def _find(self, level: Level, segments: list[str], at: int, cut: bool) -> str:
        if at == len(segments):
            return level.rest if cut else level.route or level.rest
        segment = segments[at]
        literal = level.literals.get(segment)
        found = self._find(literal, segments, at + 1, cut) if literal is not None else ""
        if not found:
            for (before, after), partly in level.partly.items():
                if (
                    len(segment) > len(before) + len(after)
                    and segment.startswith(before)
                    and segment.endswith(after)
                ):
                    found = self._find(partly, segments, at + 1, cut)
                    if found:
                        break
        if not found and level.anything is not None:
            found = self._find(level.anything, segments, at + 1, cut)
        return found or level.rest


def by_service(patterns: Iterable[str]) -> dict[str, Patterns]:
    """Patterns by the name of their service, in small letters; those of all services have none.

    Raises UsageError for one that is none.
    """
    found: dict[str, Patterns] = {}
    for number, pattern in enumerate(patterns):
        service, slash, path = pattern.partition("/")
        try:
            if number == MAX_PATTERNS:
                raise ValueError(f"there are more than {MAX_PATTERNS}")
            if not slash:
                raise ValueError("write /users/{id}, or shop/users/{id} where only the service shop has it")
            found.setdefault(service.lower(), Patterns()).add("/" + path)
        except ValueError as error:
            raise UsageError(f"plugin.routes.patterns: {pattern[:MAX_PATH]!r}: {error}") from None
    return found
