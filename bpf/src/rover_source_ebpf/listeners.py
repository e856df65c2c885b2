"""Which end of a connection a process is, where its beginning was not seen: its listening ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from rover.values.records import Role

LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h."""
MAX_LINES = 65536
"""Listening sockets read of one file: as many as there are ports."""
MAX_AGE = 1_000_000_000
"""ns for which a network namespace's ports are taken as known."""
MAX_NAMESPACES = 1024
"""Remembered; beyond it all are forgotten, and read again when asked for."""


def listening_ports(lines: Iterable[str]) -> set[int]:
    """Local ports of the listening sockets of /proc/net/tcp or tcp6.

    The kernel lists all of them first (net/ipv4/tcp_ipv4.c, tcp_seq_start), so reading ends at
    the first socket in another state, however many connections follow.
    """
    ports: set[int] = set()
    for number, line in enumerate(lines):
        fields = line.split()
        if number == 0 or len(fields) < 4:
            continue
        if fields[3] != LISTEN or number > MAX_LINES:
            break
        _, _, port = fields[1].rpartition(":")
        try:
            ports.add(int(port, 16))
        except ValueError:
            continue
    return ports


class Listeners:
    """The listening ports of processes' network namespaces, read when asked for."""

    def __init__(self, now: Callable[[], int], proc: Path = Path("/proc")) -> None:
        self._now = now
        self._proc = proc
        self._known: dict[int, tuple[int, set[int]]] = {}

    def role(self, pid: int, port: int) -> Role | None:
        """SERVER when somebody listens on `port` where `pid` lives, else None."""
        try:
            namespace = os.stat(self._proc / str(pid) / "ns/net").st_ino
        except OSError:
            return None  # gone already
        now = self._now()
        since, ports = self._known.get(namespace, (now - MAX_AGE - 1, set()))
        if now - since > MAX_AGE:
            ports = self._read(pid)
            if len(self._known) >= MAX_NAMESPACES:
                self._known.clear()
            self._known[namespace] = (now, ports)
        return Role.SERVER if port in ports else None

    def _read(self, pid: int) -> set[int]:
        ports: set[int] = set()
        for name in ("tcp", "tcp6"):
            try:
                with (self._proc / str(pid) / "net" / name).open() as lines:
                    ports |= listening_ports(lines)
            except OSError:
                continue  # no IPv6, or the process ended meanwhile
        return ports
