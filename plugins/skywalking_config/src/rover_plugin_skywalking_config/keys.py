"""What every key of SkyWalking Rover's configuration is here.

Keys of its releases up to 0.7 (configs/rover_configs.yaml and docs/en/setup there), in small letters.
"""

from __future__ import annotations

from typing import NamedTuple

LIST = ("core.backend.addr", "access_log.exclude_namespaces", "process_discovery.kubernetes.namespaces")
"""Of several values, separated by commas."""


class Taken(NamedTuple):
    """A key that is a setting here."""

    setting: str


class Files(NamedTuple):
    """A key that names a file, which counts with TLS only, and is named also where there is no such file."""

    setting: str
    usual: str
    """What is there when nobody has chosen anything."""


class NotNeeded(NamedTuple):
    """A key without which all works."""

    reason: str


class NotSupported(NamedTuple):
    """A key of what rover does not do."""

    reason: str


Fate = Taken | Files | NotNeeded | NotSupported

TLS = "core.backend.enable_tls"

_PROCESSES = NotNeeded("processes are seen with their first call, and each log carries its process")
_QUEUES = NotNeeded("limits.queue and source.ebpf.ring_size bound what waits, and their defaults serve")
_NAMES = NotNeeded(
    "the patterns in sink.oap.service and sink.oap.instance name services, pods and containers"
)
_PROFILING = NotSupported("rover does no profiling")

FATES: dict[str, Fate] = {
    "logger.level": NotNeeded("rover tells of errors and warnings; rover --debug tells all"),
    "core.cluster_name": Taken("sink.oap.cluster"),
    "core.backend.addr": Taken("sink.oap.address"),
    TLS: Taken("sink.oap.tls"),
    "core.backend.client_pem_path": Files("sink.oap.tls_cert", "client.pem"),
    "core.backend.client_key_path": Files("sink.oap.tls_key", "client.key"),
    "core.backend.ca_pem_path": Files("sink.oap.tls_ca", "ca.pem"),
    "core.backend.insecure_skip_verify": Taken("sink.oap.tls_insecure"),
    "core.backend.check_period": Taken("sink.oap.retry_max"),
    "core.backend.authentication": Taken("sink.oap.authentication"),
    "process_discovery.heartbeat_period": _PROCESSES,
    "process_discovery.properties_report_period": _PROCESSES,
    "process_discovery.scanner.period": _PROCESSES,
    "process_discovery.scanner.mode": NotNeeded("every process is watched, unless [select] chooses some"),
    "process_discovery.scanner.agent.process_status_refresh_period": _PROCESSES,
    "process_discovery.scanner.regex[].match_cmd": NotSupported(
        "[select] chooses processes by their names (comm), by pid, port or cgroup"
    ),
    "process_discovery.scanner.regex[].*": _NAMES,
    "process_discovery.vm.active": _PROCESSES,
    "process_discovery.vm.period": _PROCESSES,
    "process_discovery.vm.finders[].match_cmd": NotSupported(
        "[select] chooses processes by their names (comm), by pid, port or cgroup"
    ),
    "process_discovery.vm.finders[].*": _NAMES,
    "process_discovery.kubernetes.active": NotNeeded(
        "containers and pods are recognised where there are any"
    ),
    "process_discovery.kubernetes.node_name": Taken("sink.oap.node_name"),
    "process_discovery.kubernetes.namespaces": NotSupported(
        "[select] chooses processes by their cgroups, and a filter can keep logs by k8s.namespace.name"
    ),
    "process_discovery.kubernetes.period": _PROCESSES,
    "process_discovery.kubernetes.analyzers[].*": _NAMES,
    "access_log.active": NotNeeded("access logs are what rover run is for"),
    "access_log.exclude_namespaces": Taken("sink.oap.exclude_namespaces"),
    "access_log.exclude_cluster": NotSupported("an agent is of one cluster, sink.oap.cluster"),
    "access_log.flush.max_count": Taken("sink.oap.flush_max_count"),
    "access_log.flush.period": Taken("sink.oap.flush_period"),
    "access_log.protocol_analyze.parallels": NotNeeded("run.workers shares the work out to processes"),
    "access_log.protocol_analyze.*": _QUEUES,
    "access_log.connection_analyze.*": _QUEUES,
    "profiling.*": _PROFILING,
    "pprof.*": NotSupported("rover has no server for profiles of itself"),
}
"""By key; `[]` is any number of a list, and `.*` at the end all that begins so."""

UNKNOWN = NotSupported("no release of SkyWalking Rover that is known here has it")


def fate(key: str) -> Fate:
    """What becomes of a key; that of the longest beginning which is known."""
    if key in FATES:
        return FATES[key]
    while key:
        key = key.rpartition(".")[0]
        if found := FATES.get(f"{key}.*"):
            return found
    return UNKNOWN
