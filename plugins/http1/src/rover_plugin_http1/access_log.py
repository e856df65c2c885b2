"""A finished exchange as an access log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rover import AccessLog, Connection, Detail, Outcome
from rover.http import HTTP_NAMES
from rover.http.attributes import http_cells
from rover.values.access_log import new_log
from rover.values.attributes import Attributes, Shape
from rover.values.http import HttpRequest, HttpResponse

COMPLETE = Outcome.COMPLETE
SHAPE = Shape(HTTP_NAMES)


def access_log(
    connection: Connection,
    request: HttpRequest,
    response: HttpResponse | None,
    details: tuple[Detail, ...],
) -> AccessLog:
    """The access log of an exchange; the core adds how it ended."""
    end = request.end if response is None else max(request.end, response.end)
    return new_log(
        connection=connection,
        start=request.start,
        end=end,
        protocol="http",
        version=request.version,
        attributes=cast("Mapping[str, str | int | bool]", Attributes(SHAPE, http_cells(request, response))),
        details=details,
        outcome=COMPLETE,
    )
