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
    """ "85us", "1.2ms", "3.41s", "12m"."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds // 1000}us"
    if nanoseconds < 999_950_000:
        return f"{nanoseconds / 1e6:.1f}ms"
    if nanoseconds < 1000 * SECOND:
        return f"{nanoseconds / 1e9:.2f}s"
    return f"{nanoseconds / 60e9:.0f}m"


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
