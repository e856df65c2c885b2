"""Commands that plugins add, each plugin's tried on its own before it is taken."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.main import get_command

from rover.plugins.manager import PluginManager


def extensions(manager: PluginManager, app: typer.Typer) -> Iterator[typer.Typer]:
    """What `register_commands` adds, by plugin. Commands that Typer cannot make anything of, or of a name
    that is taken, are their plugin's failure: `rover` without them runs on."""
    taken = names(app)
    for plugin, hook in manager.implementations("register_commands"):
        added = typer.Typer()
        hook(added)
        try:
            found = names(added)
            if both := taken & found:
                raise ValueError(f"there is a command {min(map(str, both))} already")
        except BaseException as error:
            plugin.failed("register_commands", error)
        else:
            taken |= found
            yield added


def names(app: typer.Typer) -> set[str | None]:
    """Of its commands. Raises whatever Typer does when it makes them."""
    commands, groups = list(app.registered_commands), list(app.registered_groups)
    if not commands and not groups:
        return set()
    probe = typer.Typer()
    probe.callback()(lambda: None)  # else Typer makes a lone command the whole
    probe.registered_commands = commands
    probe.registered_groups = groups
    return set(getattr(get_command(probe), "commands", ()))
