"""What a user may set."""

from __future__ import annotations

from collections.abc import Sequence

from rover import Setting

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
