"""What the agent tells of itself: its totals, as counters with labels."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rover import RunFigures
from rover.metrics import Pairs

Counts = dict[tuple[str, Pairs], int]
"""By the name of a counter, without `_total`, and its labels."""

HELP = {
    "rover_exchanges": "Exchanges seen.",
    "rover_exchanges_unhandled": "Exchanges of which no plugin made an access log.",
    "rover_exchanges_dropped": "Exchanges whose access logs a plugin dropped, by its rules.",
    "rover_exchanges_unmeasured": "Exchanges that no histogram is for.",
    "rover_sink_exchanges_logged": "Exchanges that a sink took.",
    "rover_sink_exchanges_lost": "Exchanges that a sink never passed on, by cause.",
    "rover_connections": "Connections seen.",
    "rover_socket_calls": "Socket calls seen.",
    "rover_records_lost": "Records that the source could not deliver, by cause.",
    "rover_protocol_breaks": "Connections that could not be decoded any more, by reason.",
    "rover_plugin_failures": "Failures of plugins.",
    "rover_series": "Histograms on this page.",
    "rover_series_overflowed": "Exchanges counted by otel_metric_overflow, for want of room for more series.",
    "rover_workers": "Worker processes whose figures are on this page as they are now.",
}


def help_of(name: str) -> str:
    """One line."""
    return HELP.get(name) or f"As in rover's totals: {name.removeprefix('rover_').replace('_', ' ')}."


def counts_of(figures: RunFigures, unmeasured: Mapping[str, int]) -> Counts:
    """The counters of one process. Those without labels are there from the beginning."""
    found: Counts = {
        ("rover_exchanges", ()): figures.exchanges,
        ("rover_exchanges_unhandled", ()): figures.unhandled,
        ("rover_connections", ()): figures.connections,
        ("rover_socket_calls", ()): figures.calls,
    }
    for cause, count in dict(figures.dropped).items():
        plugin, _, rule = cause.partition(" ")
        found["rover_exchanges_dropped", (("plugin", plugin), *((("rule", rule),) if rule else ()))] = count
    for name, label, by_label in (
        ("rover_exchanges_unmeasured", "cause", unmeasured),
        ("rover_records_lost", "cause", figures.records_lost),
        ("rover_protocol_breaks", "reason", figures.breaks),
    ):
        for value, count in dict(by_label).items():
            found[name, ((label, value),)] = count
    for sink in figures.sinks:
        of = ("sink", sink.name)
        found["rover_sink_exchanges_logged", (of,)] = sink.logged
        for cause, count in dict(sink.lost).items():
            found["rover_sink_exchanges_lost", (of, ("cause", cause))] = count
    for failure in figures.failures:
        key = "rover_plugin_failures", (("plugin", failure.plugin),)
        found[key] = found.get(key, 0) + failure.count
    for name, count in figures.noted.items():
        found[f"rover_{re.sub('[^a-z0-9]+', '_', name.lower())}", ()] = count
    return found


def more(now: Counts, before: Counts) -> Counts:
    """What was counted since; also nothing is told, so that whoever is told knows of every counter."""
    return {key: count - before.get(key, 0) for key, count in now.items()}


def add(counts: Counts, others: Counts) -> None:
    """Adds them to the first."""
    for key, count in others.items():
        counts[key] = counts.get(key, 0) + count
