"""Header fields in access logs: which, of which message, in which form."""

from __future__ import annotations

from typing import Any

import pytest

from rover import AccessLog, Attributes, Headers, HttpRequest, HttpResponse, Role, Shape, UsageError
from rover.http.export import MAX_SHAPES, HeaderExport
from rover.testing import connection

ASKED = Headers([("host", "h"), ("x-tag", "a"), ("x-tag", "b"), ("accept", ""), ("cookie", "a=b")])
ANSWERED = Headers([("x-tag", "c"), ("set-cookie", "d"), ("set-cookie", "e")])
FORMS: list[Any] = [dict, lambda pairs: Attributes(Shape([*pairs]), tuple(pairs.values()))]


def request(headers: Headers = ASKED) -> HttpRequest:
    return HttpRequest(
        method="GET", target="/", version="1.1", headers=headers, start=1, end=2, header_size=18, body_size=0
    )


def response() -> HttpResponse:
    return HttpResponse(
        status=200, version="1.1", headers=ANSWERED, start=3, end=4, header_size=19, body_size=0
    )


def log_of(attributes: Any) -> AccessLog:
    facts = connection(Role.SERVER)
    return AccessLog(connection=facts, start=0, end=1, protocol="http", version="1.1", attributes=attributes)


@pytest.mark.parametrize("form", FORMS)
def test_every_value_of_a_field_that_was_sent(form: Any) -> None:
    export = HeaderExport(["X-Tag", "accept", "absent", "x-tag"], ["set-cookie", "x-tag", "absent"])
    own = {"http.request.method": "GET", "http.request.header.x-tag.count": 1}
    added = {
        "http.request.header.x-tag": ("a", "b"),
        "http.request.header.accept": ("",),
        "http.response.header.set-cookie": ("d", "e"),
        "http.response.header.x-tag": ("c",),
    }
    log = log_of(form(own))
    for _ in range(2):
        assert export.added(log, request(), response()) == log.replace(attributes=own | added)
    without = {name: value for name, value in added.items() if "request" in name}
    assert export.added(log, request(), None) == log.replace(attributes=own | without)
    assert export.added(log, request(Headers()), None) == log.replace(attributes=own)


@pytest.mark.parametrize("form", FORMS)
def test_an_attribute_that_a_log_has_stays(form: Any) -> None:
    """The host, which HTTP/2 sends as :authority."""
    own = {"http.request.header.host": ("authority",), "a": 1}
    made = HeaderExport(["host", "x-tag"], []).added(log_of(form(own)), request(), response())
    assert made.attributes == own | {"http.request.header.x-tag": ("a", "b")}


def test_shapes_without_end_are_not_remembered() -> None:
    export = HeaderExport(["x-tag"], [])
    for number in range(3 * MAX_SHAPES):
        made = export.added(log_of(FORMS[1]({f"a{number}": 1})), request(), None)
        assert made.attributes == {f"a{number}": 1, "http.request.header.x-tag": ("a", "b")}


def test_nothing_is_exported_unless_asked_for() -> None:
    assert not HeaderExport([], [])
    assert HeaderExport([], ["a"])


@pytest.mark.parametrize("name", ["", "a b", "a:b", ":path", "\u00e9", "a\n", "x" * 257, "size", "Size"])
def test_a_name_that_no_field_has_is_refused(name: str) -> None:
    for given in ([name], []), ([], [name]):
        with pytest.raises(UsageError, match=r"^headers\.(request|response): "):
            HeaderExport(*given)
