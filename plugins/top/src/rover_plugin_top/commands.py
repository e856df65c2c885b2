"""`rover top` and `rover map` as commands. What they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rover import UsageError
from rover.cli.watching import Asked, asking
from rover_plugin_top.choices import GROUPS, SORTS

Filter = Annotated[
    str, typer.Option("--filter", metavar="EXPR", help="Only these exchanges, such as 'status >= 500'.")
]


def register(cli: typer.Typer) -> None:
    """Adds the command."""

    @cli.command("top")
    @asking
    def top(
        context: typer.Context,
        asked: Asked,
        by: Annotated[
            str, typer.Option(metavar="GROUP", help=f"What rows are of: {', '.join(GROUPS)}.")
        ] = "route",
        sort: Annotated[
            str, typer.Option(metavar="COLUMN", help=f"The first has most of: {', '.join(SORTS)}.")
        ] = "count",
        filter_: Filter = "",
    ) -> None:
        """What is slow, what fails, how much of it: a live table of this host, or of files.

        A file or a pipe gets the table once, at the end. Watching this host needs root.
        """
        for value, known, option in ((by, GROUPS, "--by"), (sort, SORTS, "--sort")):
            if value not in known:
                raise UsageError(f"{option} {value!r}: must be one of {', '.join(known)}")
        from rover_plugin_top.showing import show

        show(context.obj, asked, by, sort, filter_)

    @cli.command("map")
    @asking
    def map_(
        context: typer.Context,
        asked: Asked,
        dot: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write it for Graphviz; - is standard output.")
        ] = None,
        mermaid: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write it for Mermaid; - is standard output.")
        ] = None,
        filter_: Filter = "",
    ) -> None:
        """Who talks to whom: this host until Ctrl-C, or files to their end.

        Watching this host needs root.
        """
        from rover_plugin_top.mapping import draw

        draw(context.obj, asked, filter_, dot, mermaid)
