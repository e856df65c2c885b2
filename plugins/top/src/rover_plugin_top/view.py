"""What a person looks at, and what each key changes of it. It knows no terminal."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from rover import AccessLog
from rover_plugin_top.choices import GROUPS, SORTS
from rover_plugin_top.tables import Row

MAX_PROMPT = 1000
"""Characters of a filter that is typed."""


class Wish(enum.Enum):
    """What the view cannot do itself."""

    QUIT = "quit"
    CLEAR = "clear"
    """Count from now on."""
    FILTER = "filter"
    """Count anew what the text that was typed is true of: `View.typed`."""
    OPEN = "open"
    """Show the last exchanges of the selected row: `View.open`."""


class View:
    """The table, or the last exchanges of a row."""

    def __init__(self, group: str = GROUPS[0], sort: str = "count", filter_: str = "") -> None:
        self.group = group
        self.sort = sort
        self.reverse = False
        self.rows: Sequence[Row] = ()
        """As they were drawn last."""
        self.selected = 0
        """Of the rows."""
        self._name: str | None = None
        """The row that was chosen: the selection follows it."""
        self.first = 0
        """The first row that is shown, or the first line of `exchanges`."""
        self.page = 1
        """Rows that are shown at once."""
        self.typed: str | None = None
        """What has been typed of a filter; None while none is."""
        self.filter = filter_
        """The one in force."""
        self.message = ""
        """What was wrong; until the next key."""
        self.opened: str | None = None
        """The row whose exchanges are shown; None where the table is."""
        self.exchanges: Sequence[AccessLog] = ()
        self.lines = 0
        """How many lines these take."""

    def update(self, rows: Sequence[Row]) -> None:
        """Newer rows."""
        self.rows = rows
        if self._name is not None:
            self.selected = next((at for at, row in enumerate(rows) if row.name == self._name), self.selected)
        self.selected = max(min(self.selected, len(rows) - 1), 0)
        if self.opened is None:
            self.first = min(max(self.first, self.selected - self.page + 1), self.selected)

    def open(self, exchanges: Sequence[AccessLog]) -> None:
        """Shows the last exchanges of the selected row."""
        self.opened = self.rows[self.selected].name
        self.exchanges = exchanges
        self.first = 0

    def press(self, key: str) -> Wish | None:
        """One key."""
        self.message = ""
        if self.typed is not None:
            return self._type(key)
        if self.opened is not None:
            self._read(key)
            return None
        if key == "q":
            return Wish.QUIT
        if key == "c":
            return Wish.CLEAR
        if key == "/":
            self.typed = self.filter
        elif key == "enter":
            return Wish.OPEN if self.rows else None
        elif key in ("g", "G"):
            self._regroup(1 if key == "g" else -1)
        elif key in ("s", "S", "<", ">"):
            self.sort = SORTS[(SORTS.index(self.sort) + (1 if key in "s>" else -1)) % len(SORTS)]
            self._top()
        elif key == "r":
            self.reverse = not self.reverse
            self._top()
        else:
            self._move(key)
        return None

    def _type(self, key: str) -> Wish | None:
        typed = self.typed or ""
        if key == "enter":
            return Wish.FILTER
        if key == "escape":
            self.typed = None
        elif key == "backspace":
            self.typed = typed[:-1]
        elif key == "ctrl-u":
            self.typed = ""
        elif len(key) == 1 and len(typed) < MAX_PROMPT:
            self.typed = typed + key
        return None

    def accept(self) -> None:
        """What was typed is in force."""
        self.filter, self.typed = (self.typed or "").strip(), None
        self._top()

    def _read(self, key: str) -> None:
        if key in ("escape", "enter", "backspace", "left", "q"):
            self.opened = None
            self.first = 0
            self.update(self.rows)
            return
        steps = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -self.page,
            "page down": self.page,
            " ": self.page,
        }
        last = max(self.lines - self.page, 0)
        wanted = {"home": 0, "end": last}.get(key, self.first + steps.get(key, 0))
        self.first = max(min(wanted, last), 0)

    def _regroup(self, step: int) -> None:
        self.group = GROUPS[(GROUPS.index(self.group) + step) % len(GROUPS)]
        self._top()

    def _top(self) -> None:
        self._name, self.selected, self.first = None, 0, 0

    def _move(self, key: str) -> None:
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -self.page, "page down": self.page}
        last = len(self.rows) - 1
        if not self.rows or (key not in steps and key not in ("home", "end")):
            return
        wanted = {"home": 0, "end": last}.get(key, self.selected + steps.get(key, 0))
        self.selected = max(min(wanted, last), 0)
        self._name = self.rows[self.selected].name
