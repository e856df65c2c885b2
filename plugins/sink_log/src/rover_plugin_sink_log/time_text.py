"""Times as text."""

from __future__ import annotations

import time

SECOND = 1_000_000_000


class TimeText:
    """Formats Unix times; the part up to the second is kept, since most logs share it."""

    def __init__(self, form: str, *, local: bool) -> None:
        """`form`: of strftime, up to the second."""
        self._form = form
        self._convert = time.localtime if local else time.gmtime
        self._second = -1
        self._text = ""

    def second(self, nanoseconds: int) -> str:
        """The time up to its second."""
        second = nanoseconds // SECOND
        if second != self._second:
            self._text = time.strftime(self._form, self._convert(second))
            self._second = second
        return self._text
