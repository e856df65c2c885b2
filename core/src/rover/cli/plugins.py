"""`rover plugins`: what is installed, from where, and how it fares."""

from __future__ import annotations

from typing import Annotated

import typer

from rover.cli import new
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue


def register(app: typer.Typer) -> None:
    """Adds the command."""

    group = typer.Typer()
    new.register(group)
    app.add_typer(group, name="plugins", help="List the installed plugins, or write a new one.")

    @group.callback(invoke_without_command=True)
    def plugins(
        context: typer.Context,
        settings: Annotated[
            bool,
            typer.Option("--settings", help="Write every setting, as TOML that is a configuration file."),
        ] = False,
    ) -> None:
        """List the installed plugins: what they provide, the hooks they implement, failures.

        With the command `new`, write the package of one that is yours.
        """
        if context.invoked_subcommand is not None:
            return
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        if settings:
            from rover.cli.template import template

            for line in template(catalogue.declared):
                typer.echo(line)
            return
        rows = [("PLUGIN", "PACKAGE", "PROVIDES")]
        for plugin in manager.plugins:
            hooks = [hook for hook in plugin.hooks if not hook.startswith("register_")]
            rows.append((plugin.name, plugin.distribution, ", ".join([*plugin.provides, *hooks]) or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        for row in rows:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for name, kind, count in manager.failures():
            typer.echo(f"failed: {name}: {kind} ({count})")
