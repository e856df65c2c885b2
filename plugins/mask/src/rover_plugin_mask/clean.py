"""Texts that hold no secret, told at a glance: most of all.

`_clean.pyx` is the same, compiled.
"""

from __future__ import annotations

from rover_plugin_mask.names import Names

MARKS = "?&;#/"
"""After each of them a name may begin."""


class Clean:
    """Looks at each text once, and into none of its values."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def is_clean(self, text: str) -> bool:
        """Whether nothing in it is percent-encoded, is userinfo, or has a secret's name. False is no
        judgement: it is to be looked at closely."""
        if "%" in text or "@" in text:
            return False
        begin, equals = 0, text.find("=")
        while equals >= 0:
            for mark in MARKS:
                begin = max(begin, text.rfind(mark, begin, equals) + 1)
            if self._names.is_secret(text[begin:equals]):
                return False
            begin = equals + 1
            equals = text.find("=", begin)
        return True
