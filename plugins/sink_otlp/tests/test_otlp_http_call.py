"""One request of OTLP/HTTP as bytes, whatever answers."""

from __future__ import annotations

import email.utils
import time

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.sending.call import TAKEN_EARLY
from rover_plugin_sink_otlp.http_call import MAX_ANSWER, MAX_READ, ROUND, HttpCall, retry_after

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 3\r\n\r\nabc"


def call(body: bytes = b"body") -> HttpCall:
    return HttpCall("/v1/traces", body, authority="server:1", headers=[("x-a", "b")])


def sent(made: HttpCall) -> bytes:
    """Everything that it has to say."""
    out = b""
    while piece := made.output():
        out += piece
    return out


@given(size=st.integers(0, 3 * ROUND))
def test_what_a_server_gets(size: int) -> None:
    body = bytes(size)
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent(call(body)))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/v1/traces")
    headers = dict(request.headers)
    assert headers[b"host"] == b"server:1"
    assert headers[b"x-a"] == b"b"
    assert headers[b"content-type"] == b"application/x-protobuf"
    got = b""
    while isinstance(event := server.next_event(), h11.Data):
        got += event.data
    assert got == body
    assert isinstance(event, h11.EndOfMessage)


def answered(answer: bytes, *, whole: bool = True, piece: int = 1 << 20) -> HttpCall:
    made = call()
    if whole:
        sent(made)
    for start in range(0, len(answer), piece):
        made.input(answer[start : start + piece])
    if made.status is None:
        made.input(b"")
    return made


@given(piece=st.integers(1, 100))
def test_an_answer_in_pieces(piece: int) -> None:
    made = answered(OK, piece=piece)
    assert made.status is not None
    assert (made.status.code, made.answer) == ("OK", b"abc")


CLOSED = "the connection was closed before the answer"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "OK", ""),
        (b"HTTP/1.1 202 Accepted\r\n\r\n", "OK", ""),
        (b"HTTP/1.1 301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "HTTP_301", "HTTP status 301"),
        (
            b"HTTP/1.1 400 x\r\ncontent-type: application/x-protobuf\r\n\r\n\x12\x02no",
            "HTTP_400",
            "HTTP status 400: no",
        ),
        (b"HTTP/1.1 400 x\r\ncontent-type: text/plain\r\n\r\nno", "HTTP_400", "HTTP status 400: no"),
        (b"HTTP/1.1 400 x\r\ncontent-type: text/html\r\n\r\n<p>", "HTTP_400", "HTTP status 400"),
        (b"", "UNAVAILABLE", CLOSED),
        (b"HTTP/1.1 20", "UNAVAILABLE", CLOSED),
        (OK[:-1], "UNAVAILABLE", "what answers breaks HTTP/1.1"),
        (b"SSH-2.0-x\r\n\r\n", "UNAVAILABLE", "what answers breaks HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\na: " + b"x" * (1 << 17), "UNAVAILABLE", "what answers breaks HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_READ + 1), "UNAVAILABLE", "the answer has no end"),
    ],
)
def test_answers(answer: bytes, code: str, words: str) -> None:
    status = answered(answer).status
    assert status is not None
    assert status.code == code
    assert status.message.startswith(words)


def test_an_answer_that_is_too_long_is_not_kept() -> None:
    made = answered(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2 * MAX_ANSWER))
    assert made.status is not None
    assert (made.status.code, made.answer) == ("OK", b"")


def test_a_server_that_says_yes_before_it_has_the_request() -> None:
    assert answered(OK, whole=False).status is TAKEN_EARLY


@given(junk=st.binary(max_size=300))
def test_whatever_answers(junk: bytes) -> None:
    assert answered(junk).status is not None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (b"0", 0), (b"120", 120), (b" 7 ", 7), (b"-1", None), (b"x", None), (b"9" * 20, None)],
)
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True).encode()
    assert retry_after(in_a_minute) == pytest.approx(60, abs=5)
    assert retry_after(email.utils.formatdate(0, usegmt=True).encode()) == 0
