"""A map in the languages of Graphviz and of Mermaid. Names came from strangers, and are quoted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rover.run.report import amount
from rover_plugin_top.conversations import Edge, Figures
from rover_plugin_top.text import duration, number, printable

MERMAID = str.maketrans(
    {
        "&": "#amp;",
        "#": "#35;",
        '"': "#quot;",
        "<": "#lt;",
        ">": "#gt;",
        "`": "#96;",
        "\\": "#92;",
    }
)
"""Entities of Mermaid, also for what begins a text in Markdown or in HTML."""


def dot(edges: Sequence[tuple[Edge, Figures]]) -> Iterator[str]:
    """Lines of a digraph (https://graphviz.org/doc/info/lang.html)."""
    yield "digraph rover {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    numbers = numbered(edges)
    for name, at in numbers.items():
        yield f"  n{at} [label={quoted(name)}];"
    for edge, figures in edges:
        color = ", color=red" if figures.errors or figures.breaks else ""
        label = "\\n".join(quoted(line)[1:-1] for line in told(edge, figures))
        yield f'  n{numbers[edge.client]} -> n{numbers[edge.server]} [label="{label}"{color}];'
    yield "}"


def quoted(text: str) -> str:
    """As a string of Graphviz, in which a backslash begins an escape."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def mermaid(edges: Sequence[tuple[Edge, Figures]]) -> Iterator[str]:
    """Lines of a flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
    yield "flowchart LR"
    numbers = numbered(edges)
    for name, at in numbers.items():
        yield f'  n{at}["{entities(name)}"]'
    for edge, figures in edges:
        label = "<br/>".join(entities(line) for line in told(edge, figures))
        yield f'  n{numbers[edge.client]} -->|"{label}"| n{numbers[edge.server]}'


def entities(text: str) -> str:
    """As a text of Mermaid."""
    return printable(text).translate(MERMAID)


def numbered(edges: Sequence[tuple[Edge, Figures]]) -> dict[str, int]:
    """A number for each name, in the order in which they come."""
    names = dict.fromkeys(name for edge, _ in edges for name in (edge.client, edge.server))
    return {name: at for at, name in enumerate(names)}


def told(edge: Edge, figures: Figures) -> Iterator[str]:
    """What stands at an edge, in lines."""
    yield f"{edge.protocol} :{edge.port}"
    yield f"{number(figures.rate)}/s, p95 {duration(figures.p95)}" if figures.count else "no exchange"
    bad = [("errors", figures.errors), ("breaks", figures.breaks)]
    if any(count for _, count in bad):
        yield ", ".join(amount(count, what) for what, count in bad if count)
