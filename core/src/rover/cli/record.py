"""`rover record`: capture on this host, to a file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rover.agent import Agent
from rover.cli.options import Cgroups, Comms, Config, Pids, Ports, Sets, Sinks, SourceName
from rover.cli.run import live_source
from rover.cli.totals import show
from rover.configuration import Catalogue
from rover.errors import UsageError
from rover.plugins import PluginManager
from rover.recording.recorder import Recorder
from rover.recording.writer import Writer
from rover.signals import Signals


def register(app: typer.Typer, signals: Signals) -> None:
    """Adds the command."""

    @app.command("record")
    def record(
        context: typer.Context,
        out: Annotated[
            str,
            typer.Argument(
                metavar="OUT", help="File to write; one that exists is replaced. - is standard output."
            ),
        ],
        config: Config = None,
        source: SourceName = None,
        sink: Sinks = None,
        pid: Pids = None,
        comm: Comms = None,
        port: Ports = None,
        cgroup: Cgroups = None,
        sets: Sets = None,
    ) -> None:
        """Record what the sockets of this host do, for rover replay. Needs root.

        The file holds what went over the wire, secrets too: only its owner can read it.

        It grows until Ctrl-C; whatever ends it, it is good up to its last second.

        Access logs are written as well where --sink asks for them, else none.
        """
        manager: PluginManager = context.obj
        if out == "-" and sys.stdout.isatty():
            raise UsageError("a recording is binary: send standard output to a file or a pipe")
        if out == "-" and sink:
            raise UsageError("standard output is the recording's: --sink needs a file as OUT")
        catalogue = Catalogue(manager)
        options = {
            "run.source": source,
            "select.pid": pid,
            "select.comm": comm,
            "select.port": port,
            "select.cgroup": cgroup,
        }
        settings = catalogue.settings(config, sets or (), options)
        writer = Writer(out)
        recorder = Recorder(live_source(catalogue, settings), writer)
        agent = Agent(catalogue, settings, recorder, sinks=sink or (), signals=signals)
        with signals.watch(agent.stop_seconds, agent.last_words):
            name = settings["run.source"]
            typer.echo(f"rover: recording through {name} to {writer.name}; Ctrl-C ends", err=True)
            failure = agent.run() or writer.failure
            show(agent.report())
        typer.echo(f"rover: {writer.records} records, {writer.size} bytes in {writer.name}", err=True)
        if failure:
            typer.echo(f"rover: {failure}", err=True)
            raise typer.Exit(1)
