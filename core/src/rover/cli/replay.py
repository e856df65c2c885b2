"""`rover replay`: the same access logs from captures and recordings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rover.agent import Agent
from rover.cli.messages import say
from rover.cli.options import Config, Sets, Sinks
from rover.cli.run import make_source
from rover.cli.totals import show
from rover.configuration import Catalogue
from rover.errors import RoverError, UsageError
from rover.paced import Paced
from rover.pipeline.totals import Totals
from rover.plugins import PluginManager, first_line
from rover.report import amount
from rover.settings import Settings
from rover.signals import Signals
from rover.source import SourceSpec

OPENING = 512
"""Bytes of a file that the sources may look at to know their own."""


def register(app: typer.Typer, signals: Signals) -> None:
    """Adds the command."""

    @app.command("replay")
    def replay(
        context: typer.Context,
        files: Annotated[list[str], typer.Argument(help="Captures or recordings; - is standard input.")],
        config: Config = None,
        sink: Sinks = None,
        speed: Annotated[
            float, typer.Option(help="1 is as it happened, 2 twice as fast; 0 as fast as possible.", min=0)
        ] = 0,
        sets: Sets = None,
    ) -> None:
        """Read captures and recordings, and log every exchange in them."""
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        code = 0
        for file in files:
            if signals.stopping:
                break
            try:
                spec = source_of(catalogue, file)
            except RoverError as error:
                # The others may be what is asked for: rover replay *
                say(first_line(error))
                code = max(code, 2 if isinstance(error, UsageError) else 1)
                continue
            try:
                given = {"run.sinks": sink, f"source.{spec.name}.path": file}
                settings = catalogue.settings(config, sets or (), given)
                code = max(code, bool(play(catalogue, settings, spec, speed)))
            except UsageError:
                raise
            except RoverError as error:
                say(first_line(error))
                code = max(code, 1)
        if code:
            raise typer.Exit(code)

    def play(catalogue: Catalogue, settings: Settings, spec: SourceSpec, speed: float) -> str:
        source = make_source(catalogue, spec, settings)
        if speed:
            source = paced = Paced(source, speed)
            agent = Agent(catalogue, settings, paced, lossless=True, signals=signals)
            paced.attend = agent.attend
        else:
            agent = Agent(catalogue, settings, source, lossless=True, signals=signals)
        with signals.watch(agent.stop_seconds, agent.last_words):
            failure = agent.run(show_progress if os.isatty(2) else None)
            show(agent.report())
        if failure:
            say(failure)
        return failure


def source_of(catalogue: Catalogue, file: str) -> SourceSpec:
    """The source that knows the file by its first bytes."""
    name = "standard input" if file == "-" else file
    try:
        if file == "-":
            if sys.stdin is None:
                raise RoverError("cannot read standard input: it is not open")
            opening = sys.stdin.buffer.peek(OPENING)[:OPENING]  # type: ignore[union-attr]
        elif Path(file).is_fifo():
            # It can be read once only, and the source opens it by its name again.
            raise UsageError(f"{file} is a pipe: give it as standard input, rover replay - < {file}")
        else:
            with open(file, "rb") as opened:
                opening = opened.read(OPENING)
    except OSError as error:
        raise RoverError(f"cannot read {name}: {error.strerror}") from None
    for spec in catalogue.sources.values():
        if not spec.live and spec.opens is not None:
            try:
                if spec.opens(opening):
                    return spec
            except BaseException as error:
                catalogue.manager.blame(f"source {spec.name}").failed("opens", error)
    known = ", ".join(sorted(n for n, s in catalogue.sources.items() if not s.live)) or "none installed"
    raise UsageError(f"{name}: neither a capture nor a recording ({known})")


def show_progress(totals: Totals) -> None:
    """Where a long replay stands, on one line of a terminal."""
    sys.stderr.write(
        f"\r{amount(totals.connections, 'connections')}, {amount(totals.exchanges, 'exchanges')}\x1b[K"
    )
    sys.stderr.flush()
