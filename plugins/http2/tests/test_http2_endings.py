"""How streams end other than by END_STREAM on both sides: resets, GOAWAY, close, time."""

from __future__ import annotations

import pytest

from rover import Direction, Outcome
from rover.testing import connection
from rover_plugin_http2.logs import access_log

NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 2, 7, 8
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/upload")]


def outcomes(c):
    return [(s.owner, s.outcome, s.error_code) for s in c.streams]


def test_a_server_that_has_answered_may_refuse_the_rest_of_the_request(talk):
    """RFC 9113 section 8.1: RST_STREAM(NO_ERROR) after a whole response."""
    c = talk()
    c.up(c.request(1, POST, end=False), c.data(1, bytes(100), end=False))
    c.down(c.response(1, [(":status", "413")]), c.reset(1, NO_ERROR))
    assert outcomes(c) == [(1, Outcome.COMPLETE, NO_ERROR)]
    assert (c.stream.request.body_size, c.stream.response.status) == (100, 413)
    c.up(c.data(1, bytes(50)))  # was under way
    assert len(c.streams) == 1
    c.check_details()


@pytest.mark.parametrize(
    ("answered", "error"),
    [(False, NO_ERROR), (False, INTERNAL_ERROR), (True, INTERNAL_ERROR), (True, NO_ERROR)],
)
@pytest.mark.parametrize("side", ["up", "down"])
def test_other_resets_from_either_side_abort(talk, answered, error, side):
    c = talk()
    c.up(c.request(1, POST, end=False), c.data(1, b"123", end=False))
    if answered:
        c.down(c.response(1, end=False), c.data(1, b"12", end=False))
    getattr(c, side)(c.reset(1, error))
    assert outcomes(c) == [(1, Outcome.ABORTED, error)]
    assert c.stream.request.body_size == 3
    assert (c.stream.response is not None) is answered
    if answered:
        assert c.stream.response.body_size == 2
    c.check_details()


def test_the_log_of_a_reset_stream_ends_with_the_reset(talk):
    c = talk()
    c.up(c.request(1))
    c.play.expire(5000)
    c.up(c.reset(1, CANCEL))
    assert c.stream.request.end == 5010


def test_a_cancelled_call_is_aborted_even_when_the_response_has_ended(talk):
    c = talk()
    c.up(c.request(1, POST, end=False))
    c.down(c.response(1))
    c.up(c.reset(1, CANCEL))
    assert outcomes(c) == [(1, Outcome.ABORTED, CANCEL)]


def test_a_reset_that_was_recorded_before_its_request(talk):
    c = talk()
    c.down(c.reset(1, REFUSED_STREAM))
    c.up(c.request(1))
    assert outcomes(c) == [(1, Outcome.ABORTED, REFUSED_STREAM)]
    c.check_details()


def test_a_reset_of_a_stream_that_is_gone_is_ignored(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1))
    c.up(c.reset(1, CANCEL), c.request(3))
    c.down(c.response(3), c.reset(3, CANCEL))
    assert outcomes(c) == [(1, Outcome.COMPLETE, None), (3, Outcome.COMPLETE, None)]
    c.check_details()


def test_a_reset_of_a_stream_never_promised_leaves_nothing(talk):
    c = talk()
    c.up(c.reset(2, CANCEL))
    assert c.play.decoder._streams.memory == 0
    assert c.streams == []


def test_goaway_ends_the_streams_above_its_last_one(talk):
    c = talk()
    c.up(c.request(1), c.request(3), c.request(5), c.request(7))
    c.down(c.goaway(3, INTERNAL_ERROR, b"debug data, any length"), c.response(1))
    expected = [(5, Outcome.ABORTED, INTERNAL_ERROR), (7, Outcome.ABORTED, INTERNAL_ERROR)]
    assert outcomes(c) == [*expected, (1, Outcome.COMPLETE, None)]
    c.down(c.response(3))
    assert outcomes(c)[3:] == [(3, Outcome.COMPLETE, None)]
    c.check_details()


def test_goaway_of_a_graceful_shutdown_ends_nothing(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.goaway((1 << 31) - 1), c.ping())
    assert c.streams == []
    c.down(c.goaway(1), c.response(1))
    assert outcomes(c) == [(1, Outcome.COMPLETE, None)]


def test_goaway_of_the_client_ends_promised_streams_only(talk):
    c = talk()
    c.up(c.request(1))
    get = [(":method", "GET"), (":scheme", "http"), (":path", "/pushed")]
    c.down(c.block(Direction.INGRESS, 1, get, promise=2), c.block(Direction.INGRESS, 1, get, promise=4))
    c.up(c.goaway(2))
    assert outcomes(c) == [(4, Outcome.ABORTED, NO_ERROR)]


def test_a_push_that_the_client_refuses(talk):
    c = talk()
    c.up(c.request(1))
    get = [(":method", "GET"), (":scheme", "http"), (":path", "/pushed")]
    c.down(c.block(Direction.INGRESS, 1, get, promise=2), c.response(2, end=False))
    c.up(c.reset(2, CANCEL))
    c.down(c.data(2, b"under way"), c.response(1))
    assert outcomes(c) == [(2, Outcome.ABORTED, CANCEL), (1, Outcome.COMPLETE, None)]
    assert c.streams[0].request.target == "/pushed"


def test_what_close_cuts_is_aborted_with_what_is_known(talk):
    c = talk()
    c.up(c.request(1, POST, end=False), c.data(1, b"12345", end=False), c.request(3), c.request(5))
    c.down(c.response(3, end=False), c.data(3, b"123", end=False), c.response(5))
    c.check_details()
    assert outcomes(c) == [
        (5, Outcome.COMPLETE, None),
        (1, Outcome.ABORTED, None),
        (3, Outcome.ABORTED, None),
    ]
    _, upload, half = c.streams
    assert (upload.request.body_size, upload.response) == (5, None)
    assert (half.response.status, half.response.body_size) == (200, 3)


def test_close_inside_a_frame_counts_what_came(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, end=False), c.data(1, bytes(1000))[:509])
    c.play.close()
    assert (c.stream.outcome, c.stream.response.body_size) == (Outcome.ABORTED, 500)


def test_a_response_that_ends_without_a_final_head_is_no_complete_exchange(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, [(":status", "103")]))
    assert (c.stream.outcome, c.stream.response) == (Outcome.ABORTED, None)


def test_a_malformed_request_is_never_logged_and_does_not_stay(talk):
    """RFC 9113 section 8.1.1: no `:path`, or an empty one; the server refuses it."""
    c = talk()
    c.up(c.request(1, [(":method", "GET"), (":scheme", "http")]))
    c.up(c.request(3, [(":method", "GET"), (":scheme", "http"), (":path", "")], end=False))
    c.up(c.data(3, b"x"), c.request(5))
    c.down(c.response(1, [(":status", "400")]), c.reset(3, 1), c.response(5))
    assert [s.owner for s in c.streams] == [5]
    c.check_details()
    assert len(c.play.exchanges) == 1


def test_connect_has_an_authority_for_a_target(talk):
    c = talk()
    c.up(c.request(1, [(":method", "CONNECT"), (":authority", "b.example:443")], end=False))
    c.down(c.response(1, end=False), c.data(1, b"tunnelled", end=False))
    c.up(c.data(1, b"both ways"))
    c.down(c.data(1))
    request = c.stream.request
    assert (request.method, request.target, request.authority) == (
        "CONNECT",
        "b.example:443",
        "b.example:443",
    )
    assert (request.body_size, c.stream.response.body_size) == (9, 9)


def test_extended_connect_has_a_path(talk):
    """RFC 8441: WebSocket over HTTP/2."""
    c = talk()
    fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "c.example"),
    ]
    c.up(c.request(1, fields, end=False))
    c.down(c.response(1))
    c.up(c.data(1))
    assert (c.stream.request.target, c.stream.request.authority) == ("/chat", "c.example")
    assert len(c.stream.request.headers) == 0


def test_many_splits_of_many_streams_keep_their_order(talk):
    c = talk(split_after=10)
    c.up(*(c.request(n, end=False) for n in (1, 3, 5)))
    second = 1_000_000_000
    c.play.expire(11 * second)
    c.play.expire(12 * second)
    c.up(c.request(7, end=False))
    c.play.expire(22 * second)
    c.play.expire(33 * second)
    assert [s.owner for s in c.streams] == [1, 3, 5, 1, 3, 5, 7, 1, 3, 5]
    assert {s.outcome for s in c.streams} == {Outcome.SPLIT}
    c.check_details()


def test_the_order_is_that_in_which_responses_ended(talk):
    c = talk()
    c.up(*(c.request(n) for n in (1, 3, 5, 7)))
    c.down(c.response(7), c.response(3, end=False), c.response(1), c.response(5), c.data(3))
    assert [s.owner for s in c.streams] == [7, 1, 5, 3]


# -- how long it was under way ---------------------------------------------------------------------

SECOND = 1_000_000_000


def gives_up(c, how):
    """What ends stream 1 without an answer, 4 s after it was asked for."""
    c.play.time = 4 * SECOND
    if how == "the client resets":
        c.up(c.reset(1, CANCEL))
    elif how == "the server resets":
        c.down(c.reset(1, REFUSED_STREAM))
    elif how == "GOAWAY":
        c.down(c.goaway(0))
    elif how == "a break":
        c.up(c.raw(9, 1))
    c.play.close()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    "how", ["the client resets", "the server resets", "GOAWAY", "a break", "the connection closes"]
)
def test_what_is_cut_lasts_until_somebody_gave_up(talk, how, answered):
    c = talk()
    c.up(c.request(1, end=False))
    if answered:
        c.down(c.response(1, end=False))
    gives_up(c, how)
    (stream,) = c.play.exchanges
    assert stream.outcome is Outcome.ABORTED
    assert 4 * SECOND <= stream.end < 5 * SECOND
    assert access_log(connection(), stream, ()).start < SECOND


def test_what_is_complete_or_split_ends_with_its_messages(talk):
    c = talk(split_after=10)
    c.up(c.request(1), c.request(3))
    c.down(c.response(1))
    c.play.expire(11 * SECOND)
    assert [(s.outcome, s.end) for s in c.streams] == [(Outcome.COMPLETE, 0), (Outcome.SPLIT, 0)]


# -- a break -----------------------------------------------------------------------------------------

BREAKS = {
    "hpack": lambda c: c.raw(1, 7, b"\xff\x7f", 5),
    "framing": lambda c: c.raw(9, 1),
    "unknown-stream": lambda c: c.data(13, b"x"),
}


@pytest.mark.parametrize("reason", BREAKS)
@pytest.mark.parametrize("way", ["up", "down"])
def test_streams_that_are_open_when_the_connection_breaks_are_logged(talk, reason, way):
    """As they are, the oldest first, with their calls; then comes the break."""
    c = talk()
    c.up(c.request(1, path="/1"), c.request(3, path="/3", end=False), c.request(5, path="/5"))
    c.down(c.response(3, end=False), c.data(3, b"12", end=False), c.response(1))
    c.down(c.response(11, end=False))  # its request has not been recorded
    getattr(c, way)(BREAKS[reason](c))
    assert c.broke.reason == reason
    found = [(s.request.target, s.outcome, s.response and s.response.body_size) for s in c.play.exchanges]
    assert found == [("/1", Outcome.COMPLETE, 0), ("/3", Outcome.ABORTED, 2), ("/5", Outcome.ABORTED, None)]
    assert [d.sequence for d in c.play.taken[0]] == [2]
    assert c.play.decoder._streams.memory == 0
    c.check_details()


def test_streams_that_are_open_when_there_are_too_many_are_logged(talk):
    c = talk(memory=64)
    count = 0
    while c.play.protocol_break is None:
        count += 1
        c.up(c.request(2 * count - 1))
    assert c.broke.reason == "overflow"
    assert [s.owner for s in c.play.exchanges] == list(range(1, 2 * count, 2))
    assert {s.outcome for s in c.play.exchanges} == {Outcome.ABORTED}
