"""The `rover` command."""

from __future__ import annotations

import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exits 0 when all went well, 1 when it failed, 2 when it was asked wrongly."""
    # Before anything else is imported, which takes a tenth of a second: until then Ctrl-C is an exception
    # wherever it comes, with Python's traceback. Now it ends the process, as it does others.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rover.cli.command import command

    command(arguments)
