"""What is slow, what fails, who talks to whom: `rover top` and `rover map`.

What draws takes time to import: it is imported when one of the commands runs, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """`rover top`, `rover map`."""
    from rover_plugin_top.commands import register

    register(cli)
