"""What the access logs of a process carry."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from rover import Process, Provisional
from rover_plugin_names.cgroups import Place, place_of
from rover_plugin_names.configuration import Configuration
from rover_plugin_names.container import Container, text
from rover_plugin_names.lookup import Containers

MAX_PROCESSES = 8192
"""Processes whose names are still looked for, some 500 bytes each; the one waiting longest goes."""
SHORT_ID = 12
"""Digits of a container's id that engines show."""


class Describer:
    """Says it of one process after the other. Not thread-safe."""

    def __init__(
        self, configuration: Configuration, containers: Containers, proc: Path = Path("/proc")
    ) -> None:
        self._configuration = configuration
        self._containers = containers
        self._proc = proc
        self._places: OrderedDict[tuple[int, str], Place] = OrderedDict()
        """Of processes that are asked for again, and may have ended then."""

    def describe(self, process: Process) -> Mapping[str, str | int | bool] | None:
        """Its attributes; provisional ones while its container's names are being looked up. None when it has
        ended: to name it by its command would hide where it ran."""
        key = (process.pid, process.name)
        place = self._places.pop(key, None) or place_of(self._proc, process.pid)
        if place is None:
            return None
        container, final = Container(text(place.container_name)), True
        if place.container_id:
            container, final = self._containers.find(place)
        attributes = self._attributes(process, place, container)
        if final:
            return attributes
        self._places[key] = place
        if len(self._places) > MAX_PROCESSES:
            self._places.popitem(last=False)
        return Provisional(attributes)

    def _attributes(self, process: Process, place: Place, container: Container) -> dict[str, str]:
        """By their OpenTelemetry names. What is not known is not there."""
        owner = container.owner
        configuration = self._configuration
        parts = {
            "process": text(process.name),
            "pid": str(process.pid),
            "unit": text(place.unit),
            "container": container.pod_container or container.name,
            "container_id": place.container_id[:SHORT_ID],
            "compose_service": container.compose_service,
            "compose_project": container.compose_project,
            "workload": owner.workload,
            "pod": container.pod,
            "namespace": container.namespace,
        }
        attributes = {
            "service.name": text(configuration.service.name(parts)),
            "service.namespace": text(configuration.service_namespace.name(parts)),
            "container.id": place.container_id,
            "container.name": container.name,
            "k8s.namespace.name": container.namespace,
            "k8s.pod.name": container.pod,
            "k8s.pod.uid": place.pod_uid,
            "k8s.container.name": container.pod_container,
            "k8s.cronjob.name": owner.cronjob,
            "rover.systemd.unit": parts["unit"],
        }
        if owner.kind:
            attributes[f"k8s.{owner.kind}.name"] = owner.name
        elif owner.name != container.pod:
            attributes["rover.k8s.workload"] = owner.name
        return {name: value for name, value in attributes.items() if value}
