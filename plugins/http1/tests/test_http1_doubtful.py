"""Request lines that are none, and that a server took for one: only its answer tells."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rover.values.records import Role
from rover_plugin_http1.startline import (
    may_open_request,
    may_open_response,
    split_doubtful_line,
    split_request_line,
    split_status_line,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"GET /\r\n", (b"GET", b"/", b"")),
        (b"GET /a b\n", (b"GET", b"/a b", b"")),
        (b"GET /HTTP/1.1\r\n", (b"GET", b"/HTTP/1.1", b"")),
        (b"GET HTTP/1.1\r\n", (b"GET", b"HTTP/1.1", b"")),
        (b"GET  HTTP/1.1\r\n", (b"GET", b"", b"1.1")),
        (b"GET / http/1.1\r\n", (b"GET", b"/", b"1.1")),
        (b"GET / HTTP/1.\r\n", (b"GET", b"/", b"")),
        (b"GET / HTTP/2.0\r\n", (b"GET", b"/", b"2.0")),
        (b"GET /a b\tHTTP/1.x\r\n", (b"GET", b"/a b", b"")),
        (b"OPTIONS\r\n", (b"OPTIONS", b"", b"")),
        (b"FETCH / HTTP/1.\r\n", (b"FETCH", b"/", b"")),
        (b"FETCH /HTTP/1.1\r\n", (b"FETCH", b"/HTTP/1.1", b"")),
        (b"FETCH /\r\n", None),
        (b"FETCH HTTP/1.1\r\n", None),
        (b"half-of-a-target HTTP/1.1\r\n", None),
        (b"see /docs HTTP/1.x\r\n", None),
        (b"FETCH\r\n", None),
        (b"GET\r\r\n", None),
        (b"GET\r\x0c\r\n", None),
        (b"GET/ HTTP/1.\r\n", None),
        (b"\xc3 / HTTP/1.\r\n", None),
        (b"PRI * HTTP/2.0\r\n", None),
        (b"OPTIONS rtsp://a/b RTSP/1.0\r\n", None),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_what_may_have_been_meant_as_a_request_line(line, found):
    assert split_doubtful_line(line) == found


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize(
    ("line", "method", "target"),
    [
        (b"GET /\r\n\r\n", "GET", "/"),
        (b"GET /\r\n", "GET", "/"),  # RFC 1945: a simple request is a line
        (b"GET / HTTP/1.\r\nHost: a\r\n\r\n", "GET", "/"),
        (b"GET /HTTP/1.1\nHost: a\n\n", "GET", "/HTTP/1.1"),
        (b"OPTIONS HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "HTTP/1.1"),
        (b"OPTIONS\r\nHost: a\r\n\r\n", "OPTIONS", ""),
        (b"FETCH /a HTTP/1\r\n\r\n", "FETCH", "/a"),
    ],
)
def test_a_status_line_shows_that_a_doubtful_line_was_a_request(talk, line, method, target, pieces):
    talk.ask(*([line] if pieces == "whole" else [bytes([byte]) for byte in line]))
    assert talk.rows == []
    assert talk.broken is None
    talk.answer(BAD)
    assert talk.rows == [(method, target, 400, 0, 2, "complete")]
    assert talk.exchanges[0].request.header_size == len(line)
    talk.close()


def test_a_doubtful_line_among_requests(talk):
    talk.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(OK)
    talk.ask(b"POST /2\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(BAD + OK)
    assert [row[:5] for row in talk.rows] == [
        ("GET", "/1", 200, 0, 0),
        ("POST", "/2", 400, 3, 2),
        ("GET", "/3", 200, 0, 0),
    ]
    talk.close()


def test_a_response_that_answers_another_request_shows_nothing(talk):
    talk.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET key\r\n")
    talk.answer(OK)
    talk.close()
    assert talk.rows == [("GET", "/1", 200, 0, 0, "complete")]


def test_a_line_without_answer_is_not_logged(talk):
    talk.ask(b"GET key\r\n\r\n")
    talk.close()
    assert talk.rows == []


def test_a_line_answered_in_another_protocol_is_not_logged(talk):
    talk.ask(b"GET key\r\n\r\n")
    talk.answer(b"$3\r\nabc\r\n")
    talk.close()
    assert talk.rows == []


def test_a_response_that_came_before_the_line_does_not_answer_it(talk):
    # RFC 9112 section 9.2: what comes with no request outstanding is no response to a later one.
    talk.answer(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\n")
    talk.ask(b"GET /\r\n\r\n")
    talk.answer(b"this")
    talk.close()
    assert talk.rows == []


def test_a_line_behind_a_loss_is_not_believed(talk):
    talk.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(OK)
    talk.ask_unseen(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.ask(b"GET /3\r\n\r\n")
    talk.answer(OK)
    talk.answer(OK)
    talk.close()
    assert [row[1] for row in talk.rows] == ["/1"]


def test_a_doubtful_line_is_not_waited_for_beyond_the_limit(talk_as):
    talk = talk_as(Role.SERVER, max_head=1024)
    talk.ask(b"GET key\r\n" + b"x\r\n" * 400 + b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(OK)
    talk.close()
    assert talk.rows == [("GET", "/1", 200, 0, 0, "complete")]


LINES = st.text("GETXPRI /HTP1.0\t\r\f:\u00e9", max_size=60).map(str.encode)


@settings(max_examples=500)
@given(st.sampled_from([b"", b"GET", b"GET / HTTP/1.1"]), LINES)
@example(b"GET", b"\r\f\r")
@example(b"GET", b"\r\r")
def test_what_reads_as_a_line_is_waited_for_byte_by_byte(method, rest):
    line = method + rest + b"\n"
    if split_request_line(line) or split_doubtful_line(line):
        for size in range(1, len(line)):
            assert may_open_request(line[:size])


@settings(max_examples=500)
@given(
    st.sampled_from([b"", b"HTTP/1.1", b"ICY"]), st.text("HTP/1.02345 \tICY\r", max_size=20).map(str.encode)
)
@example(b"ICY", b"\t200")
def test_what_reads_as_a_status_line_is_waited_for_byte_by_byte(version, rest):
    line = version + rest + b"\n"
    if split_status_line(line):
        for size in range(1, len(line)):
            assert may_open_response(line[:size])


@settings(max_examples=200)
@given(LINES)
def test_any_line_reads_or_does_not(line):
    found = split_doubtful_line(line)
    if found is not None:
        method, target, version = found
        assert method
        assert line.startswith(method)
        assert target in line
        assert version in line
