"""A finished exchange as an access log."""

from __future__ import annotations

from rover import AccessLog, Connection, Detail, Outcome
from rover.http import HttpRequest, HttpResponse, http_attributes
from rover.values.tuples import new

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
    return new(
        AccessLog,
        (connection, request.start, end, "http", request.version, attributes, details, COMPLETE),
    )
