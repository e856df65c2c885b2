"""`rover plugins`: what is installed, from where, and how it fares."""

from __future__ import annotations

from typing import Annotated

import typer

from rover.configuration import Catalogue
from rover.plugins import PluginManager, printable
from rover.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("plugins")
    def plugins(
        context: typer.Context,
        settings: Annotated[
            bool, typer.Option("--settings", help="Also every setting and its default.")
        ] = False,
    ) -> None:
        """List the installed plugins: what they provide, the hooks they implement, failures."""
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        rows = [("PLUGIN", "PACKAGE", "PROVIDES", "HOOKS")]
        for plugin in manager.plugins:
            hooks = ", ".join(hook for hook in plugin.hooks if not hook.startswith("register_"))
            provides = ", ".join(plugin.provides)
            rows.append((plugin.name, plugin.distribution, provides or "-", hooks or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for name, kind, count in manager.failures():
            typer.echo(f"failed: {name}: {kind} ({count})")
        if settings:
            typer.echo()
            for key, value, declared in Settings(catalogue.declared).items():
                variable = f" ({declared.environment})" if declared.environment else ""
                shown = str(value).lower() if isinstance(value, bool) else repr(value)  # as in TOML
                typer.echo(printable(f"{key} = {shown}  # {declared.help}{variable}"))
