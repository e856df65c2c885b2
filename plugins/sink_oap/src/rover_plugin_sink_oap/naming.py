"""What the two ends of a connection are called in the topology.

The watched end is a process, named by the attributes that plugins gave it, such as its pod, container or
unit, or by its command. The other end is a
process too where it is on this host and watched: its connection has the same addresses, the other
way round. Else there is nothing but its address.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from rover import Address, AttributeValue, Connection, Process, Role
from rover_plugin_sink_oap.namespaces import Namespaces
from rover_plugin_sink_oap.settings import Naming

MAX_ENDS = 65_536
"""Connections whose watched end is remembered: as many as the core follows at once."""
MAX_LISTENERS = 8192
LISTENER_FRESH = 60.0
"""Seconds after its last accepted connection for which a port is taken to be a process's."""
MAX_NAME = 70
"""Characters: the server cuts service and instance names there (its core.serviceNameMaxLength and
instanceNameMaxLength), which could make two names one."""
CLIENT = " (client)"
"""Told apart by this: a service that talks to itself."""
UNKNOWN = "unknown"
SHORT_ID = 12
"""Digits of a container's id that engines show."""
_WORKLOADS = (
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "rover.k8s.workload",
    "k8s.pod.name",
)
"""What a pod belongs to, in one of these attributes; a pod of its own is its own."""

Key = TypeVar("Key")


class Names(NamedTuple):
    """One end, for a KubernetesProcessAddress. None is empty."""

    service: str
    instance: str
    container: str
    process: str


class Ends(NamedTuple):
    """Both ends; their services are never the same."""

    local: Names
    remote: Names
    server: bool
    """Whether the watched end is the server."""


class _Seen(NamedTuple):
    process: Process
    network: int
    """The inode number of its network namespace; 0 when not known."""
    time: float


class Namer:
    """Learns from every connection, and names any of them."""

    def __init__(self, naming: Naming, namespaces: Namespaces, host: str, cluster: str = "") -> None:
        self._naming = naming
        self._namespaces = namespaces
        self._host = {"host": host, "cluster": cluster}
        self._ends: OrderedDict[tuple[Address, Address], _Seen] = OrderedDict()
        self._listeners: OrderedDict[Address, _Seen] = OrderedDict()

    def learn(self, connection: Connection) -> None:
        """Remembers whose end this is. Best at once: a short-lived process is gone soon."""
        process, local, remote = connection.process, connection.local, connection.remote
        if process is None or not process.pid or local is None or remote is None:
            return
        seen = _Seen(process, self._namespaces.network(process.pid, process.name), time.monotonic())
        _remember(self._ends, (local, remote), seen, MAX_ENDS)
        if connection.role is Role.SERVER:
            _remember(self._listeners, local, seen, MAX_LISTENERS)

    def ends(self, connection: Connection) -> Ends:
        """The names as of now; they may become better as the other end is seen."""
        local, remote, process = connection.local, connection.remote, connection.process
        server = self._is_server(connection)
        if process is not None and process.pid:
            network = self._namespaces.network(process.pid, process.name)
            here = self._process_names(process)
        else:
            network = 0
            here = self._address_names(local, server=server, host="")
        other = self._other(local, remote, network)
        if other is not None:
            there = self._process_names(other.process)
        else:
            # An address of this host means this host, wherever the name is read.
            own = process is not None and process.pid and remote and local and _same_host(local, remote)
            host = self._host["host"] if own else ""
            there = self._address_names(remote, server=not server, host=host)
        if here.service == there.service:
            if server:
                there = _as_client(there)
            else:
                here = _as_client(here)
        return Ends(here, there, server)

    def _is_server(self, connection: Connection) -> bool:
        """Where the source could not tell: who listens is one, else the lower port (they are
        given out below the ephemeral ones, RFC 6335 section 6)."""
        local, remote = connection.local, connection.remote
        if connection.role is not None or local is None or remote is None:
            return connection.role is Role.SERVER
        if local in self._listeners:
            return True
        return remote not in self._listeners and local.port < remote.port

    def _other(self, local: Address | None, remote: Address | None, here: int) -> _Seen | None:
        if local is None or remote is None:
            return None
        seen = self._ends.get((remote, local))
        if seen is None:
            seen = self._listeners.get(remote)
            if seen is not None and time.monotonic() - seen.time > LISTENER_FRESH:
                return None
        # Every network namespace has a 127.0.0.1 of its own.
        if seen is not None and _loopback(remote) and here and seen.network and here != seen.network:
            return None
        return seen

    def _process_names(self, process: Process) -> Names:
        said = process.attributes
        values = {
            "process": process.name,
            "pid": str(process.pid),
            "service": _text(said, "service.name"),
            "service_namespace": _text(said, "service.namespace"),
            "unit": _text(said, "rover.systemd.unit"),
            "container": _text(said, "k8s.container.name", "container.name"),
            "container_id": _text(said, "container.id")[:SHORT_ID],
            "workload": _text(said, *_WORKLOADS),
            "pod": _text(said, "k8s.pod.name"),
            "namespace": _text(said, "k8s.namespace.name"),
            **self._host,
        }
        name = clean(process.name) or UNKNOWN
        container = clean(values["container"] or values["container_id"] or values["unit"]) or name
        service = clean(self._naming.service.name(values)) or name
        return Names(service, clean(self._naming.instance.name(values)) or service, container, name)

    def _address_names(self, address: Address | None, *, server: bool, host: str) -> Names:
        values: Mapping[str, str] = self._host
        if address is not None:
            shown = host or (f"[{address.host}]" if ":" in address.host else address.host)
            values = {"address": host or address.host, **self._host}
            if server:
                # A client's port is another one each time: no name to group by.
                values = {**values, "port": str(address.port), "endpoint": f"{shown}:{address.port}"}
        service = clean(self._naming.remote_service.name(values)) or UNKNOWN
        instance = clean(self._naming.remote_instance.name(values)) or service
        return Names(service, instance, instance, instance)


def beyond_proxy(connection: Connection) -> Connection:
    """The connection with the client behind a proxy as a server's remote end (PROXY protocol)."""
    if connection.proxied is None or connection.role is not Role.SERVER:
        return connection
    return connection.replace(remote=connection.proxied)


def _remember(table: OrderedDict[Key, _Seen], key: Key, seen: _Seen, limit: int) -> None:
    table[key] = seen
    table.move_to_end(key)
    if len(table) > limit:
        table.popitem(last=False)


def _text(said: Mapping[str, AttributeValue], *names: str) -> str:
    """The first of these attributes that is there."""
    return next((str(said[name]) for name in names if said.get(name)), "")


def _as_client(names: Names) -> Names:
    return names._replace(service=names.service[: MAX_NAME - len(CLIENT)] + CLIENT)


def _loopback(address: Address) -> bool:
    return address.host.startswith("127.") or address.host == "::1"


def _same_host(local: Address, remote: Address) -> bool:
    return _loopback(remote) or local.host == remote.host


def clean(name: str) -> str:
    """The name as the server can take it: printable, cut to its limit."""
    name = name[:MAX_NAME]
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)
