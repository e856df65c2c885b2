"""What the command says to its user, on standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

from rover.plugins.manager import class_name, first_line
from rover.run.signals import Signals, end_by_sigpipe

if TYPE_CHECKING:
    from rover.run.report import Report

logger = logging.getLogger("rover")


def say(message: str) -> None:
    """Says a line. When it cannot be written, on a full disk or in a pipe that was closed, the work goes
    on."""
    with contextlib.suppress(OSError):
        print(f"rover: {message}", file=sys.stderr, flush=True)  # noqa: T201


def drop_unwritten() -> None:
    """What standard error did not take is dropped. Python would try again at the end of the process, and make
    that its exit code (120)."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def clear_line() -> None:
    """On a terminal: what stands on its last line, the progress of a replay or the ^C that was pressed, is
    no beginning of a message."""
    if os.isatty(2) and os.environ.get("TERM") != "dumb":
        with contextlib.suppress(OSError):
            os.write(2, b"\r\x1b[K")


def say_totals(report: Report, signals: Signals) -> None:
    """The end of a run: its totals, and which plugins failed. Nothing of that after a reader that left, as in
    `rover replay FILE | head`: the process ends by SIGPIPE, as others do. Who asks for the end is told."""
    if report.read_by_nobody and not signals.stopping:
        end_by_sigpipe()
    clear_line()
    for line in report.lines():
        say(line)


def say_what_nobody_catches() -> None:
    """From here on, what ends a thread of a plugin's own, or is raised where nothing can catch it, is told
    in a line instead of a traceback."""
    threading.excepthook = _thread_ended
    sys.unraisablehook = _ignored


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if (error := ended.exc_value) is not None:
        name = ended.thread.name if ended.thread is not None else "of no name"
        logger.error("thread %r ended: %s: %s", name, class_name(error), first_line(error))


def _ignored(ignored: sys.UnraisableHookArgs) -> None:
    if (error := ignored.exc_value) is not None:
        kind = class_name(error)
        logger.error("%s: %s: %s", ignored.err_msg or "ignored", kind, first_line(error))
