"""What the kubelet and the engines leave in files of the host: names without a socket, whose owner could
do everything to the host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container, engine_container, text
from rover_plugin_names.pods import owner_of

MAX_FILE = 1 << 20
"""Bytes of an engine's file: Docker's config.v2.json has some 5 kB."""
MAX_ENTRIES = 10_000
"""Of a directory: a node has some hundred containers."""

KUBELET_CONTAINERS = "var/log/containers"
KUBELET_PODS = "var/log/pods"
DOCKER = "var/lib/docker/containers"
PODMAN = "var/lib/containers/storage/overlay-containers/containers.json"


class HostFiles:
    """See `Directory`. Nothing of a file is followed or believed but names."""

    name = "files"

    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: where var/lib and var/log lie."""
        self._root = root

    def find(self, place: Place) -> Container | None:
        """See `Directory`."""
        identity = place.container_id
        return self._link(identity) or self._docker(identity) or self._podman(identity) or self._pod(place)

    def readable(self) -> list[str]:
        """Which of them there are, and may be read."""
        paths = [self._root / each for each in (KUBELET_CONTAINERS, KUBELET_PODS, DOCKER, PODMAN)]
        return [str(path) for path in paths if os.access(path, os.R_OK)]

    def _link(self, identity: str) -> Container | None:
        """The kubelet's links: POD_NAMESPACE_CONTAINER-ID.log."""
        ending = f"-{identity}.log"
        link = next((name for name in _listed(self._root / KUBELET_CONTAINERS) if name.endswith(ending)), "")
        parts = text(link.removesuffix(ending)).split("_")
        if len(parts) != 3:
            return None
        pod, namespace, container = parts
        return Container(pod=pod, namespace=namespace, pod_container=container, owner=owner_of(pod, {}))

    def _pod(self, place: Place) -> Container | None:
        """The kubelet's directories, which are there before the container is: NAMESPACE_POD_UID."""
        if not place.pod_uid:
            return None
        ending = f"_{place.pod_uid}"
        directory = next((name for name in _listed(self._root / KUBELET_PODS) if name.endswith(ending)), "")
        parts = text(directory.removesuffix(ending)).split("_")
        if len(parts) != 2:
            return None
        return Container(pod=parts[1], namespace=parts[0], owner=owner_of(parts[1], {}))

    def _docker(self, identity: str) -> Container | None:
        read = _json(self._root / DOCKER / identity / "config.v2.json")
        if not isinstance(read, dict) or not text(read.get("Name")):
            return None
        config = read.get("Config")
        return engine_container(read["Name"], config.get("Labels") if isinstance(config, dict) else None)

    def _podman(self, identity: str) -> Container | None:
        read = _json(self._root / PODMAN)
        for each in read if isinstance(read, list) else ():
            if isinstance(each, dict) and each.get("id") == identity:
                names = each.get("names")
                if isinstance(names, list) and names and text(names[0]):
                    return engine_container(names[0], None)
        return None


def _listed(directory: Path) -> Iterator[str]:
    """Names in a directory; none where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
                yield entry.name
    except OSError:
        return


def _json(path: Path) -> object:
    try:
        # A FIFO in its place would make the opening wait.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return json.loads(file.read(MAX_FILE) or b"")
    except (OSError, ValueError, RecursionError):
        return None
