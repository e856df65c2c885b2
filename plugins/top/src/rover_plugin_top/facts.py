"""What is read of an access log to count it. This runs for each exchange.

Where a protocol's plugin gives its attributes as `rover.Attributes`, their cells are picked by position, and
no dictionary is made.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from rover import Outcome
from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, Shape
from rover_plugin_top.bounds import LONG_TEXT, MAX_NAME

MAX_SHAPES = 64
"""Shapes that are remembered. A protocol's plugin has one or two for all its logs."""
SERVER_ERROR = 500
NAMES = (
    "http.request.method",
    "http.route",
    "url.path",
    "http.request.header.host",
    "http.response.status_code",
    "rpc.status_code",
    "error.type",
    "db.operation.name",
    "url.original",
)
"""Attributes that exchanges are told apart by."""
SIZES = (
    "http.request.header.size",
    "http.request.body.size",
    "http.response.header.size",
    "http.response.body.size",
)
"""What an exchange of HTTP moved; of other protocols it is every attribute that ends in `.size`."""
RPC_FINE = frozenset((None, "OK"))
ABSENT = (None,)
BREAK = Outcome.BREAK
ABORTED = Outcome.ABORTED


class Facts:
    """Of one log after the other: `read` fills it anew."""

    __slots__ = (
        "_shapes",
        "broken",
        "error",
        "failed",
        "host",
        "method",
        "rpc",
        "size",
        "status",
        "subject",
        "text",
    )

    def __init__(self) -> None:
        self._shapes: dict[Shape, tuple[Callable[[Any], Any], tuple[int, ...]]] = {}
        self.method: Any = None
        """Of HTTP; the operation of a database."""
        self.subject: Any = None
        """The route; the path where none is known; None of a protocol that has neither."""
        self.host: Any = None
        """What the request names."""
        self.status: Any = None
        self.rpc: Any = None
        """The status of gRPC."""
        self.error: Any = None
        """`error.type`; the reason of a break."""
        self.size = 0
        """Bytes, both directions together."""
        self.text = 0
        """Characters of the attributes."""
        self.broken = False
        """Whether it is the log of a break, and not an exchange."""
        self.failed = False
        """Whether it is an error: an exchange cut before its end, with status 500 or above, a status of gRPC
        that is not OK, or an `error.type`."""

    def read(self, log: AccessLog) -> None:
        """Of an exchange, or of a break."""
        attributes: Any = log.attributes
        size = 0
        text = 0
        if type(attributes) is Attributes:
            shaped: Attributes = attributes
            cells = shaped.cells
            plan = self._shapes.get(shaped.shape)
            if plan is None:
                plan = self._plan(shaped.shape)
            for at in plan[1]:
                value = cells[at]
                if type(value) is int:
                    size += value
            for value in cells:
                if type(value) is str:
                    text += len(value)
                elif isinstance(value, tuple):
                    text += length_of(value)
            picked = plan[0](cells + ABSENT)
        else:
            picked = tuple(map(attributes.get, NAMES))
            for name in sizes_of(attributes):
                value = attributes[name]
                if type(value) is int:
                    size += value
            for value in attributes.values():
                text += length_of(value)
        method, route, path, host, status, rpc, error, operation, target = picked
        if host is not None and type(host) is not str:
            host = first_of(host)
        if text > LONG_TEXT:
            method, route, path, host, rpc, error, operation, target = map(
                shortened, (method, route, path, host, rpc, error, operation, target)
            )
        outcome = log.outcome
        self.broken = outcome is BREAK
        if self.broken:
            broken = log.connection.protocol_break
            error = "" if broken is None else broken.reason
        self.method = operation if method is None else method
        self.subject = route or path or target
        self.host = host
        self.status = status
        self.rpc = rpc
        self.error = error
        self.size = size
        self.text = text
        self.failed = (
            outcome is ABORTED
            or error is not None
            or (type(status) is int and status >= SERVER_ERROR)
            or (rpc is not None and rpc not in RPC_FINE)
        )

    def _plan(self, shape: Shape) -> tuple[Callable[[Any], Any], tuple[int, ...]]:
        """What picks the cells of NAMES, and where the sizes are."""
        names = shape.names
        at = {name: place for place, name in enumerate(names)}
        pick = itemgetter(*[at.get(name, len(names)) for name in NAMES])
        plan = pick, tuple([at[name] for name in sizes_of(at)])
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[shape] = plan
        return plan


def shortened(value: Any) -> Any:
    """A name as tallies are found by it."""
    return value[:MAX_NAME] if isinstance(value, str) else value


def first_of(texts: Any) -> Any:
    """Of a header, which OpenTelemetry has as a list of texts."""
    return next(iter(texts), None) if isinstance(texts, list | tuple) else str(texts)


def length_of(value: Any) -> int:
    """Characters of a text, or of several."""
    if isinstance(value, list | tuple):
        return sum([length_of(each) for each in value])
    return len(value) if isinstance(value, str) else 0


def sizes_of(names: Any) -> list[str]:
    """Which of these attributes are bytes that were moved."""
    if SIZES[0] in names:
        return [name for name in SIZES if name in names]
    return [name for name in names if name.endswith(".size")]
