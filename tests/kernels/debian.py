"""Debian's stock kernels and a root to boot them with: fetched by name, unpacked, kept in a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SUITES = {"6.1": "bookworm", "6.12": "trixie", "7.3": "trixie-backports"}
"""The kernels by the two numbers that name their line, and where Debian has them."""
PACKAGES = (
    *("bpftool", "iproute2", "netbase", "ca-certificates"),
    *("gcc", "libc6-dev", "make", "python3-bpfcc", "python3-dev", "python3-venv"),
    *(
        "curl",
        "haproxy",
        "nghttp2-client",
        "nghttp2-server",
        "nginx-light",
        "procps",
        "redis-server",
        "redis-tools",
    ),
    *("tcpdump", "wrk"),
)
"""What `make test` installs, and what the tests' witness and a bare root need besides."""
LEFT_OUT = (
    *(".git", ".hypothesis", "*_cache", "__pycache__", "build", "corpus*"),
    *("atheris", "*fuzzer*", "go", "mypy", "*__mypyc*", "ruff"),  # of the virtual environment
)
"""Of a checkout: most of its bytes, and of use to neither the agent nor the tests that run there."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class MissingError(Exception):
    """Something is missing here and cannot be fetched; the text says what to do."""


def run(*command: str | Path, **options: object) -> str:
    """A command's output. Raises MissingError with the last lines it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise MissingError(f"{command[0]} failed:\n{said}")
    return str(done.stdout)


def archive() -> str:
    """The address this machine has Debian from, by its own apt sources."""
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian")
    if not listed.split():
        raise MissingError("apt knows no Debian archive here: run apt-get update on a Debian machine")
    return listed.split()[0]


class Apt:
    """apt for one suite of the archive, with a state of its own."""

    def __init__(self, folder: Path, suite: str) -> None:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "state/status").touch()
        sources = folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {archive()} {suite} main\n")
        settings = {
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "state/status",
        }
        self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self.run("apt-get", "update")

    def run(self, command: str, *arguments: str, **options: object) -> str:
        return run(command, *self._options, *arguments, **options)


def packages_of(apt: Apt, kernel: str) -> list[str]:
    """The newest kernel of this line, and the packages its parts are in. Raises MissingError."""
    name = re.compile(rf"linux-image-{re.escape(kernel)}\.[0-9.]+(-[0-9]+|\+deb[0-9]+)-amd64")
    found = [
        each for each in apt.run("apt-cache", "pkgnames", "linux-image-").split() if name.fullmatch(each)
    ]
    if not found:
        raise MissingError(f"Debian's {SUITES[kernel]} has no Linux {kernel} (any more)")
    newest = max(found, key=lambda each: [int(number) for number in re.findall("[0-9]+", each)])
    # Since 7.x the kernel itself and its modules are packages of their own.
    depends = apt.run("apt-cache", "depends", "--important", newest).split()
    parts = [each for each in depends if re.fullmatch(r"linux-(binary|modules)-.*", each)]
    return [newest, *parts]


def kernel_folder(cache: Path, kernel: str) -> Path:
    """The kernel's packages, unpacked; `modules_of` and `image_of` find what is in there."""
    folder = cache / kernel
    if folder.exists():
        return folder
    unpacked, packages = cache / f"{kernel}.partial", cache / f"{kernel}.packages"
    for leftover in (unpacked, packages):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.mkdir(parents=True)
    apt = Apt(cache / f"apt-{SUITES[kernel]}", SUITES[kernel])
    apt.run("apt-get", "download", *packages_of(apt, kernel), cwd=packages)
    for package in packages.glob("*.deb"):
        run("dpkg", "-x", package, unpacked)
    release = modules_of(unpacked).name
    base = cache / f"{kernel}.depmod"  # depmod looks into lib/modules only
    shutil.rmtree(base, ignore_errors=True)
    (base / "lib/modules").mkdir(parents=True)
    (base / "lib/modules" / release).symlink_to(modules_of(unpacked).resolve())
    run("depmod", "-b", base, release)
    shutil.rmtree(base)
    shutil.rmtree(packages)
    unpacked.rename(folder)
    return folder


def modules_of(folder: Path) -> Path:
    """The modules; the folder's name is the kernel's release."""
    return next(each for place in ("lib", "usr/lib") for each in (folder / place).glob("modules/*"))


def image_of(folder: Path) -> Path:
    """The kernel itself."""
    return next(each for place in (folder / "boot", modules_of(folder)) for each in place.glob("vmlinuz*"))


def root_image(cache: Path) -> Path:
    """A root file system with what `make test` installs, of the release this machine has.

    The checkout's virtual environment was made on this machine: it needs the same Python.
    """
    image = cache / "root.img"
    wanted = cache / "root.packages"
    if image.exists() and wanted.exists() and wanted.read_text().split() == list(PACKAGES):
        return image
    root = cache / "root"
    shutil.rmtree(root, ignore_errors=True)
    including = f"--include={','.join(PACKAGES)}"
    run("debootstrap", "--variant=minbase", including, release_of_this_machine(), root, archive())
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    make_image(root, image, spare=600)
    wanted.write_text("\n".join(PACKAGES))
    shutil.rmtree(root)
    return image


def release_of_this_machine() -> str:
    """Its code name. Raises MissingError where it has none."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise MissingError("this machine's release has no code name: debootstrap needs a Debian release")


def make_image(folder: Path, image: Path, *, spare: int) -> None:
    """An ext4 file system that holds the folder, with `spare` MB of room."""
    size = int(run("du", "-sm", folder).split()[0])
    partial = image.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    # Without checksums: their kernel module has another name in each line of kernels.
    run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum", "-d", folder, partial, f"{size * 11 // 10 + spare}M")
    partial.rename(image)


def checkout_image(cache: Path, checkout: Path) -> Path:
    """The checkout as it is, with its virtual environment, without what nothing needs there."""
    copy = cache / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(checkout, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    image = cache / "checkout.img"
    make_image(copy, image, spare=200)
    shutil.rmtree(copy)
    return image


def check_tools(tools: Sequence[str]) -> None:
    """Raises MissingError that names every package there is to install."""
    packages = {
        "busybox": "busybox-static",
        "cpio": "cpio",
        "debootstrap": "debootstrap",
        "depmod": "kmod",
        "mkfs.ext4": "e2fsprogs",
        "qemu-system-x86_64": "qemu-system-x86",
        "xz": "xz-utils",
    }
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [packages[tool] for tool in tools if shutil.which(tool, path=path) is None]
    if missing:
        raise MissingError(f"on Debian: apt-get install {' '.join(missing)}")
    if sys.prefix == sys.base_prefix:
        raise MissingError("run it with the checkout's virtual environment: make test-kernels")
    if not KEYRING.exists():
        raise MissingError("on Debian: apt-get install debian-archive-keyring")
    if os.geteuid() != 0:
        raise MissingError("needs root: debootstrap makes a root file system")
