"""What `packaging/` says, and running the agent the way it says."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd/rover.service"
MEMBERS = sorted(
    path.parent for path in [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")]
)


def unit_settings(path: Path = UNIT) -> dict[str, list[str]]:
    """The assignments of a unit file by key, in their order; no key is in two sections of ours."""
    settings: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def unit_capabilities() -> list[str]:
    """As setpriv(1) names them: `bpf`."""
    (value,) = unit_settings()["AmbientCapabilities"]
    return [name.removeprefix("CAP_").lower() for name in value.split()]


def as_nobody(capabilities: Iterable[str]) -> list[str]:
    """Begins a command that runs as another user than root, with these capabilities and no others."""
    given = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"),
        *(f"--bounding-set={given}", f"--inh-caps={given}", f"--ambient-caps={given}"),
    ]


def install(directory: Path) -> Path:
    """A virtual environment of rover and what it needs, copied from this one, that lies in `directory`
    and runs at that path. Returns its `rover`."""
    site = directory / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (directory / "bin").mkdir()
    for name in sorted(needed("rover-agent", set())):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if source.suffix != ".pth" and ".." not in file.parts and source.is_file():
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    for member in MEMBERS:
        for package in (member / "src").iterdir():
            if package.is_dir() and not package.name.endswith(".egg-info"):
                shutil.copytree(package, site / package.name, dirs_exist_ok=True)
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", directory)
    (directory / "bin/python").symlink_to(base_python())
    command = directory / "bin/rover"
    command.write_text(
        f"#!{directory}/bin/python\nimport sys\nfrom rover.cli import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    return command


def base_python() -> Path:
    """The interpreter outside the virtual environment."""
    return Path(sys._base_executable).resolve()  # type: ignore[attr-defined]


def needed(name: str, found: set[str]) -> set[str]:
    """A distribution and what it requires, without extras."""
    if name not in found:
        found.add(name)
        for requirement in importlib.metadata.requires(name) or ():
            text, _, marker = requirement.partition(";")
            if "extra" not in marker and (match := re.match(r"[\w.-]+", text)):
                try:
                    needed(match[0], found)
                except importlib.metadata.PackageNotFoundError:  # a marker leaves it out here
                    found.discard(match[0])
    return found


def cgroup_directory() -> Path | None:
    """Where cgroup v2 is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return Path(fields[1])
    return None


def missing_commands(names: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    return [name for name in names if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]


POD = """
set -e
mount --make-rprivate /
mount --rbind "$1" "$2"
mount --make-rprivate "$2"
mount -t proc proc "$2/proc"
mount -t sysfs -o ro sysfs "$2/sys"
mount --bind "$3" "$2/srv"
for writable in tmp var/cache var/lib; do mount -t tmpfs -o mode=0777 tmpfs "$2/$writable"; done
mkdir "$2/var/lib/rover"
mount -o remount,ro,bind "$2"
root=$2
shift 3
exec chroot "$root" "$@"
"""
"""An image's root, where to mount it, a folder for /srv; a command."""


def in_a_pod(image: Path, directory: Path, capabilities: Iterable[str]) -> list[str]:
    """Begins a command that runs as the container of packaging/kubernetes/daemonset.yaml does.

    That is the root user with these capabilities, in namespaces of its own except for the host's process
    numbers, with files that cannot be written to except for /tmp, /var/cache and /var/lib. `directory` has a
    folder `srv`, which is /srv there.
    """
    mounted = directory / "mounted"
    mounted.mkdir(exist_ok=True)
    given = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        *("unshare", "--mount", "--net", "--ipc", "--uts", "--cgroup"),
        *("sh", "-c", POD, "pod", str(image), str(mounted), str(directory / "srv")),
        *("setpriv", "--no-new-privs", f"--bounding-set={given}", "--inh-caps=-all"),
    ]
