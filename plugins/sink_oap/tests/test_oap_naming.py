"""What the two ends of a connection are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Address, Connection, Process, Role, UsageError
from rover_plugin_sink_oap import namespaces
from rover_plugin_sink_oap.namespaces import Namespaces
from rover_plugin_sink_oap.naming import MAX_NAME, Namer
from rover_plugin_sink_oap.settings import configure

WEB, APP = Address(host="10.0.0.1", port=80), Address(host="10.0.0.1", port=41000)
FAR = Address(host="192.0.2.7", port=443)
UNITS = {10: ("web", 1), 20: ("shop", 1), 21: ("shop", 1), 30: ("jail", 2)}
"""Processes: their units, and the network namespaces they are in."""


def connection(
    local: Address | None, remote: Address | None, role: Role | None, pid: int = 10, name: str = "nginx"
) -> Connection:
    unit, _ = UNITS.get(pid, ("", 0))
    said = {"service.name": unit, "rover.systemd.unit": unit} if unit else {}
    process = Process(pid=pid, name=name, attributes=said) if pid else None
    return Connection(id=1, local=local, remote=remote, role=role, process=process, opened=0, epoch=0)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for pid, (_, network) in UNITS.items():
        directory = tmp_path / str(pid) / "ns"
        directory.mkdir(parents=True)
        (directory / "net").symlink_to(f"net:[{network}]")
    return tmp_path


@pytest.fixture
def namer(proc: Path) -> Namer:
    return Namer(configure({}).naming, Namespaces(proc), "host")


def test_a_process_is_named_by_its_service(namer: Namer) -> None:
    local = namer.ends(connection(WEB, FAR, Role.SERVER)).local
    assert local == ("web", "web@host", "web", "nginx")


def test_a_process_without_a_service_by_its_command(namer: Namer) -> None:
    local = namer.ends(connection(WEB, FAR, Role.SERVER, pid=99, name="caddy")).local
    assert local == ("caddy", "caddy@host", "caddy", "caddy")


def test_a_process_without_any_name(namer: Namer) -> None:
    assert namer.ends(connection(WEB, FAR, Role.SERVER, pid=99, name="")).local == ("unknown",) * 4


@pytest.mark.parametrize(
    ("role", "local", "remote", "service"),
    [
        # A server's port tells which service it is; a client's is another one each time.
        (Role.CLIENT, APP, FAR, "192.0.2.7:443"),
        (Role.SERVER, WEB, Address(host="192.0.2.7", port=51000), "192.0.2.7"),
        (Role.CLIENT, APP, Address(host="2001:db8::7", port=443), "[2001:db8::7]:443"),
        (Role.SERVER, WEB, Address(host="2001:db8::7", port=51000), "2001:db8::7"),
        # Addresses that mean this host wherever they are read are given its name.
        (Role.CLIENT, APP, Address(host="127.0.0.1", port=5432), "host:5432"),
        (Role.CLIENT, APP, Address(host="::1", port=5432), "host:5432"),
        (Role.CLIENT, APP, Address(host="10.0.0.1", port=5432), "host:5432"),
        (Role.SERVER, WEB, Address(host="127.0.0.1", port=51000), "host"),
    ],
)
def test_a_remote_end_by_its_address(
    namer: Namer, role: Role, local: Address, remote: Address, service: str
) -> None:
    assert namer.ends(connection(local, remote, role)).remote == (service,) * 4


def test_both_ends_of_a_capture_by_their_addresses(namer: Namer) -> None:
    ends = namer.ends(connection(WEB, Address(host="127.0.0.1", port=51000), Role.SERVER, pid=0))
    assert (ends.local.service, ends.remote.service) == ("10.0.0.1:80", "127.0.0.1")


def test_the_other_end_when_it_is_watched_too(namer: Namer) -> None:
    server = connection(WEB, APP, Role.SERVER)
    client = connection(APP, WEB, Role.CLIENT, pid=20, name="shopd")
    namer.learn(server)
    namer.learn(client)
    assert namer.ends(client).remote == ("web", "web@host", "web", "nginx")
    assert namer.ends(server).remote == ("shop", "shop@host", "shop", "shopd")


def test_a_listener_is_known_by_another_connection_of_it(namer: Namer) -> None:
    namer.learn(connection(WEB, Address(host="10.0.0.9", port=50000), Role.SERVER))
    client = connection(APP, WEB, Role.CLIENT, pid=20)
    assert namer.ends(client).remote.service == "web"


def test_a_listener_not_heard_of_for_long_is_forgotten(namer: Namer, monkeypatch: pytest.MonkeyPatch) -> None:
    namer.learn(connection(WEB, Address(host="10.0.0.9", port=50000), Role.SERVER))
    monkeypatch.setattr("rover_plugin_sink_oap.naming.LISTENER_FRESH", -1.0)
    assert namer.ends(connection(APP, WEB, Role.CLIENT, pid=20)).remote.service == "host:80"


def test_loopback_of_another_network_namespace_is_another_host(namer: Namer) -> None:
    here, there = Address(host="127.0.0.1", port=80), Address(host="127.0.0.1", port=41000)
    namer.learn(connection(here, there, Role.SERVER))
    assert namer.ends(connection(there, here, Role.CLIENT, pid=20)).remote.service == "web"
    assert namer.ends(connection(there, here, Role.CLIENT, pid=30)).remote.service == "host:80"


def test_a_service_that_talks_to_itself_is_told_apart_alike_from_both_ends(namer: Namer) -> None:
    server = connection(WEB, APP, Role.SERVER, pid=20)
    client = connection(APP, WEB, Role.CLIENT, pid=21)
    namer.learn(server)
    namer.learn(client)
    seen_by_server, seen_by_client = namer.ends(server), namer.ends(client)
    assert (seen_by_server.local.service, seen_by_server.remote.service) == ("shop", "shop (client)")
    assert (seen_by_client.local.service, seen_by_client.remote.service) == ("shop (client)", "shop")


@pytest.mark.parametrize(
    ("local", "remote", "server"),
    [
        (WEB, Address(host="192.0.2.7", port=51000), True),
        (APP, FAR, False),
        (Address(host="10.0.0.1", port=51000), Address(host="192.0.2.7", port=8080), False),
        (None, None, False),
    ],
)
def test_an_unknown_role_is_told_by_the_ports(
    namer: Namer, local: Address | None, remote: Address | None, server: bool
) -> None:
    assert namer.ends(connection(local, remote, None)).server is server


def test_an_unknown_role_is_told_by_who_listens(namer: Namer) -> None:
    high = Address(host="10.0.0.1", port=60000)
    namer.learn(connection(high, FAR, Role.SERVER))
    assert namer.ends(connection(high, Address(host="192.0.2.7", port=5000), None)).server
    assert not namer.ends(connection(Address(host="192.0.2.7", port=5000), high, None, pid=20)).server


def test_a_connection_never_built_has_an_unknown_peer(namer: Namer) -> None:
    ends = namer.ends(connection(None, None, Role.SERVER))
    assert (ends.local.service, ends.remote.service) == ("web", "unknown")


def test_patterns_are_the_users(proc: Path) -> None:
    naming = configure(
        {
            "service": ["{container}", "{cluster}/{unit}"],
            "instance": ["{process}-{pid}"],
            "remote_service": ["peer {address}"],
            "remote_instance": ["{address} {port}", "{address}"],
        }
    ).naming
    ends = Namer(naming, Namespaces(proc), "host", "prod").ends(connection(APP, FAR, Role.CLIENT))
    assert ends.local[:2] == ("prod/web", "nginx-10")
    assert ends.remote[:2] == ("peer 192.0.2.7", "192.0.2.7 443")


@pytest.mark.parametrize(
    "pattern", ["{nothing}", "{process!r}", "{process:>9}", "{", "{}", "{process.real}", "{0}"]
)
def test_a_pattern_that_cannot_work_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"sink\.oap\.service"):
        configure({"service": [pattern]})


@pytest.mark.parametrize("patterns", [[], ["{process}", "{port}"]])
def test_remote_patterns_know_only_addresses(patterns: list[str]) -> None:
    with pytest.raises(UsageError, match=r"sink\.oap\.remote_service"):
        configure({"remote_service": patterns})


SHOP = {
    "service.name": "shop",
    "service.namespace": "prod",
    "container.id": "0123456789abcdef" * 4,
    "container.name": "k8s_app_shop",
    "k8s.container.name": "app",
    "k8s.pod.name": "shop-6d4b75cb6d-x7k2p",
    "k8s.namespace.name": "prod",
}


@pytest.mark.parametrize(
    ("attributes", "service", "instance", "container"),
    [
        (SHOP, "shop.prod", "shop-6d4b75cb6d-x7k2p", "app"),
        ({"service.name": "a", "container.name": "b"}, "a", "b@host", "b"),
        ({"service.name": "a", "container.id": "f" * 64}, "a", "ffffffffffff@host", "ffffffffffff"),
        ({"service.name": "a", "rover.systemd.unit": "b"}, "a", "b@host", "b"),
        ({"service.name": "a"}, "a", "java@host", "java"),
        ({}, "java", "java@host", "java"),
        ({"service.name": 7, "container.name": True}, "7", "True@host", "True"),
    ],
)
def test_a_process_is_named_by_its_attributes(
    namer: Namer, attributes: dict[str, str | int | bool], service: str, instance: str, container: str
) -> None:
    process = Process(pid=99, name="java", attributes=attributes)
    ends = namer.ends(connection(WEB, FAR, Role.SERVER).replace(process=process))
    assert ends.local == (service, instance, container, "java")


@pytest.mark.parametrize(
    ("attributes", "workload"),
    [
        (SHOP, "shop-6d4b75cb6d-x7k2p"),
        ({**SHOP, "k8s.deployment.name": "shop"}, "shop"),
        ({**SHOP, "k8s.statefulset.name": "shop"}, "shop"),
        ({**SHOP, "k8s.daemonset.name": "shop"}, "shop"),
        ({**SHOP, "k8s.job.name": "shop-29012345", "k8s.cronjob.name": "shop"}, "shop"),
        ({**SHOP, "k8s.job.name": "shop"}, "shop"),
        ({**SHOP, "rover.k8s.workload": "shop"}, "shop"),
        ({}, "-"),
    ],
)
def test_a_pattern_of_a_pods_workload(
    proc: Path, attributes: dict[str, str | int | bool], workload: str
) -> None:
    """As settings have it that were written before there was `{service}`."""
    naming = configure({"service": ["{workload}.{namespace}", "-"]}).naming
    process = Process(pid=99, name="java", attributes=attributes)
    here = connection(WEB, FAR, Role.SERVER).replace(process=process)
    named = Namer(naming, Namespaces(proc), "host").ends(here).local.service
    assert named == (f"{workload}.prod" if attributes else workload)


def test_a_process_that_ended_stays_in_its_network(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Namespaces(proc)
    assert known.network(30, "app") == 2
    (proc / "30/ns/net").unlink()
    monkeypatch.setattr(namespaces, "FRESH", -1.0)
    assert known.network(30, "app") == 2
    assert known.network(30, "other") == known.network(98, "app") == 0


def test_networks_remembered_are_bounded(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "MAX_PROCESSES", 2)
    known = Namespaces(proc)
    for pid in range(10, 20):
        known.network(pid, "x")
    assert len(known._known) == 2


def test_the_network_of_this_very_process() -> None:
    assert Namespaces().network(os.getpid(), "python") > 0


hosts = st.sampled_from(["127.0.0.1", "10.0.0.1", "::1"])
addresses = st.none() | st.builds(Address, host=hosts, port=st.sampled_from([1, 80, 50000]))
names = st.sampled_from(["", "a", "a (client)", "x" * 200, "\ud800", "\x1b[31m"])


@settings(deadline=None)
@given(
    connections=st.lists(
        st.builds(
            connection,
            addresses,
            addresses,
            st.sampled_from([None, *Role]),
            st.sampled_from([0, 1_000_000_001, 1_000_000_002]),
            names,
        ),
        max_size=6,
    ),
    service=st.sampled_from(["{process}", "all", "{process}{process}"]),
    remote=st.sampled_from(["{endpoint}", "{address}", "all"]),
)
def test_services_are_never_the_same_and_no_name_is_empty(
    connections: list[Connection], service: str, remote: str
) -> None:
    naming = configure({"service": [service], "remote_service": [remote]}).naming
    namer = Namer(naming, Namespaces(), "host")
    for each in connections:
        namer.learn(each)
    for each in connections:
        ends = namer.ends(each)
        assert ends.local.service != ends.remote.service
        for name in (*ends.local, *ends.remote):
            assert 0 < len(name) <= MAX_NAME
            assert name.isprintable()


def test_memory_is_bounded(namer: Namer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.naming.MAX_ENDS", 3)
    monkeypatch.setattr("rover_plugin_sink_oap.naming.MAX_LISTENERS", 3)
    for port in range(1, 100):
        namer.learn(connection(Address(host="10.0.0.1", port=port), FAR, Role.SERVER))
    assert len(namer._ends) == len(namer._listeners) == 3


def test_names_from_the_environment_of_a_capture_do_not_need_proc(tmp_path: Path) -> None:
    namer = Namer(configure({}).naming, Namespaces(tmp_path), "host")
    values: Any = namer.ends(connection(APP, FAR, Role.CLIENT, pid=5, name="curl"))
    assert values.local.service == "curl"
