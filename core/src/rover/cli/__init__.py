"""The `rover` command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from rover.cli import doctor, plugins, record, replay, run
from rover.errors import RoverError, UsageError
from rover.plugins import PluginManager, first_line

logger = logging.getLogger("rover")


def build(manager: PluginManager) -> typer.Typer:
    """The command with everything the plugins add to it."""
    app = typer.Typer(
        name="rover",
        help="Access logs of every process on this host, read from its sockets.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "obj": manager},
    )
    run.register(app)
    replay.register(app)
    record.register(app)
    plugins.register(app)
    doctor.register(app)
    manager.hook.register_commands(cli=app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exits 0 when all went well, 1 when it failed, 2 when it was asked wrongly."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    if debug:
        argv.remove("--debug")
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="rover: %(message)s" if not debug else "%(asctime)s %(name)s: %(message)s",
    )
    manager = PluginManager()
    manager.load_entry_points()
    try:
        code = build(manager)(argv, standalone_mode=False, prog_name="rover")
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except UsageError as error:
        code = _fail(first_line(error), 2)
    except RoverError as error:
        code = _fail(first_line(error), 1)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        sys.stderr.close()
        code = 1
    except Exception as error:
        # Typer's own errors have no public base class that all its versions share.
        if message := getattr(error, "format_message", None):
            sys.exit(_fail(message(), 2))
        if debug:
            raise
        code = _fail(f"internal error: {type(error).__name__}: {first_line(error)} (--debug shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    if message:
        print(f"rover: {message}", file=sys.stderr)  # noqa: T201
    return code
