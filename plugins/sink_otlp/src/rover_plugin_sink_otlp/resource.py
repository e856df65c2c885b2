"""Whom spans, metrics and logs are about: a process, as OpenTelemetry's Resource."""

from __future__ import annotations

from collections.abc import Mapping

from rover import Process
from rover_plugin_sink_otlp.wire import attribute, block, key

MAX_PROCESSES = 4096
"""Processes whose resources are kept, some 500 bytes each."""
UNKNOWN = "unknown_service"
"""The service of a process that has no name (semantic conventions, resource/service)."""
INSTANCES = ("service.instance.id", "container.id", "k8s.pod.name", "rover.systemd.unit")
"""Attributes of a process that tell its instance, the closest first."""
Value = str | int | bool | tuple[str, ...]


class Resources:
    """Makes them, and keeps those of processes."""

    def __init__(self, host: str, given: Mapping[str, str] = {}) -> None:
        """`given`: attributes of the user's own, which are believed first."""
        self._host = host
        self._given = dict(given)
        self._known: dict[int, tuple[Process | None, bytes]] = {}

    def service(self, process: Process | None, worker: int | None = None) -> tuple[tuple[str, Value], ...]:
        """What all processes of a service's instance have in common; metrics are told by it.

        `worker`: of several that each count for themselves.
        """
        said = dict(process.attributes) if process is not None else {}
        name = said.pop("service.name", None) or (process.name if process is not None else "")
        named = {
            "service.name": name or UNKNOWN,
            "service.instance.id": self._instance(said, worker),
            "host.name": self._host,
        }
        own = {each: value for each, value in said.items() if not each.startswith("process.")}
        return tuple({**named, **own, **self._given}.items())

    def _instance(self, said: Mapping[str, Value], worker: int | None) -> str:
        """What tells instances of a service apart, also where a backend keeps nothing else of a resource."""
        own = next((said[each] for each in INSTANCES if said.get(each)), None)
        instance = self._host if own is None else f"{own}@{self._host}"
        return instance if worker is None else f"{instance}/worker-{worker + 1}"

    def of(self, process: Process | None) -> bytes:
        """The field `resource` of a ResourceSpans, a ResourceMetrics or a ResourceLogs."""
        known = self._known.get(id(process))
        if known is not None:
            return known[1]
        made = dict(self.service(process))
        if process is not None and process.pid:
            made["process.pid"] = process.pid
            if process.name:
                made["process.executable.name"] = process.name
            if "service.instance.id" not in self._given:
                made["service.instance.id"] = f"{process.pid}@{self._host}"
            made |= {name: v for name, v in process.attributes.items() if name.startswith("process.")}
        resource = encode(made.items())
        if len(self._known) >= MAX_PROCESSES:
            self._known.clear()
        self._known[id(process)] = (process, resource)
        return resource


def encode(attributes: object) -> bytes:
    """Attributes, (name, value) each, as the field `resource`."""
    pairs = dict(attributes)  # type: ignore[call-overload]
    return block(b"\x0a", b"".join([attribute(b"\x0a", key(name), value) for name, value in pairs.items()]))
