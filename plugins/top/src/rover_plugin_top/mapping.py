"""`rover map` from its beginning to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer

from rover import AccessLog, UsageError
from rover.cli.watching import Asked, Watching
from rover.errors import file_error
from rover.plugins.manager import PluginManager
from rover_plugin_top.conversations import Conversations, Edge, Figures
from rover_plugin_top.graphs import dot, mermaid
from rover_plugin_top.plain import aligned
from rover_plugin_top.showing import tell
from rover_plugin_top.sink import CountingSink
from rover_plugin_top.tables import predicate
from rover_plugin_top.text import duration, number, printable

STDOUT = Path("-")
HEAD = ("CLIENT", "SERVER", "PROTOCOL", "PORT", "RATE", "COUNT", "ERRORS", "BREAKS", "P95", "BYTES")
Edges = Sequence[tuple[Edge, Figures]]


def draw(
    manager: PluginManager, asked: Asked, filter_: str, dot_file: Path | None, mermaid_file: Path | None
) -> None:
    """Writes the map when everything has been seen: the files asked for, and the table, unless one of them is
    standard output."""
    wanted = predicate(filter_)
    forms: list[tuple[Path | None, Callable[[Edges], Iterator[str]]]] = [
        (dot_file, dot),
        (mermaid_file, mermaid),
    ]
    files = [(path, form) for path, form in forms if path is not None]
    if [path for path, _ in files].count(STDOUT) > 1:
        raise UsageError("standard output is for one of --dot and --mermaid")
    for path, _ in files:
        write(path, "", "a")  # what cannot be written is told now, and nothing is overwritten yet
    conversations = Conversations()

    def add(log: AccessLog) -> None:
        if wanted is None or wanted(log):
            conversations.add(log)

    watching = Watching(manager, asked, "map", CountingSink(add))
    if not asked.files:
        tell(watching)
    failure = watching.run(contextlib.nullcontext())
    edges = conversations.edges()
    for path, form in files:
        write(path, "".join(f"{line}\n" for line in form(edges)), "w")
    if STDOUT not in [path for path, _ in files]:
        for line in table(edges):
            typer.echo(line)
    watching.end(failure)


def write(path: Path, text: str, mode: str) -> None:
    """A file, or standard output. Raises RoverError."""
    if path == STDOUT:
        typer.echo(text, nl=False)
        return
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise file_error(f"cannot write {path}", error) from None


def table(edges: Edges) -> Iterator[str]:
    """A header, and a line for each edge."""
    lines = [HEAD]
    for edge, figures in edges:
        lines.append(
            (
                printable(edge.client),
                printable(edge.server),
                printable(edge.protocol),
                str(edge.port),
                number(figures.rate),
                str(figures.count),
                str(figures.errors),
                str(figures.breaks),
                duration(figures.p95) if figures.count else "-",
                str(figures.bytes),
            )
        )
    yield from aligned(lines, left=3)
