"""When access logs become a batch, and what waits for its addresses."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover import AccessLog, Address, Role, Syscall
from rover.sending.batch import Batch
from rover_plugin_sink_oap import collector as collector_module
from rover_plugin_sink_oap.collector import Collector
from rover_plugin_sink_oap.encode import Encoder
from rover_plugin_sink_oap.messages import EBPFAccessLogMessage
from rover_plugin_sink_oap.namespaces import Namespaces
from rover_plugin_sink_oap.naming import Namer
from rover_plugin_sink_oap.node import Node
from rover_plugin_sink_oap.settings import configure

Make = Callable[..., Collector]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def collector(max_count: int = 100, period: float = 5.0) -> Collector:
        namer = Namer(configure({}).naming, Namespaces(tmp_path), "host")
        return Collector(Encoder(), namer, Node("host"), max_count, period)

    return collector


def read(batch: Batch) -> list[Any]:
    return [EBPFAccessLogMessage.FromString(each) for each in batch.stream()]


def paths(batches: list[Batch]) -> list[list[str]]:
    return [[each.protocolLog.http.request.path for each in read(batch)] for batch in batches]


def test_by_count(make: Make, traffic: Any) -> None:
    collector = make(max_count=2)
    connection = traffic.connection()
    for n in range(5):
        collector.add(traffic.exchange(connection, f"/{n}"), 0.0)
    assert paths(collector.take()) == [["/0", "/1"], ["/2", "/3"]]
    assert collector.take() == []


def test_by_period(make: Make, traffic: Any) -> None:
    collector = make(period=5.0)
    assert collector.due is None
    collector.add(traffic.exchange(traffic.connection(), "/0"), 100.0)
    collector.add(traffic.exchange(traffic.connection(), "/1"), 103.0)
    assert collector.due == 105.0
    collector.ripen(104.9)
    assert collector.take() == []
    collector.ripen(105.0)
    assert paths(collector.take()) == [["/0", "/1"]]
    assert collector.due is None


def test_by_bytes(make: Make, traffic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "MAX_BATCH", 5000)
    collector = make()
    for _ in range(10):
        collector.add(traffic.exchange(traffic.connection(), "/" + "x" * 2000), 0.0)
    assert [len(batch.messages) for batch in collector.take()] == [3, 3, 3]


def test_the_node_comes_first_and_once(make: Make, traffic: Any) -> None:
    collector = make()
    connection = traffic.connection()
    for n in range(3):
        collector.add(traffic.exchange(connection, f"/{n}"), 0.0)
    collector.ripen(None)
    (batch,) = collector.take()
    first, *others = read(batch)
    assert first.node.name == "host"
    assert first.node.bootTime.seconds * 10**9 + first.node.bootTime.nanos == traffic.epoch
    names = {each.name for each in first.node.netInterfaces}
    assert names == {each.name for each in Path("/sys/class/net").iterdir() if (each / "ifindex").exists()}
    assert all(each.index > 0 and each.mtu > 0 for each in first.node.netInterfaces)
    assert not any(each.HasField("node") for each in others)
    assert all(each.HasField("connection") for each in (first, *others))
    assert (batch.exchanges, batch.calls) == (3, 6)


def test_a_stream_has_one_boot_time(make: Make, traffic: Any) -> None:
    collector = make()
    early = traffic.connection()
    late = traffic.connection().replace(epoch=early.epoch + 10**9)
    for connection, path in ((early, "/0"), (late, "/1"), (late, "/2"), (early, "/3")):
        collector.add(traffic.exchange(connection, path), 0.0)
    collector.ripen(None)
    batches = collector.take()
    assert paths(batches) == [["/0"], ["/1", "/2"], ["/3"]]
    boots = [read(batch)[0].node.bootTime for batch in batches]
    assert [boot.seconds for boot in boots] == [(early.epoch + d) // 10**9 for d in (0, 10**9, 0)]


def test_a_break_sends_the_connection_again_as_tcp(make: Make, traffic: Any) -> None:
    collector = make()
    connection = traffic.connection()
    broken = traffic.broken(connection)
    collector.add(traffic.exchange(connection), 0.0)
    collector.add(broken, 0.0)
    collector.add(traffic.call(broken.connection), 0.0)
    collector.ripen(None)
    first, second, third = read(collector.take()[0])
    assert [each.connection.protocol for each in (first, second, third)] == [1, 0, 0]
    assert second.connection.local == first.connection.local
    assert not second.kernelLogs
    assert not second.HasField("protocolLog")


def test_changes_of_a_connection_are_sent_as_they_become_known(make: Make, traffic: Any) -> None:
    collector = make()
    plain = traffic.connection(role=None, protocol="")
    secured = plain.replace(tls=True)
    spoken = secured.replace(role=Role.CLIENT, protocol="http2")
    for connection in (plain, secured, spoken):
        collector.add(traffic.call(connection), 0.0)
    collector.ripen(None)
    sent = [each.connection for each in read(collector.take()[0])]
    assert [(each.role, each.tlsMode, each.protocol) for each in sent] == [(1, 0, 0), (1, 1, 0), (0, 1, 2)]


def test_an_end_seen_later_in_the_batch_names_the_other(make: Make, traffic: Any) -> None:
    collector = make()
    client = traffic.connection(Role.CLIENT, process=_process("curl"))
    server = traffic.connection(
        Role.SERVER, local=client.remote, remote=client.local, process=_process("web")
    )
    collector.add(traffic.call(client, Syscall.CONNECT), 0.0)
    collector.add(traffic.call(server, Syscall.ACCEPT4), 0.0)
    collector.ripen(None)
    first, second = read(collector.take()[0])
    assert first.connection.remote.kubernetes.serviceName == "web"
    assert second.connection.remote.kubernetes.serviceName == "curl"


def test_behind_a_proxy_a_servers_remote_end_is_the_client(make: Make, traffic: Any) -> None:
    """Whose address the PROXY protocol header has; the proxy itself is the client of its own connection."""
    collector = make()
    named = Address(host="192.0.2.9", port=5000)
    client = traffic.connection(Role.CLIENT, process=_process("haproxy"), proxied=named)
    server = traffic.connection(
        Role.SERVER, local=client.remote, remote=client.local, process=_process("web"), proxied=named
    )
    collector.add(traffic.call(client, Syscall.CONNECT), 0.0)
    collector.add(traffic.call(server, Syscall.ACCEPT4), 0.0)
    collector.ripen(None)
    first, second = (each.connection for each in read(collector.take()[0]))
    assert first.remote.kubernetes.serviceName == "web"
    assert first.local.kubernetes.serviceName == "haproxy"
    assert second.remote.kubernetes.serviceName == "192.0.2.9"
    assert second.local.kubernetes.serviceName == "web"


def _process(name: str) -> Any:
    from rover import Process

    return Process(pid=1_000_000_000 + len(name), name=name)


def unbuilt(log: AccessLog) -> AccessLog:
    return log.replace(connection=log.connection.replace(local=None, remote=None, role=None))


def test_logs_wait_for_their_connection_and_keep_their_order(make: Make, traffic: Any) -> None:
    collector = make()
    connection = traffic.connection()
    collector.add(unbuilt(traffic.exchange(connection, "/0")), 0.0)
    collector.add(traffic.exchange(traffic.connection(), "/other"), 0.0)
    collector.add(unbuilt(traffic.exchange(connection, "/1")), 0.0)
    collector.add(traffic.exchange(connection, "/2"), 0.0)
    collector.ripen(6.0)
    (batch,) = collector.take()
    assert paths([batch]) == [["/other", "/0", "/1", "/2"]]
    sent = read(batch)[1].connection
    assert (sent.remote.kubernetes.serviceName, sent.role) == (connection.remote.host, 1)
    assert not collector.counters


def test_logs_wait_ten_seconds_at_most(make: Make, traffic: Any) -> None:
    collector = make()
    now = time.monotonic()
    collector.add(unbuilt(traffic.exchange(traffic.connection(), "/0")), now)
    due = collector.due
    assert due is not None
    assert 0 < due - now <= 10.0
    collector.ripen(due - 0.01)
    assert collector.take() == []
    collector.ripen(due)
    collector.ripen(due + 5.0)
    (batch,) = collector.take()
    assert paths([batch]) == [["/0"]]
    assert read(batch)[0].connection.remote.kubernetes.serviceName == "unknown"
    assert collector.counters == {"without_address": 1}


def test_a_log_that_is_old_already_does_not_wait_again(make: Make, traffic: Any) -> None:
    collector = make()
    old = traffic.exchange(traffic.connection(), "/0")
    old = old.replace(end=old.end - 11 * 10**9)
    collector.add(unbuilt(old), 0.0)
    collector.ripen(5.0)
    assert paths(collector.take()) == [["/0"]]


def test_waiting_logs_are_bounded(make: Make, traffic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.unaddressed.MAX_WAITING", 3)
    collector = make()
    for n in range(8):
        collector.add(unbuilt(traffic.exchange(traffic.connection(), f"/{n}")), 0.0)
        collector.ripen(0.0)
    collector.ripen(5.0)
    assert paths(collector.take()) == [[f"/{n}" for n in range(5)]]
    collector.ripen(None)
    assert paths(collector.take()) == [["/5", "/6", "/7"]]


def test_figures_that_are_none_lose_their_log_only(make: Make, traffic: Any) -> None:
    collector = make()
    connection = traffic.connection()
    collector.add(traffic.exchange(connection, "/0", start=-1), 0.0)
    collector.add(traffic.exchange(connection, "/1"), 0.0)
    collector.ripen(None)
    assert paths(collector.take()) == [["/1"]]
    assert collector.counters == {"invalid": 1}


def test_nothing_to_send_is_not_sent(make: Make, traffic: Any) -> None:
    collector = make()
    collector.add(traffic.call(traffic.connection(), Syscall.SHUTDOWN), 0.0)
    assert collector.due is None
    collector.ripen(None)
    assert collector.take() == []


def test_a_connection_that_no_message_can_hold_takes_only_its_own_logs_along(
    make: Make, traffic: Any
) -> None:
    collector = make()
    good = traffic.connection()
    bad = traffic.connection(remote=Address(host="10.0.0.9", port=1 << 40))
    for connection, path in ((good, "/0"), (bad, "/1"), (good, "/2"), (bad, "/3")):
        collector.add(traffic.exchange(connection, path), 0.0)
    collector.add(traffic.call(bad), 0.0)
    collector.ripen(None)
    assert paths(collector.take()) == [["/0", "/2"]]
    assert collector.counters["invalid"] == 2
    collector.add(traffic.exchange(bad, "/4"), 0.0)
    collector.ripen(None)
    assert collector.take() == []
    assert collector.counters["invalid"] == 3
