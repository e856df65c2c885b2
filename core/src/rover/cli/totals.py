"""The end of a run, on standard error."""

from __future__ import annotations

from rover.cli.messages import clear_line, say
from rover.run.report import Report
from rover.run.signals import Signals, end_by_sigpipe


def show(report: Report, signals: Signals) -> None:
    """The totals, and which plugins failed. Nothing of that after a reader that left, as in
    `rover replay FILE | head`: the process ends by SIGPIPE, as others do. Who asks for the end is told."""
    if report.read_by_nobody and not signals.stopping:
        end_by_sigpipe()
    clear_line()
    for line in report.lines():
        say(line)
