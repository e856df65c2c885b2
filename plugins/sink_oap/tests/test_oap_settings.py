"""Settings, and the environment of SkyWalking Rover's users."""

from __future__ import annotations

from typing import Any

import pytest

from rover import UsageError
from rover.settings import Settings, read_environment
from rover_plugin_sink_oap import register_sinks
from rover_plugin_sink_oap.settings import SETTINGS, Configuration, configure


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("oap", "oap:11800"),
        ("oap:1", "oap:1"),
        ("10.0.0.1:11800", "10.0.0.1:11800"),
        ("[::1]:11800", "[::1]:11800"),
        ("[::1]", "[::1]:11800"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert configure({"address": [given]}).addresses == (address,)


@pytest.mark.parametrize(
    "given", ["", ":1", "oap:", "oap:x", "oap:0", "oap:65536", "::1", "http://oap:1", "a b:1", "oap:²"]
)
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(UsageError, match=r"sink\.oap\.address"):
        configure({"address": [given]})
    with pytest.raises(UsageError, match=r"sink\.oap\.address"):
        configure({"address": []})


def configured_by(environment: dict[str, str]) -> Configuration:
    """As the core does it."""
    declared = {setting.name: setting for setting in SETTINGS}
    given = Settings({f"x.{name}": setting for name, setting in declared.items()})
    return configure(given.section("x") | read_environment(declared, environment))


@pytest.mark.parametrize(
    ("variable", "value", "field", "read"),
    [
        ("ROVER_BACKEND_ADDR", "oap:11800,spare:11801", "addresses", ("oap:11800", "spare:11801")),
        ("ROVER_BACKEND_AUTHENTICATION", "token", "authentication", "token"),
        ("ROVER_BACKEND_CHECK_PERIOD", "5", "retry_max", 5.0),
        ("ROVER_CORE_CLUSTER_NAME", "prod", "cluster", "prod"),
        ("ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME", "node-1", "node_name", "node-1"),
        (
            "ROVER_ACCESS_LOG_EXCLUDE_NAMESPACES",
            "istio-system,kube-system",
            "exclude_namespaces",
            ("istio-system", "kube-system"),
        ),
        ("ROVER_ACCESS_LOG_FLUSH_MAX_COUNT", "2000", "flush_max_count", 2000),
        ("ROVER_ACCESS_LOG_FLUSH_PERIOD", "5s", "flush_period", 5.0),
        ("ROVER_ACCESS_LOG_FLUSH_PERIOD", "1m30s", "flush_period", 90.0),
        ("ROVER_ACCESS_LOG_FLUSH_PERIOD", "500ms", "flush_period", 0.5),
    ],
)
def test_the_environment_of_skywalking_rover(variable: str, value: str, field: str, read: Any) -> None:
    assert getattr(configured_by({variable: value}), field) == read


def test_the_environment_of_tls() -> None:
    environment = {
        "ROVER_BACKEND_ENABLE_TLS": "true",
        "ROVER_BACKEND_CA_PEM_PATH": "ca.pem",
        "ROVER_BACKEND_PEM_PATH": "client.pem",
        "ROVER_BACKEND_KEY_PATH": "client.key",
        "ROVER_BACKEND_INSECURE_SKIP_VERIFY": "true",
    }
    tls = configured_by(environment).tls
    assert tls is not None
    assert (tls.ca, tls.cert, tls.key, tls.insecure) == ("ca.pem", "client.pem", "client.key", True)
    assert configured_by(environment | {"ROVER_BACKEND_ENABLE_TLS": "false"}).tls is None


@pytest.mark.parametrize("name", ["flush_period", "timeout", "retry_max"])
@pytest.mark.parametrize("value", [0.0, -1.0, 1e10, float("inf"), float("nan")])
def test_periods_are_more_than_nothing_and_can_be_waited_for(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        configure({name: value})


@pytest.mark.parametrize("token", ["a\nb", "schlüssel", "\x7f"])
def test_a_token_that_metadata_cannot_carry(token: str) -> None:
    with pytest.raises(UsageError, match="authentication"):
        configure({"authentication": token})


def test_the_spool_can_be_switched_off() -> None:
    assert configure({"spool": False}).spool is None
    assert configure({"spool_path": ""}).spool is None


def test_the_sink_is_registered_with_its_settings() -> None:
    (spec,) = register_sinks()
    assert (spec.name, spec.settings) == ("oap", SETTINGS)
