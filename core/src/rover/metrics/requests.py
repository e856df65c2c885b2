"""Access logs aggregated into series, in bounded memory.

Of each instrument there is a series for each set of values that its attributes have, for each service: a
histogram, with an exemplar for each bucket. What a series is told by is found once for logs that are alike.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from rover.http.methods import KNOWN_METHODS
from rover.metrics.conventions import CLIENT_NAMES, SERVER_NAMES, Pairs, describe, text
from rover.metrics.instruments import SECOND, Instrument
from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, Shape
from rover.values.exchange import Outcome
from rover.values.records import Process, Role

MOST = 10_000
"""Series, unless another number is given: a host of 100 services, each with 10 routes, 3 methods and 3 codes.
A series takes 1.1 kB, and each exemplar of its buckets 0.3."""
IDLE = 3600
"""Seconds after which a series that counts nothing more is dropped, unless another number is given."""
OVERFLOW: Pairs = (("otel.metric.overflow", True),)
"""The attributes of the series, one for each instrument, that takes what is beyond the most."""
PAUSE = 10 * SECOND
"""Between two searches for idle series, while there is no room."""

MAX_SHAPES = 64
"""Shapes of attributes that are known at a time: a protocol has one, and one for a plugin that adds some."""

COMPLETE, ABORTED = Outcome.COMPLETE, Outcome.ABORTED
CLIENT, SERVER = Role.CLIENT, Role.SERVER


class Exemplar(NamedTuple):
    """An exchange that a bucket has counted, and the trace that it is of."""

    trace_id: str
    """As the log has it: 32 hexadecimal digits in W3C's trace context, less in B3, a text in SkyWalking's."""
    span_id: str
    value: int
    """ns."""
    time: int
    """Unix time of its end, in ns."""


class Point(NamedTuple):
    """A series as it was."""

    instrument: Instrument
    resource: Pairs
    """Who was watched."""
    attributes: Pairs
    counts: tuple[int, ...]
    """Of each bucket, not cumulated; one more than the instrument has bounds."""
    sum: int
    """ns."""
    exemplars: tuple[Exemplar | None, ...]
    """The newest of each bucket; empty where no bucket has one."""
    start: int
    """Unix time (ns) since which it counts."""

    @property
    def total(self) -> int:
        """Exchanges in all buckets."""
        return sum(self.counts)


def named_by(names: Sequence[str]) -> Callable[[Process | None], Pairs]:
    """Tells who a process is by these of the attributes that plugins give it; and by the executable's name,
    where there is none, or no `service.name`."""

    def resource(process: Process | None) -> Pairs:
        if process is None:
            return ()
        found = [(name, value) for name in names if (value := text(process.attributes.get(name))) is not None]
        if not found or ("service.name" in names and "service.name" not in dict(found)):
            found += [("process.executable.name", process.name)] if process.name else []
        return tuple(found)

    return resource


SERVICE = ("service.namespace", "service.name")
"""What a service is told by."""


class Series:
    """What is added to."""

    __slots__ = (
        "attributes",
        "bounds",
        "counts",
        "exemplars",
        "instrument",
        "resource",
        "start",
        "sum",
        "used",
    )

    def __init__(self, instrument: Instrument, resource: Pairs, attributes: Pairs, start: int) -> None:
        self.instrument = instrument
        self.resource = resource
        self.attributes = attributes
        self.bounds = instrument.bounds
        self.counts = [0] * (len(instrument.bounds) + 1)
        self.sum = 0
        self.exemplars: list[tuple[Any, ...] | None] | None = None
        self.start = start
        self.used = start


class Reading:
    """Where the logs of a shape have what is read of them."""

    __slots__ = ("client", "server", "shape", "span", "trace")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.client = _picker(shape, CLIENT_NAMES)
        self.server = _picker(shape, SERVER_NAMES)
        names = shape.names
        self.trace = names.index("trace_id") if "trace_id" in names else -1
        self.span = names.index("span_id") if "span_id" in names else -1


def _picker(shape: Shape, names: Sequence[str]) -> Callable[[tuple[Any, ...]], Any]:
    """Takes the cells of these names that the shape has."""
    indexes = [shape.names.index(name) for name in names if name in shape.names]
    return itemgetter(*indexes) if indexes else _nothing


def _nothing(cells: tuple[Any, ...]) -> tuple[()]:  # noqa: ARG001
    return ()


class Requests:
    """The series of one process, or of several whose points are added. Its methods may be called from any
    thread."""

    __slots__ = (
        "_idle",
        "_known",
        "_lock",
        "_methods",
        "_most",
        "_named",
        "_overflow",
        "_processes",
        "_reading",
        "_readings",
        "_resource",
        "_searched",
        "_series",
        "unmeasured",
    )

    def __init__(
        self,
        *,
        resource: Callable[[Process | None], Pairs] | None = None,
        methods: Collection[str] = KNOWN_METHODS,
        most: int = MOST,
        idle: float = IDLE,
    ) -> None:
        """`resource`: who a process is, asked once for each; `named_by(SERVICE)` unless it is given.
        `methods`: those of HTTP that are told, not `_OTHER`. `most`: series, those of OVERFLOW not counted.
        `idle`: seconds after which a series that counts nothing is dropped."""
        self._resource = resource or named_by(SERVICE)
        self._methods = methods
        self._most = most
        self._idle = int(idle * SECOND)
        self._lock = threading.Lock()
        self._series: dict[tuple[Instrument, Pairs, Pairs], Series] = {}
        self._overflow: dict[Instrument, Series] = {}
        # What logs that are alike are counted in: their series, or why they are not measured.
        self._known: dict[Any, Series | str] = {}
        # The processes whose ids are in these keys, which nobody else has while they are here.
        self._processes: dict[int, Process | None] = {}
        self._named: dict[int, Pairs] = {}
        self._reading: Reading | None = None  # the last one that was used
        self._readings: dict[Shape, Reading] = {}
        self._searched = 0
        self.unmeasured: Counter[str] = Counter()
        """Exchanges that no instrument is for, by what was in the way: their `protocol`, a `role` that is not
        known or has none; or their outcome, where it is not their end."""

    def __len__(self) -> int:
        return len(self._series) + len(self._overflow)

    @property
    def overflowed(self) -> int:
        """Exchanges that are counted in series of OVERFLOW."""
        with self._lock:
            return sum(sum(series.counts) for series in self._overflow.values())

    def observe(self, logs: Iterable[AccessLog], now: int) -> None:
        """Counts those that tell of an exchange. `now`: Unix time in ns."""
        with self._lock:
            for log in logs:
                if log.protocol:
                    self._observe(log, now)

    def _observe(self, log: AccessLog, now: int) -> None:
        outcome = log.outcome
        if outcome is not COMPLETE and outcome is not ABORTED:
            self.unmeasured[outcome.value] += 1
            return
        connection = log.connection
        role = connection.role
        attributes: Any = log.attributes
        trace = span = None
        if type(attributes) is Attributes:
            told: Any = attributes
            shape = told.shape
            reading = self._reading
            if reading is None or reading.shape is not shape:
                reading = self._reading = self._reading_of(shape)
            cells = told.cells
            said = reading.client(cells) if role is CLIENT else reading.server(cells)
            if reading.trace >= 0:
                trace = cells[reading.trace]
                if reading.span >= 0:
                    span = cells[reading.span]
        else:
            shape = None
            names = CLIENT_NAMES if role is CLIENT else SERVER_NAMES
            said = tuple([attributes.get(name) for name in names])
            trace = attributes.get("trace_id")
            span = attributes.get("span_id")
        peer = None
        if role is CLIENT:
            remote = connection.remote
            if remote is not None:
                peer = (remote.host, remote.port)
        process = connection.process
        key: Any = (
            id(process),
            shape,
            role is CLIENT,
            role is SERVER,
            connection.tls,
            outcome is COMPLETE,
            log.protocol,
            log.version,
            said,
            peer,
        )
        try:
            found = self._known.get(key)
        except TypeError:  # a list is among what it says
            key, found = None, None
        if found is None:
            found = self._learn(log, process, key, now)
        if type(found) is str:
            self.unmeasured[found] += 1
            return
        series: Any = found
        if series.attributes is OVERFLOW and abs(now - self._searched) >= PAUSE:
            series = self._learn(log, process, key, now)  # there may be room now
        duration = log.end - log.start
        if duration < 0:
            duration = 0
        bucket = bisect_left(series.bounds, duration)
        series.counts[bucket] += 1
        series.sum += duration
        series.used = now
        if trace is not None:
            if series.exemplars is None:
                series.exemplars = [None] * len(series.counts)
            series.exemplars[bucket] = (trace, span, duration, connection.epoch + log.end)

    def _reading_of(self, shape: Shape) -> Reading:
        found = self._readings.get(shape)
        if found is None:
            if len(self._readings) >= MAX_SHAPES:
                self._readings.clear()
            found = self._readings[shape] = Reading(shape)
        return found

    def _learn(self, log: AccessLog, process: Process | None, key: Any, now: int) -> Series | str:
        """What logs with this key are counted in, kept for the next."""
        if len(self._known) + len(self._processes) > 4 * self._most + 1000:
            self._forget()  # strangers' methods are all one series, and processes come and go
        described = describe(log, self._methods)
        number = id(process)
        found: Series | str
        if isinstance(described, str):
            found = described
        else:
            instrument, attributes = described
            resource = self._named[number] if number in self._named else self._resource(process)
            found = self._find(instrument, resource, attributes, now)
            self._named[number] = resource
        if key is not None:
            self._processes[number] = process
            self._known[key] = found
        return found

    def _forget(self) -> None:
        self._known.clear()
        self._processes.clear()
        self._named.clear()

    def _find(self, instrument: Instrument, resource: Pairs, attributes: Pairs, now: int) -> Series:
        """A series, a new one if need be; that of OVERFLOW, where there is no room."""
        key = instrument, resource, attributes
        found = self._series.get(key)
        if found is None:
            if len(self._series) >= self._most and abs(now - self._searched) >= PAUSE:
                self._expire(now)
            if len(self._series) >= self._most:
                return self._rest(instrument, now)
            found = self._series[key] = Series(instrument, resource, attributes, now)
        return found

    def _rest(self, instrument: Instrument, now: int) -> Series:
        """The series of OVERFLOW."""
        found = self._overflow.get(instrument)
        if found is None:
            found = self._overflow[instrument] = Series(instrument, (), OVERFLOW, now)
        return found

    def _expire(self, now: int) -> None:
        """Drops the series that were not used for long."""
        self._searched = now
        idle = [key for key, series in self._series.items() if now - series.used >= self._idle]
        for key in idle:
            del self._series[key]
        if idle:
            self._forget()

    def add(self, points: Iterable[Point], now: int) -> None:
        """Counts what another process has counted."""
        with self._lock:
            for point in points:
                if point.attributes == OVERFLOW:
                    series = self._rest(point.instrument, now)
                else:
                    series = self._find(point.instrument, point.resource, point.attributes, now)
                series.counts = [one + other for one, other in zip(series.counts, point.counts, strict=True)]
                series.sum += point.sum
                series.used = now
                for bucket, exemplar in enumerate(point.exemplars):
                    if exemplar is not None:
                        if series.exemplars is None:
                            series.exemplars = [None] * len(series.counts)
                        series.exemplars[bucket] = exemplar

    def points(self, now: int) -> list[Point]:
        """All series as they are, without those that are idle. `now`: Unix time in ns."""
        with self._lock:
            self._expire(now)
            return self._points()

    def take(self) -> list[Point]:
        """All series as they are; from here on everything is counted anew."""
        with self._lock:
            taken = self._points()
            self._series.clear()
            self._overflow.clear()
            self._forget()
            return taken

    def _points(self) -> list[Point]:
        return [
            Point(
                series.instrument,
                series.resource,
                series.attributes,
                tuple(series.counts),
                series.sum,
                () if series.exemplars is None else tuple([_exemplar(each) for each in series.exemplars]),
                series.start,
            )
            for series in (*self._series.values(), *self._overflow.values())
        ]


def _exemplar(kept: tuple[Any, ...] | None) -> Exemplar | None:
    if kept is None or type(kept) is Exemplar:
        return kept
    trace, span, value, time = kept
    return Exemplar(str(trace), "" if span is None else str(span), value, time)
