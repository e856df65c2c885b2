"""Names made from what is known: "{container}@{host}"."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence

from rover.errors import UsageError


class Patterns:
    """Patterns in order of preference."""

    __slots__ = ("_patterns",)

    def __init__(self, setting: str, patterns: Sequence[str], known: Collection[str]) -> None:
        """`known`: the names that may stand in braces. Raises UsageError naming `setting`."""
        if not patterns:
            raise UsageError(f"{setting} is empty: it needs a pattern")
        self._patterns = [(pattern, _fields(setting, pattern, known)) for pattern in patterns]

    def name(self, values: Mapping[str, str]) -> str:
        """By the first pattern of which all values are known; empty when there is none."""
        for pattern, fields in self._patterns:
            if all(values.get(field) for field in fields):
                return pattern.format_map(values)
        return ""


def _fields(setting: str, pattern: str, known: Collection[str]) -> tuple[str, ...]:
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UsageError(f"{setting} {pattern!r}: {error}") from None
    fields = []
    for _, field, form, conversion in parsed:
        if field is None:
            continue
        if field not in known or form or conversion:
            raise UsageError(f"{setting} {pattern!r}: {{{field}}} is none of {', '.join(known)}")
        fields.append(field)
    return tuple(fields)
