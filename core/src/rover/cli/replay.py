"""`rover replay`: the same access logs from captures and recordings."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

import typer

from rover.cli.first_bytes import opening_of
from rover.cli.messages import say, say_totals
from rover.cli.options import Config, Filter, NoMask, Sets, Sinks
from rover.cli.run import hooks_settings, make_source
from rover.contracts.settings import Settings
from rover.contracts.source import Source, SourceSpec
from rover.errors import RoverError, UsageError
from rover.plugins.manager import PluginManager, first_line
from rover.run.agent import Agent, start_source
from rover.run.configuration import Catalogue
from rover.run.paced import Paced
from rover.run.report import Report, amount
from rover.run.signals import Signals


def register(app: typer.Typer, signals: Signals) -> None:
    """Adds the command."""

    @app.command("replay")
    def replay(
        context: typer.Context,
        files: Annotated[
            list[str], typer.Argument(metavar="FILE...", help="Captures or recordings; - is standard input.")
        ],
        config: Config = None,
        sink: Sinks = None,
        filter_: Filter = None,
        no_mask: NoMask = False,
        speed: Annotated[
            float,
            typer.Option(
                metavar="FACTOR", help="1 is as it happened, 2 twice as fast; 0 as fast as possible.", min=0
            ),
        ] = 0,
        sets: Sets = None,
    ) -> None:
        """Read captures and recordings, and log every exchange in them."""
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)

        def settings_with(given: Mapping[str, object]) -> Settings:
            short = hooks_settings(catalogue, filter_, no_mask=no_mask)
            return catalogue.settings(config, sets or (), {"run.sinks": sink, **short, **given})

        settings = settings_with({})
        reading = Files(catalogue, files, settings_with, speed)
        sources = iter(reading)
        first = next(sources, None)
        if first is None:
            raise typer.Exit(reading.code)
        agent = Agent(catalogue, settings, first, follow=sources, lossless=True, signals=signals)
        reading.attend = agent.attend
        with signals.watch(agent.stop_seconds, agent.last_words):
            # Where access logs go to the terminal, they are the progress.
            shown = os.isatty(2) and not os.isatty(1)
            failure = agent.run((lambda: show_progress(agent.report())) if shown else None)
            say_totals(agent.report(), signals)
        for message in agent.failures or ([failure] if failure else []):
            say(message)
        if code := max(reading.code, bool(failure)):
            raise typer.Exit(code)


class Files:
    """The files as sources, each started when it is its turn. One that cannot be read is told, and the next
    one comes: the others may be what is asked for (`rover replay *`)."""

    def __init__(
        self,
        catalogue: Catalogue,
        files: Sequence[str],
        settings_with: Callable[[Mapping[str, object]], Settings],
        speed: float,
    ) -> None:
        """`settings_with`: the run's settings, and some more."""
        self.code = 0
        """The exit code that those deserve which could not be read."""
        self.attend: Callable[[], float] = lambda: math.inf
        """Called while something is waited for; says until when that may be (time.monotonic)."""
        self._catalogue = catalogue
        self._files = files
        self._settings_with = settings_with
        self._speed = speed

    def __iter__(self) -> Iterator[Source]:
        for file in self._files:
            try:
                source = self._start(file)
            except RoverError as error:
                say(first_line(error))
                self.code = max(self.code, 2 if isinstance(error, UsageError) else 1)
            else:
                if source is None:
                    return
                yield source

    def _wait(self) -> float:
        return self.attend()

    def _start(self, file: str) -> Source | None:
        """None when an end was asked for meanwhile."""
        spec = self._spec(file)
        if spec is None:
            return None
        source = make_source(self._catalogue, spec, self._settings_with({f"source.{spec.name}.path": file}))
        if self._speed:
            source = paced = Paced(source, self._speed)
            paced.attend = self._wait
        try:
            start_source(self._catalogue.manager, source)
        except RoverError:
            source.close()
            raise
        return source

    def _spec(self, file: str) -> SourceSpec | None:
        """The source that knows the file by its first bytes. None when an end was asked for before they
        came. Raises RoverError."""
        known = {name: spec for name, spec in self._catalogue.sources.items() if not spec.live}
        found: list[SourceSpec] = []

        def recognised(opening: bytes) -> bool:
            found.extend(spec for spec in known.values() if self._opens(spec, opening))
            return bool(found)

        opening = opening_of(file, recognised, self._wait)
        if opening is None:
            return None
        if found:
            return found[0]
        name = "standard input" if file == "-" else file
        if not opening:
            raise UsageError(f"{name} is empty")
        readers = ", ".join(sorted(known)) or "none installed"
        raise UsageError(f"{name}: neither a capture nor a recording ({readers})")

    def _opens(self, spec: SourceSpec, opening: bytes) -> bool:
        if spec.opens is None:
            return False
        try:
            return bool(spec.opens(opening))
        except BaseException as error:
            self._catalogue.manager.blame(f"source {spec.name}").failed("opens", error)
            return False


def show_progress(report: Report) -> None:
    """Where a long replay stands, on one line of a terminal."""
    sys.stderr.write(
        f"\r{amount(report.connections, 'connections')}, {amount(report.exchanges, 'exchanges')}\x1b[K"
    )
    sys.stderr.flush()
