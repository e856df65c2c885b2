"""The figures by route, host, process, peer, status or connection, put together when somebody looks."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator

from rover import AccessLog
from rover.expression import compile_expression
from rover_plugin_top.choices import GROUPS
from rover_plugin_top.counting import Counting, Tally, key_of
from rover_plugin_top.histogram import quantiles

QUANTILES = (0.5, 0.95, 0.99)
RATE_SECONDS = 5.0
"""A live rate is of the last 5 to 10 seconds: long enough to be read, short enough to follow."""

Predicate = Callable[[AccessLog], bool]


def predicate(text: str) -> Predicate | None:
    """What an expression is true of; None where it is empty. Raises UsageError."""
    return compile_expression(text).holds if text.strip() else None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row as it was at a moment."""

    name: str
    rate: float
    """Exchanges a second."""
    count: int
    errors: int
    breaks: int
    p50: int
    """ns, as those that follow."""
    p95: int
    p99: int
    bytes: int


class Tables:
    """Logs are added by one thread, and looked at by another."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock`: seconds, of a live run, whose rates are of the last seconds. Without one a rate is of the
        time from the first exchange to the last."""
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: Predicate | None = None
        self.begin()

    def begin(self, wanted: Predicate | None = None) -> None:
        """From here on, of these logs only; what was counted is forgotten."""
        with self._lock:
            self._wanted = wanted
            self._counting = Counting()
            self._recent = self._earlier = self._clock() if self._clock is not None else 0.0

    def add(self, log: AccessLog) -> None:
        """One exchange or break."""
        wanted = self._wanted
        if wanted is None or wanted(log):
            with self._lock:
                self._counting.add(log)

    def rows(self, group: str, by: str = "count", *, reverse: bool = False) -> tuple[Row, list[Row]]:
        """All together, and the rows of a group. First comes the row with most of column `by`, or, by name,
        the first; `reverse` turns that round."""
        with self._lock:
            seconds = self._seconds()
            merged: dict[str, Sums] = {}
            for name, tally in self._tallies(group):
                sums = merged.get(name)
                if sums is None:
                    sums = merged[name] = Sums()
                sums.add(tally)
        total = Sums()
        for sums in merged.values():
            total.merge(sums)
        rows = sorted((sums.row(name, seconds) for name, sums in merged.items()), key=lambda row: row.name)
        if by != "name":
            rows.sort(key=lambda row: getattr(row, by), reverse=True)
        if reverse:
            rows.reverse()
        return total.row("", seconds), rows

    def kept(self, group: str, name: str) -> list[AccessLog]:
        """The last logs of a row, the newest first."""
        with self._lock:
            found = [log for named, tally in self._tallies(group) if named == name for log in tally.kept]
            if group == "connection":  # its own tally keeps few
                counting = self._counting
                ids = {key for key, tally in counting.connections.items() if tally.names[0] == name}
                every = [log for cell in counting.cells.values() for log in cell.kept]
                found += [log for log in every if log is not None and key_of(log.connection) in ids]
        logs = {id(log): log for log in found if log is not None}.values()
        return sorted(logs, key=lambda log: log.connection.epoch + log.end, reverse=True)

    def _tallies(self, group: str) -> Iterator[tuple[str, Tally]]:
        at = GROUPS.index(group)
        if group == "connection":
            return ((tally.names[0], tally) for tally in self._counting.connections.values())
        return ((tally.names[at], tally) for tally in self._counting.cells.values())

    def _seconds(self) -> float:
        """What rates are of."""
        counting = self._counting
        if self._clock is None:
            # A second at least: of one exchange, or of a few in a moment, no rate can be told.
            return max((counting.last - counting.first) / 1e9, 1.0)
        now = self._clock()
        if now - self._recent >= RATE_SECONDS:
            tallies: Iterable[Tally] = (*counting.cells.values(), *counting.connections.values())
            for tally in tallies:
                tally.earlier, tally.recent = tally.recent, tally.count
            self._earlier, self._recent = self._recent, now
        return max(now - self._earlier, 1.0)


class Sums:
    """Tallies added up."""

    __slots__ = ("breaks", "bytes", "count", "errors", "fresh", "histogram")

    def __init__(self) -> None:
        self.count = self.errors = self.breaks = self.bytes = self.fresh = 0
        self.histogram: dict[int, int] = {}

    def add(self, tally: Tally) -> None:
        """One more."""
        self.count += tally.count
        self.errors += tally.errors
        self.breaks += tally.breaks
        self.bytes += tally.bytes
        self.fresh += tally.count - tally.earlier
        add_to(self.histogram, tally.histogram)

    def merge(self, sums: Sums) -> None:
        """What another one has."""
        self.count += sums.count
        self.errors += sums.errors
        self.breaks += sums.breaks
        self.bytes += sums.bytes
        self.fresh += sums.fresh
        add_to(self.histogram, sums.histogram)

    def row(self, name: str, seconds: float) -> Row:
        """As it is shown."""
        p50, p95, p99 = quantiles(self.histogram, QUANTILES)
        rate = self.fresh / seconds
        return Row(name, rate, self.count, self.errors, self.breaks, p50, p95, p99, self.bytes)


def add_to(histogram: dict[int, int], more: dict[int, int]) -> None:
    """Adds the counts of another histogram."""
    if not histogram:
        histogram.update(more)
        return
    for bucket, number in more.items():
        histogram[bucket] = histogram.get(bucket, 0) + number
