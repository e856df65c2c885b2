"""Texts in a terminal's columns: how many one takes, and one cut or padded to as many as there are."""

from __future__ import annotations

import functools

ELLIPSIS = "…"
LONGEST = 8
"""Characters per column that are looked at: a base and more marks than any script puts on one. What follows
takes no room, but time."""


def columns(text: str) -> int:
    """The columns that a printable text takes (Unicode Standard Annex 11, and wcwidth(3) for what joins)."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis in place of what does not fit."""
    if len(text) <= width and text.isascii():
        return text
    if width <= 0:
        return ""
    looked_at = text[: LONGEST * width]
    if len(looked_at) == len(text) and columns(text) <= width:
        return text
    used = 0
    for index, character in enumerate(looked_at):
        used += _columns_of(character)
        if used >= width:  # one is the ellipsis'
            return f"{looked_at[:index]}{ELLIPSIS}"
    return f"{looked_at}{ELLIPSIS}"


def pad(text: str, width: int) -> str:
    """The text, and blanks to its right up to `width` columns."""
    return text + " " * (width - columns(text))


def pad_left(text: str, width: int) -> str:
    """The same to its left."""
    return " " * (width - columns(text)) + text


JOINING = (("\u1160", "\u11ff"), ("\ud7b0", "\ud7ff"))
"""Vowels and final consonants of Hangul: they are drawn into the consonant before them."""
DRAWN_WIDE = (("\u3248", "\u324f"), ("\u4dc0", "\u4dff"))
"""Numbers on squares and hexagrams, as terminals draw them; Unicode has the latter so from 16.0 on."""


@functools.lru_cache(maxsize=4096)
def _columns_of(character: str) -> int:
    if character < "\u0300":  # before all that combines
        return 1
    import unicodedata  # a megabyte that most hosts' traffic does not need

    if unicodedata.category(character) in ("Mn", "Me", "Cf") or _within(character, JOINING):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" or _within(character, DRAWN_WIDE) else 1


def _within(character: str, ranges: tuple[tuple[str, str], ...]) -> bool:
    return any(first <= character <= last for first, last in ranges)
