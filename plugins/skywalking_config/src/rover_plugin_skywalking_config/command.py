"""`rover config import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rover import UsageError
from rover.cli.messages import say
from rover.errors import file_error
from rover.plugins.manager import PluginManager, printable
from rover.run.configuration import Catalogue
from rover_plugin_skywalking_config.reading import read, values
from rover_plugin_skywalking_config.translation import configuration, report, translate


def register(cli: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.callback()
    def config() -> None:
        """Write configuration files."""

    @group.command("import")
    def import_(
        context: typer.Context,
        file: Annotated[Path, typer.Argument(help="SkyWalking Rover's: rover_configs.yaml.", metavar="FILE")],
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", metavar="PATH", help="Where it is written; else to the terminal."),
        ] = None,
    ) -> None:
        """Write the configuration of SkyWalking Rover as one of rover, and tell what became of every key.

        `${NAME:default}` is the environment's NAME, else the default, as there.
        """
        manager: PluginManager = context.obj
        try:
            found = values(read(file))
        except ValueError as error:
            raise UsageError(printable(f"{file} cannot be read: {error}")) from None
        made = translate(found, os.environ, Catalogue(manager).declared, Path.cwd())
        text = "\n".join(configuration(made, file.name)) + "\n"
        if output is None:
            typer.echo(text, nl=False)
        else:
            write(output, text)
        for line in report(made.lines):
            say(printable(line))
        outcomes = [line.outcome for line in made.lines]
        said = [f"{outcomes.count(each)} {each}" for each in ("taken", "not needed", "not supported")]
        say(f"{len(outcomes)} keys: {', '.join(said)}")

    cli.add_typer(group, name="config", help="Write configuration files.")


def write(path: Path, text: str) -> None:
    """Writes a file that is not there yet. Raises RoverError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another file, or remove it") from None
    except OSError as error:
        raise file_error(f"cannot write {path}", error) from None
