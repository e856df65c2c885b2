"""Builds the image of packaging/container without a container engine, and runs it as the DaemonSet does.

    python -m tests.deploying.image [--release trixie] [--mirror URL] [--keep DIRECTORY]

What Containerfile does, step by step, in two roots made by debootstrap; then doctor, and the agent beside a
request. The files are those that are committed. It needs root, debootstrap and some minutes, most of them for
the compiler.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import deployment
from harness import Program, free_port, listening, wait_until

BASE = "ca-certificates"
CONFIGURATION = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""Of this host, for pip behind a proxy; the image that is built by an engine has its own."""
AS_IN_A_POD = [*deployment.unit_capabilities(), "sys_nice"]


@contextmanager
def step(name: str) -> Iterator[None]:
    """Says what is done and how long it took."""
    started = time.monotonic()
    print(f"{name} ...", end=" ", flush=True)
    yield
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def inside(root: Path, *argv: str) -> None:
    """Runs a command in a root, with /proc, /dev and /sys."""
    mounts = 'for each in proc dev sys; do mount --rbind /$each "$0/$each"; done; exec chroot "$0" "$@"'
    subprocess.run(["unshare", "--mount", "sh", "-ec", mounts, str(root), *argv], check=True)


def build(base: Path, directory: Path) -> Path:
    """The image's root."""
    first, final = directory / "build", directory / "final"
    for root in (first, final):
        subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    with step("build: packages, and rover compiled in /opt/rover"):
        for each in map(Path, CONFIGURATION):
            if each.exists():
                shutil.copy(each, first / each.relative_to("/"))
        (first / "src").mkdir()
        archive = subprocess.Popen(
            ["git", "-C", deployment.ROOT, "archive", "HEAD", "--", ".", ":!tests"], stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", first / "src"], stdin=archive.stdout, check=True)
        assert archive.wait() == 0
        inside(first, "/src/packaging/container/steps.sh", "build", "/src")
    with step("final: packages that run it"):
        shutil.copy(deployment.PACKAGING / "container/steps.sh", final / "tmp")
        inside(final, "/tmp/steps.sh", "final")
        (final / "tmp/steps.sh").unlink()
        subprocess.run(["cp", "-a", first / "opt/rover", final / "opt"], check=True)
    return final


def check(image: Path, directory: Path) -> None:
    """Doctor finds nothing that fails, and both ends of a request on the host are seen."""
    (directory / "srv").mkdir()
    (directory / "srv/rover.toml").write_text('[run]\nsinks = ["jsonl"]\n')
    begin = deployment.in_a_pod(image, directory, AS_IN_A_POD)
    subprocess.run([*begin, "/opt/rover/bin/rover", "doctor"], check=True)
    port = free_port()
    server = Program([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], cwd="/")
    wait_until(lambda: listening(port), "the server listens")
    with step("run"):
        agent = Program(
            [*begin, "/opt/rover/bin/rover", "run", "--config", "/srv/rover.toml", "--port", str(port)]
        )
        agent.wait_for("watching through ebpf")
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/seen"], check=True)
    wait_until(lambda: len(agent.out) == 2, f"two lines, have {agent.out} {agent.err}")
    code = agent.stop()
    server.stop()
    print("\n".join(agent.err))
    assert code == 0
    assert {json.loads(line)["rover.role"] for line in agent.out} == {"client", "server"}


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--release", default="trixie", help="codename of the base image's Debian")
    parser.add_argument("--mirror", help="of Debian; debootstrap's own by default")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the base for another time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rover-image-", dir="/var/tmp") as temporary:
        base = (arguments.keep or Path(temporary)) / f"base-{arguments.release}"
        if not base.exists():
            with step(f"debootstrap {arguments.release}"):
                command = ["debootstrap", "--variant=minbase", f"--include={BASE}"]
                mirror = [arguments.mirror] if arguments.mirror else []
                log = subprocess.run(
                    [*command, arguments.release, base, *mirror], capture_output=True, text=True
                )
                assert log.returncode == 0, log.stdout[-2000:]
        image = build(base, Path(temporary))
        size = subprocess.run(["du", "-smx", image], capture_output=True, text=True, check=True).stdout
        print(f"image: {size.split()[0]} MB")
        check(image, Path(temporary))
    print("passed")


if __name__ == "__main__":
    main()
