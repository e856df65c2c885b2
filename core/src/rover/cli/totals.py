"""The end of a run, on standard error."""

from __future__ import annotations

import typer

from rover.report import Report


def show(report: Report) -> None:
    """The totals, and which plugins failed."""
    for line in report.lines():
        typer.echo(f"rover: {line}", err=True)
