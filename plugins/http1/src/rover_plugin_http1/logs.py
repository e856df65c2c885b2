"""A finished exchange as an access log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rover import AccessLog, Connection, Detail, Outcome, hookimpl
from rover.http import HTTP_NAMES
from rover.http.attributes import http_cells
from rover.values.access_log import new_log
from rover.values.attributes import AttributeValue, Shape, attributes_of
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
    end = request.end
    if response is not None and response.end > end:
        end = response.end
    return new_log(
        connection=connection,
        start=request.start,
        end=end,
        protocol="http",
        version=request.version,
        attributes=cast("Mapping[str, AttributeValue]", attributes_of(SHAPE, http_cells(request, response))),
        details=details,
        outcome=COMPLETE,
    )


@hookimpl
def handle_http_data(
    connection: Connection,
    request: HttpRequest,
    response: HttpResponse | None,
    details: tuple[Detail, ...],
) -> AccessLog:
    """The hook: of this module, so that it is compiled."""
    return access_log(connection, request, response, details)
