"""`rover record`: capture on this host, to a file."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from rover.cli.messages import say, say_totals
from rover.cli.options import Cgroups, Comms, Config, NoMask, Pids, Ports, Sets, Sinks, SourceName
from rover.cli.run import hooks_settings, live_source
from rover.errors import UsageError
from rover.plugins.manager import PluginManager
from rover.recording.recorder import Recorder
from rover.recording.target import STDOUT
from rover.recording.writer import Writer
from rover.run.agent import Agent
from rover.run.configuration import Catalogue
from rover.run.report import amount
from rover.run.signals import Signals


def register(app: typer.Typer, signals: Signals) -> None:
    """Adds the command."""

    @app.command("record")
    def record(
        context: typer.Context,
        out: Annotated[
            str,
            typer.Argument(metavar="OUT", help="File to write. - is standard output."),
        ],
        force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
        config: Config = None,
        source: SourceName = None,
        sink: Sinks = None,
        no_mask: NoMask = False,
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
        writer = Writer(out, replace=force)
        writer.target.check()
        if writer.target.handed == STDOUT and sink:
            raise UsageError("standard output is the recording's: --sink needs a file as OUT")
        catalogue = Catalogue(manager)
        options = {
            "run.source": source,
            "select.pid": pid,
            "select.comm": comm,
            "select.port": port,
            "select.cgroup": cgroup,
            **hooks_settings(catalogue, None, no_mask=no_mask),
        }
        settings = catalogue.settings(config, sets or (), options)
        recorder = Recorder(live_source(catalogue, settings), writer)
        agent = Agent(catalogue, settings, recorder, sinks=sink or (), signals=signals)
        writer.target.ending = lambda: agent.attend() < math.inf
        with signals.watch(agent.stop_seconds, agent.last_words):
            name = settings["run.source"]
            say(f"recording through {name} to {writer.name}; Ctrl-C ends")
            failure = agent.run() or writer.failure
            say_totals(agent.report(), signals)
        say(f"{amount(writer.records, 'records')}, {amount(writer.size, 'bytes')} in {writer.name}")
        if failure:
            say(failure)
            raise typer.Exit(1)
