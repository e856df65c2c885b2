"""What a user may set, and the environment that SkyWalking Rover's users already have."""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rover import Setting, UsageError
from rover_plugin_sink_oap.patterns import Patterns

DEFAULT_PORT = 11800
SPOOL_PATH = "/var/lib/rover/oap"
MEGABYTE = 1 << 20

LOCAL_NAMES = (
    "process",
    "pid",
    "unit",
    "container",
    "container_id",
    "workload",
    "pod",
    "namespace",
    "host",
    "cluster",
)
"""What may be known of a process of this host."""
REMOTE_NAMES = ("endpoint", "address", "port", "host", "cluster")
"""What may be known of an end of which only the address is."""

SETTINGS: Sequence[Setting] = (
    Setting("address", [f"localhost:{DEFAULT_PORT}"], "host:port of the server; several are tried in turn"),
    Setting("authentication", "", "value of the Authentication metadata; empty sends none"),
    Setting("cluster", "", "name of the cluster this host belongs to"),
    Setting("node_name", "", "name of this host; empty is its hostname"),
    Setting("exclude_namespaces", [], "Kubernetes namespaces the server shall leave out"),
    Setting("tls", False, "TLS to the server"),
    Setting("tls_ca", "", "PEM file of the CA; empty is the system's"),
    Setting("tls_cert", "", "PEM file of the client certificate, with its chain"),
    Setting("tls_key", "", "PEM file of its key"),
    Setting("tls_server_name", "", "name the server's certificate must have, if not that of the address"),
    Setting("tls_insecure", False, "take any server certificate: anybody can then read and answer"),
    Setting("flush_max_count", 10_000, "access logs sent at once, at most", minimum=1),
    Setting("flush_period", 5.0, "seconds an access log waits for others before it is sent"),
    Setting("timeout", 20.0, "seconds the server has to take one batch"),
    Setting("retry_max", 10.0, "longest pause between two attempts, seconds"),
    Setting("queue_mb", 32, "MB of batches that wait in memory", minimum=1),
    Setting("spool", True, "keep batches on disk while the server is away"),
    Setting("spool_path", SPOOL_PATH, "directory of the spool"),
    Setting("spool_max_mb", 1024, "MB the spool may take; beyond it the oldest batch goes", minimum=1),
    Setting("spool_max_age", 86_400, "seconds after which a spooled batch is not worth sending", minimum=1),
    Setting(
        "service",
        ["{workload}.{namespace}", "{container}", "{unit}", "{process}"],
        "service of a process; the first pattern of which all is known",
    ),
    Setting(
        "instance",
        ["{pod}", "{container}@{host}", "{container_id}@{host}", "{unit}@{host}", "{process}@{host}"],
        "its instance, likewise",
    ),
    Setting("remote_service", ["{endpoint}", "{address}"], "service of an end that is no process seen here"),
    Setting("remote_instance", ["{endpoint}", "{address}"], "its instance, likewise"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}

ENVIRONMENT = {
    "ROVER_BACKEND_ADDR": "address",
    "ROVER_BACKEND_AUTHENTICATION": "authentication",
    "ROVER_BACKEND_ENABLE_TLS": "tls",
    "ROVER_BACKEND_CA_PEM_PATH": "tls_ca",
    "ROVER_BACKEND_PEM_PATH": "tls_cert",
    "ROVER_BACKEND_KEY_PATH": "tls_key",
    "ROVER_BACKEND_INSECURE_SKIP_VERIFY": "tls_insecure",
    "ROVER_BACKEND_CHECK_PERIOD": "retry_max",
    "ROVER_CORE_CLUSTER_NAME": "cluster",
    "ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME": "node_name",
    "ROVER_ACCESS_LOG_EXCLUDE_NAMESPACES": "exclude_namespaces",
    "ROVER_ACCESS_LOG_FLUSH_MAX_COUNT": "flush_max_count",
    "ROVER_ACCESS_LOG_FLUSH_PERIOD": "flush_period",
}
"""Variables of SkyWalking Rover (docs/en/setup/configuration there), and the setting each overrides."""

# A duration as Go writes it: 5s, 1m30s, 500ms.
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """How the connection to the server is secured."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    insecure: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Naming:
    """What the ends of a connection are called."""

    service: Patterns
    instance: Patterns
    remote_service: Patterns
    remote_instance: Patterns


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, read."""

    addresses: tuple[str, ...]
    """`host:port` each."""
    authentication: str
    cluster: str
    node_name: str
    exclude_namespaces: tuple[str, ...]
    tls: Tls | None
    flush_max_count: int
    flush_period: float
    timeout: float
    retry_max: float
    queue_bytes: int
    spool: Path | None
    spool_chosen: bool
    """The user named the spool's directory: one that cannot be used is an error."""
    spool_max_bytes: int
    spool_max_age: float
    naming: Naming


def configure(settings: Mapping[str, Any], environment: Mapping[str, str] = {}) -> Configuration:
    """The settings of `sink.oap`, overridden by the environment. Raises UsageError naming what is wrong."""
    given = {name: settings.get(name, setting.default) for name, setting in _BY_NAME.items()}
    for variable, name in ENVIRONMENT.items():
        if value := environment.get(variable):
            given[name] = _BY_NAME[name].read(variable, _seconds(value) if name in _PERIODS else value)
    for name in _PERIODS:
        if given[name] <= 0:
            raise UsageError(f"sink.oap.{name} = {given[name]}: must be more than 0")
    tls = None
    if given["tls"]:
        tls = Tls(
            given["tls_ca"],
            given["tls_cert"],
            given["tls_key"],
            given["tls_server_name"],
            given["tls_insecure"],
        )
    return Configuration(
        addresses=_addresses(given["address"]),
        authentication=_metadata(given["authentication"]),
        cluster=given["cluster"],
        node_name=given["node_name"] or socket.gethostname(),
        exclude_namespaces=tuple(given["exclude_namespaces"]),
        tls=tls,
        flush_max_count=given["flush_max_count"],
        flush_period=given["flush_period"],
        timeout=given["timeout"],
        retry_max=given["retry_max"],
        queue_bytes=given["queue_mb"] * MEGABYTE,
        spool=Path(given["spool_path"]) if given["spool"] and given["spool_path"] else None,
        spool_chosen=given["spool_path"] != SPOOL_PATH,
        spool_max_bytes=given["spool_max_mb"] * MEGABYTE,
        spool_max_age=float(given["spool_max_age"]),
        naming=Naming(
            service=Patterns("sink.oap.service", given["service"], LOCAL_NAMES),
            instance=Patterns("sink.oap.instance", given["instance"], LOCAL_NAMES),
            remote_service=Patterns("sink.oap.remote_service", given["remote_service"], REMOTE_NAMES),
            remote_instance=Patterns("sink.oap.remote_instance", given["remote_instance"], REMOTE_NAMES),
        ),
    )


_PERIODS = ("flush_period", "timeout", "retry_max")


def _seconds(value: str) -> str:
    """A Go duration in seconds; anything else as it is."""
    if not _DURATION.sub("", value):
        return str(sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value)))
    return value


def _addresses(values: Sequence[str]) -> tuple[str, ...]:
    addresses = tuple(_address(value) for value in values)
    if not addresses:
        raise UsageError("sink.oap.address is empty: write host:port of the OAP server")
    return addresses


def _address(value: str) -> str:
    """`host:port`; a bare IPv6 address may stand in brackets without a port, like any host."""
    host, colon, port = value.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = value, str(DEFAULT_PORT)
    valid = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    bracketed = host.startswith("[") and host.endswith("]")
    if not valid or not host or (":" in host and not bracketed) or re.search(r"[\s/,]", host):
        raise UsageError(f"sink.oap.address {value!r}: write host:port, an IPv6 address in brackets")
    return f"{host}:{port}"


def _metadata(value: str) -> str:
    """gRPC allows printable ASCII in metadata."""
    if not (value.isascii() and value.isprintable()):
        raise UsageError("sink.oap.authentication must be printable ASCII")
    return value.strip()
