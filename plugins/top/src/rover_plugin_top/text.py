"""Values as text of a given width, and nothing in it that a terminal would obey."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

SECOND = 1_000_000_000


def printable(text: str) -> str:
    """The text with what would steer a terminal written as escapes: it came from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def fitted(text: str, width: int) -> str:
    """Printable, in exactly so many columns: what does not fit ends in an ellipsis, the rest is blank."""
    # What is escaped takes more columns, never fewer, and marks take none: eight for a column are plenty.
    text = printable(text[: 8 * width + 8])
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def duration(nanoseconds: int) -> str:
    """Three digits, six characters at most: "85.4us", "1.23ms", "3.41s", "17m", "31d"."""
    if nanoseconds < 1000:
        return f"{nanoseconds}ns"
    for unit, size in (("us", 1000), ("ms", 1_000_000), ("s", SECOND)):
        if nanoseconds < 999.5 * size:
            return f"{digits(nanoseconds / size)}{unit}"
    minutes = nanoseconds / (60 * SECOND)
    return f"{minutes:.0f}m" if minutes < 99_999 else f"{minutes / 1440:.0f}d"


def digits(value: float) -> str:
    """Three of them: "1.23", "12.3", "123"."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def number(value: float) -> str:
    """ "615", "12.3k", "5.2M"; "0.25" below ten, where it is no whole number."""
    if value < 10 and value != int(value):
        return f"{value:.2f}"
    if value < 9999.5:
        return f"{value:.0f}"
    units = "kMGTPE"
    value /= 1000
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f}{units[0]}"
