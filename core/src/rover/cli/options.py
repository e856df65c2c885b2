"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", readable=False, help="TOML file; docs/configuration.md lists the keys."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as sink.jsonl.path=/tmp/log. Repeatable.")
]
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE...]", help="Recordings or captures; - is standard input. Without: this host."
    ),
]
Sinks = Annotated[
    list[str] | None, typer.Option("--sink", help="Where access logs go: console, jsonl, ... Repeatable.")
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="EXPR", help="Keep the access logs for which EXPR is true: 'status >= 500'."
    ),
]
NoMask = Annotated[
    bool, typer.Option("--no-mask", help="Show secrets: passwords and tokens in targets, cookies, ...")
]
SourceName = Annotated[str | None, typer.Option("--source", help="Where records come from.")]
Pids = Annotated[
    list[int] | None, typer.Option("--pid", help="Watch this process and its descendants. Repeatable.")
]
Comms = Annotated[list[str] | None, typer.Option("--comm", help="Watch processes of this name. Repeatable.")]
NoTls = Annotated[bool, typer.Option("--no-tls", help="Do not read what programs say over TLS.")]
Ports = Annotated[
    list[int] | None, typer.Option("--port", help="Watch connections with this port. Repeatable.")
]
Cgroups = Annotated[
    list[str] | None,
    typer.Option("--cgroup", help="Watch processes in this cgroup v2 directory. Repeatable."),
]
