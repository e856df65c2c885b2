"""Which segments of a path are values by their shape.

`_shape.pyx` is the same, compiled.
"""

from __future__ import annotations

import re

MAX_WORD = 40
"""Characters of a word. What is longer is a title, a token or a list, and has no end of them."""
SHORTEST_RANDOM = 8
"""Characters of letters and digits by turns: fewer are as likely a name, as in `h264` or `utf8mb4`."""
SHORTEST_RANDOM_LETTERS = 12
"""The same of letters alone, which begin a word anew in `getUserById`."""
SHORTEST_RANDOM_JOINED = 16
"""The same of parts that are separated: `log4j2-config` is a name."""

_NAME = re.compile(r"[A-Za-z0-9_.~$-][A-Za-z0-9_.~$:-]*")
"""What words are made of: one that has other characters (`,` `=` `+` `@` `(`, none of ASCII) is a value."""
_LETTERS = re.compile(r"[a-z]+(?:[-_.][a-z]+)*")
_VERSION = re.compile(r"v\d{1,3}(?:[.]\d{1,3}){0,2}(?:[a-z]+\d{0,3})?|\d{1,2}[.]\d{1,2}")
"""Of an interface: `v1`, `v2.1`, `v1beta1`, `1.1`."""
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HASH = re.compile(r"(?=[A-Fa-f]*\d)(?=\d*[A-Fa-f])[0-9A-Fa-f]{7,}")
"""Letters and digits of base 16: seven are what git shows of a commit."""
_NUMBER = re.compile(r"\d{3,}")
"""A part of a name, as in `order-123`; `step-2` is a word."""
_LONG_NUMBER = re.compile(r"\d{5}")
_SEPARATORS = re.compile(r"[-_.~$:]+")


def is_value(segment: str) -> bool:
    """Whether a segment looks like a value: a number, a UUID, a hash, a date, base64, what is no name."""
    if len(segment) > MAX_WORD:
        return True
    if _LETTERS.fullmatch(segment) or _VERSION.fullmatch(segment):
        return False
    if not _NAME.fullmatch(segment) or _UUID.fullmatch(segment):
        return True
    parts = [part for part in _SEPARATORS.split(segment) if part]
    if not parts:  # "-" stands for what a site has besides its pages; ".." and "~" for nothing of the kind
        return segment.strip("-_") != ""
    if all(part.isdigit() for part in parts):  # a number, a date, an address
        return True
    if any(_HASH.fullmatch(part) or _NUMBER.fullmatch(part) or _LONG_NUMBER.search(part) for part in parts):
        return True
    joined = "".join(parts)  # `-` and `_` are letters of base64, too
    return any(map(is_random, parts)) or (len(joined) >= SHORTEST_RANDOM_JOINED and is_random(joined))


def is_random(text: str) -> bool:
    """Whether letters and digits take turns as in base62, base64 and their like, and not as in words.

    Of two neighbours in random text 44 % are of different kinds (small, capital, digit; a capital before a
    small letter begins a word, and is not counted). In base32 and base36 43 % are, in words fewer than 30 %.
    Words have one number or two, random text has more.
    """
    if len(text) < (SHORTEST_RANDOM_LETTERS if text.isalpha() else SHORTEST_RANDOM):
        return False
    turns = numbers = 0
    before = "small"
    for character in text:
        kind = "digit" if character.isdigit() else "capital" if character.isupper() else "small"
        if kind != before:
            numbers += kind == "digit"
            turns += not (before == "capital" and kind == "small")
            before = kind
    return turns * 10 >= 3 * (len(text) - 1) or numbers > 2
