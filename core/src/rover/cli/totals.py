"""The end of a run, on standard error."""

from __future__ import annotations

from rover.cli.messages import say
from rover.report import Report


def show(report: Report) -> None:
    """The totals, and which plugins failed."""
    for line in report.lines():
        say(line)
