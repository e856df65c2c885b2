"""What a process's cgroup tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_plugin_names.cgroups import Place, container_of, place_of, pod_uid_of, unit_of

ID = "0123456789abcdef" * 4
OTHER = "f" * 64
UID = "12345678-9abc-def0-1234-56789abcdef0"


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
    ("path", "uid"),
    [
        (f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope", UID),
        (
            "/kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{UID.replace('-', '_')}.slice/crio-{ID}.scope",
            UID,
        ),
        (f"/kubepods/besteffort/pod{UID}/{ID}", UID),
        (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID.replace('-', '_')}.slice", UID),
        (f"/../../kubepods/besteffort/pod{UID}/{ID}", UID),
        ("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/x", "0123456789abcdef0123456789abcdef"),
        (f"/kubepods/burstable/pod{UID}0", ""),
        (f"/system.slice/pod{UID}.slice", ""),
        ("/kubepods.slice", ""),
        ("/", ""),
    ],
)
def test_pod_of_a_cgroup(path: str, uid: str) -> None:
    assert pod_uid_of([path]) == uid


def test_the_places_of_processes(tmp_path: Path) -> None:
    def write(pid: int, *cgroups: str) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text("".join(f"{line}\n" for line in cgroups))

    write(10, "0::/system.slice/nginx.service")
    write(11, "9:name=systemd:/system.slice/old.service", "4:memory:/other", "0::/")
    write(12, f"0::/system.slice/docker-{ID}.scope")
    write(13, f"0::/kubepods/pod{UID}/{OTHER}")
    write(14, "not a cgroup line", "", "::", f"{ID}")
    write(15, "0::/lxc.payload.mail/system.slice/postfix.service")
    (tmp_path / "16").mkdir()
    (tmp_path / "16" / "cgroup").write_bytes(b"0::/\xff\x00/a.service\n" * 100_000)
    assert place_of(tmp_path, 10) == Place(unit="nginx")
    assert place_of(tmp_path, 11) == Place(unit="old")
    assert place_of(tmp_path, 12) == Place(container_id=ID)
    assert place_of(tmp_path, 13) == Place(container_id=OTHER, pod_uid=UID)
    assert place_of(tmp_path, 14) == Place()
    assert place_of(tmp_path, 15) == Place(unit="postfix", container_name="mail")
    assert place_of(tmp_path, 16) == Place(unit="a")
    assert place_of(tmp_path, 17) is None


def test_this_very_process() -> None:
    assert place_of(Path("/proc"), os.getpid()) is not None


@settings(max_examples=50)
@given(st.text("/-._:\\x0123456789abcdefkubepodslxc machine.service", max_size=300))
def test_no_cgroup_is_too_strange(path: str) -> None:
    identity, name = container_of([path])
    assert len(identity) in (0, 64)
    assert not (identity and name)
    assert len(pod_uid_of([path])) in (0, 32, 36)
    assert "/" not in unit_of([path])
