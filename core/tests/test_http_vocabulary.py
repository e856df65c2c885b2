"""Trace context, targets and attributes, shared by every HTTP plugin."""

import base64

import pytest

from rover.http import (
    Headers,
    HttpRequest,
    HttpResponse,
    TraceContext,
    http_attributes,
    split_target,
    text,
    trace_context,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


SW8 = "-".join(["1", b64("trace.1"), b64("segment.2"), "3", b64("s"), b64("i"), b64("/e"), b64("a:1")])
FROM_SW8 = TraceContext(provider="skywalking", trace_id="trace.1", span_id="3", segment_id="segment.2")


def context(provider: str, trace: str = TRACE) -> TraceContext:
    return TraceContext(provider=provider, trace_id=trace, span_id=SPAN)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("traceparent", f"00-{TRACE}-{SPAN}-01")], context("w3c")),
        ([("traceparent", f"cc-{TRACE}-{SPAN}-01-what-follows")], context("w3c")),
        ([("traceparent", f"00-{TRACE}-{SPAN}-01-what-follows")], None),
        ([("traceparent", f"ff-{TRACE}-{SPAN}-01")], None),
        ([("traceparent", f"00-{'0' * 32}-{SPAN}-01")], None),
        ([("traceparent", f"00-{TRACE}-{'0' * 16}-01")], None),
        ([("traceparent", f"00-{TRACE.upper()}-{SPAN}-01")], None),
        ([("b3", f"{TRACE}-{SPAN}-1")], context("zipkin")),
        ([("b3", f"{SPAN}-{SPAN}")], context("zipkin", SPAN)),
        ([("b3", f"{TRACE}-{SPAN}-d-{SPAN}")], context("zipkin")),
        ([("b3", "0")], None),
        ([("b3", f"{TRACE}-{SPAN}-2")], None),
        ([("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)], context("zipkin")),
        ([("x-b3-traceid", TRACE)], None),
        ([("x-b3-traceid", "xyz"), ("x-b3-spanid", SPAN)], None),
        ([("sw8", SW8)], FROM_SW8),
        ([("sw8", SW8.replace(b64("trace.1"), "@@@"))], None),
        ([("sw8", SW8.rpartition("-")[0])], None),
        ([("sw8", SW8.replace("-3-", "-x-"))], None),
        ([("sw8", "1-" * 100_000)], None),
        ([("traceparent", f"00-{TRACE}-{SPAN}-01"), ("sw8", SW8)], FROM_SW8),
        ([("sw8", "broken"), ("b3", f"{TRACE}-{SPAN}")], context("zipkin")),
        ([], None),
    ],
)  # fmt: skip
def test_trace_context(headers, expected):
    assert trace_context(Headers(headers)) == expected


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("/", "/", ""),
        ("http://h:80/a?b", "/a", "b"),
        ("http://h", "/", ""),
        ("http://h?q", "/", "q"),
        ("*", "", ""),
        ("example.com:443", "", ""),
        ("", "", ""),
    ],
)
def test_target(target, path, query):
    assert split_target(target) == (path, query)


def test_text_never_fails_and_keeps_utf8():
    assert text("käse".encode()) == "käse"
    assert text(b"\xff\xfe") == "\xff\xfe"
    assert text(bytearray(b"a")) == "a"


def test_headers_keep_order_and_repetition():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])
    assert headers.get("a") == "1"
    assert headers.get_all("a") == ["1", "3"]
    assert headers.get("c") is None
    assert list(headers) == [("a", "1"), ("b", "2"), ("a", "3")]


def test_what_is_not_known_is_absent():
    request = HttpRequest(
        method="CONNECT",
        target="h:443",
        version="1.1",
        headers=Headers(),
        start=0,
        end=1,
        header_size=30,
        body_size=None,
    )
    assert http_attributes(request, None) == {
        "http.request.method": "CONNECT",
        "url.original": "h:443",
        "http.request.header.size": 30,
    }


def test_what_is_known_has_its_opentelemetry_name():
    headers = Headers([("host", "h"), ("user-agent", "curl"), ("traceparent", f"00-{TRACE}-{SPAN}-01")])
    request = HttpRequest(
        method="GET",
        target="/a?b",
        version="1.1",
        headers=headers,
        start=0,
        end=1,
        header_size=30,
        body_size=0,
    )
    response = HttpResponse(
        status=200, version="1.1", headers=Headers(), start=2, end=3, header_size=40, body_size=5
    )
    assert http_attributes(request, response) == {
        "http.request.method": "GET",
        "url.original": "/a?b",
        "url.path": "/a",
        "url.query": "b",
        "http.request.header.host": ("h",),
        "user_agent.original": "curl",
        "http.request.header.size": 30,
        "http.request.body.size": 0,
        "http.response.status_code": 200,
        "http.response.header.size": 40,
        "http.response.body.size": 5,
        "trace.provider": "w3c",
        "trace_id": TRACE,
        "span_id": SPAN,
    }
