"""`rover export`: recordings and captures as HAR, for browsers, and as pcapng, for Wireshark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """`rover export`."""
    from rover_plugin_export.command import register

    register(cli)
