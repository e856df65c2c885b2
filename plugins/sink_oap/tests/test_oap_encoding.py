"""What an access log becomes in the protocol's messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import AccessLog, Connection, Outcome, Role, Syscall
from rover_plugin_sink_oap.encode import Encoder, path_of
from rover_plugin_sink_oap.messages import EBPFAccessLogMessage
from rover_plugin_sink_oap.naming import Ends, Names

HERE = Names("web", "web@host", "web", "nginx")
THERE = Names("10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.2")


def message(encoder: Encoder, log: AccessLog) -> Any:
    encoded = encoder.logs(log)
    assert encoded is not None
    return EBPFAccessLogMessage.FromString(encoded.logs)


CALLS = [
    (Syscall.CONNECT, 1, "connect", None),
    (Syscall.ACCEPT, 1, "accept", None),
    (Syscall.ACCEPT4, 1, "accept", None),
    (Syscall.CLOSE, 1, "close", None),
    (Syscall.READ, 0, "read", 0),
    (Syscall.READV, 0, "read", 1),
    (Syscall.RECVFROM, 0, "read", 3),
    (Syscall.RECVMSG, 0, "read", 4),
    (Syscall.RECVMMSG, 0, "read", 5),
    (Syscall.WRITE, 1, "write", 0),
    (Syscall.WRITEV, 1, "write", 1),
    (Syscall.SENDTO, 1, "write", 3),
    (Syscall.SENDMSG, 1, "write", 4),
    (Syscall.SENDMMSG, 1, "write", 5),
    (Syscall.SENDFILE64, 1, "write", 7),
    (Syscall.PREADV2, 0, "read", 1),
    (Syscall.PWRITEV2, 1, "write", 1),
    (Syscall.SPLICE, 0, "read", 0),
    (Syscall.SPLICE, 1, "write", 7),
]


@pytest.mark.parametrize(("syscall", "direction", "operation", "number"), CALLS)
def test_a_socket_call(
    traffic: Any, syscall: int, direction: int, operation: str, number: int | None
) -> None:
    log = traffic.call(traffic.connection(), syscall, direction=direction, size=77)
    (sent,) = message(Encoder(), log).kernelLogs
    assert sent.WhichOneof("operation") == operation
    made = getattr(sent, operation)
    detail = log.details[0]
    assert (made.startTime.offset.offset, made.endTime.offset.offset) == (detail.start, detail.end)
    if number is not None:
        assert made.syscall == number
    assert not any(made.HasField(f"l{n}Metrics") for n in (2, 3) if operation in ("read", "write"))
    if operation == "write":
        assert made.l4Metrics.totalPackageSize == 77


def test_every_syscall_is_sent_or_left_out_by_decision() -> None:
    decided = {syscall for syscall, *_ in CALLS} | {Syscall.NONE, Syscall.SHUTDOWN}
    assert decided == set(Syscall)


@pytest.mark.parametrize("syscall", [Syscall.CONNECT, Syscall.CLOSE])
@pytest.mark.parametrize(("error", "success"), [(0, True), (111, False)])
def test_success_of_connect_and_close(traffic: Any, syscall: Syscall, error: int, success: bool) -> None:
    encoder = Encoder()
    for _ in range(2):  # what one call left is not the next one's
        other = traffic.call(traffic.connection(), syscall, error=5 if success else 0)
        assert getattr(message(encoder, other).kernelLogs[0], syscall.name.lower()).success is not success
        log = traffic.call(traffic.connection(), syscall, error=error)
        assert getattr(message(encoder, log).kernelLogs[0], syscall.name.lower()).success is success


@pytest.mark.parametrize(
    ("syscall", "name"), [(Syscall.SHUTDOWN, "shutdown"), (Syscall.NONE, "none"), (99, "unknown")]
)
def test_calls_without_a_message_are_counted(traffic: Any, syscall: int, name: str) -> None:
    encoder = Encoder()
    assert encoder.logs(traffic.call(traffic.connection(), syscall)) is None
    assert encoder.left_out == {f"call_{name}": 1}


def test_an_exchange_carries_its_calls_in_order(traffic: Any) -> None:
    log = traffic.exchange(traffic.connection())
    sent = message(Encoder(), log)
    assert [each.WhichOneof("operation") for each in sent.kernelLogs] == ["read", "write"]
    assert sent.protocolLog.WhichOneof("protocol") == "http"
    assert sent.protocolLog.http.startTime.offset.offset == log.start
    assert sent.protocolLog.http.endTime.offset.offset == log.end


def test_fields_of_an_exchange(traffic: Any) -> None:
    attributes = {
        "http.request.method": "POST",
        "url.original": "/shop/cart?id=7",
        "url.path": "/shop/cart",
        "http.request.header.host": ("shop.example",),
        "http.request.header.size": 120,
        "http.request.body.size": 34,
        "http.response.status_code": 503,
        "http.response.header.size": 90,
        "http.response.body.size": 12,
        "trace.provider": "skywalking",
        "trace_id": "t",
        "trace.segment_id": "s",
        "span_id": "3",
    }
    http = message(
        Encoder(), traffic.exchange(traffic.connection(), attributes=attributes, version="2")
    ).protocolLog.http
    assert http.version == 1
    request, response = http.request, http.response
    assert (request.method, request.path, request.host) == (1, "/shop/cart", "shop.example")
    assert (request.sizeOfHeadersBytes, request.sizeOfBodyBytes) == (120, 34)
    trace = request.trace
    assert (trace.provider, trace.traceId, trace.traceSegmentId, trace.spanId) == (1, "t", "s", "3")
    assert (response.statusCode, response.sizeOfHeadersBytes, response.sizeOfBodyBytes) == (503, 90, 12)


@pytest.mark.parametrize(("version", "number"), [("1.0", 0), ("1.1", 0), ("2", 1)])
def test_http_version(traffic: Any, version: str, number: int) -> None:
    log = traffic.exchange(traffic.connection(), version=version)
    assert message(Encoder(), log).protocolLog.http.version == number


METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT"]


@pytest.mark.parametrize(("number", "method"), list(enumerate(METHODS)))
def test_methods(traffic: Any, number: int, method: str) -> None:
    attributes = {"http.request.method": method, "http.response.status_code": 200}
    log = traffic.exchange(traffic.connection(), attributes=attributes)
    assert message(Encoder(), log).protocolLog.http.request.method == number


@pytest.mark.parametrize("method", ["PROPFIND", "get", "", 7])
def test_a_method_the_protocol_lacks_leaves_the_calls(traffic: Any, method: object) -> None:
    encoder = Encoder()
    sent = message(
        encoder, traffic.exchange(traffic.connection(), attributes={"http.request.method": method})
    )
    assert not sent.HasField("protocolLog")
    assert len(sent.kernelLogs) == 2
    assert encoder.left_out == {"exchange_method": 1}


def test_another_protocol_leaves_the_calls(traffic: Any) -> None:
    encoder = Encoder()
    sent = message(encoder, traffic.exchange(traffic.connection(), protocol="redis", attributes={"db": 1}))
    assert not sent.HasField("protocolLog")
    assert len(sent.kernelLogs) == 2
    assert encoder.left_out == {"exchange_protocol": 1}


ENDINGS = [Outcome.COMPLETE, Outcome.ABORTED, Outcome.UNFINISHED, Outcome.SPLIT]


@pytest.mark.parametrize("outcome", ENDINGS)
@pytest.mark.parametrize("status", [None, 0, -1, 99, 1000, 1 << 31, 1 << 70, True, "200", 200.0])
@pytest.mark.parametrize("unanswered_status", [0, 503])
def test_without_a_response_an_exchange_is_no_success(
    traffic: Any, status: object, outcome: Outcome, unanswered_status: int
) -> None:
    """It is left out, and its calls are sent alone; a status the user set is for those that failed."""
    attributes = {"http.request.method": "GET", "url.original": "/"}
    if status is not None:
        attributes["http.response.status_code"] = status  # type: ignore[assignment]
    encoder = Encoder(unanswered_status)
    log = traffic.exchange(traffic.connection(), attributes=attributes, outcome=outcome)
    encoded = encoder.logs(log)
    assert encoded is not None
    assert encoded.calls == 2
    sent = EBPFAccessLogMessage.FromString(encoded.logs)
    assert len(sent.kernelLogs) == 2
    failed = unanswered_status > 0 and outcome in (Outcome.COMPLETE, Outcome.ABORTED)
    assert encoded.exchanges == sent.HasField("protocolLog") == failed
    if failed:
        assert sent.protocolLog.http.response.statusCode == unanswered_status
    assert encoder.left_out == ({} if failed else {"exchange_unanswered": 1})


@pytest.mark.parametrize("outcome", ENDINGS)
@pytest.mark.parametrize("status", [100, 200, 499, 500, 999])
def test_a_response_is_told_however_the_exchange_ended(traffic: Any, status: int, outcome: Outcome) -> None:
    attributes = {"http.request.method": "GET", "http.response.status_code": status}
    log = traffic.exchange(traffic.connection(), attributes=attributes, outcome=outcome)
    assert message(Encoder(503), log).protocolLog.http.response.statusCode == status


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ({"url.path": "/a", "url.original": "/a?b=c"}, "/a"),
        ({"url.original": "/a?b=c"}, "/a"),
        ({"url.original": "*"}, "*"),
        ({"url.original": "example.com:443"}, "example.com:443"),
        ({"url.original": "http://h/a?b", "url.path": "/a"}, "/a"),
        ({}, ""),
        ({"url.path": "/" + "x" * 9999}, "/" + "x" * 4095),
        ({"url.path": "/\ud800"}, "/\ufffd"),
        ({"url.path": 7}, ""),
    ],
)
def test_path_has_no_query(attributes: dict[str, Any], path: str) -> None:
    assert path_of(attributes) == path


@pytest.mark.parametrize(
    ("given_", "provider"), [("skywalking", 1), ("zipkin", 0), ("w3c", 0), ("jaeger", None), (None, None)]
)
def test_trace_provider(traffic: Any, given_: str | None, provider: int | None) -> None:
    attributes: dict[str, Any] = {"http.request.method": "GET", "trace_id": "1", "span_id": "2"}
    attributes["http.response.status_code"] = 200
    if given_ is not None:
        attributes["trace.provider"] = given_
    request = message(
        Encoder(), traffic.exchange(traffic.connection(), attributes=attributes)
    ).protocolLog.http.request
    assert (request.trace.provider if request.HasField("trace") else None) == provider


@settings(deadline=None)
@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(
                st.integers(),
                st.booleans(),
                st.sampled_from([None, "", "w3c", "\ud800", "é", (), ("é", "")]),
            )
            for name in (
                "url.path",
                "url.original",
                "http.request.header.size",
                "http.request.body.size",
                "http.request.header.host",
                "http.response.status_code",
                "http.response.body.size",
                "http.response.header.size",
                "trace.provider",
                "trace_id",
                "span_id",
            )
        },
    )
)
def test_no_attribute_of_a_plugin_is_too_much(values: dict[str, Any]) -> None:
    connection = Connection(id=1, local=None, remote=None, role=None, process=None, opened=0, epoch=0)
    log = AccessLog(
        connection=connection,
        start=1,
        end=2,
        protocol="http",
        version="1.1",
        attributes={"http.request.method": "GET", **values},
    )
    assert message(Encoder(500), log).HasField("protocolLog")


def test_a_break_alone_sends_its_connection(traffic: Any) -> None:
    encoded = Encoder().logs(traffic.broken(traffic.connection()))
    assert encoded == (b"", 0, 0)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, (1, 0, 1)),
        ({"role": Role.CLIENT}, (0, 0, 1)),
        ({"tls": True, "protocol": "http2"}, (1, 1, 2)),
        ({"protocol": ""}, (1, 0, 0)),
        ({"protocol": "redis"}, (1, 0, 0)),
    ],
)
def test_connection_fields(traffic: Any, changes: dict[str, Any], fields: tuple[int, int, int]) -> None:
    connection = traffic.connection().replace(**changes)
    ends = Ends(HERE, THERE, connection.role is Role.SERVER)
    sent = EBPFAccessLogMessage.FromString(Encoder().connection(connection, ends)).connection
    assert (sent.role, sent.tlsMode, sent.protocol) == fields
    local, remote = sent.local.kubernetes, sent.remote.kubernetes
    assert (local.serviceName, local.podName, local.containerName, local.processName, local.port) == (
        *HERE,
        80,
    )
    assert (remote.serviceName, remote.port) == (THERE.service, connection.remote.port)


def test_parts_of_a_message_are_the_message(traffic: Any) -> None:
    """The encoder leans on protobuf's rule that encoded messages written in a row are merged."""
    connection = traffic.connection()
    encoder = Encoder()
    first = encoder.connection(connection, Ends(HERE, THERE, True))
    logs = encoder.logs(traffic.exchange(connection))
    assert logs is not None
    whole = EBPFAccessLogMessage.FromString(first + logs.logs)
    assert whole.connection.local.kubernetes.serviceName == "web"
    assert len(whole.kernelLogs) == 2
    assert whole.HasField("protocolLog")
