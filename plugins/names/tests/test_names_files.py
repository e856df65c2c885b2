"""Names in files that the kubelet and the engines leave."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container
from rover_plugin_names.files import DOCKER, KUBELET_CONTAINERS, KUBELET_PODS, PODMAN, HostFiles
from rover_plugin_names.pods import Owner

ID, OTHER = "0123456789abcdef" * 4, "f" * 64
UID = "12345678-9abc-def0-1234-56789abcdef0"
PLACE = Place(container_id=ID)
POD = "shop-6d4b75cb6d-x7k2p"


@pytest.fixture
def root(host_files: Path) -> Path:
    for each in (KUBELET_CONTAINERS, KUBELET_PODS, f"{DOCKER}/{ID}", os.path.dirname(PODMAN)):
        (host_files / each).mkdir(parents=True)
    return host_files


def test_a_pod_by_the_kubelets_link(root: Path) -> None:
    (root / KUBELET_CONTAINERS / f"other_prod_app-{OTHER}.log").symlink_to("nowhere")
    (root / KUBELET_CONTAINERS / f"{POD}_prod_app-{ID}.log").symlink_to("nowhere")
    found = HostFiles(root).find(PLACE)
    assert found == Container(
        pod=POD, namespace="prod", pod_container="app", owner=Owner("deployment", "shop")
    )


def test_a_pod_by_its_uid_before_there_is_a_link(root: Path) -> None:
    (root / KUBELET_PODS / f"prod_{POD}_{UID}").mkdir()
    assert HostFiles(root).find(PLACE) is None
    found = HostFiles(root).find(Place(container_id=ID, pod_uid=UID))
    assert found == Container(pod=POD, namespace="prod", owner=Owner("deployment", "shop"))


def test_a_docker_container(root: Path) -> None:
    labels = {"com.docker.compose.service": "web", "com.docker.compose.project": "shop"}
    told = {"Name": "/shop-web-1", "Config": {"Labels": labels, "Env": ["SECRET=1"]}}
    (root / DOCKER / ID / "config.v2.json").write_text(json.dumps(told))
    assert HostFiles(root).find(PLACE) == Container("shop-web-1", "web", "shop")


def test_a_podman_container(root: Path) -> None:
    (root / PODMAN).write_text(json.dumps([{"id": OTHER}, 7, {"id": ID, "names": ["shop"]}]))
    assert HostFiles(root).find(PLACE) == Container("shop")


@pytest.mark.parametrize("name", ["", "a.log", f"-{ID}.log", f"a_b-{ID}.log", f"a_b_c_d-{ID}.log", "_" * 200])
def test_a_link_that_names_nothing(root: Path, name: str) -> None:
    if name:
        (root / KUBELET_CONTAINERS / name).touch()
    assert HostFiles(root).find(PLACE) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[1]",
        b"{}",
        b'{"Name": 7}',
        b'{"Name": "", "Config": 7}',
        b'[{"id": 7}]',
        b'[{"names": 7}]',
        b"[" * 100_000,
        b"\x00\xff",
        b" " * 2_000_000 + b"{}",
    ],
)
def test_an_engines_file_may_hold_anything(root: Path, content: bytes) -> None:
    for path in (root / DOCKER / ID / "config.v2.json", root / PODMAN):
        path.write_bytes(content)
    assert HostFiles(root).find(PLACE) is None


@pytest.mark.parametrize("names", ["[]", "[7]", "7", '[""]', "null"])
def test_a_podman_container_without_a_name(root: Path, names: str) -> None:
    (root / PODMAN).write_text(f'[{{"id": "{ID}", "names": {names}}}]')
    assert HostFiles(root).find(PLACE) is None


def test_what_is_no_file_is_not_waited_for(root: Path) -> None:
    (root / KUBELET_CONTAINERS).rmdir()
    (root / KUBELET_CONTAINERS).write_text("")
    os.mkfifo(root / DOCKER / ID / "config.v2.json")
    (root / PODMAN).mkdir()
    assert HostFiles(root).find(Place(container_id=ID, pod_uid=UID)) is None


def test_without_any_of_them(host_files: Path) -> None:
    assert HostFiles(host_files).find(PLACE) is None
    assert HostFiles(host_files).readable() == []


def test_which_can_be_read(root: Path) -> None:
    assert HostFiles(root).readable() == [
        str(root / each) for each in (KUBELET_CONTAINERS, KUBELET_PODS, DOCKER)
    ]
