"""`rover run`: capture on this host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rover import workers
from rover.agent import Agent, signals
from rover.configuration import Catalogue, selection
from rover.errors import UsageError
from rover.plugins import PluginManager
from rover.priority import set_nice
from rover.report import Report
from rover.settings import Settings
from rover.source import Source

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file; docs/configuration.md lists the keys.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as sink.jsonl.path=/tmp/log. Repeatable.")
]
Sinks = Annotated[
    list[str] | None, typer.Option("--sink", help="Where access logs go: console, jsonl, ... Repeatable.")
]
SourceName = Annotated[str | None, typer.Option("--source", help="Where records come from.")]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes that share the connections, 1 to 8. Default 1.")
]
Pids = Annotated[
    list[int] | None, typer.Option("--pid", help="Watch this process and its descendants. Repeatable.")
]
Comms = Annotated[list[str] | None, typer.Option("--comm", help="Watch processes of this name. Repeatable.")]
Ports = Annotated[
    list[int] | None, typer.Option("--port", help="Watch connections with this port. Repeatable.")
]
Cgroups = Annotated[
    list[str] | None,
    typer.Option("--cgroup", help="Watch processes in this cgroup v2 directory. Repeatable."),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("run")
    def run(
        context: typer.Context,
        config: Config = None,
        source: SourceName = None,
        sink: Sinks = None,
        pid: Pids = None,
        comm: Comms = None,
        port: Ports = None,
        cgroup: Cgroups = None,
        workers_: Workers = None,
        sets: Sets = None,
    ) -> None:
        """Watch the sockets of this host and log every exchange. Needs root.

        --pid, --comm, --port and --cgroup choose what is watched; a connection must fit every kind
        given, by any of its values. --debug shows tracebacks.
        """
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        settings = catalogue.settings(
            config,
            sets or (),
            {
                "run.source": source,
                "run.sinks": sink,
                "run.workers": workers_,
                "select.pid": pid,
                "select.comm": comm,
                "select.port": port,
                "select.cgroup": cgroup,
            },
        )
        live = live_source(catalogue, settings)

        def ready() -> None:
            typer.echo(f"rover: watching through {settings['run.source']}; Ctrl-C ends", err=True)

        if settings["run.workers"] > 1:
            report, failure = workers.run(catalogue, settings, live, settings["run.workers"], ready=ready)
        else:
            agent = Agent(catalogue, settings, live)
            with signals(agent):
                ready()
                failure = agent.run()
            report = agent.report()
        show(report)
        if failure:
            typer.echo(f"rover: {failure}", err=True)
            raise typer.Exit(1)


def live_source(catalogue: Catalogue, settings: Settings) -> Source:
    """The source that `run.source` names, not started, in a process of the priority that
    `run.nice` asks for. Raises UsageError for an unknown one."""
    name = settings["run.source"]
    live = {n: spec for n, spec in catalogue.sources.items() if spec.live}
    if name not in live:
        known = ", ".join(sorted(live)) or "none"
        raise UsageError(f"unknown source {name!r}; installed: {known}")
    set_nice(settings["run.nice"])
    return live[name].make(settings.section(f"source.{name}"), selection(settings))


def show(report: Report) -> None:
    """The end of a run: the totals, and which plugins failed."""
    for line in report.lines():
        typer.echo(f"rover: {line}", err=True)
