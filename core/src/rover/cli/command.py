"""The command put together, and its end: exit codes, and errors as a line."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rover.cli.messages import drop_unwritten, say, say_what_nobody_catches
from rover.cli.packages import hint
from rover.errors import RoverError, UsageError
from rover.plugins.manager import PluginManager, first_line
from rover.run.signals import Signals, end_by_sigpipe

if TYPE_CHECKING:
    import typer

RUNS = ("run", "replay", "record")
"""Commands that last until a signal ends them."""
GONE = (errno.EIO, errno.EBADF)
"""What a write says to a closed terminal, and to a descriptor that was never open."""

logger = logging.getLogger("rover")


def build(manager: PluginManager, signals: Signals | None = None) -> typer.Typer:
    """The command with everything the plugins add to it. `signals`: those its process has taken."""
    # Not above: `command` has taken the signals by the time these imports are made.
    import typer

    from rover.cli import doctor, general, plugins, record, replay, run
    from rover.cli.extensions import extensions

    signals = signals or Signals()
    app = typer.Typer(
        name="rover",
        help="Access logs of every process on this host, read from its sockets.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "obj": manager},
    )

    general.register(app)
    run.register(app, signals)
    replay.register(app, signals)
    record.register(app, signals)
    plugins.register(app)
    doctor.register(app)
    for added in extensions(manager, app):
        app.registered_commands += added.registered_commands
        app.registered_groups += added.registered_groups
    return app


def command(arguments: Sequence[str] | None = None) -> None:
    """Everything after the start; see `rover.cli.main`."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    signals = Signals()
    open_standard_streams()
    atexit.register(drop_unwritten)
    debug = without_debug(argv)
    runs = bool(argv) and argv[0] in RUNS
    if runs:
        signals.take()
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="rover: %(message)s" if not debug else "%(asctime)s %(name)s: %(message)s",
    )
    if not debug:
        say_what_nobody_catches()
    manager = PluginManager()
    manager.load_entry_points()
    import typer

    app = build(manager, signals)
    if not runs and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a plugin's command may have its own end
    try:
        code = app(argv, standalone_mode=False, prog_name="rover")
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except UsageError as error:
        code = _fail(first_line(error) + hint(error), 2)
    except RoverError as error:
        code = _fail(first_line(error), 1)
    except BrokenPipeError:
        end_by_sigpipe()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer has an end of its own for it
            end_by_sigpipe()
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in GONE:
            # The reader of our output has left; there is nobody to tell.
            os._exit(1)
        # Typer's own errors have no public base class that all its versions share.
        if message := getattr(error, "format_message", None):
            sys.exit(_fail(message().removesuffix("."), 2))
        if debug:
            raise
        code = _fail(f"internal error: {type(error).__name__}: {first_line(error)} (--debug shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def without_debug(argv: list[str]) -> bool:
    """Takes --debug out of the arguments, before or after the command; says whether it was there."""
    end = argv.index("--") if "--" in argv else len(argv)
    options = argv[:end]
    argv[:end] = [part for part in options if part != "--debug"]
    return "--debug" in options


def open_standard_streams() -> None:
    """Where one of the three was not open, what this process opens first would be taken for it, and lines
    would go into a file that is somebody else's. So it is one that cannot be read, or not be written."""
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest that is free: this one


def _fail(message: str, code: int) -> int:
    if message:
        say(message)
    return code
