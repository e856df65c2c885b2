"""`rover top` and `rover map` as commands. What they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rover import UsageError
from rover.cli.options import Cgroups, Comms, Config, NoMask, Pids, Ports, Sets, SourceName
from rover.cli.watching import Asked
from rover_plugin_top.choices import GROUPS, SORTS

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE...]", help="Recordings or captures; - is standard input. Without: this host."
    ),
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="EXPR", help="Only these exchanges, such as 'status >= 500'.")
]


def register(cli: typer.Typer) -> None:
    """Adds the command."""

    @cli.command("top")
    def top(
        context: typer.Context,
        files: Files = None,
        by: Annotated[
            str, typer.Option(metavar="GROUP", help=f"What rows are of: {', '.join(GROUPS)}.")
        ] = "route",
        sort: Annotated[
            str, typer.Option(metavar="COLUMN", help=f"The first has most of: {', '.join(SORTS)}.")
        ] = "count",
        filter_: Filter = "",
        config: Config = None,
        source: SourceName = None,
        pid: Pids = None,
        comm: Comms = None,
        port: Ports = None,
        cgroup: Cgroups = None,
        no_mask: NoMask = False,
        sets: Sets = None,
    ) -> None:
        """What is slow, what fails, how much of it: a live table of this host, or of files.

        A file or a pipe gets the table once, at the end. Watching this host needs root.
        """
        for value, known, option in ((by, GROUPS, "--by"), (sort, SORTS, "--sort")):
            if value not in known:
                raise UsageError(f"{option} {value!r}: must be one of {', '.join(known)}")
        asked = Asked(
            files=files or (),
            config=config,
            source=source,
            pids=pid,
            comms=comm,
            ports=port,
            cgroups=cgroup,
            no_mask=no_mask,
            sets=sets,
        )
        from rover_plugin_top.showing import show

        show(context.obj, asked, by, sort, filter_)

    @cli.command("map")
    def map_(
        context: typer.Context,
        files: Files = None,
        dot: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write it for Graphviz; - is standard output.")
        ] = None,
        mermaid: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Write it for Mermaid; - is standard output.")
        ] = None,
        filter_: Filter = "",
        config: Config = None,
        source: SourceName = None,
        pid: Pids = None,
        comm: Comms = None,
        port: Ports = None,
        cgroup: Cgroups = None,
        no_mask: NoMask = False,
        sets: Sets = None,
    ) -> None:
        """Who talks to whom: this host until Ctrl-C, or files to their end.

        Watching this host needs root.
        """
        asked = Asked(
            files=files or (),
            config=config,
            source=source,
            pids=pid,
            comms=comm,
            ports=port,
            cgroups=cgroup,
            no_mask=no_mask,
            sets=sets,
        )
        from rover_plugin_top.mapping import draw

        draw(context.obj, asked, filter_, dot, mermaid)
