"""HTTP/2 after an HTTP/1.1 Upgrade to h2c (RFC 7540 section 3.2)."""

from __future__ import annotations

import base64

import pytest

from rover import Direction, Outcome, ProtocolBreak, Role
from rover.http import Headers, HttpRequest
from rover_plugin_http2 import register_protocols

UP, DOWN = Direction.EGRESS, Direction.INGRESS
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def asked(settings=b"", method="GET", body=0):
    fields = [
        ("host", "a.example:8080"),
        ("connection", "Upgrade, HTTP2-Settings, X-Hop"),
        ("upgrade", "h2c"),
        ("http2-settings", base64.urlsafe_b64encode(settings).decode().rstrip("=")),
        ("x-hop", "dropped"),
        ("user-agent", "curl/8"),
    ]
    request = HttpRequest(
        method=method,
        target="/up?x=1",
        version="1.1",
        headers=Headers(fields),
        start=5,
        end=15,
        header_size=180,
        body_size=body,
    )
    return ProtocolBreak(
        reason="upgrade",
        detail="",
        protocol="http1",
        direction=DOWN,
        position=70,
        upgrade="h2c",
        request=request,
    )


def test_h2c_is_claimed():
    (spec,) = register_protocols()
    assert spec.upgrades == {"h2c"}


@pytest.mark.parametrize("role", [Role.CLIENT, None])
def test_stream_1_answers_the_request_that_upgraded(talk, role):
    c = talk(late=True, role=role, upgrade=asked(method="POST", body=7))
    c.down(c.settings(), c.response(1, [(":status", "200"), ("x", "y")], end=False))
    c.up(PREFACE, c.settings(), c.settings(ack=True))
    c.down(c.data(1, b"0123"))
    request, response = c.stream.request, c.stream.response
    assert (request.method, request.target, request.version) == ("POST", "/up?x=1", "2")
    assert (request.authority, request.scheme) == ("a.example:8080", "http")
    assert (request.header_size, request.body_size, request.start) == (180, 7, 5)
    assert list(request.headers) == [("host", "a.example:8080"), ("user-agent", "curl/8")]
    assert (response.status, response.body_size, c.stream.outcome) == (200, 4, Outcome.COMPLETE)
    assert c.play.decoder.role is Role.CLIENT
    c.check_details()


def test_the_connection_goes_on(talk):
    c = talk(late=True, upgrade=asked())
    c.up(PREFACE, c.settings(), c.request(3, path="/next"))
    c.down(c.settings(), c.response(1), c.response(3))
    assert [s.request.target for s in c.streams] == ["/up?x=1", "/next"]


def test_http2_settings_are_the_clients_first(talk):
    """A table of 8,192 bytes and frames of 32,768, announced in the HTTP/1.1 request."""
    settings = bytes.fromhex("000100002000") + bytes.fromhex("000500008000")
    c = talk(late=True, upgrade=asked(settings))
    c.encoders[DOWN].header_table_size = 8192
    c.up(PREFACE, c.settings({}))
    c.down(c.settings(), c.response(1, end=False), c.data(1, bytes(32768)))
    assert c.stream.response.body_size == 32768


@pytest.mark.parametrize("coded", ["", "!", "AAMAAABkAAQ", "====", "\u00e9", "AAEAAAAB" * 5000])
def test_http2_settings_that_are_none_do_no_harm(talk, coded):
    upgrade = asked()
    fields = [(n, coded if n == "http2-settings" else v) for n, v in upgrade.request.headers]
    upgrade = upgrade.replace(request=upgrade.request.replace(headers=Headers(fields)))
    c = talk(late=True, upgrade=upgrade)
    c.down(c.settings(), c.response(1))
    assert c.stream.response.status == 200


def test_a_server_watched_from_its_own_process(talk):
    upgrade = asked().replace(direction=UP)
    c = talk(late=True, role=Role.SERVER, upgrade=upgrade)
    # This conversation's `up` leaves the watched process, so here it is the server's.
    c.up(c.settings(), c.block(UP, 1, [(":status", "204")]))
    assert (c.stream.request.target, c.stream.response.status) == ("/up?x=1", 204)
    assert c.play.decoder.role is Role.SERVER


def test_an_upgrade_that_hands_over_no_request(talk):
    c = talk(late=True, upgrade=asked().replace(request=None))
    c.up(PREFACE, c.settings(), c.request(3))
    c.down(c.settings(), c.response(1), c.response(3))
    assert [s.owner for s in c.streams] == [3]


def test_a_connection_that_closes_before_the_answer(talk):
    c = talk(late=True, upgrade=asked())
    c.up(PREFACE, c.settings())
    c.check_details()
    assert (c.stream.outcome, c.stream.request.target, c.stream.response) == (
        Outcome.ABORTED,
        "/up?x=1",
        None,
    )
