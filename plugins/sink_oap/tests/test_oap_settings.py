"""Settings, and the environment of SkyWalking Rover's users."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import UsageError
from rover.contracts.settings import Settings, read_environment
from rover.sending.address import authority, split
from rover_plugin_sink_oap import register_sinks
from rover_plugin_sink_oap.settings import SETTINGS, Configuration, configure


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("oap", "oap:11800"),
        ("oap:1", "oap:1"),
        (" oap:1 ", "oap:1"),
        ("10.0.0.1:11800", "10.0.0.1:11800"),
        ("[::1]:11800", "[::1]:11800"),
        ("[::1]", "[::1]:11800"),
        ("[fe80::1%eth0]:65535", "[fe80::1%eth0]:65535"),
        ("oap.observability.svc.cluster.local:11800", "oap.observability.svc.cluster.local:11800"),
        ("oap.example.:11800", "oap.example.:11800"),
        ("my_stack_oap-1:11800", "my_stack_oap-1:11800"),
        ("1password:1", "1password:1"),
        ("xn--bcher-kva.example:1", "xn--bcher-kva.example:1"),
        ("a" * 63 + ":1", "a" * 63 + ":1"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert configure({"address": [given]}).addresses == (address,)


CONTEXT = ssl.create_default_context()
WRONG_HOSTS = [
    *(
        "",
        ".",
        "..",
        ".oap",
        "oap..svc",
        "oap..",
        "-oap",
        "oap-",
        "a-.b",
        "oap svc",
        "a\tb",
        "a\0b",
        "a,b",
        "a/b",
    ),
    *("bücher", "oap\u200b", "ⅷ", "\udcff", "user@oap", "oap?x", "a#b", "*.oap", "%41", "{oap}"),
    *("a" * 64, ".".join(["a" * 63] * 4), "a" * 100_000),
    *("256.0.0.1", "1.2.3", "1.2.3.4.5", "0x7f.1", "1", "010.0.0.1"),
    *(
        "[]",
        "[oap]",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[[::1]]",
        "[::g]",
        "[:::]",
        "[::1%]",
        "[::1%a b]",
        "[1:2]",
    ),
]
WRONG_PORTS = ["", "x", "0", "65536", "-1", "+1", "1.0", "²", "\u0661", " 1", "1_0", "0x1", "9" * 5000, "1]"]
WRONG = [
    *(f"{host}:1" for host in WRONG_HOSTS),
    *(host for host in WRONG_HOSTS if host != "1"),
    *(f"oap:{port}" for port in WRONG_PORTS),
    *(f"[::1]:{port}" for port in WRONG_PORTS[:-1]),
    *("::1", "::1:11800", "http://oap:1", "https://oap", "dns:///oap:1", "unix:///run/oap", "grpc://[::1]:1"),
    *(":1", ":", "[::1]x:1", "oap:1:2", "tcp:oap:1"),
]


@pytest.mark.parametrize("given", WRONG, ids=ascii)
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(UsageError, match=r"^sink\.oap\.address ") as caught:
        configure({"address": ["oap:1", given]})
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("address", "told"),
    [("oap:1", "oap:1"), ("[::1]:1", "[::1]:1"), ("[fe80::1%eth0]:1", "[fe80::1]:1")],
)
def test_the_authority_has_no_interface(address: str, told: str) -> None:
    assert authority(address) == told


def test_no_address() -> None:
    with pytest.raises(UsageError, match=r"sink\.oap\.address"):
        configure({"address": []})


@settings(max_examples=500, deadline=None)
@given(
    given=st.text()
    | st.text("a1.-_:[]% /@", max_size=20)
    | st.from_regex(r"[a-z0-9._-]{1,70}(:[0-9]{1,6})?", fullmatch=True)
)
def test_an_address_is_told_to_be_wrong_or_can_be_asked_of_a_resolver(given: str) -> None:
    try:
        (address,) = configure({"address": [given]}).addresses
    except UsageError:
        return
    host, port = split(address)
    assert 0 < port < 65536
    # What socket.getaddrinfo and ssl.SSLContext.wrap_socket do to a name before they ask anybody.
    host.encode("idna")
    CONTEXT.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=host.removesuffix("."))


@pytest.mark.parametrize("given", ["oap..svc", ".oap", "bücher", "a b", "a" * 64, "x:1"])
def test_server_names_that_are_none(given: str) -> None:
    with pytest.raises(UsageError, match=r"^sink\.oap\.tls_server_name "):
        configure({"tls": True, "tls_server_name": given})


@pytest.mark.parametrize("status", [0, 400, 504, 599])
def test_the_status_of_what_is_unanswered(status: int) -> None:
    assert configure({"unanswered_status": status}).unanswered_status == status


@pytest.mark.parametrize("status", [1, 200, 399, 600])
def test_a_status_that_would_be_a_success_or_is_none(status: int) -> None:
    with pytest.raises(UsageError, match=r"^sink\.oap\.unanswered_status "):
        configure({"unanswered_status": status})


@pytest.mark.parametrize("name", ["cluster", "node_name", "exclude_namespaces"])
def test_text_that_no_message_can_hold(name: str) -> None:
    value = ["a", "\udcff"] if name == "exclude_namespaces" else "\udcff"
    with pytest.raises(UsageError, match=rf"^sink\.oap\.{name} "):
        configure({name: value})


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
