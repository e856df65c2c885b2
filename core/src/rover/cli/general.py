"""What `rover` takes before any command: --version and --debug."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from rover.plugins.manager import PluginManager


def show_versions(context: typer.Context, asked: bool) -> None:
    """What --version does, in place of a command."""
    if asked:
        for line in versions(context.obj):
            typer.echo(line)
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Show the version of rover and of its packages.",
        callback=show_versions,
        is_eager=True,
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks, and what happens inside. With any command.")
]


def register(app: typer.Typer) -> None:
    """Adds the options."""

    @app.callback()
    def options(version: Version = False, debug: Debug = False) -> None:
        # --version has been answered. `rover.cli.command` has taken --debug out of the arguments, for it
        # holds from the first import on; here it is for the help.
        del version, debug


def versions(manager: PluginManager) -> Iterator[str]:
    """A line for rover itself, then one for each package that plugins come from."""
    yield f"rover {version_of('rover-core')} (Python {platform.python_version()})"
    yield from sorted({plugin.distribution for plugin in manager.plugins if plugin.distribution})
