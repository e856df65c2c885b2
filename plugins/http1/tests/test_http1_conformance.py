"""What a decoder of HTTP/1.x owes, rule by rule (RFC 9112)."""

from __future__ import annotations

import pytest

from rover.http import HttpExchange, HttpRequest, HttpResponse
from rover.values.connection import ProtocolBreak
from rover.values.records import Detail, Direction, Role, Syscall


def get(target: str, extra: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode()


def ok(body: bytes = b"", extra: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


# -- pairing -----------------------------------------------------------------------------------


def test_pairs_in_order_whatever_the_calls(talk):
    talk.ask(get("/p1") + get("/p2") + get("/p3")[:10], get("/p3")[10:])
    talk.answer(b"HTTP/1.1 201 A\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 202 B\r\n")
    talk.answer(b"Content-Length: 2\r\n\r\nxyHTTP/1.1 203 C\r\nContent-Length: 0\r\n\r\n")
    assert talk.rows == [
        ("GET", "/p1", 201, 0, 1, "complete"),
        ("GET", "/p2", 202, 0, 2, "complete"),
        ("GET", "/p3", 203, 0, 0, "complete"),
    ]
    talk.close()


def test_each_exchange_takes_the_calls_of_its_own_bytes(talk):
    talk.ask(get("/1"))
    talk.answer(ok(b"a"))
    talk.ask(get("/2")[:5], get("/2")[5:])
    talk.answer(ok(b"b")[:9], ok(b"b")[9:])
    assert [[d.sequence for d in taken] for taken in talk.play.taken] == [[0, 1], [2, 3, 4, 5]]
    talk.close()


def test_the_role_is_where_the_requests_come_from(talk):
    assert talk.decoder.role is None
    talk.ask(get("/"))
    assert talk.decoder.role is talk.role


def test_the_role_shows_in_a_response_too(talk):
    talk.answer(ok())
    assert talk.decoder.role is talk.role


def test_times_are_those_of_the_first_and_last_byte(talk):
    talk.ask(get("/")[:4], get("/")[4:])
    talk.answer(ok(b"abc")[:-2], ok(b"abc")[-2:])
    (exchange,) = talk.exchanges
    request, response = exchange.request, exchange.response
    first = talk.play.calls[0]
    assert request.start == (first.start if talk.role is Role.CLIENT else first.end)
    assert request.end == talk.play.calls[1].end
    assert request.end < response.start < response.end == talk.play.calls[3].end


# -- where bodies end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "extra"),
    [
        ("HEAD", 200, "Content-Length: 100\r\n"),
        ("HEAD", 200, "Transfer-Encoding: chunked\r\n"),
        ("HEAD", 200, ""),
        ("GET", 204, "Content-Length: 100\r\n"),
        ("GET", 204, ""),
        ("GET", 304, "Content-Length: 100\r\n"),
        ("GET", 304, "Transfer-Encoding: chunked\r\n"),
        ("GET", 304, ""),
    ],
)
def test_no_body_whatever_the_head_says(talk, method, status, extra):
    talk.ask(f"{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n".encode() + get("/2"))
    talk.answer(f"HTTP/1.1 {status} X\r\n{extra}\r\n".encode() + ok(b"abc"))
    assert talk.rows == [(method, "/1", status, 0, 0, "complete"), ("GET", "/2", 200, 0, 3, "complete")]


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_response_is_not_the_answer(talk, status):
    talk.ask(get("/"))
    talk.answer(f"HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\n".encode())
    assert talk.rows == []
    talk.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"abc"))
    assert talk.rows == [("GET", "/", 200, 0, 3, "complete")]
    assert len(talk.play.taken[0]) == 3
    assert talk.exchanges[0].response.header_size == len(ok(b"abc")) - 3


def test_a_request_without_length_has_no_body(talk):
    talk.ask(b"POST /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2"))
    talk.answer(ok(), ok())
    assert [row[:2] for row in talk.rows] == [("POST", "/1"), ("GET", "/2")]


@pytest.mark.parametrize(
    "coding",
    [
        "Transfer-Encoding: chunked",
        "transfer-encoding:CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,gzip,,Chunked,",
        "Transfer-Encoding: gzip;q=1 , chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    ],
)
def test_transfer_encoding_the_last_coding_decides_and_wins(talk, coding):
    body = f"{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    talk.ask(f"POST /1 HTTP/1.1\r\nHost: a\r\n{body}".encode() + get("/2"))
    talk.answer(f"HTTP/1.1 200 OK\r\n{body}".encode() + ok())
    assert talk.rows == [("POST", "/1", 200, 5, 5, "complete"), ("GET", "/2", 200, 0, 0, "complete")]


@pytest.mark.parametrize("coding", ["gzip", "chunked, gzip", "x\r\nContent-Length: 3"])
def test_a_response_whose_last_coding_is_not_chunked_ends_with_the_connection(talk, coding):
    talk.ask(get("/"))
    talk.answer(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n".encode(), b"12345", b"67")
    assert talk.rows == []
    talk.close()
    assert talk.rows == [("GET", "/", 200, 0, 7, "complete")]


@pytest.mark.parametrize("coding", ["gzip", "chunked, gzip"])
def test_a_request_whose_last_coding_is_not_chunked_is_the_last(talk, coding):
    talk.ask(f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n".encode(), b"12345")
    talk.answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert talk.rows == [("POST", "/", 400, None, 0, "complete")]
    assert talk.broken == "framing"


def test_identity_says_nothing(talk):
    talk.ask(get("/"))
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi")
    assert talk.rows == [("GET", "/", 200, 0, 2, "complete")]


def test_chunk_extensions_trailers_and_a_final_line_end_of_its_own(talk):
    talk.ask(
        b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3;name=value;q="a b"\r\nabc\r\n0a ; x\r\n0123456789\r\n000\r\nX-Sum: 1\r\nX-T: 2\r\n\r\n'
    )
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
    assert talk.rows == []
    talk.answer(b"\r\n")
    talk.ask(get("/2"))
    talk.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0;last\r\nGrpc-Status: 0\r\n\r\n"
    )
    assert talk.rows == [("POST", "/1", 200, 13, 5, "complete"), ("GET", "/2", 200, 0, 1, "complete")]
    assert talk.exchanges[1].response.trailers.get("grpc-status") == "0"
    talk.close()


def test_chunked_with_bare_lf(talk):
    talk.ask(get("/1") + get("/2"))
    talk.answer(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n1\nx\n0\nA: b\n\n" + ok())
    assert [row[4] for row in talk.rows] == [6, 0]


def test_a_response_with_neither_is_ended_by_close(talk):
    talk.ask(get("/"))
    talk.answer(b"HTTP/1.1 200 OK\r\n\r\n", b"some ", b"body")
    assert talk.rows == []
    talk.play.end(talk.responses)
    assert talk.rows == [("GET", "/", 200, 0, 9, "complete")]
    talk.close()


@pytest.mark.parametrize("lengths", ["Content-Length: 3\r\nContent-Length: 3", "Content-Length: 3, 03,"])
def test_equal_lengths_are_one(talk, lengths):
    talk.ask(f"POST /1 HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\nabc".encode() + get("/2"))
    talk.answer(f"HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nabc".encode() + ok())
    assert [row[3:5] for row in talk.rows] == [(3, 3), (0, 0)]


UNTRUSTED = [
    "Content-Length: 3\r\nContent-Length: 4",
    "Content-Length: 3, 4",
    "Content-Length: -1",
    "Content-Length: +1",
    "Content-Length: 0x10",
    "Content-Length: 1 2",
    "Content-Length: 9223372036854775808",
    "Content-Length: 99999999999999999999999999",
    "Content-Length: 1\u0661",
]


@pytest.mark.parametrize("lengths", UNTRUSTED)
def test_a_request_of_untrusted_length_is_answered_and_the_last(talk, lengths):
    talk.ask(f"POST /1 HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n".encode() + get("/2"))
    assert talk.rows == []
    talk.answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert talk.rows == [("POST", "/1", 400, None, 0, "complete")]
    assert talk.broken == "framing"
    talk.close()


@pytest.mark.parametrize("lengths", UNTRUSTED)
def test_a_response_of_untrusted_length_breaks(talk, lengths):
    talk.ask(get("/1") + get("/2"))
    talk.answer(f"HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n".encode() + b"abc")
    assert talk.rows == [("GET", "/1", 200, 0, None, "aborted"), ("GET", "/2", None, 0, None, "aborted")]
    assert talk.broken == "framing"
    talk.close()


def test_an_untrusted_length_that_does_not_count_does_no_harm(talk):
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2"))
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + ok())
    assert [row[1:3] for row in talk.rows] == [("/1", 200), ("/2", 200)]


@pytest.mark.parametrize("chunk", ["-5", "0x5", "5 5", "", "g", "f" * 16, "1" * 21, ";x"])
def test_a_chunk_without_a_size_cuts_its_message(talk, chunk):
    talk.ask(get("/1"))
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    talk.answer(f"{chunk}\r\nhello\r\n0\r\n\r\n".encode())
    assert talk.rows == [("GET", "/1", 200, 0, 3, "aborted")]
    talk.close()


def test_content_never_captured_is_spanned_by_its_length(talk):
    """sendfile, splice, and what exceeds the capture limit."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
    talk.ask(get("/1"))
    talk.answer(head)
    talk.answer(b"", size=4_000_000)
    talk.answer(b"x" * 100, size=1_000_000)
    talk.ask(b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n" + b"x" * 300, captured=60)
    talk.answer(ok(b"y" * 1000), captured=50)
    assert talk.rows == [
        ("GET", "/1", 200, 0, 5_000_000, "complete"),
        ("POST", "/2", 200, 300, 1000, "complete"),
    ]
    assert [len(taken) for taken in talk.play.taken] == [4, 2]


def test_a_gap_inside_a_chunk_is_spanned_with_its_line_end(talk):
    talk.ask(get("/1"))
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + b"x" * 10)
    talk.answer(b"", size=0x4000 - 10 + 2)
    talk.answer(b"3\r\nabc\r\n0\r\n\r\n")
    assert talk.rows == [("GET", "/1", 200, 0, 0x4003, "complete")]


# -- request targets, methods, sizes -----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/a/b?c=d&e=%20"),
        ("GET", "http://example.com:8080/a?b"),
        ("CONNECT", "example.com:443"),
        ("CONNECT", "[::1]:443"),
        ("OPTIONS", "*"),
        ("PROPFIND", "/dav/"),
        ("M-SEARCH", "*"),
        ("VERSION-CONTROL", "/x"),
        ("get", "/lower"),
        ("X!#$%&'*+-.^_`|~9", "/any-token"),
    ],
)
def test_all_forms_of_target_and_any_method(talk, method, target):
    talk.ask(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    talk.answer(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    assert [row[:3] for row in talk.rows] == [(method, target, 403)]


def test_sizes_count_what_they_say(talk):
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 4\r\n\r\n"
    talk.ask(b"\r\n" + request + b"3;e\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n")
    talk.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + response + b"1234")
    (exchange,) = talk.exchanges
    assert (exchange.request.header_size, exchange.request.body_size) == (len(request), 5)
    assert (exchange.response.header_size, exchange.response.body_size) == (len(response), 4)


# -- leniency ----------------------------------------------------------------------------------


def test_bare_lf(talk):
    talk.ask(b"GET / HTTP/1.1\nHost: a\nX: y\n\n")
    talk.answer(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")
    assert talk.rows == [("GET", "/", 200, 0, 2, "complete")]
    assert talk.exchanges[0].request.headers.fields == (("host", "a"), ("x", "y"))


def test_blank_lines_before_a_request(talk):
    talk.ask(b"\r\n\r\n" + get("/1"), b"\r\n", b"\n" + get("/2"))
    talk.answer(ok(), b"\r\n" + ok())
    assert [row[1] for row in talk.rows] == ["/1", "/2"]


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.0 200 All is \xe4\xf6\xfc"])
def test_a_missing_or_odd_reason_phrase(talk, line):
    talk.ask(get("/"))
    talk.answer(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert [row[2] for row in talk.rows] == [200]


def test_obs_fold(talk):
    talk.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n  two\r\n\tthree\r\nUser-Agent: u\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi")
    (exchange,) = talk.exchanges
    assert exchange.request.headers.get("x-long") == "one two three"
    assert exchange.request.headers.get("user-agent") == "u"
    assert exchange.response.body_size == 2


def test_bytes_above_7f(talk):
    talk.ask("GET /ä HTTP/1.1\r\nHost: a\r\nX-Utf: ü\r\n".encode() + b"X-Latin: \xfc\r\n\r\n")
    talk.answer(ok())
    request = talk.exchanges[0].request
    assert (request.target, request.headers.get("x-utf"), request.headers.get("x-latin")) == ("/ä", "ü", "ü")


def test_http_1_0_with_and_without_keep_alive(talk):
    talk.ask(b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    talk.answer(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
    talk.ask(b"GET /2 HTTP/1.0\r\n\r\n")
    talk.answer(b"HTTP/1.0 200 OK\r\n\r\nto the end")
    talk.close()
    assert talk.rows == [("GET", "/1", 200, 0, 2, "complete"), ("GET", "/2", 200, 0, 10, "complete")]
    assert talk.exchanges[0].request.version == "1.0"


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET /a b HTTP/1.1", "/a b"),
        (b"GET  /a  HTTP/1.1 ", "/a"),
        (b"GET\t/a\tHTTP/1.1", "/a"),
        (b"GET /a HTTP/1.2", "/a"),
    ],
)
def test_a_request_line_that_is_clearly_one(talk, line, target):
    talk.ask(line + b"\r\nHost: a\r\nno colon\r\nSpaced : x\r\n: no name\r\nNul: \x00\r\n\r\n")
    talk.answer(b"HTTP/1.1  200   OK\r\nno colon\r\nContent-Length : 2\r\n\r\nhi")
    assert talk.rows == [("GET", target, 200, 0, 2, "complete")]
    assert talk.exchanges[0].request.headers.fields == (("host", "a"), ("spaced", "x"), ("nul", "\x00"))


@pytest.mark.parametrize("version", ["HTTP/1.01", "HTTP/2.0", "HTTP/1\x00.1", "HTTP/1.1\x00"])
def test_what_answers_a_request_may_call_itself_any_version(talk, version):
    talk.ask(get("/"))
    talk.answer(f"{version} 200 ok\r\nContent-Length: 2\r\n\r\nhi".encode())
    assert talk.rows == [("GET", "/", 200, 0, 2, "complete")]


# -- cut short ---------------------------------------------------------------------------------


def test_a_request_without_response_is_aborted(talk):
    talk.ask(get("/1") + get("/2"))
    talk.close()
    assert talk.rows == [("GET", "/1", None, 0, None, "aborted"), ("GET", "/2", None, 0, None, "aborted")]
    assert len(talk.play.taken[0]) == 1


def test_a_request_cut_in_its_body_is_aborted(talk):
    talk.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", b"x" * 40)
    talk.close()
    assert talk.rows == [("POST", "/", None, 40, None, "aborted")]


def test_a_request_cut_by_its_end_still_gets_its_response(talk):
    talk.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    talk.play.end(talk.requests)
    talk.answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert talk.rows == [("POST", "/", 400, 3, 0, "aborted")]


@pytest.mark.parametrize(
    "framing", ["Content-Length: 100\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\n9\r\nabcde"]
)
def test_a_response_cut_in_its_body_is_aborted(talk, framing):
    talk.ask(get("/"))
    talk.answer(f"HTTP/1.1 200 OK\r\n{framing}".encode())
    talk.close()
    assert talk.rows == [("GET", "/", 200, 0, 5, "aborted")]


def test_a_response_cut_in_its_head_leaves_the_request_alone(talk):
    talk.ask(get("/"))
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Le")
    talk.close()
    assert talk.rows == [("GET", "/", None, 0, None, "aborted")]


def test_a_half_closed_client_is_answered(talk):
    talk.ask(get("/"))
    talk.play.end(talk.requests)
    talk.answer(ok(b"abc"))
    assert talk.rows == [("GET", "/", 200, 0, 3, "complete")]


def test_the_end_of_the_responses_ends_the_waiting(talk):
    talk.ask(get("/1") + get("/2"))
    talk.answer(ok())
    talk.play.end(talk.responses)
    assert talk.rows == [("GET", "/1", 200, 0, 0, "complete"), ("GET", "/2", None, 0, None, "aborted")]


def test_an_incomplete_request_head_is_no_exchange(talk):
    talk.ask(b"GET / HTTP/1.1\r\nHost: a\r\n")
    talk.close()
    assert talk.rows == []


def test_silence_aborts(talk):
    talk.ask(get("/1"))
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    talk.ask(get("/2"))
    second = 1_000_000_000
    talk.play.expire(599 * second)
    assert talk.rows == []
    talk.play.expire(601 * second)
    assert talk.rows == [("GET", "/1", 200, 0, 3, "aborted"), ("GET", "/2", None, 0, None, "aborted")]
    talk.play.expire(602 * second)
    # What was given up may come after all: it is nobody's, least of all the next request's.
    talk.answer(b"x" * 97 + ok())
    talk.ask(get("/3"))
    talk.answer(b"HTTP/1.1 203 Three\r\nContent-Length: 0\r\n\r\n")
    assert talk.rows[2:] == [("GET", "/3", 203, 0, 0, "complete")]
    talk.close()


def test_silence_can_be_without_limit(talk_as):
    talk = talk_as(Role.CLIENT, exchange_timeout=0)
    talk.ask(get("/1"))
    talk.play.expire(10**18)
    assert talk.rows == []


# -- continuing, refusing ----------------------------------------------------------------------


EXPECTING = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
REFUSED = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"


def test_100_continue(talk):
    talk.ask(EXPECTING)
    talk.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.ask(b"hello")
    talk.answer(ok())
    assert talk.rows == [("POST", "/up", 200, 5, 0, "complete")]
    assert len(talk.play.taken[0]) == 4


def test_an_early_response_waits_for_the_rest_of_the_request(talk):
    talk.ask(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    talk.answer(REFUSED)
    assert talk.rows == []
    talk.ask(b"llo" + get("/2"))
    talk.answer(ok())
    assert talk.rows == [("POST", "/1", 413, 5, 0, "complete"), ("GET", "/2", 200, 0, 0, "complete")]


def test_an_early_response_and_then_the_end_is_aborted(talk):
    talk.ask(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    talk.answer(REFUSED)
    talk.close()
    assert talk.rows == [("POST", "/1", 413, 2, 0, "aborted")]


def test_refused_before_it_sent_anything_a_request_is_complete(talk):
    talk.ask(EXPECTING)
    talk.answer(REFUSED)
    talk.close()
    assert talk.rows == [("POST", "/up", 413, 0, 0, "complete")]


@pytest.mark.parametrize("following", [[get("/2")], [bytes([b]) for b in get("/2")]])
def test_refused_before_it_sent_anything_the_client_may_ask_on(talk, following):
    talk.ask(EXPECTING)
    talk.answer(REFUSED)
    talk.ask(*following)
    talk.answer(ok())
    assert talk.rows == [("POST", "/up", 413, 0, 0, "complete"), ("GET", "/2", 200, 0, 0, "complete")]


def test_refused_it_may_send_its_content_all_the_same(talk):
    talk.ask(EXPECTING)
    talk.answer(REFUSED)
    talk.ask(b"PUT ", b"\n", get("/2"))
    talk.answer(ok())
    assert talk.rows == [("POST", "/up", 413, 5, 0, "complete"), ("GET", "/2", 200, 0, 0, "complete")]


# -- protocols that follow ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "token"), [("h2c", "h2c"), ("WebSocket", "websocket"), ("a/1, B", "a/1")]
)
def test_101_is_logged_and_then_breaks_upgrade(talk, protocol, token):
    talk.ask(get("/ws", f"Connection: Upgrade\r\nUpgrade: x, {protocol}\r\n"))
    head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode()
    talk.answer(head + b"\x00\x00\x12\x04")
    assert talk.rows == [("GET", "/ws", 101, 0, 0, "complete")]
    found = talk.protocol_break
    assert isinstance(found, ProtocolBreak)
    assert (found.reason, found.upgrade) == ("upgrade", token)
    assert (found.direction, found.position) == (talk.responses, len(head))
    assert isinstance(found.request, HttpRequest)
    assert found.request.target == "/ws"
    assert isinstance(found.response, HttpResponse)
    assert found.response.headers.get("upgrade") == protocol
    assert found.response.header_size == len(head)
    talk.close()


@pytest.mark.parametrize("next_direction", Direction)
def test_the_exchange_comes_first_and_the_break_on_the_next_step(talk, next_direction):
    talk.ask(get("/ws", "Upgrade: websocket\r\n"))
    buffers, now = talk.play.buffers, talk.play.time
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    detail = Detail(
        connection=1,
        sequence=9,
        start=now,
        end=now,
        position=0,
        size=len(data),
        pid=1,
        fd=3,
        syscall=Syscall.READ,
        direction=talk.responses,
        error=0,
    )
    buffers[talk.responses].append(detail, data)
    exchange = talk.decoder.decode(talk.responses, buffers[talk.responses], now)
    assert isinstance(exchange, HttpExchange)
    found = talk.decoder.decode(next_direction, buffers[next_direction], now)
    assert isinstance(found, ProtocolBreak)
    assert found.direction == talk.responses


def test_101_without_a_request_breaks_all_the_same(talk):
    talk.answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05")
    if talk.role is Role.CLIENT:  # a client's request may be late
        talk.play.expire(10_000_000_000)
        talk.answer(b"hello")
    assert (talk.broken, talk.protocol_break.upgrade, talk.protocol_break.request) == (
        "upgrade",
        "websocket",
        None,
    )


@pytest.mark.parametrize(
    "early",
    [b"\x81\x85abcdhello", b"\x82\xfe\x0f\0abcd" + get("/inside") * 40, b"A\x85abcdhello", b"\x16\x03\1"],
)
def test_what_follows_an_upgrade_may_be_seen_before_its_101(talk, early):
    """A server that writes in one thread and reads in another: all of it is left to whoever claims it."""
    asked = get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
    talk.ask(asked)
    talk.ask(early[:1], early[1:])
    assert talk.play.buffers[talk.requests].position == len(asked)
    talk.answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    assert talk.rows == [("GET", "/ws", 101, 0, 0, "complete")]
    assert (talk.broken, talk.play.resynchronised) == ("upgrade", 0)


@pytest.mark.parametrize("answered", [ok(), None])
def test_what_opens_a_request_is_one_whatever_was_asked_for(talk, answered):
    """Clients ask each server once for h2c, and go on in HTTP/1.1, whether their answer is seen or not."""
    asked = get("/1", "Connection: Upgrade\r\nUpgrade: h2c\r\n")
    talk.ask(asked, get("/2"))
    if answered is not None:
        talk.answer(answered, ok())
    talk.close()
    outcome = "complete" if answered else "aborted"
    assert [(row[1], row[-1]) for row in talk.rows] == [("/1", outcome), ("/2", outcome)]


def test_an_upgrade_that_is_declined_is_ordinary(talk):
    talk.ask(get("/1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"))
    talk.answer(ok(b"abc"))
    talk.ask(get("/2"))
    talk.answer(ok())
    assert [row[1:3] for row in talk.rows] == [("/1", 200), ("/2", 200)]


@pytest.mark.parametrize("status", [200, 204, 299])
def test_2xx_to_connect_is_logged_and_then_breaks_tunnel(talk, status):
    talk.ask(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
    talk.answer(f"HTTP/1.1 {status} Established\r\nContent-Length: 100\r\n\r\n".encode())
    assert talk.rows == [("CONNECT", "a.example:443", status, 0, 0, "complete")]
    assert talk.broken == "tunnel"
    found = talk.protocol_break
    assert (found.request.target, found.response.status, found.upgrade) == ("a.example:443", status, "")
    talk.ask(b"\x16\x03\x01")
    talk.close()


def test_what_a_client_sends_ahead_into_its_tunnel_is_not_read(talk):
    talk.ask(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01\x02", b"\x00" * 500)
    assert talk.broken is None
    talk.answer(b"HTTP/1.1 200 Established\r\n\r\n")
    assert talk.rows == [("CONNECT", "a:443", 200, 0, 0, "complete")]
    assert talk.broken == "tunnel"
    talk.close()


def test_a_refused_connect_is_ordinary(talk):
    talk.ask(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2"))
    talk.answer(b"HTTP/1.1 407 Auth\r\nContent-Length: 3\r\n\r\nno!")
    talk.answer(ok())
    assert talk.rows == [("CONNECT", "a:443", 407, 0, 3, "complete"), ("GET", "/2", 200, 0, 0, "complete")]


# -- what is not HTTP/1.x ----------------------------------------------------------------------


def test_response_without_request_is_skipped(talk):
    talk.answer(ok(b"abc"))
    talk.ask(get("/1"))
    talk.answer(ok(b"de"))
    assert talk.rows == [("GET", "/1", 200, 0, 2, "complete")]
    assert [d.sequence for d in talk.play.alone] == [0]
    talk.close()


@pytest.mark.parametrize("content", ["Content-Length: 500\r\n", "Transfer-Encoding: chunked\r\n", ""])
def test_response_without_request_may_answer_head(talk, content):
    talk.answer(f"HTTP/1.1 200 OK\r\n{content}\r\n".encode())
    talk.ask(get("/1"))
    talk.answer(ok(b"de"))
    assert talk.rows == [("GET", "/1", 200, 0, 2, "complete")]


def test_what_an_interim_response_brings_as_content_does_no_harm(talk):
    talk.ask(get("/1"))
    talk.answer(b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nabcde" + ok(b"x"))
    assert talk.rows == [("GET", "/1", 200, 0, 1, "complete")]
    talk.close()


def test_icy_answers_like_http_1_0(talk):
    talk.ask(get("/1"))
    talk.answer(b"ICY 200 OK\r\nicy-name: a\r\n\r\n", b"music")
    talk.close()
    assert talk.rows == [("GET", "/1", 200, 0, 5, "complete")]
    assert talk.exchanges[0].response.version == "1.0"


JUNK = b"\x00\x01 what is this\r\n"


def test_no_message_start_with_nothing_missing_resynchronises_once(talk):
    talk.ask(get("/1"))
    talk.answer(ok())
    talk.ask(JUNK + get("/2"))
    assert talk.play.resynchronised == 1
    assert talk.broken is None


def test_no_message_start_a_second_time_breaks_framing(talk):
    talk.ask(JUNK + get("/1"))
    assert talk.broken is None
    talk.ask(JUNK)
    assert talk.broken is None  # a message was read in between
    talk.ask(JUNK * 80_000)
    assert talk.broken == "framing"
    assert talk.rows[0][:3] == ("GET", "/1", None)
    talk.close()


def test_binary_junk_is_not_waited_for(talk):
    talk.ask(get("/1"))
    talk.answer(ok())
    talk.answer(b"\x16\x03" * 700_000)
    assert talk.broken == "framing"


def test_what_precedes_the_first_message_of_all_does_no_harm(talk):
    talk.ask(b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n" + get("/1"))
    talk.answer(ok())
    assert talk.rows == [("GET", "/1", 200, 0, 0, "complete")]


def test_the_http_2_preface_is_not_a_request(talk):
    talk.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 120_000)
    talk.close()
    assert talk.rows == []
    assert talk.broken == "framing"


def test_a_head_beyond_the_limit_is_no_message(talk_as):
    talk = talk_as(Role.SERVER, max_head=1024)
    talk.ask(get("/1", "X: " + "y" * 900 + "\r\n"))
    talk.answer(ok())
    talk.ask(get("/2", "X: " + "y" * 1000 + "\r\n") + get("/3"))
    talk.close()
    assert [row[1] for row in talk.rows] == ["/1", "/3"]
    assert talk.play.resynchronised == 1


def test_too_many_requests_without_response_break_overflow(talk):
    talk.ask(get("/x") * 999)
    assert talk.broken is None
    talk.ask(get("/x") * 2)
    assert talk.broken == "overflow"
    assert len(talk.rows) == 1000
    talk.close()


def test_requests_without_response_are_bounded_in_bytes(talk):
    talk.ask(*[get("/x", "X: " + "y" * 100_000 + "\r\n")] * 12)
    assert talk.broken == "overflow"


SURPLUS = {
    "by its length": (
        "Content-Length: 4000\r\n",
        b"HTTP in a body: HTTP/1.1 200 OK\r\n\r\n".ljust(4000, b"."),
    ),
    "one byte": ("Content-Length: 1\r\n", b"H"),
    "beginning with blank lines": ("Content-Length: 8\r\n", b"\r\n\r\n\r\n\r\n"),
    "chunked": ("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
    "announced by nothing": ("", b"<html>\r\n\r\n</html>\r\n"),
    "announced by nothing, on no line": ("", b"<html>"),
    "longer than it says": ("Content-Length: 3\r\n", b"abcdef"),
    "not chunked after all": ("Transfer-Encoding: chunked\r\n", b"xyz\n"),
    "more than is searched in vain elsewhere": ("", b"some line\n" * 150_000),
}


@pytest.mark.parametrize("content", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("GET", 103)]
)
def test_content_that_must_not_be_there_is_passed_over(talk, method, status, content):
    declared, surplus = content
    head = f"HTTP/1.1 {status} X\r\n{declared}\r\n".encode()
    for number in range(3):  # more than the one try to resynchronise
        talk.ask(f"{method} /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        talk.answer(head + surplus)
        if status == 103:
            talk.answer(ok())
        talk.ask(get("/next"))
        talk.answer(ok(b"four"))
        talk.ask(get("/last"))
        talk.answer(ok(b"five5"))
    final = 200 if status == 103 else status
    assert [row[1:3] + row[4:] for row in talk.rows] == [
        row
        for number in range(3)
        for row in (
            (f"/{number}", final, 0, "complete"),
            ("/next", 200, 4, "complete"),
            ("/last", 200, 5, "complete"),
        )
    ]
    assert talk.broken is None
    talk.close()


@pytest.mark.parametrize("content", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("pieces", ["head", "bytes"])
def test_content_that_must_not_be_there_comes_in_pieces(talk, content, pieces):
    declared, surplus = content
    surplus = surplus[:5000]
    if pieces == "bytes" and len(surplus) == 5000:
        surplus = surplus[:50]
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2") + get("/3"))
    answers = [f"HTTP/1.1 200 OK\r\n{declared}\r\n".encode(), surplus, ok(b"four") + ok(b"five5")]
    if pieces == "bytes":
        answers = [bytes([byte]) for byte in b"".join(answers)]
    talk.answer(*answers)
    assert [row[1:] for row in talk.rows] == [
        ("/1", 200, 0, 0, "complete"),
        ("/2", 200, 0, 4, "complete"),
        ("/3", 200, 0, 5, "complete"),
    ]
    talk.close()


@pytest.mark.parametrize("between", [b"", b"\r\n", b"\n\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("answer", [ok(b"four"), b"HTTP/1.0 200\n\nfour", b"ICY 200 OK\r\n\r\nfour"])
def test_the_next_response_is_not_taken_for_content(talk, answer, between):
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2"))
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + between + answer)
    talk.close()
    assert [row[1:] for row in talk.rows] == [("/1", 200, 0, 0, "complete"), ("/2", 200, 0, 4, "complete")]


def test_content_that_must_not_be_there_need_not_be_captured(talk):
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\nabc", size=40_042)
    talk.ask(get("/2"))
    talk.answer(ok(b"four"))
    assert [row[1:] for row in talk.rows] == [("/1", 200, 0, 0, "complete"), ("/2", 200, 0, 4, "complete")]


def test_a_loss_in_content_that_must_not_be_there_is_a_loss(talk):
    talk.ask(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2") + get("/3"))
    talk.answer(b"HTTP/1.1 200 OK\r\n\r\nsome text\n")
    talk.answer_unseen(ok())
    talk.answer(ok(b"four"))
    talk.close()
    assert ("/2", 200, 0, 4, "complete") not in [row[1:] for row in talk.rows]
