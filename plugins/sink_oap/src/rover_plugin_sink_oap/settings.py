"""What a user may set, and how it is read."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rover import Patterns, Setting, UsageError
from rover.sending import address
from rover.sending.exporter import Waiting
from rover.sending.settings import MAX_SHOWN, TLS, check_periods, text, tls
from rover.sending.tls import Tls

DEFAULT_PORT = 11800
SPOOL_PATH = "/var/lib/rover/oap"
MEGABYTE = 1 << 20

LOCAL_NAMES = (
    "process",
    "pid",
    "service",
    "service_namespace",
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

# The variables are SkyWalking Rover's (configs/rover_configs.yaml there).
SETTINGS: Sequence[Setting] = (
    Setting(
        "address",
        [f"localhost:{DEFAULT_PORT}"],
        "host:port of the server; several are tried in turn",
        environment="ROVER_BACKEND_ADDR",
    ),
    Setting(
        "authentication",
        "",
        "value of the Authentication metadata; empty sends none",
        environment="ROVER_BACKEND_AUTHENTICATION",
    ),
    Setting("cluster", "", "name of the cluster this host belongs to", environment="ROVER_CORE_CLUSTER_NAME"),
    Setting(
        "node_name",
        "",
        "name of this host; empty is its hostname",
        environment="ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME",
    ),
    Setting(
        "exclude_namespaces",
        [],
        "Kubernetes namespaces the server shall leave out",
        environment="ROVER_ACCESS_LOG_EXCLUDE_NAMESPACES",
    ),
    Setting("tls", False, "TLS to the server", environment="ROVER_BACKEND_ENABLE_TLS"),
    Setting(
        "tls_ca", "", "PEM file of the CA; empty is the system's", environment="ROVER_BACKEND_CA_PEM_PATH"
    ),
    Setting(
        "tls_cert",
        "",
        "PEM file of the client certificate, with its chain",
        environment="ROVER_BACKEND_PEM_PATH",
    ),
    Setting("tls_key", "", "PEM file of its key", environment="ROVER_BACKEND_KEY_PATH"),
    Setting("tls_server_name", "", "name the server's certificate must have, if not that of the address"),
    Setting(
        "tls_insecure",
        False,
        "take any server certificate: anybody can then read and answer",
        environment="ROVER_BACKEND_INSECURE_SKIP_VERIFY",
    ),
    Setting(
        "flush_max_count",
        10_000,
        "access logs sent at once, at most",
        minimum=1,
        environment="ROVER_ACCESS_LOG_FLUSH_MAX_COUNT",
    ),
    Setting(
        "flush_period",
        5.0,
        "seconds an access log waits for others before it is sent",
        environment="ROVER_ACCESS_LOG_FLUSH_PERIOD",
        seconds=True,
    ),
    Setting(
        "unanswered_status",
        0,
        "status, 400 to 599, that exchanges which end without a response are sent with; 0 leaves them out",
        minimum=0,
    ),
    Setting("timeout", 20.0, "seconds the server has to take one batch", seconds=True),
    Setting(
        "retry_max",
        10.0,
        "longest pause between two attempts, seconds",
        environment="ROVER_BACKEND_CHECK_PERIOD",
        seconds=True,
    ),
    Setting("queue_mb", 32, "MB of batches that wait in memory", minimum=1),
    Setting("spool", True, "keep batches on disk while the server is away"),
    Setting("spool_path", SPOOL_PATH, "directory of the spool"),
    Setting("spool_max_mb", 1024, "MB the spool may take; beyond it the oldest batch goes", minimum=1),
    Setting(
        "spool_max_age",
        86_400.0,
        "seconds after which a spooled batch is not worth sending",
        minimum=1,
        seconds=True,
    ),
    Setting(
        "service",
        ["{service}.{service_namespace}", "{service}", "{process}"],
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
    tls_unused: tuple[str, ...]
    """Settings of TLS that were given without it."""
    flush_max_count: int
    flush_period: float
    unanswered_status: int
    """Of exchanges that end without a response; 0 leaves them out."""
    timeout: float
    retry_max: float
    queue_bytes: int
    spool: Path | None
    spool_chosen: bool
    """The user named the spool's directory: one that cannot be used is an error."""
    spool_max_bytes: int
    spool_max_age: float
    naming: Naming
    worker: int = 0
    workers: int = 1
    """Which of how many processes this is. Each has such a sink; memory and disk are for all together."""

    @property
    def waiting(self) -> Waiting:
        """Where batches wait."""
        return Waiting(
            queue_bytes=self.queue_bytes,
            spool=self.spool,
            spool_chosen=self.spool_chosen,
            spool_max_bytes=self.spool_max_bytes,
            spool_max_age=self.spool_max_age,
            retry_max=self.retry_max,
            worker=self.worker,
            workers=self.workers,
        )


def configure(settings: Mapping[str, Any]) -> Configuration:
    """The settings of `sink.oap`, or their defaults. Raises UsageError naming what is wrong."""
    given = {setting.name: settings.get(setting.name, setting.default) for setting in SETTINGS}
    check_periods("oap", given, ("flush_period", "timeout", "retry_max"))
    secure = tls("oap", given) if given["tls"] else None
    return Configuration(
        addresses=_addresses(given["address"]),
        authentication=_metadata(given["authentication"]),
        cluster=text("oap", "cluster", given["cluster"]),
        node_name=text("oap", "node_name", given["node_name"] or socket.gethostname()),
        exclude_namespaces=tuple(
            text("oap", "exclude_namespaces", each) for each in given["exclude_namespaces"]
        ),
        tls=secure,
        tls_unused=() if secure else tuple(name for name in TLS if given[name]),
        flush_max_count=given["flush_max_count"],
        flush_period=given["flush_period"],
        unanswered_status=_unanswered_status(given["unanswered_status"]),
        timeout=given["timeout"],
        retry_max=given["retry_max"],
        queue_bytes=given["queue_mb"] * MEGABYTE,
        spool=Path(given["spool_path"]) if given["spool"] and given["spool_path"] else None,
        spool_chosen=given["spool_path"] != SPOOL_PATH,
        spool_max_bytes=given["spool_max_mb"] * MEGABYTE,
        spool_max_age=given["spool_max_age"],
        naming=Naming(
            service=Patterns("sink.oap.service", given["service"], LOCAL_NAMES),
            instance=Patterns("sink.oap.instance", given["instance"], LOCAL_NAMES),
            remote_service=Patterns("sink.oap.remote_service", given["remote_service"], REMOTE_NAMES),
            remote_instance=Patterns("sink.oap.remote_instance", given["remote_instance"], REMOTE_NAMES),
        ),
    )


def _addresses(values: Sequence[str]) -> tuple[str, ...]:
    if not values:
        raise UsageError("sink.oap.address is empty: write host:port of the OAP server")
    found = []
    for value in values:
        try:
            found.append(address.read(value.strip(), DEFAULT_PORT))
        except ValueError as error:
            raise UsageError(f"sink.oap.address {value[:MAX_SHOWN]!r}: {error}") from None
    return tuple(found)


def _unanswered_status(value: int) -> int:
    if value and not 400 <= value <= 599:
        raise UsageError(f"sink.oap.unanswered_status = {value}: must be 0, or from 400 to 599")
    return value


def _metadata(value: str) -> str:
    """gRPC allows printable ASCII in metadata."""
    if not (value.isascii() and value.isprintable()):
        raise UsageError("sink.oap.authentication must be printable ASCII")
    return value.strip()
