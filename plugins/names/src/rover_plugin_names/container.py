"""What engines call a container, and what its labels tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from rover_plugin_names.cgroups import Place
from rover_plugin_names.pods import Owner, owner_of

MAX_NAME = 255
"""Characters of a name: Kubernetes allows 253, and a process's attributes take 4,096 together."""

_COMPOSE = (
    ("com.docker.compose.service", "com.docker.compose.project"),
    ("io.podman.compose.service", "io.podman.compose.project"),
    ("com.docker.swarm.service.name", "com.docker.stack.namespace"),
)
"""Labels that Compose, podman-compose and Swarm write: the service, and what it is a part of."""


class Container(NamedTuple):
    """A container's names; empty is not known."""

    name: str = ""
    """The engine's."""
    compose_service: str = ""
    compose_project: str = ""
    pod: str = ""
    namespace: str = ""
    """The pod's."""
    pod_container: str = ""
    """What the pod calls the container."""
    owner: Owner = Owner()
    """What the pod belongs to."""


class UnreachableError(Exception):
    """Nobody could be asked; the text says why."""


class NotThereError(UnreachableError):
    """There is nobody to ask: no such engine on this host."""


class ForbiddenError(UnreachableError):
    """The agent's user may not ask here, and will not be allowed to while it runs."""


class Directory(Protocol):
    """Who knows names of containers. It is asked in one thread."""

    name: str
    """The setting that configures it."""

    def find(self, place: Place) -> Container | None:
        """The container of this `place`, which has an id. None when it is not known here.

        Takes bounded time and memory, whoever answers. Raises UnreachableError.
        """


def text(value: object) -> str:
    """A name that somebody told, as a log can carry it: one line of bounded length, and UTF-8."""
    if not isinstance(value, str):
        return ""
    value = value[:MAX_NAME]
    if not value.isprintable():  # which a lone surrogate is not either
        value = "".join(c if c.isprintable() else "?" for c in value)
    return value


def engine_container(name: object, labels: object) -> Container:
    """By the name and the labels that Docker and podman keep of a container. cri-dockerd's are a pod's."""
    told = labels if isinstance(labels, Mapping) else {}
    service = project = ""
    for service_label, project_label in _COMPOSE:
        if service := text(told.get(service_label)):
            project = text(told.get(project_label))
            # Swarm calls a stack's service STACK_SERVICE.
            service = service.removeprefix(f"{project}_") if project else service
            break
    container = Container(text(name).removeprefix("/"), service, project)
    pod = text(told.get("io.kubernetes.pod.name"))
    if not pod:
        return container
    return container._replace(
        pod=pod,
        namespace=text(told.get("io.kubernetes.pod.namespace")),
        pod_container=text(told.get("io.kubernetes.container.name")),
        owner=owner_of(pod, {}),
    )
