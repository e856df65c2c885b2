"""What is answered to whom, and how often it is made."""

import gzip

import pytest

from rover_plugin_sink_prometheus import page as page_module
from rover_plugin_sink_prometheus.exposition import OPENMETRICS, TEXT, Snapshot
from rover_plugin_sink_prometheus.http_server import Request
from rover_plugin_sink_prometheus.page import Page, chosen, takes_gzip

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""Of version 2.42."""


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain", TEXT),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("Application/OpenMetrics-Text ; Version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=x", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        (";;;,,,=,q=", TEXT),
    ],
)
def test_which_form(accept, form):
    assert chosen(accept) is form


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*, gzip;q=0", False),
    ],
)
def test_whether_it_is_packed(accept, taken):
    assert takes_gzip(accept) is taken


class Counted:
    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return Snapshot((("n", self.times),), (), {}, {})


def get(page, path="/metrics", **headers):
    return page.answer(Request(path, headers))


def test_a_page():
    response = get(Page(Counted()))
    assert (response.status, response.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'target_info{n="1"} 1\n' in b"".join(response.body)


def test_a_page_that_is_packed():
    page = Page(Counted())
    packed = page.answer(Request("/metrics", {"accept-encoding": "gzip", "accept": PROMETHEUS}))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert gzip.decompress(b"".join(packed.body)) == b"".join(get(page, accept=PROMETHEUS).body)


def test_no_client_has_it_made_more_often_than_once_in_a_while(monkeypatch):
    collect = Counted()
    page = Page(collect)
    for headers in ({}, {"accept": PROMETHEUS}, {"accept-encoding": "gzip"}) * 5:
        page.answer(Request("/metrics", headers))
    assert (collect.times, page.scrapes) == (1, 15)
    assert get(page).body is get(page).body
    monkeypatch.setattr(page_module, "FRESH", 0.0)
    assert b'n="2"' in b"".join(get(page).body)


def test_a_page_that_failed_is_made_again():
    calls = []

    def collect():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("not now")
        return Snapshot((), (), {}, {})

    page = Page(collect)
    with pytest.raises(RuntimeError):
        get(page)
    assert get(page).status == 200


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/metrics", 200), ("/metrics/", 404), ("/x", 404)])
def test_what_there_is(path, status):
    collect = Counted()
    assert get(Page(collect), path).status == status
    assert collect.times == (path == "/metrics")
