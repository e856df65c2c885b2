"""Secrets in targets, queries, and whatever else looks like them.

What is looked for is the same everywhere: `name=value`, `user:password@` after `//` (RFC 3986 section 3.2.1),
and both once more within what is percent-encoded. Everything takes time as the text is long.
"""

from __future__ import annotations

import contextlib
import re
from urllib.parse import unquote

from rover_plugin_mask.clean import Clean
from rover_plugin_mask.names import Names
from rover_plugin_mask.paths import MASK, Paths

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_mask._clean import Clean  # type: ignore[no-redef]

DEEPEST = 3
"""Targets within each other, each percent-encoded in the one before: a login that leads to a login."""

_BETWEEN = re.compile(r"([?&;#/])")
_USERINFO = re.compile(r"(?<=//)[^/?#\s\"<>\\]*@")
_BARE_USERINFO = re.compile(r"[^/?#\s]*@")
"""Of a target in authority form: `CONNECT user:password@host:443`."""
_QUOTED = re.compile(r"(?<![\w.%-])([\w.%-]++)[\"']?\s?:\s?[\"']?[^\s\"',}]")
"""A name and its value as JSON has them; no letter is looked at twice."""


class Texts:
    """Masks one text after the other."""

    __slots__ = ("_clean", "_has_paths", "_names", "_paths")

    def __init__(self, names: Names, paths: Paths) -> None:
        self._clean = Clean(names)
        self._names = names
        self._paths = paths
        self._has_paths = bool(paths)

    def target(self, target: str) -> str:
        """A request's target, or a URL, without secrets."""
        if not self._has_paths and self._clean.is_clean(target):
            return target
        if "@" in target and "//" not in target and not target.startswith("/"):
            match = _BARE_USERINFO.match(target)
            if match is not None:
                target = _userinfo(match) + target[match.end() :]
        return self.text(target)

    def text(self, text: str) -> str:
        """The same of any text that may hold a URL."""
        if "@" in text:
            text = _USERINFO.sub(_userinfo, text)
        head, mark, query = text.partition("?")
        return self._head(head) + mark + self.query(query)

    def query(self, query: str) -> str:
        """The same of what follows a question mark."""
        return query if self._clean.is_clean(query) else self._without_values(query, True, DEEPEST)

    def path(self, path: str) -> str:
        """The same of a path, or of a route."""
        if self._has_paths:
            path = self._paths.masked(path)
        return path if self._clean.is_clean(path) else self._without_values(path, False, DEEPEST)

    def _head(self, head: str) -> str:
        """What stands before a question mark: a path, and perhaps a scheme and an authority."""
        if head.startswith("/"):
            return self.path(head)
        _, mark, rest = head.partition("://")
        authority, slash, _ = rest.partition("/")
        if not mark or not slash:
            return self._without_values(head, False, DEEPEST)
        start = len(head) - len(rest) + len(authority)
        return head[:start] + self.path(head[start:])

    def _without_values(self, text: str, in_query: bool, depth: int) -> str:
        """Each value whose name is a secret's, or within which there is such a one, masked."""
        parts = _BETWEEN.split(text)
        masked = False
        for at in range(0, len(parts), 2):
            part, before = parts[at], parts[at - 1] if at else ""
            name, equals, value = part.partition("=")
            if masked and in_query and (before in ("?", "/") or (before == ";" and not equals)):
                # What was masked goes on: in a query only `&` surely ends a value (RFC 3986 section 3.4).
                parts[at - 1] = parts[at] = ""
                continue
            in_query |= before == "?"
            masked = False
            if not equals:
                if "%" in part and self._hides(part, depth):
                    parts[at] = MASK
                continue
            if value:
                masked = self._names.is_secret(name) or ("%" in value and self._hides(value, depth))
            if "%" in name and self._hides(name, depth):
                name = MASK
            parts[at] = f"{name}={MASK if masked else value}"
        return "".join(parts)

    def _hides(self, encoded: str, depth: int) -> bool:
        """Whether a secret is within what is percent-encoded. Deeper than anybody encodes, all of it is
        taken for one."""
        inner = unquote(encoded)
        if inner == encoded:
            return False
        if depth == 0:
            return True
        if "@" in inner and _USERINFO.sub(_userinfo, inner) != inner:
            return True
        if ("=" in inner or "%" in inner) and self._without_values(inner, False, depth - 1) != inner:
            return True
        for name in _QUOTED.findall(inner):  # noqa: SIM110 - a compiled method that is handed on is slow
            if self._names.is_secret(name):
                return True
        return False


def _userinfo(match: re.Match[str]) -> str:
    """What stands before an @ in an authority, as OpenTelemetry has it masked."""
    return f"{MASK}:{MASK}@" if ":" in match[0] else f"{MASK}@" if match[0] != "@" else "@"
