"""Exchanges as entries of an HTTP Archive, HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/).

Fields whose names begin with an underscore are ours, as the format allows.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from rover import AccessLog, Connection, Headers, HttpRequest, HttpResponse, Outcome
from rover_plugin_export.content import NO_CONTENT, Content, shown

MAX_PARAMETERS = 10_000
"""Parts of a query, and cookies, that get an entry of their own."""
_ALLOWED = "!#$%&'()*+,/:;=?@[]-._~"
"""Beside letters and digits, what stands in a URI (RFC 3986 section 2)."""
NOT_TAKEN = -1
"""What a figure is that is not known."""


class Messages(NamedTuple):
    """What an entry is made of, besides the access log."""

    request: HttpRequest
    response: HttpResponse | None
    asked: Content = NO_CONTENT
    """The request's content."""
    answered: Content = NO_CONTENT
    reason: str = ""
    """The response's reason phrase."""


def beginning(name: str, version: str) -> bytes:
    """Of a file that this program writes; entries follow, with commas between them, and `END`."""
    creator = orjson.dumps({"name": name, "version": version})
    return b'{"log":{"version":"1.2","creator":' + creator + b',"pages":[],"entries":[\n'


END = b"\n]}}\n"


def entry(log: AccessLog, messages: Messages, limit: int) -> bytes:
    """One entry as JSON. `limit`: bytes of content that is decoded."""
    made = _entry(log, messages, limit)
    try:
        return orjson.dumps(made)
    except TypeError:  # a text that UTF-8 cannot hold, or a number beyond 64 bits
        return json.dumps(made, default=str).encode()


def _entry(log: AccessLog, messages: Messages, limit: int) -> dict[str, Any]:
    connection = log.connection
    request, response = messages.request, messages.response
    timings = _timings(log, request, response)
    made: dict[str, Any] = {
        "startedDateTime": _moment(connection.epoch + log.start),
        "time": sum(timings.values()),
        "request": _request(connection, messages, limit),
        "response": _no_response(log) if response is None else _response(messages, response, limit),
        "cache": {},
        "timings": timings,
        "connection": f"{connection.id:016x}",
    }
    server = connection.server
    if server is not None:
        made["serverIPAddress"] = server.host
    process = connection.process
    if process is not None and process.pid:
        made["comment"] = f"{process.name or '?'}[{process.pid}]"
        made["_process"] = {"pid": process.pid, "executable": process.name, **process.attributes}
    if connection.role is not None:
        made["_role"] = connection.role.value
    if log.outcome is not Outcome.COMPLETE:
        made["_outcome"] = log.outcome.value
    for ours, name in (("_route", "http.route"), ("_pairing", "rover.pairing")):
        if (value := log.attributes.get(name)) is not None:
            made[ours] = value
    return made


def _moment(time: int) -> str:
    """Unix ns as ISO 8601, to the microsecond."""
    seconds, rest = divmod(time, 1_000_000_000)
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        moment, rest = datetime.datetime.fromtimestamp(0, datetime.UTC), 0
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _timings(log: AccessLog, request: HttpRequest, response: HttpResponse | None) -> dict[str, float]:
    """In ms; they add up to the whole. What a server answers before it has the whole request is waited for
    by nobody."""
    start, end = log.start, max(log.start, log.end)
    answered = end if response is None else min(max(response.start, start), end)
    sent = min(max(request.end, start), answered)
    return {"send": (sent - start) / 1e6, "wait": (answered - sent) / 1e6, "receive": (end - answered) / 1e6}


def url_of(connection: Connection, request: HttpRequest) -> str:
    """Where the request goes, absolute (RFC 9110 section 7.1); what no URI may have is escaped."""
    return urllib.parse.quote(_url(connection, request), safe=_ALLOWED)


def _url(connection: Connection, request: HttpRequest) -> str:
    target = request.target
    if "://" in target and not target.startswith("/"):
        return target
    scheme = request.scheme or ("https" if connection.tls else "http")
    host = request.authority or request.headers.get("host") or ""
    if request.method == "CONNECT":
        return f"{scheme}://{target}"
    if not host and (server := connection.server) is not None:
        host = f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"
    return f"{scheme}://{host or 'unknown'}{target if target.startswith('/') else ''}"


def _request(connection: Connection, messages: Messages, limit: int) -> dict[str, Any]:
    request = messages.request
    url = url_of(connection, request)
    made: dict[str, Any] = {
        "method": request.method,
        "url": url,
        "httpVersion": _version(request.version),
        "cookies": _cookies(request.headers),
        "headers": _headers(request.headers),
        "queryString": _query(url),
        "headersSize": request.header_size,
        "bodySize": NOT_TAKEN if request.body_size is None else request.body_size,
    }
    if url != _url(connection, request):
        made["_target"] = request.target
    if request.body_size:
        content = shown(messages.asked, request.headers, limit)
        posted: dict[str, Any] = {"mimeType": request.headers.get("content-type") or "", "params": []}
        # The format has a place for text only.
        posted["text"] = "" if content.text is None or content.base64 else content.text
        if content.base64:
            posted["_base64"] = content.text
        if content.comment:
            posted["comment"] = content.comment
        made["postData"] = posted
    return made


def _response(messages: Messages, response: HttpResponse, limit: int) -> dict[str, Any]:
    headers = response.headers
    sent = response.body_size
    content = shown(messages.answered if sent else Content(b"", sent or 0), headers, limit)
    size = content.size if content.size >= 0 else sent or 0
    told: dict[str, Any] = {"size": size, "mimeType": headers.get("content-type") or "x-unknown"}
    if sent is not None and content.text is not None and size != sent:
        told["compression"] = size - sent
    if content.text is not None:
        told["text"] = content.text
        if content.base64:
            told["encoding"] = "base64"
    if content.comment:
        told["comment"] = content.comment
    made: dict[str, Any] = {
        "status": response.status,
        "statusText": messages.reason,
        "httpVersion": _version(response.version),
        "cookies": _set_cookies(headers),
        "headers": _headers(headers),
        "content": told,
        "redirectURL": headers.get("location") or "",
        "headersSize": response.header_size,
        "bodySize": NOT_TAKEN if sent is None else sent,
    }
    if response.trailers.fields:
        made["_trailers"] = _headers(response.trailers)
    return made


def _no_response(log: AccessLog) -> dict[str, Any]:
    """As browsers have it for a request that was not answered: status 0."""
    return {
        "status": 0,
        "statusText": "",
        "httpVersion": "unknown",
        "cookies": [],
        "headers": [],
        "content": {"size": 0, "mimeType": "x-unknown"},
        "redirectURL": "",
        "headersSize": NOT_TAKEN,
        "bodySize": NOT_TAKEN,
        "_error": log.outcome.value,
    }


def _version(version: str) -> str:
    return f"HTTP/{version}" if version else "unknown"


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _query(url: str) -> list[dict[str, str]]:
    query = url.partition("?")[2].partition("#")[0]
    found = []
    for part in query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS] if query else ():
        name, _, value = part.partition("=")
        found.append({"name": urllib.parse.unquote_plus(name), "value": urllib.parse.unquote_plus(value)})
    return found


def _cookies(headers: Headers) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for field in headers.get_all("cookie"):
        for part in field.split(";", MAX_PARAMETERS)[:MAX_PARAMETERS]:
            if part.strip():
                name, _, value = part.strip().partition("=")
                found.append({"name": name, "value": value})
    return found


def _set_cookies(headers: Headers) -> list[dict[str, Any]]:
    """RFC 6265 section 4.1."""
    return [_set_cookie(field) for field in headers.get_all("set-cookie")]


def _set_cookie(field: str) -> dict[str, Any]:
    pair, *attributes = field.split(";", 20)
    name, _, value = pair.strip().partition("=")
    made: dict[str, Any] = {"name": name, "value": value, "httpOnly": False, "secure": False}
    for attribute in attributes:
        key, _, given = attribute.strip().partition("=")
        match key.lower():
            case "path" | "domain" as known:
                made[known] = given
            case "httponly":
                made["httpOnly"] = True
            case "secure":
                made["secure"] = True
            case "samesite":
                made["sameSite"] = given
            case "expires":
                try:
                    made["expires"] = email.utils.parsedate_to_datetime(given).isoformat()
                except (TypeError, ValueError, OverflowError):
                    continue
    return made


def joined(entries: Iterable[bytes], first: bool) -> bytes:
    """Entries as they follow each other in the file; `first`: nothing stands before them."""
    text = b",\n".join(entries)
    return text if first or not text else b",\n" + text
