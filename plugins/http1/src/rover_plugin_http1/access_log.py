"""A finished exchange as an access log."""

from __future__ import annotations

from rover import AccessLog, Connection, Detail, Outcome
from rover.http import http_attributes
from rover.values.access_log import new_log
from rover.values.http import HttpRequest, HttpResponse

COMPLETE = Outcome.COMPLETE


def access_log(
    connection: Connection,
    request: HttpRequest,
    response: HttpResponse | None,
    details: tuple[Detail, ...],
) -> AccessLog:
    """The access log of an exchange; the core adds how it ended."""
    attributes = http_attributes(request, response)
    end = request.end if response is None else max(request.end, response.end)
    return new_log(
        connection=connection,
        start=request.start,
        end=end,
        protocol="http",
        version=request.version,
        attributes=attributes,
        details=details,
        outcome=COMPLETE,
    )
