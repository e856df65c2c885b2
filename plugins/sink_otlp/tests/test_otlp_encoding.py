"""What is written by hand, read by the classes of opentelemetry-proto: what a span says, by the
conventions."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from rover import AccessLog, Address, Attributes, Outcome, Role, Shape
from rover.http import KNOWN_METHODS
from rover_plugin_sink_otlp.exchange import Column, split_host
from rover_plugin_sink_otlp.identity import Identities, Identity
from rover_plugin_sink_otlp.receiver.items import attributes as plain
from rover_plugin_sink_otlp.spans import SpanEncoder
from rover_plugin_sink_otlp.wire import MAX_ITEMS, MAX_LIST, MAX_TEXT, any_value, attribute, key, varint

IDENTITY = Identity(bytes(range(16)), bytes(range(8)), b"", b"", 0)

texts = st.text(st.characters(exclude_categories=()), max_size=300)
values = st.one_of(
    texts, st.booleans(), st.floats(allow_nan=False), st.integers(), st.lists(texts, max_size=5).map(tuple)
)


def span_of(log: AccessLog, encoder: SpanEncoder | None = None) -> Span:
    return Span.FromString((encoder or SpanEncoder()).span(log, IDENTITY))


def said(log: AccessLog) -> dict[str, Any]:
    return plain(span_of(log).attributes)


# -- the encoding itself ---------------------------------------------------------------------------


@given(number=st.integers(0, (1 << 64) - 1) | st.sampled_from([0, 127, 128, 4095, 4096, 16383, 16384]))
def test_a_varint_is_one(number: int) -> None:
    read = AnyValue.FromString(b"\x18" + varint(number)).int_value
    assert read % (1 << 64) == number


def expected(value: object) -> object:
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, tuple):
        return [expected(each) for each in value[:MAX_ITEMS]]
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value


@given(name=texts, value=values)
def test_an_attribute_comes_back(name: str, value: object) -> None:
    field = attribute(b"\x4a", key(name), value)
    (read,) = Span.FromString(field).attributes
    assert plain([read]) == {expected(name): expected(value)}


@pytest.mark.parametrize("value", [None, b"x", object(), {}, [None], [["a"]]])
def test_what_cannot_be_sent_is_left_out(value: object) -> None:
    made = any_value(value)
    assert made is None or AnyValue.FromString(made).array_value.values == []


def test_a_list_is_bounded() -> None:
    made = any_value(("x" * 4000,) * 100)
    assert made is not None
    read = [each.string_value for each in AnyValue.FromString(made).array_value.values]
    assert len("".join(read)) == MAX_LIST
    assert len(read) == MAX_ITEMS


def test_a_value_of_any_length_comes_back() -> None:
    for size in (*range(110, 140), 16_380, 16_390):
        made = attribute(b"\x4a", key("k"), ("x" * (size // 4),) * 4)
        assert KeyValue.FromString(made[2 if made[1] < 128 else 3 if made[2] < 128 else 4 :]).key == "k"


# -- spans -------------------------------------------------------------------------------------------


@given(
    texts
    | st.integers(0, 600).map("x".__mul__)
    | st.sampled_from([0, 1, 100, 127, 128, 255, 256, 257, 4096, 4097]).map("x".__mul__)
)
def test_a_column_writes_what_an_attribute_is(text: str) -> None:
    """Both ways: of a text that is kept, and of one that is not."""
    column = Column(b"\x4a", "url.path")
    expected = attribute(b"\x4a", key("url.path"), text)
    assert column.encode(text) == column.encode(text) == expected
    assert column[text] == column[text] == expected


def test_a_servers_span(traffic: Any) -> None:
    log = traffic.exchange(
        traffic.connection(),
        "/users/7?page=2",
        {
            "url.query": "page=2",
            "http.route": "/users/{id}",
            "rover.route.source": "user",
            "user_agent.original": "curl/8",
            "http.request.header.host": ("Example.org:8080",),
            "http.request.body.size": 0,
            "http.response.body.size": 5000,
            "http.request.header.size": 80,
            "http.request.header.accept": ("a", "b"),
        },
    )
    span = span_of(log)
    assert (span.name, span.kind) == ("GET /users/{id}", Span.SPAN_KIND_SERVER)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (bytes(range(16)), bytes(range(8)), b"")
    epoch = log.connection.epoch
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (epoch + log.start, epoch + log.end)
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert plain(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/users/{id}",
        "rover.route.source": "user",
        "url.scheme": "http",
        "url.path": "/users/7",
        "url.query": "page=2",
        "server.address": "example.org",
        "server.port": 8080,
        "client.address": "10.0.0.2",
        "client.port": 10_001,
        "network.peer.address": "10.0.0.2",
        "network.peer.port": 10_001,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "http.request.body.size": 0,
        "http.response.body.size": 5000,
        "http.request.header.accept": ["a", "b"],
        "rover.connection": "0000000000000001",
    }


def test_a_clients_span(traffic: Any) -> None:
    log = traffic.exchange(
        traffic.connection(Role.CLIENT, tls=True), "/users/7?page=2", {"http.route": "/users/{id}"}
    )
    span = span_of(log)
    assert (span.name, span.kind) == ("GET /users/{id}", Span.SPAN_KIND_CLIENT)
    assert plain(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": "https://example.org/users/7?page=2",
        "url.scheme": "https",
        "url.template": "/users/{id}",
        "server.address": "example.org",
        "server.port": 80,
        "network.peer.address": "10.0.0.1",
        "network.peer.port": 80,
        "network.protocol.version": "1.1",
        "rover.connection": "0000000000000001",
    }


@pytest.mark.parametrize(
    ("target", "host", "full"),
    [
        ("/a?b", "h:81", "http://h:81/a?b"),
        ("http://other/a", "h", "http://other/a"),
        ("*", "h", "http://h"),
        ("/a", None, "http://10.0.0.1:80/a"),
        ("h:443", "h:443", "http://h:443"),
    ],
)
def test_the_url_a_client_asked_for(traffic: Any, target: str, host: str | None, full: str) -> None:
    log = traffic.exchange(
        traffic.connection(Role.CLIENT), target, {"http.request.header.host": (host,) if host else None}
    )
    assert said(log)["url.full"] == full


@pytest.mark.parametrize(
    ("host", "split"),
    [
        ("Example.org", ("example.org", None)),
        ("a:8080", ("a", 8080)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("a:", ("a", None)),
        ("a:99999", ("a", None)),
        ("a:x", ("a", None)),
        ("a:٣", ("a", None)),
        ("", ("", None)),
    ],
)
def test_hosts(host: str, split: tuple[str, int | None]) -> None:
    assert split_host(host) == split


@pytest.mark.parametrize(
    ("role", "said_of_it", "outcome", "error"),
    [
        (Role.SERVER, {"http.response.status_code": 499}, Outcome.COMPLETE, None),
        (Role.SERVER, {"http.response.status_code": 500}, Outcome.COMPLETE, "500"),
        (Role.CLIENT, {"http.response.status_code": 399}, Outcome.COMPLETE, None),
        (Role.CLIENT, {"http.response.status_code": 404}, Outcome.COMPLETE, "404"),
        (Role.SERVER, {"http.response.status_code": None}, Outcome.ABORTED, "aborted"),
        (Role.SERVER, {"http.response.status_code": None}, Outcome.UNFINISHED, None),
        (Role.SERVER, {}, Outcome.SPLIT, None),
        (Role.SERVER, {"error.type": "CANCEL"}, Outcome.ABORTED, "CANCEL"),
    ],
)
def test_what_failed(
    traffic: Any, role: Role, said_of_it: dict[str, Any], outcome: Outcome, error: str | None
) -> None:
    log = traffic.exchange(traffic.connection(role), said=said_of_it, outcome=outcome)
    span = span_of(log)
    assert span.status.code == (Status.STATUS_CODE_ERROR if error else Status.STATUS_CODE_UNSET)
    assert plain(span.attributes).get("error.type") == error
    complete = outcome is Outcome.COMPLETE
    assert plain(span.attributes).get("rover.outcome") == (None if complete else outcome.value)


@pytest.mark.parametrize(
    ("role", "status", "failed"),
    [
        (Role.SERVER, "OK", False),
        (Role.SERVER, "NOT_FOUND", False),
        (Role.SERVER, "INTERNAL", True),
        (Role.CLIENT, "NOT_FOUND", True),
        (Role.CLIENT, "OK", False),
        (Role.CLIENT, None, False),
    ],
)
def test_a_call_of_grpc(traffic: Any, role: Role, status: str | None, failed: bool) -> None:
    log = traffic.exchange(
        traffic.connection(role),
        "/pkg.Service/Method",
        {"rpc.system.name": "grpc", "rpc.method": "pkg.Service/Method", "rpc.status_code": status},
    )
    span = span_of(log)
    attributes = plain(span.attributes)
    assert span.name == "pkg.Service/Method"
    assert attributes["rpc.system.name"] == "grpc"
    assert attributes["rpc.method"] == "pkg.Service/Method"
    assert attributes.get("rpc.status_code") == status
    assert attributes.get("error.type") == (status if failed else None)
    assert not [each for each in attributes if each.startswith("http.")]


def test_a_database(traffic: Any) -> None:
    redis = {"db.system.name": "redis", "db.operation.name": "GET", "db.namespace": "0"}
    log = traffic.exchange(traffic.connection(Role.CLIENT)).replace(protocol="redis", attributes=redis)
    span = span_of(log)
    assert span.name == "GET 0"
    assert plain(span.attributes).items() >= {**redis, "network.protocol.name": "redis"}.items()


def test_another_protocol(traffic: Any) -> None:
    log = traffic.exchange(traffic.connection()).replace(protocol="memcached", attributes={"a": True})
    span = span_of(log)
    assert span.name == "memcached"
    assert plain(span.attributes)["a"] is True


@pytest.mark.parametrize("method", sorted(KNOWN_METHODS))
def test_a_known_method(traffic: Any, method: str) -> None:
    span = span_of(traffic.exchange(traffic.connection(), said={"http.request.method": method}))
    assert span.name.split()[0] == method
    assert plain(span.attributes)["http.request.method"] == method


def test_an_unknown_method(traffic: Any) -> None:
    span = span_of(traffic.exchange(traffic.connection(), said={"http.request.method": "BREW"}))
    assert span.name == "HTTP"
    read = plain(span.attributes)
    assert (read["http.request.method"], read["http.request.method_original"]) == ("_OTHER", "BREW")


def test_who_is_client_is_not_known(traffic: Any) -> None:
    span = span_of(traffic.exchange(traffic.connection(None)))
    assert span.kind == Span.SPAN_KIND_UNSPECIFIED
    assert "client.address" not in plain(span.attributes)


def test_behind_a_proxy(traffic: Any) -> None:
    read = said(traffic.exchange(traffic.connection(proxied=Address(host="192.0.2.1", port=7))))
    assert (read["client.address"], read["network.peer.address"]) == ("192.0.2.1", "10.0.0.2")


# -- anything a plugin may say ------------------------------------------------------------------------

NAMES = [
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "http.request.header.host",
    "url.original",
    "url.path",
    "url.query",
    "rpc.system.name",
    "rpc.method",
    "rpc.status_code",
    "db.system.name",
    "db.operation.name",
    "error.type",
    "trace.provider",
    "trace_id",
    "span_id",
    "a.b",
    "",
]
anything = st.dictionaries(st.sampled_from(NAMES), values, max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attributes=st.lists(anything, min_size=1, max_size=4), role=st.sampled_from([*Role, None]))
def test_whatever_is_said_is_a_span(
    traffic: Any, attributes: list[dict[str, Any]], role: Role | None
) -> None:
    """The same, whether it comes in a dictionary or in a shape, and whatever came before."""
    connection = traffic.connection(role)
    encoder, identities = SpanEncoder(), Identities()
    for each in attributes:
        log = traffic.exchange(connection).replace(attributes=each)
        identities.of(log)
        span = span_of(log, encoder)
        assert span == span_of(log)
        shaped = log.replace(attributes=Attributes(Shape(tuple(each)), tuple(each.values())))
        assert span_of(shaped, encoder) == span
        read = plain(span.attributes)
        for name in ("a.b", "", "db.operation.name", "rpc.method"):
            if name in each:
                assert read[name] == expected(each[name])


@pytest.mark.parametrize(("start", "end"), [(-(1 << 70), 0), (0, 1 << 70)])
def test_times_that_are_none_are_a_value_error(traffic: Any, start: int, end: int) -> None:
    with pytest.raises(ValueError), contextlib.suppress(TypeError):  # noqa: PT011
        SpanEncoder().span(traffic.exchange(traffic.connection(), start=start, end=end), IDENTITY)
