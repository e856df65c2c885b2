"""The unit, run by systemd itself: booted in namespaces of its own, on a copy of this host's files that is
made as they are written to (overlayfs)."""

from __future__ import annotations

import collections
import contextlib
import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import deployment
from harness import free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SYSTEMD = Path("/lib/systemd/systemd")
NEEDED = ("unshare", "systemctl", "journalctl", "systemd-sysusers", "logrotate", "setpriv", "curl")
ROTATIONS = 3

BOOT = """
set -e
mount --make-rprivate /
mkdir {top}
mount -t tmpfs -o size=256m tmpfs {top}
mkdir {top}/upper {top}/work {root}
mount -t overlay -o lowerdir=/,upperdir={top}/upper,workdir={top}/work overlay {root}
mount -t proc proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/run
umount -R {root}/sys/fs/cgroup
mount -t cgroup2 none {root}/sys/fs/cgroup
mkdir -p {root}/opt/rover {root}/results
mount --bind {installed} {root}/opt/rover
mount --bind {results} {root}/results
chroot {root} sh -ec 'cd {checkout}; {installing}'
sed -i 's/^sinks = .*/sinks = ["jsonl", "oap"]/' {root}/etc/rover/rover.toml
sed -i 's/^.select.*/[select]\\nport = [{port}]/' {root}/etc/rover/rover.toml
printf '[sink.oap]\naddress = ["127.0.0.1:{oap_port}"]\nflush_period = 0.5\n' >> {root}/etc/rover/rover.toml
cp {results}/check.service {results}/check.target {root}/etc/systemd/system/
mkdir -p {root}/etc/systemd/journald.conf.d
echo '[Journal]
Storage=volatile
ReadKMsg=no' > {root}/etc/systemd/journald.conf.d/check.conf
exec chroot {root} /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    {systemd} --system --unit=check.target
"""
TARGET = """[Unit]
Requires=systemd-journald.service check.service
"""
CHECK = """[Unit]
Wants=rover.service
After=rover.service systemd-journald.service
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=150
WorkingDirectory=/results
ExecStart=/bin/sh -x /results/check.sh
StandardError=file:/results/check.log
StandardOutput=file:/results/check.log
"""
SCRIPT = """
set -e
trap 'journalctl --no-pager -o cat -u rover.service > journal; cp -r /var/log/rover logs' EXIT
until journalctl --no-pager -o cat -u rover.service | grep -q "watching through"; do
    test "$(systemctl show -P NRestarts rover.service)" = 0  # it failed, and was started again
    sleep 0.2
done
systemctl show -p MainPID,User,NRestarts,Result rover.service > show
pid=$(systemctl show -P MainPID rover.service)
cat /proc/$pid/status > status
ps -o ni= -p $pid > nice
{doctor} > doctor
stat -c '%U %a %n' /var/log/rover/ /var/lib/rover/ /var/cache/rover/ > directories
setpriv --reuid=nobody --regid=nogroup --clear-groups \\
    /usr/bin/python3 -m http.server --bind 127.0.0.1 {port} &
server=$!
/opt/rover/bin/rover oap-receiver --quiet --listen 127.0.0.1:{oap_port} > receiver 2>&1 &
receiver=$!
until curl -s -o /dev/null http://127.0.0.1:{port}/; do sleep 0.1; done
(i=0; until [ -e rotated ]; do
    curl -s -o /dev/null http://127.0.0.1:{port}/numbered/$i http://127.0.0.1:{port}/numbered/$((i + 1))
    i=$((i + 2))
done; echo $i > asked) &
client=$!
for rotation in $(seq {rotations}); do
    until grep -q "numbered" /var/log/rover/access.jsonl; do sleep 0.1; done
    logrotate --force --state /run/logrotate.state /etc/logrotate.d/rover
    sleep 1.1  # names have whole seconds
done
touch rotated
wait $client
sleep 0.5
systemctl stop rover.service
systemctl show -p Result,ExecMainStatus rover.service > end
ls /var/lib/rover/oap > spool
kill $server
kill $receiver
wait $receiver && echo 0 > receiver-code || echo $? > receiver-code
"""


def guide(*beginnings: str) -> list[str]:
    """The commands of docs/deploy.md that begin so."""
    text = (deployment.ROOT / "docs/deploy.md").read_text().replace("\\\n", "")
    found = [line for line in text.splitlines() if line.startswith(beginnings)]
    assert found, beginnings
    return found


def missing() -> str:
    """Why systemd cannot be booted here; empty when it can."""
    if absent := deployment.missing_commands(NEEDED):
        return f"needs {', '.join(absent)} (Debian: systemd, logrotate, util-linux, curl)"
    if not SYSTEMD.exists():
        return f"needs {SYSTEMD} (Debian: systemd)"
    if not deployment.base_python().is_relative_to("/usr"):
        return "the unit runs a distribution's Python"
    if deployment.cgroup_directory() is None:
        return "needs cgroup v2"
    probe = (
        "mount --make-rprivate / && mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w o /mnt/r"
    )
    ran = subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True, text=True)
    return f"needs an overlay of /: {ran.stderr.strip()}" if ran.returncode else ""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the machine left when it was through."""
    if reason := missing():
        pytest.skip(reason)
    top = tmp_path_factory.mktemp("systemd")
    results, installed = top / "results", top / "installed"
    results.mkdir()
    deployment.install(installed)
    command = (installed / "bin/rover").read_text()
    (installed / "bin/rover").write_text(command.replace(str(installed), "/opt/rover"))
    names = {
        "top": top / "machine",
        "root": top / "machine/root",
        "installed": installed,
        "results": results,
        "checkout": deployment.ROOT,
        "systemd": SYSTEMD,
        "port": free_port(),
        "oap_port": free_port(),
        "rotations": ROTATIONS,
        "installing": "; ".join(guide("install -D", "systemd-sysusers")),
        "doctor": guide("setpriv ")[0],
    }
    (results / "check.service").write_text(CHECK)
    (results / "check.target").write_text(TARGET)
    (results / "check.sh").write_text(SCRIPT.format(**names))
    (top / "boot.sh").write_text(BOOT.format(**names))
    root = deployment.cgroup_directory()
    assert root is not None
    cgroup = root / f"rover-test-{os.getpid()}"
    cgroup.mkdir()
    namespaces = "--mount --pid --cgroup --uts --ipc --fork --kill-child"
    enter = f"echo $$ > {cgroup}/cgroup.procs && exec unshare {namespaces} sh {top}/boot.sh"
    try:
        with (top / "boot.log").open("wb") as log:
            subprocess.run(["sh", "-c", enter], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=200)
    finally:
        remove_cgroup(cgroup)
    assert (results / "journal").exists(), (top / "boot.log").read_text() + said(results)
    return results


def remove_cgroup(cgroup: Path) -> None:
    """With those below it, once the last process in it is gone."""
    with contextlib.suppress(OSError):
        (cgroup / "cgroup.kill").write_text("1")
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def said(results: Path) -> str:
    """For messages of a failure."""
    return "\n".join(
        f"== {name}\n{(results / name).read_text(errors='replace')[-3000:]}"
        for name in ("check.log", "journal")
        if (results / name).exists()
    )


def asked(results: Path) -> int:
    """How many requests were made while the logs were rotated."""
    number = int((results / "asked").read_text())
    assert number > 0
    return number


def lines(results: Path) -> list[bytes]:
    """Of all the files that the rotations made."""
    found = []
    for path in sorted((results / "logs").iterdir()):
        data = path.read_bytes()
        found += (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines(keepends=True)
    return found


def test_it_starts_and_ends_well(results: Path) -> None:
    journal = (results / "journal").read_text()
    assert "rover: watching through ebpf" in journal, said(results)
    assert "Traceback" not in journal, journal
    # Its directories are what the sinks and the source take: nothing is done without.
    assert not re.search("the spool|cache|Permission denied|Operation not permitted", journal), journal
    assert (results / "end").read_text().split() == ["Result=success", "ExecMainStatus=0"], said(results)
    assert "NRestarts=0" in (results / "show").read_text()


def test_it_is_no_root_and_has_what_the_unit_gives(results: Path) -> None:
    status = dict(
        line.split(":\t", 1) for line in (results / "status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    wanted = sum(1 << NUMBERS[name] for name in deployment.unit_capabilities())
    for field in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(status[field], 16) == wanted, field
    assert int((results / "nice").read_text()) == -6  # without CAP_SYS_NICE: systemd did it


NUMBERS = {"dac_read_search": 2, "sys_ptrace": 19, "perfmon": 38, "bpf": 39}
"""include/uapi/linux/capability.h"""


def test_what_it_sends_arrives_whole(results: Path) -> None:
    """At the stand-in for an OAP server, which ends with 1 when a rule was broken."""
    received = (results / "receiver").read_text()
    assert (results / "receiver-code").read_text() == "0\n", received
    logged = re.search(r"oap logged (\d+), lost (\d+)", (results / "journal").read_text())
    assert logged
    assert int(logged[1]) >= 2 * asked(results)
    assert (results / "spool").read_text().split() == ["lock"]


def test_doctor_is_content_when_it_is_asked_as_the_guide_says(results: Path) -> None:
    found = (results / "doctor").read_text()
    assert "FAIL" not in found
    assert re.search(r"^ok +other processes ", found, re.MULTILINE)


def test_its_directories_are_its_own(results: Path) -> None:
    found = (results / "directories").read_text().split("\n")[:-1]
    assert found == ["rover 750 /var/log/rover/", "rover 700 /var/lib/rover/", "rover 700 /var/cache/rover/"]
    modes = {oct(path.stat().st_mode & 0o777) for path in (results / "logs").iterdir()}
    assert modes == {"0o640"}


def test_no_line_is_lost_or_torn_while_the_logs_are_rotated(results: Path) -> None:
    """Requests of root's curl to another user's server, seen from both ends."""
    files = sorted(path.name for path in (results / "logs").iterdir())
    assert len(files) == ROTATIONS + 1, said(results)
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in lines(results):
        assert line.endswith(b"\n"), line
        log = json.loads(line)
        if log.get("url.original", "").startswith("/numbered/"):
            seen[log["url.original"], log["rover.role"]] += 1
            assert log["rover.outcome"] == "complete"
    assert seen == {
        (f"/numbered/{n}", role): 1 for n in range(asked(results)) for role in ("client", "server")
    }, said(results)
    assert re.search(r"\b0 records lost$", (results / "journal").read_text(), re.MULTILINE), said(results)
