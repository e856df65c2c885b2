"""What a process belongs to, from the host's files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rover_plugin_sink_oap.workload import Workload, Workloads, container_of, unit_of, workload_of

ID = "0123456789abcdef" * 4
OTHER = "f" * 64


@pytest.mark.parametrize(
    ("path", "identity", "name"),
    [
        ("/system.slice/nginx.service", "", ""),
        (f"/system.slice/docker-{ID}.scope", ID, ""),
        (f"/docker/{ID}", ID, ""),
        (f"/machine.slice/libpod-{ID}.scope/container", ID, ""),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ID, ""),
        (f"/kubepods/burstable/pod12-34/{ID}", ID, ""),
        (f"/kubepods.slice/crio-{ID}.scope", ID, ""),
        (f"/docker/{OTHER}/docker/{ID}", ID, ""),
        (f"/machine.slice/libpod-conmon-{ID}.scope", "", ""),
        (f"/system.slice/{ID}0", "", ""),
        ("/lxc.payload.mail/init.scope", "", "mail"),
        ("/lxc/mail", "", "mail"),
        (r"/machine.slice/machine-my\x2dbox.scope", "", "my-box"),
        ("/", "", ""),
    ],
)
def test_container_of_a_cgroup(path: str, identity: str, name: str) -> None:
    assert container_of([path]) == (identity, name)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx"),
        ("/system.slice/nginx.service/workers", "nginx"),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main"),
        (r"/system.slice/my\x2dapp.service", "my-app"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/chat.service", "chat"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", ""),
        ("/user.slice/user-1000.slice/session-3.scope", ""),
        ("/", ""),
    ],
)
def test_unit_of_a_cgroup(path: str, unit: str) -> None:
    assert unit_of([path]) == unit


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("shop-6d4b75cb6d-x7k2p", "shop"),
        ("node-exporter-4jx9w", "node-exporter"),
        ("postgres-0", "postgres"),
        ("shop-redis", "shop-redis"),
        ("web", "web"),
        ("", ""),
    ],
)
def test_workload_of_a_pod(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


@pytest.fixture
def root(tmp_path: Path) -> Path:
    def write(pid: int, *cgroups: str) -> None:
        directory = tmp_path / "proc" / str(pid)
        (directory / "ns").mkdir(parents=True)
        (directory / "cgroup").write_text("".join(f"{line}\n" for line in cgroups))
        (directory / "ns" / "net").symlink_to(f"net:[{pid}]")

    write(10, "0::/system.slice/nginx.service")
    write(11, "9:name=systemd:/system.slice/old.service", "4:memory:/other", "0::/")
    write(12, f"0::/system.slice/docker-{ID}.scope")
    write(13, f"0::/kubepods.slice/cri-containerd-{OTHER}.scope")
    write(14, "not a cgroup line")
    return tmp_path


def test_units_of_cgroup_v2_and_v1(root: Path) -> None:
    workloads = Workloads(root)
    assert workloads.of(10, "nginx") == Workload(unit="nginx", network=10)
    assert workloads.of(11, "x") == Workload(unit="old", network=11)
    assert workloads.of(14, "x") == Workload(network=14)


def test_an_unknown_process_is_no_error(root: Path) -> None:
    assert Workloads(root).of(99, "gone") == Workload()


def test_a_container_by_its_id_until_its_name_is_known(root: Path) -> None:
    assert Workloads(root).of(12, "app") == Workload(container_id=ID[:12], network=12)
    docker = root / "var/lib/docker/containers" / ID
    docker.mkdir(parents=True)
    (docker / "config.v2.json").write_text(json.dumps({"Name": "/shop"}))
    assert Workloads(root).of(12, "app").container == "shop"


def test_a_podman_container(root: Path) -> None:
    storage = root / "var/lib/containers/storage/overlay-containers"
    storage.mkdir(parents=True)
    (storage / "containers.json").write_text(json.dumps([{"id": OTHER}, {"id": ID, "names": ["shop"]}]))
    assert Workloads(root).of(12, "app").container == "shop"


def test_a_pod(root: Path) -> None:
    logs = root / "var/log/containers"
    logs.mkdir(parents=True)
    (logs / f"shop-6d4b75cb6d-x7k2p_prod_app-{OTHER}.log").symlink_to("nowhere")
    assert Workloads(root).of(13, "app") == Workload(
        container="app",
        container_id=OTHER[:12],
        workload="shop",
        pod="shop-6d4b75cb6d-x7k2p",
        namespace="prod",
        network=13,
    )


@pytest.mark.parametrize("content", ["", "[", "[1]", "{}", '{"Name": 7}', "[" * 100_000, "\x00"])
def test_an_engines_file_may_hold_anything(root: Path, content: str) -> None:
    for path in (
        root / "var/lib/docker/containers" / ID / "config.v2.json",
        root / "var/lib/containers/storage/overlay-containers/containers.json",
    ):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert Workloads(root).of(12, "app") == Workload(container_id=ID[:12], network=12)


def test_a_process_that_ended_keeps_its_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workloads = Workloads(root)
    known = workloads.of(10, "nginx")
    (root / "proc/10/cgroup").unlink()
    monkeypatch.setattr("rover_plugin_sink_oap.workload.FRESH", -1.0)
    assert workloads.of(10, "nginx") == known
    assert workloads.of(10, "other") == Workload()


def test_memory_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.workload.MAX_PROCESSES", 2)
    workloads = Workloads(root)
    for pid in range(10, 20):
        workloads.of(pid, "x")
    assert len(workloads._known) == 2


def test_this_very_process(root: Path) -> None:
    assert Workloads().of(os.getpid(), "python").network > 0
