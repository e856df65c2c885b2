"""What costs a detail, what keeps the capture from working, and how either is told."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from rover.errors import RoverError
from rover_source_ebpf import checks, host, privileges

OVERRIDE, SEARCH, PTRACE = 1 << 1, 1 << 2, 1 << 19
ADMIN, PERFMON, BPF = 1 << 21, 1 << 38, 1 << 39
ALL = (1 << 41) - 1


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every capability, in the host's own namespaces."""
    monkeypatch.setattr(host, "effective_capabilities", lambda: ALL)
    monkeypatch.setattr(host, "is_hosts_namespace", lambda kind: True)
    return monkeypatch


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (BPF | PERFMON, ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]),
        (ADMIN, ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]),
        (PTRACE, ["CAP_DAC_READ_SEARCH"]),
        (PTRACE | OVERRIDE, []),
        (PTRACE | SEARCH, []),
        (SEARCH, ["CAP_SYS_PTRACE"]),
        (ALL, []),
    ],
)
def test_what_other_users_files_in_proc_need(effective: int, missing: list[str]) -> None:
    assert privileges.missing_for_proc(effective) == missing


@pytest.mark.parametrize(
    ("effective", "foreign", "lines"),
    [
        (ALL, (), []),
        (BPF | PERFMON | PTRACE, (), ["without CAP_DAC_READ_SEARCH "]),
        (BPF | PERFMON, (), ["without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH "]),
        (ALL, ("pid",), ["the pid namespace is not the host's"]),
        (PERFMON, ("pid",), []),  # it cannot run: the error is enough
    ],
)
def test_each_is_said_in_a_line_once(
    effective: int,
    foreign: tuple[str, ...],
    lines: list[str],
    given: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given.setattr(host, "effective_capabilities", lambda: effective)
    given.setattr(host, "is_hosts_namespace", lambda kind: kind not in foreign)
    with caplog.at_level(logging.WARNING):
        privileges.tell()
    assert len(caplog.messages) == len(lines)
    for said, line in zip(caplog.messages, lines, strict=True):
        assert said.startswith(line)


def test_a_user_namespace_is_an_error(given: pytest.MonkeyPatch) -> None:
    given.setattr(host, "is_hosts_namespace", lambda kind: kind != "user")
    with pytest.raises(RoverError, match="user namespace") as caught:
        privileges.tell()
    assert "\n" not in str(caught.value)
    (found,) = (check for check in privileges.checks() if check.subject == "user namespace")
    assert found.required
    assert not found.ok
    assert found.fix


def test_doctor_warns_of_what_costs_a_detail(given: pytest.MonkeyPatch) -> None:
    assert all(check.ok for check in privileges.checks())
    given.setattr(host, "effective_capabilities", lambda: BPF | PERFMON)
    given.setattr(host, "is_hosts_namespace", lambda kind: kind != "pid")
    found = {check.subject: check for check in privileges.checks()}
    assert set(found) == {"other processes", "pid namespace"}
    for check in found.values():
        assert not check.ok
        assert not check.required
        assert check.fix
        assert "\n" not in check.finding
    assert set(found) <= {check.subject for check in checks.check()}


@pytest.mark.parametrize("kind", ["pid", "user"])
def test_the_hosts_own_namespaces_are_known(kind: str, tmp_path: Path) -> None:
    assert host.is_hosts_namespace(kind, tmp_path)  # it cannot be looked at
    (tmp_path / kind).touch()
    assert not host.is_hosts_namespace(kind, tmp_path)


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ([], "True True True"),
        (["unshare", "--pid", "--fork", "--mount-proc"], "False True True"),
        # Every capability counts in there, and none for what is done here.
        (["unshare", "--user", "--map-root-user"], "True False False"),
    ],
    ids=["host", "pid", "user"],
)
@pytest.mark.live
def test_the_kernels_own_namespaces(namespace: list[str], expected: str) -> None:
    """Known by their inode numbers, which no mount of /proc hides."""
    code = (
        "from rover_source_ebpf.host import effective_capabilities, is_hosts_namespace as is_hosts\n"
        "print(is_hosts('pid'), is_hosts('user'), effective_capabilities() != 0)"
    )
    ran = subprocess.run([*namespace, sys.executable, "-c", code], capture_output=True, text=True)
    if ran.returncode and "unshare" in ran.stderr:
        pytest.skip(ran.stderr.strip())
    assert ran.stdout.strip() == expected, ran.stderr
