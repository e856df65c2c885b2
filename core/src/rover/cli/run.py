"""`rover run`: capture on this host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from rover.cli.messages import say, say_totals
from rover.cli.options import Cgroups, Comms, Config, Filter, NoMask, Pids, Ports, Sets, Sinks, SourceName
from rover.contracts.settings import Settings
from rover.contracts.source import InformedSource, Source, SourceSpec
from rover.errors import NotInstalledError, RoverError, UsageError
from rover.pipeline.recognition import wanted
from rover.plugins.manager import PluginManager, class_name, first_line
from rover.run.agent import Agent
from rover.run.configuration import Catalogue, selection
from rover.run.priority import set_nice, unmet
from rover.run.signals import Signals

Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes that share the connections, 1 to 8. Default 1.")
]


KEEP = "plugin.filter.keep"
MASK = "plugin.mask.enabled"


def register(app: typer.Typer, signals: Signals) -> None:
    """Adds the command."""

    @app.command("run")
    def run(
        context: typer.Context,
        config: Config = None,
        source: SourceName = None,
        sink: Sinks = None,
        filter_: Filter = None,
        no_mask: NoMask = False,
        pid: Pids = None,
        comm: Comms = None,
        port: Ports = None,
        cgroup: Cgroups = None,
        workers_: Workers = None,
        sets: Sets = None,
    ) -> None:
        """Watch the sockets of this host and log every exchange. Needs root.

        --pid, --comm, --port and --cgroup choose what is watched; a connection must fit every kind
        given, by any of its values.
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
                **hooks_settings(catalogue, filter_, no_mask=no_mask),
            },
        )
        live = live_source(catalogue, settings)

        def ready() -> None:
            if message := unmet(settings["run.nice"]):
                say(message)
            say(f"watching through {settings['run.source']}; Ctrl-C ends")

        if settings["run.workers"] > 1:
            import rover.run.workers as workers

            count = settings["run.workers"]
            report, failure = workers.run(catalogue, settings, live, count, ready=ready, signals=signals)
            say_totals(report, signals)
        else:
            agent = Agent(catalogue, settings, live, signals=signals)
            with signals.watch(agent.stop_seconds, agent.last_words):
                ready()
                failure = agent.run()
                say_totals(agent.report(), signals)
        if failure:
            say(failure)
            raise typer.Exit(1)


def hooks_settings(catalogue: Catalogue, keep: str | None, *, no_mask: bool) -> Mapping[str, object]:
    """The settings that --filter and --no-mask are short for. Raises UsageError where no plugin filters;
    where none masks, nothing is masked."""
    settings: dict[str, object] = {}
    if keep is not None:
        if KEEP not in catalogue.declared:
            raise UsageError("--filter needs a plugin: pip install rover-plugin-filter")
        settings[KEEP] = keep
    if no_mask and MASK in catalogue.declared:
        settings[MASK] = False
    return settings


def live_source(catalogue: Catalogue, settings: Settings) -> Source:
    """The source that `run.source` names, not started, in a process of the priority that
    `run.nice` asks for. Raises UsageError for an unknown one."""
    name = settings["run.source"]
    live = {n: spec for n, spec in catalogue.sources.items() if spec.live}
    if name not in live:
        known = ", ".join(sorted(live)) or "none"
        raise NotInstalledError(f"unknown source {name!r}; installed: {known}", f"source {name}")
    set_nice(settings["run.nice"])
    return make_source(catalogue, live[name], settings)


def make_source(catalogue: Catalogue, spec: SourceSpec, settings: Settings) -> Source:
    """A source, not started. Raises RoverError, which names it, whatever its plugin raises."""
    try:
        source = spec.make(settings.section(f"source.{spec.name}"), selection(settings))
        if isinstance(source, InformedSource):
            source.inform(wanted(catalogue.protocols.values(), settings.section("ports")))
        return source
    except RoverError:
        raise
    except BaseException as error:
        catalogue.manager.blame(f"source {spec.name}").failed("make", error)
        raise RoverError(f"source {spec.name}: {class_name(error)}: {first_line(error)}") from error
