"""Texts that hold no secret, told at a glance: most of all.

`_clean.pyx` is the same, compiled.
"""

from __future__ import annotations

from rover_plugin_mask.names import Names


class Clean:
    """Looks at each text once, and into none of its values."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def is_clean(self, text: str) -> bool:
        """Whether nothing in it is percent-encoded, is userinfo, or has a secret's name. False is no
        judgement: it is to be looked at closely."""
        if "%" in text or "@" in text:
            return False
        at = text.find("=")
        while at >= 0:
            begin = max(text.rfind(mark, 0, at) for mark in "?&;#/") + 1
            if self._names.is_secret(text[begin:at]):
                return False
            # What follows up to the next mark is the value.
            after = [place for mark in "?&;#/" if (place := text.find(mark, at)) >= 0]
            at = text.find("=", min(after)) if after else -1
        return True
