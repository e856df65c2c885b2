"""What a worker has counted and the page does not have yet: handed over once, whatever dies in between."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from rover import RoverError, RunFigures
from rover.metrics import INSTRUMENTS, Exemplar, Pairs, Point, Requests
from rover_plugin_sink_prometheus.figures import Counts, counts_of, more

BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}


class Portion(NamedTuple):
    """What was counted between two handings over."""

    giver: int
    """The process that counted it."""
    number: int
    """Of those of this process."""
    points: list[Point]
    counts: Counts


class Share:
    """One worker's. It is used from one thread at a time."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._figures: Callable[[], RunFigures] | None = None
        self._before: Counts = {}
        self._pending: Portion | None = None
        self._number = 0

    def begin(self, figures: Callable[[], RunFigures], *, whole: bool) -> None:
        """From here on there are figures. `whole`: what went wrong before is to be told, too; else another
        worker tells of it, which had it from the same parent."""
        self._figures = figures
        if not whole:
            self._before = counts_of(figures(), {})

    def counts(self) -> Counts:
        """What was counted since this was asked last."""
        if self._figures is None:
            return {}
        now = counts_of(self._figures(), self._requests.unmeasured)
        grown = more(now, self._before)
        self._before = now
        return grown

    def portion(self) -> Portion:
        """The same portion again and again, until it is received."""
        if self._pending is None:
            self._number += 1
            self._pending = Portion(os.getpid(), self._number, self._requests.take(), self.counts())
        return self._pending

    def received(self) -> None:
        """The portion is with another."""
        self._pending = None

    def withdraw(self, now: int) -> Counts:
        """What was to be handed over is this worker's own again: its series are with the others, its counts
        are returned. `now`: Unix time in ns."""
        pending, self._pending = self._pending, None
        if pending is None:
            return {}
        self._requests.add(pending.points, now)
        return pending.counts


def encode(portion: Portion) -> bytes:
    """As JSON."""
    points = [(point.instrument.name, *point[1:]) for point in portion.points]
    counts = [(name, pairs, count) for (name, pairs), count in portion.counts.items()]
    return json.dumps([portion.giver, portion.number, points, counts]).encode()


def decode(data: bytes) -> Portion:
    """What `encode` made. Raises RoverError."""
    try:
        giver, number, points, counts = json.loads(data)
        return Portion(
            giver,
            number,
            [_point(*point) for point in points],
            {(name, _pairs(pairs)): count for name, pairs, count in counts},
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RoverError(f"prometheus: a worker said what is none of its figures: {error}") from None


def _point(
    instrument: str,
    resource: list[Any],
    attributes: list[Any],
    counts: list[int],
    total: int,
    exemplars: list[Any],
    start: int,
) -> Point:
    return Point(
        BY_NAME[instrument],
        _pairs(resource),
        _pairs(attributes),
        tuple(counts),
        total,
        tuple([None if each is None else Exemplar(*each) for each in exemplars]),
        start,
    )


def _pairs(listed: list[Any]) -> Pairs:
    return tuple([(name, value) for name, value in listed])
