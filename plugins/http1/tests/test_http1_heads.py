"""What a head means: the fast reading and the tolerant one agree with h11 wherever it speaks."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Iterable

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rover.http import Headers, text
from rover_plugin_http1.framing import CHUNKED, INVALID, MAX_LENGTH, NOTHING
from rover_plugin_http1.head import HeadFields
from rover_plugin_http1.judge import judged_request, judged_response
from rover_plugin_http1.message_reader import ordinary_request, ordinary_response


def h11_request(head: bytes) -> h11.Request | None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    try:
        event = server.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def h11_response(head: bytes) -> h11.Response | h11.InformationalResponse | None:
    client = h11.Connection(h11.CLIENT)
    asked = [("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "x")]
    client.send(h11.Request(method="GET", target="/", headers=asked))
    client.send(h11.EndOfMessage())
    client.receive_data(head)
    try:
        event = client.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Response | h11.InformationalResponse) else None


def h11_content(headers: h11.Headers) -> int:
    found = dict(headers)
    if b"transfer-encoding" in found:
        return CHUNKED
    length = int(found.get(b"content-length", NOTHING))
    return length if length <= MAX_LENGTH else INVALID  # beyond 63 bits we do not follow h11


def fields_of(headers: h11.Headers) -> tuple[tuple[str, str], ...]:
    return tuple((text(name), text(value)) for name, value in headers)


def as_h11(headers: Headers) -> tuple[tuple[str, str], ...]:
    """h11 puts the names of codings in lower case; they are kept as sent."""
    return tuple((n, v.lower() if n == "transfer-encoding" else v) for n, v in headers)


def unfolded(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Lengths, which h11 counts, left out; it keeps more white space where a value was folded."""
    return [(name, " ".join(value.split())) for name, value in fields if name != "content-length"]


TOKEN_CHARS = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
tokens = st.text(TOKEN_CHARS, min_size=1, max_size=12).map(str.encode)
values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"", b"a", b" x ", b"\tv\t", b"caf\xc3\xa9", b"\xff\xfe", b"a: b", b"a\x01b", b"a \t b"]
    ),
)
names = st.one_of(
    tokens,
    st.sampled_from([b"Host", b"HOST", b"Accept", b"X-A", b"Cookie", b"Expect", b"Upgrade", b"n ", b""]),
)
lengths = st.sampled_from(
    [b"0", b"5", b" 7 ", b"007", b"5, 5", b"-1", b"5x", b"", b"9" * 18, b"9" * 19, b"9" * 25]
)
codings = st.sampled_from([b"chunked", b"Chunked", b" chunked ", b"gzip, chunked", b"gzip", b"identity", b""])
framing = st.one_of(
    st.tuples(st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]), lengths),
    st.tuples(st.sampled_from([b"Transfer-Encoding", b"transfer-encoding"]), codings),
)
fields = st.tuples(names, values)
line_ends = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r\n ", b"\r\r\n", b"\r\n\t"])


@st.composite
def heads(draw: st.DrawFn, start_lines: st.SearchStrategy[bytes]) -> bytes:
    """Mostly well-formed heads, with what goes wrong in the wild."""
    lines = [draw(start_lines)]
    if draw(st.integers(0, 9)):
        lines.append(b"Host: a.example")
    lines += [b":".join(pair) for pair in draw(st.lists(st.one_of(fields, fields, framing), max_size=6))]
    head = b"".join(line + draw(line_ends) for line in lines) + b"\r\n"
    blank = re.search(rb"\n\r{0,2}\n", head + b"\r\n")
    assert blank is not None
    return (head + b"\r\n")[: blank.end()]


targets = st.one_of(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20).map(str.encode),
    st.sampled_from([b"/", b"*", b"http://a/b?c", b"a:443", b"/\xc3\xa4", b"/a b"]),
)
request_lines = st.builds(
    lambda method, target, version: b" ".join((method, target, version)),
    st.one_of(st.sampled_from([b"GET", b"POST", b"CONNECT", b"get"]), tokens),
    targets,
    st.sampled_from(
        [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1"]
    ),
)
status_lines = st.builds(
    lambda version, status, reason: b"%b %d%b" % (version, status, reason),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.3", b"HTTP/1.1 "]),
    st.one_of(st.integers(99, 1000), st.sampled_from([200, 404, 101, 100])),
    st.one_of(st.sampled_from([b"", b" ", b" OK", b" Not Found", b" \xe4"]), values.map(lambda v: b" " + v)),
)

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a?b=c HTTP/1.1\r\nHOST:a\r\nX: \t y \t\r\nEmpty:\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-Continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: content-length: 5\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nCookie: \xc3\xa9\r\nCookie: \xff\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"POST / HTTP/1.1\nHost: a\nContent-Length: 10 \n\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: y \r\n\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 404 \r\nServer: x\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.1 200\nContent-Length: 7\n\n",
    b"HTTP/1.0 200 OK\nTransfer-Encoding:chunked\nX:\t y\t\n\n",
    b"HTTP/1.1 999 \xe4 \t x\r\nTransfer-Encoding: chunked\r\n\r\n",
]


def said(head: object) -> dict[str, object]:
    """All that a head that was read says, by name."""
    return {name: getattr(head, name) for name in type(head).__slots__}


def check_request(head: bytes) -> bool:
    """Whether the fast reading accepts; it must mean then what h11 means."""
    fast = ordinary_request(b"??" + head + b"!!", 2, 2 + len(head))
    if fast is None:
        return False
    event = h11_request(head)
    assert event is not None
    assert fast.method.encode() == event.method
    assert fast.target.encode() == event.target
    assert fast.version.encode() == event.http_version
    assert as_h11(fast.headers) == fields_of(event.headers)
    assert fast.size == len(head)
    assert fast.content == h11_content(event.headers)
    assert fast.expects == any(n == b"expect" and b"100-continue" in v.lower() for n, v in event.headers)
    for name in {name for name, _ in fast.headers} | {"host", "absent", "content-length"}:
        assert HeadFields.get(fast.headers, name) == dict(reversed(fast.headers.fields)).get(name)
    return True


def check_response(head: bytes) -> bool:
    """As `check_request`."""
    fast = ordinary_response(b"?" + head + b"!", 1, 1 + len(head))
    if fast is None:
        return False
    event = h11_response(head)
    assert event is not None
    assert fast.status == event.status_code
    assert fast.version.encode() == event.http_version
    assert as_h11(fast.headers) == fields_of(event.headers)
    assert fast.content == h11_content(event.headers)
    return True


@pytest.mark.parametrize("head", REQUESTS)
def test_ordinary_requests_are_read_fast_and_as_h11_reads_them(head):
    assert check_request(head)


@pytest.mark.parametrize("head", RESPONSES)
def test_ordinary_responses_are_read_fast_and_as_h11_reads_them(head):
    assert check_response(head)


@settings(max_examples=300, deadline=None)
@given(heads(request_lines))
def test_what_is_read_fast_h11_reads_alike(head):
    check_request(head)


@settings(max_examples=300, deadline=None)
@given(heads(status_lines))
def test_responses_read_fast_h11_reads_alike(head):
    check_response(head)


@settings(max_examples=200, deadline=None)
@given(heads(request_lines))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nFold: 1\r\n 2\r\nContent-Length: 5\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nContent-Length: 5, 5\r\nHost: a\r\nX: \x00\r\n\r\n")
def test_fast_and_judged_requests_agree(head):
    fast = ordinary_request(head, 0, len(head))
    judged = judged_request(head)
    if fast is not None:
        assert said(judged) == said(fast)
    if judged is not None and (event := h11_request(head)) is not None:
        assert judged.method.encode() == event.method
        assert unfolded(as_h11(judged.headers)) == unfolded(fields_of(event.headers))
        assert judged.content == h11_content(event.headers)


@settings(max_examples=200, deadline=None)
@given(heads(status_lines))
def test_fast_and_judged_responses_agree(head):
    fast = ordinary_response(head, 0, len(head))
    judged = judged_response(head)
    if fast is not None:
        assert said(judged) == said(fast)
    if judged is not None and (event := h11_response(head)) is not None:
        assert judged.status == event.status_code
        assert unfolded(as_h11(judged.headers)) == unfolded(fields_of(event.headers))
        assert judged.content == h11_content(event.headers)


@pytest.mark.parametrize(
    "fields",
    [b"a:\n", b"a:b\r\n c\r\n", b"X\xff: \xfe\n", b"no colon\n", b"Content-Length: 1,\n", b" : : \r\n"],
)
def test_what_is_kept_of_a_head_is_no_larger_than_the_head(fields):
    head = b"GET /\xc3\xa4 HTTP/1.1\n" + fields * (20_000 // len(fields)) + b"\n"
    tracemalloc.start()
    judged = judged_request(head)
    gc.collect()  # and what the interpreter keeps for the next tuples
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert judged is not None
    assert kept < len(head) + 2000
    judged.headers.get("a")
    assert all(isinstance(part, str) for field in judged.headers for part in field)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_judging_never_fails(first, rest):
    head = first.replace(b"\n", b"") + b"\n" + rest.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    head = head[: head.find(b"\n\r\n") + 3]
    judged_request(head)
    judged_response(b"HTTP/1.1 200" + head)
    judged_request(b"GET " + head.replace(b"\n", b" HTTP/1.1\n", 1))


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",  # Host is missing
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n fold first\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_h11_refuses_is_read_when_its_start_line_is_clear(head):
    assert h11_request(head) is None
    assert ordinary_request(head, 0, len(head)) is None
    judged = judged_request(head)
    assert judged is not None
    assert judged.method == "GET"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET HTTP/1.1",
        b"G\xcbT / HTTP/1.1",
        b" / HTTP/1.1",
        b"A" * 33 + b" / HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"HTTP/1.1 200 OK",
    ],
)
def test_no_request_without_a_request_line(line):
    assert judged_request(line + b"\r\nHost: a\r\n\r\n") is None


@pytest.mark.parametrize(
    "line", [b"", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 OK", b"ICYX 200 OK"]
)
def test_no_response_without_a_status_line(line):
    assert judged_response(line + b"\r\nServer: a\r\n\r\n") is None


def test_lazy_headers_behave_like_any():
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nx-b: 2 \r\n\r\n"
    lazy = ordinary_request(head, 0, len(head)).headers
    assert lazy.get("x-b") == "1"
    assert lazy.get("b") is None
    assert lazy.get("get / http/1.1\r\nhost") is None
    assert lazy.get_all("x-b") == ["1", "2"]
    assert list(lazy) == [("host", "a"), ("x-b", "1"), ("x-b", "2")]
    assert lazy == judged_request(head).headers
    assert len({lazy, judged_request(head).headers}) == 1
