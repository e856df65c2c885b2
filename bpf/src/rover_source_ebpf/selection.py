"""What a Selection means in the kernel's own terms."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rover.contracts.source import Selection
from rover.errors import UsageError

MAX_COMM = 15
"""Bytes of a process's name, TASK_COMM_LEN less the final zero."""
MAX_VALUES = 256
"""Of one kind: what the maps in c/selection.c hold."""
MAX_ANCESTORS = 64
TUPLE = struct.Struct("=16s16sHH")
"""struct tuple of c/kernel.h."""


def check(selection: Selection, proc: Path = Path("/proc")) -> None:
    """Raises UsageError naming what cannot be selected."""
    for kind in ("pids", "comms", "cgroups"):
        if len(getattr(selection, kind)) > MAX_VALUES:
            raise UsageError(f"--{kind[:-1]}: at most {MAX_VALUES} can be given")
    for pid in selection.pids:
        if pid <= 0 or not (proc / str(pid)).is_dir():
            raise UsageError(f"--pid {pid}: there is no such process")
    for comm in selection.comms:
        if not comm or len(comm.encode()) > MAX_COMM:
            raise UsageError(f"--comm {comm!r}: a process name has 1 to {MAX_COMM} bytes (see `ps -eo comm`)")
    for port in selection.ports:
        if not 0 < port < 65536:
            raise UsageError(f"--port {port}: must be from 1 to 65535")
    for path in selection.cgroups:
        cgroup_id(path)


def cgroup_root(mounts: Iterable[str]) -> Path | None:
    """Where cgroup v2 is mounted, from the lines of /proc/mounts."""
    for line in mounts:
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(fields[1].encode().decode("unicode_escape"))
    return None


def cgroup_id(path: str, mounts: Path = Path("/proc/mounts")) -> int:
    """The kernel's id of a cgroup v2 directory: its inode number (kernfs).

    `path` is a directory, or the cgroup's own path as /proc/PID/cgroup shows it.
    """
    try:
        root = cgroup_root(mounts.read_text().splitlines())
    except OSError:
        root = None
    if root is None:
        raise UsageError(f"--cgroup {path}: cgroup v2 is not mounted on this host")
    for candidate in (Path(path), root / path.lstrip("/")):
        if (candidate / "cgroup.procs").exists() and candidate.stat().st_dev == root.stat().st_dev:
            return candidate.stat().st_ino
    raise UsageError(f"--cgroup {path}: no cgroup v2 directory (they are below {root})")


def of_processes(selection: Selection) -> bool:
    """Whether processes are selected, and not only ports."""
    return bool(selection.pids or selection.comms or selection.cgroups)


def watches(
    selection: Selection, proc: Path = Path("/proc"), mounts: Path = Path("/proc/mounts")
) -> Callable[[int], bool] | None:
    """Whether a process is selected now, as far as processes are: None where all are. The programs in the
    kernel decide what is recorded; this is for what comes before."""
    if not of_processes(selection):
        return None
    cgroups = {cgroup_id(path, mounts) for path in selection.cgroups}
    root = cgroup_root(mounts.read_text().splitlines()) if cgroups else None

    def selected(pid: int) -> bool:
        if selection.pids and not {pid, *(each for each, _ in ancestors(pid, proc))} & set(selection.pids):
            return False
        try:
            if selection.comms:
                name = (proc / str(pid) / "comm").read_text(errors="replace").removesuffix("\n")
                if name not in selection.comms:
                    return False
            if root is not None:
                lines = (proc / str(pid) / "cgroup").read_text(errors="replace").splitlines()
                own = next((line[3:] for line in lines if line.startswith("0::")), "/")
                directory = root / own.lstrip("/")
                within = [directory, *directory.parents][: len(Path(own).parts)]
                return any(each.stat().st_ino in cgroups for each in within)
        except OSError:
            return False
        return True

    return selected


def ancestors(pid: int, proc: Path = Path("/proc")) -> list[tuple[int, str]]:
    """(pid, name) of a process's parents, nearest first."""
    found: list[tuple[int, str]] = []
    while len(found) < MAX_ANCESTORS:
        try:
            status = (proc / str(pid) / "status").read_text(errors="replace")
        except OSError:
            break
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        pid = int(fields.get("PPid", "0") or 0)
        if pid <= 0:
            break
        try:
            name = (proc / str(pid) / "comm").read_text(errors="replace").strip()
        except OSError:
            break
        found.append((pid, name))
    return found


def console_pids(pid: int | None = None, proc: Path = Path("/proc")) -> list[int]:
    """The ssh servers this process's terminal runs over."""
    return [p for p, name in ancestors(pid or os.getpid(), proc) if name.startswith("sshd")]


def console_tuples(environment: Mapping[str, str]) -> list[bytes]:
    """The connection this terminal runs over, seen from either end, as keys of `refused`.

    SSH_CONNECTION is client address and port, server address and port (ssh(1)).
    """
    fields = environment.get("SSH_CONNECTION", "").split()
    if len(fields) != 4:
        return []
    try:
        client, server = packed(fields[0]), packed(fields[2])
        client_port, server_port = int(fields[1]), int(fields[3])
        return [
            TUPLE.pack(client, server, client_port, server_port),
            TUPLE.pack(server, client, server_port, client_port),
        ]
    except (OSError, ValueError, struct.error):
        return []


def packed(host: str) -> bytes:
    """Sixteen bytes of an address; IPv4 v4-mapped."""
    host = host.partition("%")[0]
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host)
    return bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, host)
