"""Listening ports out of /proc/PID/net/tcp, and the role they give."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.values.records import Role
from rover_source_ebpf.listeners import MAX_AGE, MAX_NAMESPACES, Listeners, listening_ports

TITLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
LISTENING = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0"
LISTENING6 = f"   1: {'0' * 32}:01BB {'0' * 32}:0000 0A 00000000:00000000 00:00000000 00000000 0 0 2 1 0"
OPEN = "   2: 0100007F:8CA0 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0"


@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        ([], set()),
        ([TITLE], set()),
        ([TITLE, LISTENING], {8080}),
        ([TITLE, LISTENING, LISTENING6], {8080, 443}),
        ([TITLE, LISTENING, OPEN], {8080}),
        ([TITLE, OPEN, LISTENING], set()),
        ([TITLE, "garbage", LISTENING], {8080}),
        ([TITLE, LISTENING.replace("1F90", "XYZ")], set()),
        ([TITLE, LISTENING.replace("0100007F:1F90", "nocolon")], set()),
    ],
    ids=[
        "empty",
        "none",
        "IPv4",
        "IPv6",
        "ends at the first other",
        "never beyond",
        "garbage",
        "no number",
        "no port",
    ],
)
def test_listening_ports(lines: list[str], ports: set[int]) -> None:
    assert listening_ports(lines) == ports


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20))
def test_any_text_is_read(lines: list[str]) -> None:
    listening_ports(lines)


class Proc:
    """A made-up /proc, whose tables count how often they are read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, pid: int, namespace: Path, *tables: str) -> None:
        directory = self.root / str(pid)
        (directory / "ns").mkdir(parents=True)
        namespace.touch()
        (directory / "ns/net").symlink_to(namespace)
        (directory / "net").mkdir()
        for name, table in zip(("tcp", "tcp6"), tables, strict=False):
            (directory / "net" / name).write_text(table)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path / "proc")
    made.add(1, tmp_path / "one", f"{TITLE}\n{LISTENING}\n{OPEN}\n", f"{TITLE}\n{LISTENING6}\n")
    made.add(2, tmp_path / "two", f"{TITLE}\n{OPEN}\n")
    return made


@pytest.mark.parametrize(
    ("pid", "port", "role"),
    [(1, 8080, Role.SERVER), (1, 443, Role.SERVER), (1, 36000, None), (2, 8080, None), (99, 8080, None)],
    ids=["IPv4", "IPv6", "client's port", "another namespace", "gone"],
)
def test_role(pid: int, port: int, role: Role | None, proc: Proc) -> None:
    assert Listeners(lambda: 10 * MAX_AGE, proc.root).role(pid, port) is role


def test_a_namespace_is_read_again_when_it_is_old(proc: Proc, tmp_path: Path) -> None:
    now = 0
    listeners = Listeners(lambda: now, proc.root)
    assert listeners.role(2, 443) is None
    (proc.root / "2/net/tcp").write_text(f"{TITLE}\n{LISTENING}\n")
    assert listeners.role(2, 8080) is None
    now = MAX_AGE + 1
    assert listeners.role(2, 8080) is Role.SERVER


def test_namespaces_are_bounded(tmp_path: Path) -> None:
    proc = Proc(tmp_path / "proc")
    listeners = Listeners(lambda: 0, proc.root)
    for pid in range(1, MAX_NAMESPACES + 10):
        proc.add(pid, tmp_path / f"ns{pid}")
        listeners.role(pid, 80)
    assert len(listeners._known) <= MAX_NAMESPACES


def test_this_process_listens() -> None:
    import os
    import time

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert Listeners(time.monotonic_ns).role(os.getpid(), port) is Role.SERVER
