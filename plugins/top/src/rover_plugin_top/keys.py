"""What comes from a keyboard, as names of keys."""

from __future__ import annotations

SEQUENCES = {
    "[A": "up",
    "OA": "up",
    "[B": "down",
    "OB": "down",
    "[C": "right",
    "OC": "right",
    "[D": "left",
    "OD": "left",
    "[H": "home",
    "OH": "home",
    "[1~": "home",
    "[7~": "home",
    "[F": "end",
    "OF": "end",
    "[4~": "end",
    "[8~": "end",
    "[5~": "page up",
    "[6~": "page down",
}
"""After an escape: xterm, rxvt, the Linux console."""
SINGLE = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x15": "ctrl-u"}
ESCAPE = "\x1b"
LONGEST = 32
"""Characters of a sequence: a longer one is none."""


class Keys:
    """Takes bytes as they come, cut anywhere."""

    def __init__(self) -> None:
        self._bytes = b""
        self._text = ""

    @property
    def unsure(self) -> bool:
        """Whether an escape came that may be the key itself, or the beginning of another's sequence."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete: a name, or the character itself."""
        data = self._bytes + data
        # What may be the beginning of a character waits: at most three bytes.
        end = len(data)
        for back in range(1, min(4, len(data) + 1)):
            byte = data[-back]
            if byte >= 0xC0:
                if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4):
                    end = len(data) - back
                break
            if byte < 0x80:
                break
        self._bytes = data[end:]
        self._text += data[:end].decode(errors="ignore")
        return self._take(sure=False)

    def settle(self) -> list[str]:
        """The same when nothing has followed for a while: an escape was the key."""
        return self._take(sure=True)

    def _take(self, *, sure: bool) -> list[str]:
        found: list[str] = []
        text = self._text
        while text:
            first = text[0]
            if first != ESCAPE:
                text = text[1:]
                key = SINGLE.get(first, first)
                if len(key) > 1 or key.isprintable():
                    found.append(key)
                continue
            length = sequence(text[1:])
            if length is None and not sure:
                break
            if not length:
                found.append("escape")
                text = text[1:] if length == 0 else ""
                continue
            if key := SEQUENCES.get(text[1 : 1 + length], ""):
                found.append(key)
            text = text[1 + length :]
        self._text = text
        return found


def sequence(text: str) -> int | None:
    """How long the sequence is that this begins with, after an escape (ECMA-48 section 5.4, and SS3); 0 where
    it is none, None where it is not complete."""
    if not text:
        return None
    if text[0] == "O":
        return 2 if len(text) > 1 else None
    if text[0] != "[":
        return 0
    for at in range(1, min(len(text), LONGEST)):
        if "@" <= text[at] <= "~":
            return at + 1
        if not " " <= text[at] <= "?":
            return 0
    return None if len(text) < LONGEST else 0
