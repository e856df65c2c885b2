"""The agent in the namespaces of a pod, with the DaemonSet's capabilities and settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import deployment
from harness import Program, free_port, listening, wait_until
from rover_plugin_names.cgroups import container_of, unit_of

pytestmark = pytest.mark.live

UNIT = deployment.unit_capabilities()
IDENTITY = "0123456789abcdef" * 4


def test_it_sees_the_host_from_its_namespaces(tmp_path: Path, start_program: Callable[..., Program]) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    (document,) = yaml.safe_load_all((deployment.PACKAGING / "kubernetes/config-jsonl.yaml").read_text())
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/rover.toml").write_text(document["data"]["rover.toml"])
    port = free_port()
    server = start_program(
        *("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", deployment.base_python()),
        *("-m", "http.server", "--bind", "127.0.0.1", str(port)),
        cwd="/",
    )
    wait_until(lambda: listening(port), "the server listens")
    agent = start_program(
        *deployment.in_a_pod(Path("/"), tmp_path, [*UNIT, "sys_nice"]),
        *(sys.executable, "-m", "rover", "run", "--config", "/srv/rover.toml", "--port", str(port)),
    )
    agent.wait_for("watching through ebpf")
    status = Path(f"/proc/{agent.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/in-a-pod"], check=True)
    wait_until(lambda: len(agent.out) == 2, f"two lines: {agent.out} {agent.err}")
    assert agent.stop() == 0, agent.err
    logs = [json.loads(line) for line in agent.out]
    assert {(log["rover.role"], log["url.path"]) for log in logs} == {
        ("client", "/in-a-pod"),
        ("server", "/in-a-pod"),
    }
    assert server.pid in {log["process.pid"] for log in logs}
    assert not [line for line in agent.err if "without" in line or "namespace" in line or "nice" in line]
    assert not [line for line in agent.err if "spool" in line or "cache" in line], agent.err


def test_without_the_hosts_process_numbers_it_says_what_is_less(tmp_path: Path) -> None:
    """hostPID: false."""
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "rover", "doctor"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"^warn +pid namespace ", ran.stdout, re.MULTILINE)
    assert "hostPID" in ran.stdout


def test_in_a_user_namespace_it_says_that_it_cannot_run() -> None:
    """A rootless container's root has every capability, and they count for nothing here."""
    argv = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "rover"]
    ran = subprocess.run([*argv, "doctor"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert re.search(r"^FAIL +privileges ", ran.stdout, re.MULTILINE)
    assert "user namespace" in ran.stdout
    ran = subprocess.run([*argv, "run"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "user namespace" in ran.stderr


@pytest.mark.parametrize(
    "name",
    [
        f"kubepods.slice/kubepods-burstable.slice/cri-containerd-{IDENTITY}.scope",
        f"kubepods/besteffort/pod1/{IDENTITY}",
        "system.slice/shop.service",
    ],
)
def test_names_are_read_from_a_cgroup_namespace(name: str) -> None:
    """A pod's namespace shows others' cgroups relative to its own, from `/../` on (cgroup_namespaces(7))."""
    root = deployment.cgroup_directory()
    if root is None:
        pytest.skip("needs cgroup v2")
    ours, others = root / f"rover-test-agent-{IDENTITY[:4]}", root / f"rover-test-{IDENTITY[:4]}" / name
    ours.mkdir()
    others.mkdir(parents=True)
    watched = subprocess.Popen(["sleep", "60"])
    try:
        (others / "cgroup.procs").write_text(str(watched.pid))
        enter = f'echo $$ > "{ours}/cgroup.procs"; exec unshare --cgroup cat /proc/{watched.pid}/cgroup'
        shown = subprocess.run(["sh", "-c", enter], capture_output=True, text=True, check=True).stdout
    finally:
        watched.kill()
        watched.wait()
        directory = others
        while directory != root:
            directory.rmdir()
            directory = directory.parent
        ours.rmdir()
    paths = [line.split(":", 2)[2] for line in shown.splitlines()]
    assert any(path.startswith("/../") for path in paths), shown
    if IDENTITY in name:
        assert container_of(paths) == (IDENTITY, "")
    else:
        assert unit_of(paths) == "shop"
