"""A Debian release in a folder, and programs run in it: with this kernel, network and process numbers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from . import machine

CODENAMES = {"12": "bookworm", "13": "trixie", "sid": "sid"}
NEWCOMER = ("ca-certificates", "git", "make", "python3")
"""What a stranger's machine has before rover: the README asks for no more."""

ALONE = ("unshare", "--mount", "--propagation", "private")
"""Starts a program in a mount namespace of its own: its mounts end with the last process in there."""
ENTER = """
mount --bind "$0" "$0" || exit
mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev" || exit
exec chroot "$0" "$@"
"""
"""The folder is mounted on itself, because unshare(1) in it takes for granted that / is a mount."""


class RootError(Exception):
    """A release's root cannot be made."""


class Root:
    """One release, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def start(self, *argv: str, directory: str = "/root", **options: Any) -> subprocess.Popen[str]:
        """A program in the root, in a session of its own."""
        enter = ("/bin/sh", "-c", ENTER, str(self.path))
        return subprocess.Popen(
            [*ALONE, *enter, "/bin/sh", "-c", 'cd "$0" && exec "$@"', directory, *argv],
            stdin=subprocess.DEVNULL,
            env=machine.environment(),
            start_new_session=True,
            text=True,
            **options,
        )

    def run(self, *argv: str, log: IO[str], directory: str = "/root") -> int:
        """A program in the root, to its end; what it says goes to `log`. Its exit code."""
        process = self.start(*argv, directory=directory, stdout=log, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                end_session(process, signal.SIGKILL)
                process.wait()

    def ask(self, *argv: str) -> str:
        """What a program in the root says, which takes no time."""
        with self.start(*argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            return process.communicate()[0].strip()

    def processes(self) -> list[int]:
        """The numbers of all processes that have this root."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{entry.name}/root") == str(self.path):
                        found.append(int(entry.name))
        return found

    def end_processes(self) -> None:
        """Ends whatever still runs in the root; asks first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 10
            while (left := self.processes()) and time.monotonic() < deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.2)

    def remove(self) -> None:
        """Deletes the folder, once nothing runs and nothing is mounted in it."""
        self.end_processes()
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        inside = [point for point in mounted if Path(point).is_relative_to(self.path)]
        if inside:
            raise SystemExit(f"not deleted: {', '.join(inside)} is mounted in it")
        if self.path.exists():
            subprocess.run(["rm", "-rf", "--one-file-system", str(self.path)], check=True)


def end_session(process: subprocess.Popen[str], number: int) -> None:
    """Sends a signal to a program and all that it started, as a terminal does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def bootstrap(release: str, folder: Path, log: IO[str]) -> Path:
    """A root as debootstrap leaves it, with what a newcomer has; made once and kept."""
    pristine = folder / f"pristine-{release}"
    if pristine.exists():
        return pristine
    unfinished = Root(folder / f"unfinished-{release}")
    unfinished.remove()
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(NEWCOMER)}", CODENAMES[release]]
    try:
        made = subprocess.run(
            [*ALONE, *command, str(unfinished.path), machine.mirror()], stdout=log, stderr=subprocess.STDOUT
        )
    finally:
        unfinished.end_processes()
    if made.returncode:
        raise RootError(f"debootstrap of {CODENAMES[release]} failed: see {log.name}")
    machine.introduce(unfinished.path)
    unfinished.path.rename(pristine)
    return pristine


@contextlib.contextmanager
def fresh(release: str, folder: Path, checkout: Path, log: IO[str], *, keep: bool) -> Iterator[Root]:
    """A fresh root with a clone of the checkout at /root/rover; `keep`: it is not deleted at the end."""
    pristine = bootstrap(release, folder, log)
    root = Root(folder / f"root-{release}")
    root.remove()
    try:
        subprocess.run(["cp", "-a", "--reflink=auto", str(pristine), str(root.path)], check=True)
        clone(checkout, root.path / "root/rover")
        yield root
    finally:
        root.end_processes()
        if not keep:
            root.remove()


def clone(checkout: Path, target: Path) -> None:
    """What is committed."""
    trusted = ["git", "-c", f"safe.directory={checkout}", "-c", f"safe.directory={checkout}/.git"]
    subprocess.run([*trusted, "clone", "-q", "--no-hardlinks", str(checkout), str(target)], check=True)


def missing() -> str:
    """What this machine lacks to make roots; empty when nothing."""
    if os.geteuid() != 0:
        return "root: debootstrap and mounts need it"
    absent = [name for name in ("debootstrap", "unshare", "git") if shutil.which(name) is None]
    return f"{', '.join(absent)} (Debian: debootstrap util-linux git)" if absent else ""
