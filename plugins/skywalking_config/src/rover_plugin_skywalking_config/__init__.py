"""The configuration of SkyWalking Rover for rover: the command `rover config import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """`rover config import`."""
    from rover_plugin_skywalking_config.command import register

    register(cli)
