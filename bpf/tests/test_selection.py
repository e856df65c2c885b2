"""What can be selected, and what a user is told who selects something else."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from rover.contracts.source import Selection
from rover.errors import UsageError
from rover_source_ebpf import register_sources
from rover_source_ebpf.selection import (
    ancestors,
    cgroup_id,
    cgroup_root,
    check,
    console_pids,
    console_tuples,
    watches,
)
from rover_source_ebpf.source import EbpfSource

MOUNTS = """\
proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw,relatime 0 0
"""


def test_nothing_selected_is_everything() -> None:
    check(Selection())


@pytest.mark.parametrize(
    "selection",
    [
        Selection(pids=(os.getpid(), 1)),
        Selection(comms=("nginx", "fifteen-letters", "käse")),
        Selection(ports=(1, 80, 65535)),
    ],
)
def test_fine(selection: Selection) -> None:
    check(selection)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(pids=(2**30,)), "--pid 1073741824: there is no such process"),
        (Selection(pids=(-1,)), "--pid -1"),
        (Selection(comms=("sixteen-letters!",)), "--comm 'sixteen-letters!'"),
        (Selection(comms=("",)), "--comm ''"),
        (Selection(ports=(0,)), "--port 0"),
        (Selection(ports=(65536,)), "--port 65536"),
        (Selection(cgroups=("/nowhere/at/all",)), "--cgroup /nowhere/at/all"),
        (Selection(cgroups=("/tmp",)), "--cgroup /tmp"),
        (Selection(comms=tuple(f"c{n}" for n in range(257))), "at most 256"),
    ],
)
def test_wrong_use_names_the_option(selection: Selection, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(selection)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_cgroup_v2_is_mounted() -> None:
    assert cgroup_root(MOUNTS.splitlines()) == Path("/sys/fs/cgroup/uni fied")
    assert cgroup_root(["proc /proc proc rw 0 0"]) is None


def test_a_host_without_cgroup_v2(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("proc /proc proc rw 0 0\n")
    with pytest.raises(UsageError, match="cgroup v2 is not mounted"):
        cgroup_id("/", mounts)


@pytest.mark.parametrize(
    "written", ["{root}/app", "/app", "app"], ids=["directory", "its own path", "relative"]
)
def test_a_cgroup_by_directory_or_by_its_own_path(written: str, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    (root / "app").mkdir(parents=True)
    (root / "app/cgroup.procs").touch()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    assert cgroup_id(written.format(root=root), mounts) == (root / "app").stat().st_ino


@pytest.mark.parametrize(
    ("client", "server"),
    [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), ("fe80::1%eth0", "fe80::2")],
)
def test_the_console_connection_from_either_end(client: str, server: str) -> None:
    def raw(host: str) -> bytes:
        if ":" in host:
            return socket.inet_pton(socket.AF_INET6, host.split("%")[0])
        return bytes(10) + b"\xff\xff" + socket.inet_aton(host)

    assert console_tuples({"SSH_CONNECTION": f"{client} 50000 {server} 22"}) == [
        struct.pack("=16s16sHH", raw(client), raw(server), 50000, 22),
        struct.pack("=16s16sHH", raw(server), raw(client), 22, 50000),
    ]


@pytest.mark.parametrize(
    "value", ["", "10.0.0.1 5 10.0.0.2", "a 1 b 2", "1.1.1.1 x 1.1.1.1 y", "1.1.1.1 1 1.1.1.1 70000"]
)
def test_no_console_connection(value: str) -> None:
    assert console_tuples({"SSH_CONNECTION": value}) == []
    assert console_tuples({}) == []


def test_ancestors_and_the_ssh_servers_among_them(tmp_path: Path) -> None:
    tree = {40: (30, "python3"), 30: (20, "bash"), 20: (10, "sshd-session"), 10: (1, "sshd"), 1: (0, "init")}
    for pid, (parent, name) in tree.items():
        directory = tmp_path / str(pid)
        directory.mkdir()
        (directory / "comm").write_text(name + "\n")
        (directory / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\nThreads:\t1\n")
    assert ancestors(40, tmp_path) == [(30, "bash"), (20, "sshd-session"), (10, "sshd"), (1, "init")]
    assert console_pids(40, tmp_path) == [20, 10]
    assert ancestors(99, tmp_path) == []


def test_ancestors_that_name_each_other_come_to_an_end(tmp_path: Path) -> None:
    for pid, parent in ((5, 6), (6, 5)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text("x\n")
        (tmp_path / str(pid) / "status").write_text(f"PPid:\t{parent}\n")
    assert len(ancestors(5, tmp_path)) == 64


def test_the_specification() -> None:
    (spec,) = register_sources()
    assert (spec.name, spec.live) == ("ebpf", True)
    defaults = {setting.name: setting.default for setting in spec.settings}
    source = spec.make(defaults, Selection())
    assert isinstance(source, EbpfSource)
    assert not source.is_open(1)
    source.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("payload_limit", 5000),
        ("payload_limit", 2_097_152),
        ("ring_size", 3),
        ("ring_size", 2048),
        ("opening_bytes", 1_000_000),
    ],
)
def test_settings_the_kernel_side_cannot_have(setting: str, value: int) -> None:
    (spec,) = register_sources()
    values = {each.name: each.default for each in spec.settings} | {setting: value}
    with pytest.raises(UsageError, match=f"source.ebpf.{setting}"):
        spec.make(values, Selection())


# -- processes that are selected, as /proc tells it ------------------------------------------------


def process(proc: Path, pid: int, name: str = "x", parent: int = 0, cgroup: str = "/") -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\n")
    (proc / str(pid) / "cgroup").write_text(f"0::{cgroup}\n")


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """A made-up hierarchy, and /proc/mounts that names it."""
    root = tmp_path / "cgroup"
    for path in (root / "web" / "one", root / "other"):
        path.mkdir(parents=True)
    for path in (root / "web", root / "web" / "one", root / "other"):
        (path / "cgroup.procs").touch()
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    return mounts


@pytest.mark.parametrize(
    ("selected", "watched"),
    [
        (Selection(pids=(10,)), {10, 11, 12}),
        (Selection(pids=(11, 20)), {11, 12, 20}),
        (Selection(comms=("nginx",)), {12, 20}),
        (Selection(comms=("nginx",), pids=(10,)), {12}),
        (Selection(comms=("nginx", "node")), {12, 20, 21}),
        (Selection(cgroups=("/web",)), {11, 20}),
        (Selection(cgroups=("/web/one",)), {20}),
        (Selection(cgroups=("/web", "/other")), {11, 20, 21}),
        (Selection(cgroups=("/web",), comms=("nginx",)), {20}),
        (Selection(comms=("nobody",)), set()),
    ],
)
def test_which_processes_a_selection_watches(
    tmp_path: Path, cgroups: Path, selected: Selection, watched: set[int]
) -> None:
    proc = tmp_path / "proc"
    process(proc, 10, "sh")
    process(proc, 11, "make", 10, "/web")
    process(proc, 12, "nginx", 11)
    process(proc, 20, "nginx", 1, "/web/one")
    process(proc, 21, "node", 1, "/other")
    selects = watches(selected, proc, cgroups)
    assert selects is not None
    assert {pid for pid in (10, 11, 12, 20, 21, 999) if selects(pid)} == watched


@pytest.mark.parametrize("selected", [Selection(), Selection(ports=(443,))])
def test_where_no_process_is_named_all_are_watched(selected: Selection) -> None:
    assert watches(selected) is None
