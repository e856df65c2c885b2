"""Which columns the console shows, and how wide, by the room there is."""

from __future__ import annotations

import dataclasses

from rover_plugin_sink_log.columns import pad, pad_left


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Widths of the columns before the target, which has the rest. 0 leaves a column out."""

    least: int
    """Columns of a terminal from which on it is used."""
    time: int
    """8 is to the second, 12 to the millisecond."""
    role: int
    process: int
    peer: int
    host: int
    status: int
    duration: int
    sizes: int
    """Of the bodies: two columns."""
    method: int
    gap: int
    """Between two columns."""
    short: bool = False
    """The process without its number, and a client's address without its port, which tells nothing."""

    @property
    def used(self) -> int:
        """Columns before the target."""
        widths = (self.time, self.role, self.process, self.peer, self.host, self.status, self.duration)
        shown = [width for width in (*widths, self.sizes, self.sizes, self.method) if width]
        return sum(shown) + self.gap * len(shown)

    def header(self) -> str:
        """The names of the columns."""
        cells = [
            pad("TIME", self.time) if self.time else "",
            pad("ROLE", self.role) if self.role else "",
            pad("PROCESS", self.process),
            pad("PEER", self.peer),
            pad("HOST", self.host) if self.host else "",
            pad("STATUS" if self.status >= len("STATUS") else "STAT", self.status),
            pad_left("DURATION" if self.duration >= len("DURATION") else "DUR", self.duration),
            pad_left("REQUEST", self.sizes) if self.sizes else "",
            pad_left("RESPONSE", self.sizes) if self.sizes else "",
            pad("METHOD" if self.method >= len("METHOD") else "", self.method),
            "TARGET",
        ]
        return (" " * self.gap).join(cell for cell in cells if cell)


WHOLE = Layout(190, 12, 6, 20, 21, 24, 6, 8, 8, 6, 2)
"""Where nothing is cut: a file or a pipe. Longer values push what follows to the right."""

LAYOUTS = (
    WHOLE,
    Layout(150, 12, 6, 18, 21, 24, 6, 8, 0, 6, 2),
    Layout(120, 12, 6, 16, 21, 0, 6, 8, 0, 6, 2),
    Layout(72, 8, 6, 10, 15, 0, 4, 6, 0, 4, 1, short=True),
    Layout(0, 0, 0, 10, 15, 0, 4, 6, 0, 4, 1, short=True),
)
"""The widest first. Each leaves some thirty columns to the target where its terminals are the usual ones, of
80, 120, 160 and 200 columns; the last is for windows beside another."""


def layout_of(width: int) -> Layout:
    """The one for a terminal of so many columns."""
    return next(layout for layout in LAYOUTS if width >= layout.least)
