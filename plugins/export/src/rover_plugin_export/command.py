"""`rover export`."""

from __future__ import annotations

from typing import Annotated

import typer

from rover import UsageError
from rover.cli.options import Config, Sets

FILES = typer.Argument(metavar="FILE...", help="Recordings or captures; - is standard input.")
HAR = typer.Option("--har", metavar="OUT", help="Exchanges of HTTP, with content, as an HTTP Archive.")
PCAPNG = typer.Option("--pcapng", metavar="OUT", help="Plaintext in packets, each of its process.")
FORCE = typer.Option("--force", help="Replace OUT if it exists.")
CONTENT = typer.Option("--content", metavar="SIZE", help="Content kept of each message; 0 for none.")


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("export")
    def export(
        context: typer.Context,
        files: Annotated[list[str], FILES],
        har: Annotated[str | None, HAR] = None,
        pcapng: Annotated[str | None, PCAPNG] = None,
        force: Annotated[bool, FORCE] = False,
        content: Annotated[str, CONTENT] = "1MiB",
        config: Config = None,
        sets: Sets = None,
    ) -> None:
        """Export what was recorded, as HAR for browsers or as pcapng for Wireshark.

        OUT holds what went over the wire, passwords and cookies too; only its owner can read it.
        - is standard output.
        """
        if har is None and pcapng is None:
            raise UsageError("nothing to write: name --har OUT or --pcapng OUT")
        if har is not None and har == pcapng:
            raise UsageError(f"--har and --pcapng cannot both be {har}")
        from rover_plugin_export.run import run

        limit = _size(content)
        code = run(
            context.obj, files, har, pcapng, replace=force, limit=limit, config=config, sets=sets or ()
        )
        if code:
            raise typer.Exit(code)


def _size(text: str) -> int:
    from rover.contracts.settings import Setting

    size: int = Setting("--content", 0, "", minimum=0, maximum=64 << 20, size=True).read("--content", text)  # type: ignore[assignment]
    return size
