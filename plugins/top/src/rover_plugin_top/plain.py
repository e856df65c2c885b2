"""Tables as text, for a file or a pipe: nothing is cut there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from rover_plugin_top.columns import COLUMNS, Column
from rover_plugin_top.tables import Row
from rover_plugin_top.text import printable

WHOLE = ("count", "errors", "breaks", "bytes")


def table(group: str, total: Row, rows: Sequence[Row]) -> Iterator[str]:
    """A header, a line for each row, and one of all together."""
    columns = [column for column in COLUMNS if total.breaks or column.name != "breaks"]
    heads = [group.upper(), *(column.name.upper() for column in columns)]
    named = [(printable(row.name), row) for row in rows] + [("total", total)]
    lines = [heads, *([name, *(cell(column, row) for column in columns)] for name, row in named)]
    yield from aligned(lines, left=1)


def cell(column: Column, row: Row) -> str:
    """What can be told in full is."""
    return str(getattr(row, column.name)) if column.name in WHOLE else column.text(row)


def aligned(lines: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    """Lines of cells in columns, the first `left` of them flush left."""
    widths = [max(cell_len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        cells = []
        for at, cell in enumerate(line):
            blank = " " * (widths[at] - cell_len(cell))
            cells.append(cell + blank if at < left else blank + cell)
        yield "  ".join(cells).rstrip()
