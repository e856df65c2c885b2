"""The columns of the table, and which of them there is room for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from rover_plugin_top.tables import Row
from rover_plugin_top.text import duration, number


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of figures."""

    name: str
    width: int
    text: Callable[[Row], str]
    dispensable: int
    """Which goes first where there is no room; 0 stays."""


COLUMNS = (
    Column("rate", 6, lambda row: number(row.rate), 0),
    Column("count", 6, lambda row: number(row.count), 3),
    Column("errors", 6, lambda row: number(row.errors), 1),
    Column("breaks", 6, lambda row: number(row.breaks), 4),
    Column("p50", 6, lambda row: duration(row.p50) if row.count else "-", 5),
    Column("p95", 6, lambda row: duration(row.p95) if row.count else "-", 2),
    Column("p99", 6, lambda row: duration(row.p99) if row.count else "-", 0),
    Column("bytes", 6, lambda row: number(row.bytes), 6),
)
LEAST_NAME = 20
"""Columns of a terminal that what the rows are of has at least, unless nothing can be left out."""


def chosen(width: int, breaks: bool) -> Sequence[Column]:
    """What is shown in so many columns; breaks only where there are some."""
    columns = [column for column in COLUMNS if breaks or column.name != "breaks"]
    while left_for_name(width, columns) < LEAST_NAME and any(column.dispensable for column in columns):
        columns.remove(max(columns, key=lambda column: column.dispensable))
    while columns and left_for_name(width, columns) < 1:
        columns.pop()
    return columns


def left_for_name(width: int, columns: Sequence[Column]) -> int:
    """Columns of the terminal that the others leave."""
    return width - sum(column.width + 1 for column in columns)
