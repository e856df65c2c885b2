"""The figures of a run as a value: of one process, or of several added up."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rover.pipeline.outlet import Outlet
from rover.pipeline.totals import Totals, by_cause
from rover.plugins.manager import Plugin

WIDTH = 80 - len("rover: ")
"""Columns of a line of the totals, so that a terminal of 80 shows it on one."""


@dataclasses.dataclass(frozen=True, slots=True)
class SinkReport:
    """How one sink fared."""

    name: str
    logged: int = 0
    lost: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Exchanges it never passed on, by cause."""
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reader_left: bool = False
    """Whether it was closed because the reader of what it wrote has left."""

    def __add__(self, other: SinkReport) -> SinkReport:
        return SinkReport(
            self.name,
            self.logged + other.logged,
            added(self.lost, other.lost),
            added(self.counters, other.counters),
            self.reader_left or other.reader_left,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class PluginFailure:
    """A kind of failure of a plugin."""

    plugin: str
    kind: str
    """As in "handle_exchange: ValueError"."""
    message: str
    """The newest."""
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """Totals, sinks, counters and failures. Reports of processes that shared the work add up."""

    exchanges: int = 0
    unhandled: int = 0
    """Exchanges of which no plugin made an access log."""
    connections: int = 0
    calls: int = 0
    breaks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    records_lost: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By cause."""
    source: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The source's counters."""
    sinks: Sequence[SinkReport] = ()
    failures: Sequence[PluginFailure] = ()
    workers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What became of worker processes: died, started again."""
    noted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What else happened, by name (`Totals.noted`)."""
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Exchanges whose access logs plugins dropped, by plugin."""

    @classmethod
    def of(
        cls,
        totals: Totals,
        source: Mapping[str, int],
        outlets: Iterable[Outlet],
        failures: Sequence[PluginFailure],
    ) -> Report:
        """Of one pipeline and its sinks, as far as they are."""
        return cls(
            totals.exchanges,
            totals.unhandled,
            totals.connections,
            totals.calls,
            dict(totals.breaks),
            dict(totals.records_lost),
            dict(source),
            [SinkReport(o.name, o.logged, dict(o.lost), dict(o.counters), o.reader_left) for o in outlets],
            failures,
            noted=totals.noted(),
            dropped=dict(totals.dropped),
        )

    def __add__(self, other: Report) -> Report:
        sinks = {sink.name: sink for sink in self.sinks}
        for sink in other.sinks:
            sinks[sink.name] = sinks[sink.name] + sink if sink.name in sinks else sink
        failures = {(failure.plugin, failure.kind): failure for failure in self.failures}
        for failure in other.failures:
            key = failure.plugin, failure.kind
            before = failures[key].count if key in failures else 0
            failures[key] = dataclasses.replace(failure, count=before + failure.count)
        return Report(
            self.exchanges + other.exchanges,
            self.unhandled + other.unhandled,
            self.connections + other.connections,
            self.calls + other.calls,
            added(self.breaks, other.breaks),
            added(self.records_lost, other.records_lost),
            added(self.source, other.source),
            list(sinks.values()),
            list(failures.values()),
            workers=added(self.workers, other.workers),
            noted=added(self.noted, other.noted),
            dropped=added(self.dropped, other.dropped),
        )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """What `to_json` made."""
        fields = json.loads(text)
        fields["sinks"] = [SinkReport(**sink) for sink in fields["sinks"]]
        fields["failures"] = [PluginFailure(**failure) for failure in fields["failures"]]
        return cls(**fields)

    # -- in words ------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """Everything there is to tell, the totals included: a fact per line, each short enough for 80
        columns, except for plugins' failures, which are as long as the plugin's message."""
        return [
            *self.counters(),
            *self.totals(),
            *(
                f"plugin {f.plugin} failed {amount(f.count, 'times')}: {f.kind}: {f.message}"
                for f in self.failures
            ),
        ]

    def counters(self) -> list[str]:
        """Further figures of workers, source and sinks: "jsonl: a 1, b 2"; zeros are left out."""
        sinks = [(sink.name, sink.counters) for sink in self.sinks]
        parts = [("workers", self.workers), ("source", self.source), *sinks]
        nonzero = [(name, Counter({k: v for k, v in figures.items() if v})) for name, figures in parts]
        lines = [f"{name}: {by_cause(figures)}" for name, figures in nonzero if figures]
        return [line for long in lines for line in folded(long)]

    def totals(self) -> list[str]:
        """ "seen 12 exchanges; 3 connections, 48 calls", "console logged 12, lost 0", "0 records lost", and
        what else happened."""
        lines = [
            f"seen {amount(self.exchanges, 'exchanges')}; "
            f"{amount(self.connections, 'connections')}, {amount(self.calls, 'calls')}"
        ]
        if dropped := Counter(self.dropped):
            lines.append(f"{amount(dropped.total(), 'exchanges dropped')}{causes(dropped)}")
        for sink in self.sinks:
            lost = Counter(sink.lost)
            if self.unhandled:
                lost["unhandled"] += self.unhandled
            lines.append(f"{sink.name} logged {sink.logged}, lost {lost.total()}{causes(lost)}")
        records = Counter(self.records_lost)
        lines.append(f"{amount(records.total(), 'records lost')}{causes(records)}")
        if self.breaks:
            lines.append(f"breaks: {by_cause(Counter(self.breaks))}")
        lines += [amount(count, name) for name, count in self.noted.items() if count]
        return [line for long in lines for line in folded(long)]

    @property
    def read_by_nobody(self) -> bool:
        """Whether the readers of all its sinks have left."""
        return bool(self.sinks) and all(sink.reader_left for sink in self.sinks)

    def with_rest_lost(self, cause: str) -> Report:
        """The same in the middle of a run: what no sink has logged or lost yet is lost by this cause."""
        sinks = []
        handed = self.exchanges - self.unhandled - sum(self.dropped.values())
        for sink in self.sinks:
            rest = handed - sink.logged - sum(sink.lost.values())
            lost = added(sink.lost, {cause: rest}) if rest > 0 else sink.lost
            sinks.append(dataclasses.replace(sink, lost=lost))
        return dataclasses.replace(self, sinks=sinks)


def folded(line: str) -> list[str]:
    """A line; where it is longer than WIDTH, several: it ends after a comma, and the next one is indented."""
    lines: list[str] = []
    for part in line.split(", "):
        if lines and len(lines[-1]) + len(part) + len(", ,") <= WIDTH:
            lines[-1] += f", {part}"
        elif lines:
            lines[-1] += ","
            lines.append(f"  {part}")
        else:
            lines.append(part)
    return lines


def failures_of(plugins: Iterable[Plugin], before: Iterable[PluginFailure] = ()) -> list[PluginFailure]:
    """What went wrong in them, less what had gone wrong `before`."""
    known = {(failure.plugin, failure.kind): failure.count for failure in before}
    return [
        PluginFailure(plugin.name, kind, plugin.last[kind], new)
        for plugin in plugins
        for kind, count in list(plugin.failures.items())  # at once: another thread may add one
        if (new := count - known.get((plugin.name, kind), 0))
    ]


def added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Figures by name, those of the same name added."""
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def amount(count: int, things: str) -> str:
    """ "3 records lost", and "1 record lost" of the same words."""
    first, space, rest = things.partition(" ")
    return f"{count} {first.removesuffix('s') if count == 1 else first}{space}{rest}"


def causes(lost: Counter[str]) -> str:
    """ " (a 2, b 1)", empty when nothing was lost."""
    return f" ({by_cause(lost)})" if lost.total() else ""
