"""Header fields that a user wants to see in access logs: `http.request.header.x-request-id`.

The names are OpenTelemetry's: a field's in small letters, a list of the values as they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rover.errors import UsageError
from rover.values.access_log import AccessLog, new_log
from rover.values.attributes import Attributes, Cell, Shape, attributes_of
from rover.values.http import Headers, HttpRequest, HttpResponse

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,256}")
"""A token (RFC 9110 section 5.6.2), in small letters."""
MAX_SHAPES = 64
"""Shapes whose longer ones are kept: each HTTP plugin has one."""


class HeaderExport:
    """Adds fields of the messages to their log."""

    def __init__(self, request: Sequence[str], response: Sequence[str]) -> None:
        """Names of fields of either message. Raises UsageError for what is none."""
        self._request = _fields("request", request)
        self._response = _fields("response", response)
        self._attributes = tuple(
            [f"http.request.header.{name}" for name in self._request]
            + [f"http.response.header.{name}" for name in self._response]
        )
        self._longer: dict[Shape, Shape] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._attributes)

    def added(self, log: AccessLog, request: HttpRequest, response: HttpResponse | None) -> AccessLog:
        """The log, with those of the fields that were sent. An attribute that it has stays."""
        answered = () if response is None else _values(response.headers, self._response)
        cells = _values(request.headers, self._request) + (answered or (None,) * len(self._response))
        attributes = log.attributes
        if type(attributes) is Attributes:  # type: ignore[comparison-overlap]
            shape = attributes.shape
            longer = self._longer.get(shape) or self._lengthened(shape)
            known = len(longer.names) - len(shape.names) - len(cells)
            if known:  # the shape has some of them
                cells = tuple(
                    cell
                    for name, cell in zip(self._attributes, cells, strict=True)
                    if name not in shape.names
                )
            return _changed(log, attributes_of(longer, attributes.cells + cells))
        sent = {
            name: cell
            for name, cell in zip(self._attributes, cells, strict=True)
            if cell is not None and name not in attributes
        }
        return _changed(log, {**attributes, **sent}) if sent else log

    def _lengthened(self, shape: Shape) -> Shape:
        if len(self._longer) >= MAX_SHAPES:
            self._longer.clear()
        names = [name for name in self._attributes if name not in shape.names]
        longer = self._longer[shape] = Shape((*shape.names, *names))
        return longer


def _changed(log: AccessLog, attributes: object) -> AccessLog:
    """What `replace` does, which takes ten times as long."""
    return new_log(
        connection=log.connection,
        start=log.start,
        end=log.end,
        protocol=log.protocol,
        version=log.version,
        attributes=attributes,  # type: ignore[arg-type]
        details=log.details,
        outcome=log.outcome,
    )


def _values(headers: Headers, names: tuple[str, ...]) -> tuple[Cell, ...]:
    """Of each name the values; None where it was not sent. Most are looked up without reading the others."""
    return tuple([None if headers.get(name) is None else tuple(headers.get_all(name)) for name in names])


def _fields(message: str, names: Sequence[str]) -> tuple[str, ...]:
    fields = tuple(dict.fromkeys(name.lower() for name in names))
    for name in fields:
        if not _NAME.fullmatch(name):
            raise UsageError(f"headers.{message}: {name[:40]!r} is no name of a header field")
        if name == "size":
            raise UsageError(f"headers.{message}: http.{message}.header.size is the size of all fields")
    return fields
