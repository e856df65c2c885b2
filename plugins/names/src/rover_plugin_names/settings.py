"""What a user may set, and how it is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rover import Patterns, Setting
from rover_plugin_names.container import Directory
from rover_plugin_names.cri import Runtime
from rover_plugin_names.engine import Engine
from rover_plugin_names.files import HostFiles

SECTION = "plugin.names"

PARTS = (
    "process",
    "pid",
    "unit",
    "container",
    "container_id",
    "compose_service",
    "compose_project",
    "workload",
    "pod",
    "namespace",
)
"""What may be known of a process."""

SETTINGS: Sequence[Setting] = (
    Setting(
        "service",
        ["{workload}", "{compose_service}", "{container}", "{unit}", "{process}"],
        "service.name of a process; the first pattern of which all is known",
    ),
    Setting("service_namespace", ["{namespace}", "{compose_project}"], "its service.namespace, likewise"),
    Setting(
        "cri",
        [
            "/run/containerd/containerd.sock",
            "/run/crio/crio.sock",
            "/run/k3s/containerd/containerd.sock",
            "/run/cri-dockerd.sock",
        ],
        "sockets of container runtimes that are asked for pods; empty asks none",
    ),
    Setting(
        "docker", "/var/run/docker.sock", "Docker's socket, which is asked for containers; empty does not ask"
    ),
    Setting("podman", "/run/podman/podman.sock", "podman's, likewise"),
    Setting("files", True, "read names in files of the kubelet, of Docker and of podman"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, read."""

    service: Patterns
    service_namespace: Patterns
    runtimes: tuple[Runtime, ...]
    engines: tuple[Engine, ...]
    files: HostFiles | None

    def directories(self) -> tuple[Directory, ...]:
        """Who is asked for a container, in this order: who knows most comes first."""
        return (*self.runtimes, *self.engines, *((self.files,) if self.files is not None else ()))


def configure(settings: Mapping[str, Any]) -> Configuration:
    """The settings of the section. Raises UsageError naming what is wrong."""
    return Configuration(
        service=Patterns(f"{SECTION}.service", settings["service"], PARTS),
        service_namespace=Patterns(f"{SECTION}.service_namespace", settings["service_namespace"], PARTS),
        runtimes=tuple(Runtime(path) for path in settings["cri"] if path),
        engines=tuple(Engine(name, settings[name]) for name in ("docker", "podman") if settings[name]),
        files=HostFiles() if settings["files"] else None,
    )
