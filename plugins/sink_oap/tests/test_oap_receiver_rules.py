"""What the receiver finds wrong, and that it finds nothing wrong in what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rover_plugin_sink_oap.messages import EBPFAccessLogMessage
from rover_plugin_sink_oap.receiver.rules import RULES, LogStream, Received


def good() -> Any:
    """A message that keeps every rule."""
    message = EBPFAccessLogMessage()
    message.node.name = "host"
    message.node.bootTime.seconds = 1_700_000_000
    message.node.netInterfaces.add(index=1, mtu=1500, name="lo")
    for end, name in ((message.connection.local, "web"), (message.connection.remote, "curl")):
        end.kubernetes.serviceName = end.kubernetes.podName = name
        end.kubernetes.port = len(name)
    read = message.kernelLogs.add().read
    read.startTime.offset.offset, read.endTime.offset.offset = 5, 6
    read.l2Metrics.ifindex = 1
    http = message.protocolLog.http
    http.startTime.offset.offset, http.endTime.offset.offset = 5, 9
    http.request.path = "/"
    http.response.statusCode = 200
    return message


def check(*messages: Any) -> LogStream:
    stream = LogStream(1)
    for message in messages:
        raw = message.SerializeToString()
        stream.add(raw, EBPFAccessLogMessage.FromString(raw))
    return stream


def rules(*messages: Any) -> list[str]:
    received = Received()
    stream = check(*messages)
    received.accept(stream)
    assert received.totals.broken.total() == len(stream.findings)
    return [finding.rule for finding in stream.findings]


def without_node(message: Any) -> None:
    message.ClearField("node")


def nameless_node(message: Any) -> None:
    message.node.name = ""


def bootless_node(message: Any) -> None:
    message.node.ClearField("bootTime")


def no_interface(message: Any) -> None:
    del message.node.netInterfaces[:]
    message.kernelLogs[0].read.ClearField("l2Metrics")


def two_interfaces_of_an_index(message: Any) -> None:
    message.node.netInterfaces.add(index=1)


def no_connection(message: Any) -> None:
    message.ClearField("connection")


def no_local(message: Any) -> None:
    message.connection.ClearField("local")


def no_pod(message: Any) -> None:
    message.connection.remote.kubernetes.podName = ""


def same_service(message: Any) -> None:
    message.connection.remote.kubernetes.serviceName = "web"


def plain_addresses(message: Any) -> None:
    message.connection.local.ip.host = "10.0.0.1"
    message.connection.remote.ip.host = "10.0.0.2"


def empty_kernel_log(message: Any) -> None:
    message.kernelLogs.add()


def empty_protocol_log(message: Any) -> None:
    message.protocolLog.Clear()


def unknown_interface(message: Any) -> None:
    message.kernelLogs[0].read.l2Metrics.ifindex = 2


def unknown_write_interface(message: Any) -> None:
    write = message.kernelLogs.add().write
    write.startTime.offset.offset, write.endTime.offset.offset = 7, 8
    write.l2Metrics.SetInParent()


def backwards(message: Any) -> None:
    message.protocolLog.http.endTime.offset.offset = 4


def timeless(message: Any) -> None:
    message.kernelLogs[0].read.ClearField("endTime")


def query(message: Any) -> None:
    message.protocolLog.http.request.path = "/a?b"


def no_response(message: Any) -> None:
    message.protocolLog.http.ClearField("response")


def no_status(message: Any) -> None:
    message.protocolLog.http.response.statusCode = 0


def unknown_method(message: Any) -> None:
    message.protocolLog.http.request.method = 9


def unknown_role(message: Any) -> None:
    message.connection.role = 3


def unknown_syscall(message: Any) -> None:
    message.kernelLogs[0].read.syscall = 6


def same_call_twice(message: Any) -> None:
    message.kernelLogs.append(message.kernelLogs[0])


BROKEN = [
    (without_node, ["node-first", "interface-known"]),
    (nameless_node, ["node-first"]),
    (bootless_node, ["node-first"]),
    (no_interface, ["node-first"]),
    (two_interfaces_of_an_index, ["node-first"]),
    (no_connection, ["connection-known"]),
    (no_local, ["address-set"]),
    (no_pod, ["address-set"]),
    (same_service, ["service-different"]),
    (plain_addresses, ["service-different"]),
    (empty_kernel_log, ["empty-log"]),
    (empty_protocol_log, ["empty-log"]),
    (unknown_interface, ["interface-known"]),
    (unknown_write_interface, ["interface-known"]),
    (backwards, ["time-order"]),
    (timeless, ["time-order"]),
    (query, ["path-without-query"]),
    (no_response, ["status-set"]),
    (no_status, ["status-set"]),
    (unknown_method, ["enum-known"]),
    (unknown_role, ["enum-known"]),
    (unknown_syscall, ["enum-known"]),
    (same_call_twice, ["call-twice"]),
]


def test_a_good_stream() -> None:
    second = good()
    second.ClearField("node")
    second.ClearField("connection")
    second.kernelLogs[0].read.endTime.offset.offset = 7
    assert rules(good(), second) == []


@pytest.mark.parametrize(("spoil", "broken"), BROKEN)
def test_what_is_wrong_is_found(spoil: Callable[[Any], None], broken: list[str]) -> None:
    message = good()
    spoil(message)
    assert rules(message) == broken


def test_every_rule_has_a_case() -> None:
    assert {rule for _, broken in BROKEN for rule in broken} == set(RULES)


def test_a_call_of_another_stream_is_found() -> None:
    received = Received()
    assert received.accept(check(good()))
    other = good()
    other.protocolLog.http.request.path = "/other"
    assert received.accept(check(other))
    assert received.totals.broken == {"call-twice": 1}


def test_a_stream_sent_again_is_no_fault_and_counts_once() -> None:
    received = Received()
    assert received.accept(check(good()))
    assert not received.accept(check(good()))
    totals = received.totals
    assert (totals.streams, totals.repeated, totals.exchanges, totals.calls) == (2, 1, 1, {"read": 1})
    assert not totals.broken


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.receiver.rules.MAX_REMEMBERED", 10)
    received = Received()
    for n in range(100):
        message = good()
        message.kernelLogs[0].read.endTime.offset.offset = 10 + n
        received.accept(check(message))
    assert len(received._calls._old) + len(received._calls._new) <= 20
    assert not received.totals.broken
