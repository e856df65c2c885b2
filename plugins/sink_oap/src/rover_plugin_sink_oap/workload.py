"""What a host's own files say of a process: its systemd unit, its container, its pod.

Read from /proc and from what the container engines and the kubelet leave on the node; nothing is
asked over a socket, so nothing here can hang or need a credential.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAX_PROCESSES = 8192
"""Processes remembered, some 500 bytes each; the one asked for longest ago goes."""
MAX_CONTAINERS = 1024
FRESH = 60.0
"""Seconds after which a process is looked up again: its number may have a new owner."""
MAX_FILE = 1 << 20
"""Bytes read of an engine's file: Docker's config.v2.json has some 5 kB."""

# cgroup names end with the container's full id with docker, podman, containerd and cri-o.
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# LXC: lxc.payload.NAME (4.0 and later) or lxc/NAME; systemd-nspawn and libvirt: machine-NAME.scope.
_NAMED_CONTAINER = re.compile(r"lxc\.payload\.([^/]+)|lxc/([^/]+)|machine-([^/]+)\.scope")
_SYSTEMD_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
# Generated names of pods: k8s.io/apimachinery/pkg/util/rand draws from these letters, so that
# "-redis" is never taken for a suffix.
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_GENERATED = (
    re.compile(rf"(.+)-{_RANDOM}{{6,10}}-{_RANDOM}{{5}}"),  # Deployment
    re.compile(rf"(.+)-{_RANDOM}{{5}}"),  # DaemonSet, Job
    re.compile(r"(.+)-\d+"),  # StatefulSet
)


class Workload(NamedTuple):
    """What a process belongs to; empty is not known."""

    unit: str = ""
    """systemd unit without `.service`."""
    container: str = ""
    """The container's name."""
    container_id: str = ""
    """The first 12 digits of its id, as engines show it."""
    workload: str = ""
    """What the pod belongs to: its name without the generated end."""
    pod: str = ""
    namespace: str = ""
    network: int = 0
    """The network namespace's inode number; 0 when not known."""


class _Container(NamedTuple):
    name: str = ""
    pod: str = ""
    namespace: str = ""


class Workloads:
    """Remembers them by process."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: where proc, var/lib and var/log lie."""
        self._root = root
        self._known: OrderedDict[tuple[int, str], tuple[float, Workload]] = OrderedDict()
        self._containers: OrderedDict[str, _Container] = OrderedDict()

    def of(self, pid: int, name: str) -> Workload:
        """The workload of a process. One that has ended keeps what was known of it."""
        key = (pid, name)
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and now - known[0] < FRESH:
            self._known.move_to_end(key)
            return known[1]
        found = self._read(pid)
        if found is None:
            found = known[1] if known is not None else Workload()
        self._known[key] = (now, found)
        self._known.move_to_end(key)
        if len(self._known) > MAX_PROCESSES:
            self._known.popitem(last=False)
        return found

    def _read(self, pid: int) -> Workload | None:
        proc = self._root / "proc" / str(pid)
        try:
            cgroups = (proc / "cgroup").read_text(errors="replace")
        except OSError:
            return None
        # hierarchy:controllers:path, one line for v2, one per hierarchy for v1 (cgroups(7)).
        paths = [line.split(":", 2)[2] for line in cgroups.splitlines() if line.count(":") >= 2]
        identity, named = container_of(paths)
        container = self._container(identity) if identity else _Container(named)
        return Workload(
            unit=unit_of(paths),
            container=container.name,
            container_id=identity[:12],
            workload=workload_of(container.pod),
            pod=container.pod,
            namespace=container.namespace,
            network=_inode(proc / "ns" / "net"),
        )

    def _container(self, identity: str) -> _Container:
        known = self._containers.get(identity)
        if known is not None:
            return known
        found = self._kubernetes(identity) or self._docker(identity) or self._podman(identity) or _Container()
        # The kubelet and the engines write their files about when the process starts: one that
        # is not there yet is looked for again.
        if found.name:
            self._containers[identity] = found
            if len(self._containers) > MAX_CONTAINERS:
                self._containers.popitem(last=False)
        return found

    def _kubernetes(self, identity: str) -> _Container | None:
        """The kubelet's links: /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log."""
        ending = f"-{identity}.log"
        try:
            with os.scandir(self._root / "var/log/containers") as entries:
                link = next((entry.name for entry in entries if entry.name.endswith(ending)), None)
        except OSError:
            return None
        parts = link.removesuffix(ending).split("_") if link else ()
        return _Container(parts[2], parts[0], parts[1]) if len(parts) == 3 else None

    def _docker(self, identity: str) -> _Container | None:
        read = _json(self._root / "var/lib/docker/containers" / identity / "config.v2.json")
        name = read.get("Name") if isinstance(read, dict) else None
        return _Container(name.removeprefix("/")) if isinstance(name, str) else None

    def _podman(self, identity: str) -> _Container | None:
        read = _json(self._root / "var/lib/containers/storage/overlay-containers/containers.json")
        for each in read if isinstance(read, list) else ():
            if isinstance(each, dict) and each.get("id") == identity:
                names = each.get("names")
                if isinstance(names, list) and names and isinstance(names[0], str):
                    return _Container(names[0])
        return None


def container_of(paths: Iterable[str]) -> tuple[str, str]:
    """(id, name) of the container among cgroup paths; whichever of the two they tell."""
    named = ""
    for path in paths:
        # conmon is podman's and cri-o's keeper beside the container, not in it.
        inside = "/".join(part for part in path.split("/") if "conmon" not in part)
        if identities := _CONTAINER_ID.findall(inside):
            return identities[-1], ""
        if match := _NAMED_CONTAINER.search(inside):
            named = named or _unescape(next(group for group in match.groups() if group))
    return "", named


def unit_of(paths: Iterable[str]) -> str:
    """The innermost systemd service among cgroup paths, without `.service`.

    `user@1000.service` is a login, not a service: it has no name here.
    """
    for path in paths:
        for part in reversed(path.split("/")):
            if part.endswith(".service") and not part.startswith("user@"):
                return _unescape(part.removesuffix(".service"))
    return ""


def workload_of(pod: str) -> str:
    """A pod's name without what its controller appended."""
    for generated in _GENERATED:
        if match := generated.fullmatch(pod):
            return match[1]
    return pod


def _unescape(name: str) -> str:
    """systemd.unit(5), string escaping."""
    return _SYSTEMD_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


def _inode(link: Path) -> int:
    try:
        target = os.readlink(link)  # net:[4026531840]
    except OSError:
        return 0
    number = target.removeprefix("net:[").removesuffix("]")
    return int(number) if number.isascii() and number.isdigit() else 0


def _json(path: Path) -> object:
    try:
        with path.open("rb") as file:
            return json.loads(file.read(MAX_FILE))
    except (OSError, ValueError, RecursionError):
        return None
