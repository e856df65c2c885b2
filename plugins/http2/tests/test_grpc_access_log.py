"""The access log of a stream, and what gRPC adds to it."""

from __future__ import annotations

import pytest

from rover import AccessLog, Outcome
from rover.testing import connection
from rover_plugin_http2 import handle_whole_stream

CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/pkg.sub.Echo/Say"),
    (":authority", "a.example:50051"),
    ("content-type", "application/grpc+proto"),
    ("user-agent", "grpc-python/1.60"),
    ("te", "trailers"),
    ("grpc-timeout", "1S"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]
OK = [(":status", "200"), ("content-type", "application/grpc")]
MESSAGE = b"\0\0\0\0\5hello"


def log_of(c, number=-1) -> AccessLog:
    return handle_whole_stream(connection(), c.streams[number], c.play.taken[number])


def unary(c, trailers):
    c.up(c.request(1, CALL, end=False), c.data(1, MESSAGE))
    c.down(c.response(1, OK, end=False), c.data(1, MESSAGE, end=False), c.response(1, trailers))
    return log_of(c)


def test_a_unary_call(talk):
    c = talk()
    log = unary(c, [("grpc-status", "0")])
    assert (log.protocol, log.version, log.outcome) == ("http", "2", Outcome.COMPLETE)
    assert log.details == c.play.taken[0] == tuple(c.play.calls[2:])
    assert (log.start, log.end) == (log.details[0].start, log.details[1].end)
    expected = {
        "http.request.method": "POST",
        "url.original": "/pkg.sub.Echo/Say",
        "url.path": "/pkg.sub.Echo/Say",
        "http.request.header.host": ("a.example:50051",),
        "user_agent.original": "grpc-python/1.60",
        "http.request.body.size": 10,
        "http.response.status_code": 200,
        "http.response.body.size": 10,
        "trace.provider": "w3c",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "rpc.system.name": "grpc",
        "rpc.method": "pkg.sub.Echo/Say",
        "rpc.status_code": "OK",
    }
    assert expected.items() <= log.attributes.items()
    assert set(log.attributes) - set(expected) == {"http.request.header.size", "http.response.header.size"}


@pytest.mark.parametrize(
    ("trailers", "status", "message"),
    [
        ([("grpc-status", "5"), ("grpc-message", "no such thing")], "NOT_FOUND", "no such thing"),
        ([("grpc-status", "13"), ("grpc-message", "caf%C3%A9 100%25")], "INTERNAL", "caf\u00e9 100%"),
        ([("grpc-status", "2"), ("grpc-message", "%zz%")], "UNKNOWN", "%zz%"),
        ([("grpc-status", "2"), ("grpc-message", "%FF")], "UNKNOWN", "\ufffd"),
        ([("grpc-status", "0"), ("grpc-message", "")], "OK", None),
        ([("grpc-status", "16")], "UNAUTHENTICATED", None),
        ([("grpc-status", "17")], "17", None),
        ([("grpc-status", "77")], "77", None),
        ([("grpc-status", "05")], "NOT_FOUND", None),
        ([("grpc-status", "x")], None, None),
        ([("grpc-status", "-1")], None, None),
        ([("grpc-status", "9" * 500)], None, None),
        ([("grpc-status", "\u0663")], None, None),
        ([("x-other", "1")], None, None),
    ],
)
def test_status_and_message(talk, trailers, status, message):
    attributes = unary(talk(), trailers).attributes
    assert attributes.get("rpc.status_code") == status
    assert attributes.get("grpc.status_message") == message


def test_trailers_only(talk):
    """An error before any message: the status is in the only header block."""
    c = talk()
    c.up(c.request(1, CALL, end=False), c.data(1, MESSAGE))
    c.down(c.response(1, [*OK, ("grpc-status", "12"), ("grpc-message", "Method not found!")]))
    attributes = log_of(c).attributes
    assert attributes["rpc.status_code"] == "UNIMPLEMENTED"
    assert attributes["grpc.status_message"] == "Method not found!"
    assert attributes["http.response.body.size"] == 0


@pytest.mark.parametrize(("sent", "received"), [(5, 1), (1, 5), (3, 4)])
def test_streaming_calls(talk, sent, received):
    c = talk()
    c.up(c.request(1, CALL, end=False))
    c.down(c.response(1, OK, end=False))
    for i in range(max(sent, received)):
        if i < sent:
            c.up(c.data(1, MESSAGE, end=False))
        if i < received:
            c.down(c.data(1, MESSAGE, end=False))
    c.up(c.data(1))
    c.down(c.response(1, [("grpc-status", "0")]))
    log = log_of(c)
    assert log.attributes["http.request.body.size"] == sent * len(MESSAGE)
    assert log.attributes["http.response.body.size"] == received * len(MESSAGE)
    assert len(log.details) == len(c.play.calls) - 2
    c.check_details()


def test_a_call_that_was_cancelled_or_ran_out_of_time(talk):
    """The client resets the stream: no status came, and none is made up."""
    c = talk()
    c.up(c.request(1, CALL, end=False), c.data(1, MESSAGE, end=False))
    c.up(c.reset(1, 8))
    log = log_of(c)
    assert log.outcome is Outcome.ABORTED
    assert log.attributes["error.type"] == "CANCEL"
    assert log.attributes["rpc.method"] == "pkg.sub.Echo/Say"
    assert "rpc.status_code" not in log.attributes
    assert "http.response.status_code" not in log.attributes


@pytest.mark.parametrize(("code", "name"), [(1, "PROTOCOL_ERROR"), (13, "HTTP_1_1_REQUIRED"), (0x77, "0x77")])
def test_error_codes_have_names(talk, code, name):
    c = talk()
    c.up(c.request(1))
    c.down(c.reset(1, code))
    assert log_of(c).attributes["error.type"] == name


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc-web", "application/grpc-web+proto", "application/grpcx", "application/json", None],
)
def test_what_is_no_grpc_has_no_rpc_attributes(talk, content_type):
    c = talk()
    fields = [f for f in CALL if f[0] != "content-type"]
    c.up(c.request(1, fields + ([("content-type", content_type)] if content_type else [])))
    c.down(c.response(1, [*OK, ("grpc-status", "0")]))
    assert not [name for name in log_of(c).attributes if name.startswith("rpc.")]


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc;charset=utf-8"])
def test_content_types_of_grpc(talk, content_type):
    c = talk()
    c.up(c.request(1, [*CALL[:4], ("content-type", content_type)]))
    c.down(c.response(1, OK))
    assert log_of(c).attributes["rpc.system.name"] == "grpc"


def test_a_split_call_has_no_status_yet(talk):
    c = talk(split_after=1)
    c.up(c.request(1, CALL, end=False))
    c.down(c.response(1, OK, end=False))
    c.play.expire(2_000_000_000)
    log = log_of(c)
    assert log.outcome is Outcome.SPLIT
    assert log.attributes["rpc.system.name"] == "grpc"
    assert "rpc.status_code" not in log.attributes


def test_the_log_of_an_aborted_stream_without_an_answer(talk):
    c = talk()
    c.up(c.request(1, end=False))
    c.play.close()
    log = log_of(c)
    assert (log.outcome, log.end) == (Outcome.ABORTED, c.streams[0].request.end)
    assert "error.type" not in log.attributes
