"""Which names are those of secrets: of parameters, header fields, cookies."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from rover import UsageError

WHOLE = frozenset(("code", "dpop", "key"))
"""Names that are secrets' when they are all: an OAuth code, a Google API key. `sort_key` is none."""
WORDS = frozenset(
    (
        *("auth", "authorization", "cookie", "credential", "credentials", "csrf", "cvc", "cvv", "jwt", "otp"),
        *("pass", "passphrase", "passwd", "password", "pin", "pwd", "secret", "secrets", "session", "sid"),
        *("sig", "signature", "ssn", "token", "xsrf"),
    )
)
"""Words that make any name a secret's: `user[password]`, `X-Auth-Token`."""
PARTS = re.compile(
    "passw|passphrase|secret|apikey|accesskey|privatekey|credential|signature|sessionid|sessid|token$|cookie$|pwd$"
)
"""The same where words are written together: `accessToken`, `AWSAccessKeyId`, `JSESSIONID`."""

LONGEST = 256
"""Characters of a name that are looked at: longer ones are made up."""
REMEMBERED = 4096
"""Names whose answer is kept: some hosts' traffic has a few hundred."""
SHORT = 64
"""Characters of a name that is remembered."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")


class Names:
    """Remembers what it was asked."""

    def __init__(self, more: Iterable[str] = (), shown: Iterable[str] = ()) -> None:
        """`more`: patterns of further names of secrets; `shown`: of names that are none's. In either `*` is
        any characters, and capitals do not matter. Raises UsageError for an empty one."""
        self._more = _either("names", more)
        self._shown = _either("shown", shown)
        self._known: dict[str, bool] = {}

    def is_secret(self, name: str) -> bool:
        """Whether what has this name, as it was sent, is to be masked."""
        known = self._known.get(name)
        if known is None:
            known = self._judge(name[:LONGEST])
            if len(name) <= SHORT:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[name] = known
        return known

    def _judge(self, sent: str) -> bool:
        name = unquote_plus(sent).strip()
        lower = name.lower()
        if self._shown is not None and self._shown.fullmatch(lower):
            return False
        if self._more is not None and self._more.fullmatch(lower):
            return True
        if lower in WHOLE:
            return True
        words = _NO_WORD.split(_CAMEL.sub(" ", name).lower())
        return not WORDS.isdisjoint(words) or PARTS.search(_NO_WORD.sub("", lower)) is not None


def _either(setting: str, patterns: Iterable[str]) -> re.Pattern[str] | None:
    given = [pattern.strip().lower() for pattern in patterns]
    if "" in given:
        raise UsageError(f"plugin.mask.{setting}: a name is empty")
    # Only * means more than itself. fnmatch's patterns take time as the text is long.
    translated = [fnmatch.translate(re.sub(r"([\[?])", r"[\1]", pattern)) for pattern in given]
    return re.compile("|".join(f"(?:{each})" for each in translated)) if translated else None
