"""`rover top` from its beginning to its end: on a terminal, or once as text."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import typer

from rover.cli.messages import say
from rover.cli.watching import Asked, Watching
from rover.plugins.manager import PluginManager
from rover_plugin_top.plain import table
from rover_plugin_top.screen import Screen
from rover_plugin_top.sink import CountingSink
from rover_plugin_top.tables import Predicate, Tables, predicate
from rover_plugin_top.terminal import Terminal
from rover_plugin_top.view import View


def show(manager: PluginManager, asked: Asked, by: str, sort: str, filter_: str) -> None:
    """Of this host until `q` or Ctrl-C; of files until `q`, or, where no terminal is, to their end."""
    wanted = predicate(filter_)
    try:
        terminal = Terminal()
    except OSError:
        tables = Tables()
        tables.begin(wanted)
        once(manager, asked, tables, by, sort)
    else:
        tables = Tables(None if asked.files else time.monotonic)
        tables.begin(wanted)
        shown(manager, asked, tables, terminal, View(by, sort, filter_), wanted)


def once(manager: PluginManager, asked: Asked, tables: Tables, by: str, sort: str) -> None:
    """Writes the table when everything has been seen."""
    watching = Watching(manager, asked, "top", CountingSink(tables.add))
    if not asked.files:
        tell(watching)
    failure = watching.run(contextlib.nullcontext())
    for line in table(by, *tables.rows(by, sort)):
        typer.echo(line)
    watching.end(failure)


def tell(watching: Watching) -> None:
    """Says that it has begun, of a live run."""
    if watching.notice:
        say(watching.notice)
    say(f"watching through {watching.source}; Ctrl-C ends")


def shown(
    manager: PluginManager,
    asked: Asked,
    tables: Tables,
    terminal: Terminal,
    view: View,
    wanted: Predicate | None,
) -> None:
    """Shows the table on the terminal until `q`."""
    rereading = Rereading(tables) if asked.files and all(map(os.path.isfile, asked.files)) else None
    watching = Watching(
        manager,
        asked,
        "top",
        CountingSink(tables.add),
        again=rereading.ask if rereading is not None else stay if asked.files else None,
    )
    screen = Screen(
        terminal,
        view,
        tables,
        lambda: title(asked, watching),
        wanted=wanted,
        lost=lambda: sum(watching.agent.report().records_lost.values()),
        quit=watching.agent.stop,
        count=tables.begin if rereading is None else rereading.count,
    )
    watching.end(watching.run(screen, screen.leave))


def title(asked: Asked, watching: Watching) -> str:
    """Short: the figures stand beside it."""
    files = asked.files or ()
    name = os.path.basename(watching.source) if len(files) < 2 else f"{len(files)} files"
    return f"rover top: {name}{', reading' if watching.reading else ''}"


def stay(seconds: float) -> None:
    """After the last file: somebody looks, and it cannot be read again."""
    time.sleep(seconds)


class Rereading:
    """Files are read again for another filter: what was counted does not tell of what."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._wanted: Predicate | None = None
        self._asked = threading.Event()

    def count(self, wanted: Predicate | None) -> None:
        """Counts what comes from now on, and then all."""
        self._wanted = wanted
        self._tables.begin(wanted)
        self._asked.set()

    def ask(self, seconds: float) -> bool | None:
        """See `Watching`."""
        if not self._asked.wait(seconds):
            return None
        self._asked.clear()
        self._tables.begin(self._wanted)
        return True
