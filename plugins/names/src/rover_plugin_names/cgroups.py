"""What a process's cgroup tells: its systemd unit, its container, its pod.

Engines and systemd name cgroups after what runs in them, so one file of /proc tells it, without anybody
being asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

MAX_FILE = 1 << 16
"""Bytes of /proc/PID/cgroup: a dozen lines, of paths that end at 4,096."""

# Cgroups' names end with the container's full id with docker, podman, containerd and cri-o.
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# LXC: lxc.payload.NAME (4.0 and later) or lxc/NAME; systemd-nspawn and libvirt: machine-NAME.scope.
_NAMED_CONTAINER = re.compile(r"lxc\.payload\.([^/]+)|lxc/([^/]+)|machine-([^/]+)\.scope")
# The kubelet: kubepods/burstable/podUID or kubepods-burstable-podUID.slice, there with _ for -. The uid of a
# static pod is a hash without either.
_POD = re.compile(r"(?:.*-)?pod([0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})(?:\.slice)?")
_SYSTEMD_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


class Place(NamedTuple):
    """Where a process runs; empty is not known."""

    unit: str = ""
    """systemd unit without `.service`."""
    container_id: str = ""
    """64 hexadecimal digits."""
    container_name: str = ""
    """Of a container that has no id, but a name: LXC, systemd-nspawn."""
    pod_uid: str = ""


def place_of(proc: Path, pid: int) -> Place | None:
    """Where the process of this number runs; None when there is none any more. `proc`: where procfs is."""
    try:
        with (proc / str(pid) / "cgroup").open("rb") as file:
            lines = file.read(MAX_FILE).decode(errors="replace").splitlines()
    except OSError:
        return None
    # hierarchy:controllers:path, one line for v2, one per hierarchy for v1 (cgroups(7)).
    paths = [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]
    identity, named = container_of(paths)
    return Place(unit_of(paths), identity, named, pod_uid_of(paths))


def container_of(paths: Sequence[str]) -> tuple[str, str]:
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


def pod_uid_of(paths: Iterable[str]) -> str:
    """The uid of the pod among cgroup paths, as the kubelet writes it elsewhere: with `-`."""
    for path in paths:
        for part in path.split("/") if "kubepods" in path else ():
            if match := _POD.fullmatch(part):
                return match[1].replace("_", "-")
    return ""


def _unescape(name: str) -> str:
    """systemd.unit(5), string escaping."""
    return _SYSTEMD_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
