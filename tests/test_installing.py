"""The packages as people install them: what is in them, and what runs in an environment with nothing else.

Nothing is downloaded: the packages of others come out of this environment. With ROVER_DIST, a directory that
`make dist` or CI has filled, its packages are tested; otherwise they are built here, the compiled ones around
what `make compile` has compiled.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.tags import parse_tag, sys_tags
from packaging.utils import canonicalize_name

from captures import Line, Segment, write_capture

ROOT = Path(__file__).parent.parent
MEMBERS = [
    ROOT / "core",
    ROOT / "bpf",
    *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")),
]
COMPILED = [member for member in MEMBERS if (member / "setup.py").exists()]
PUBLISHED = [*MEMBERS, ROOT]
PROJECTS = {member: tomllib.loads((member / "pyproject.toml").read_text())["project"] for member in PUBLISHED}
VERSION = PROJECTS[ROOT]["version"]
DEFAULT_SET = {Requirement(each).name for each in PROJECTS[ROOT]["dependencies"]}
BESIDE = [PROJECTS[member]["name"] for member in MEMBERS if PROJECTS[member]["name"] not in DEFAULT_SET]
"""Packages that are installed besides it."""
BUILT = ("*.so", "*.egg-info", "*.binpb", "__pycache__", "build", "dist", ".*")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PIP", "PYTHON", "ROVER", "UV", "VIRTUAL_ENV"))
}
HIDE_BCC = """
[ ! -d /usr/lib/python3/dist-packages/bcc ] || mount -t tmpfs none /usr/lib/python3/dist-packages/bcc
for library in $(ldconfig -p | sed -n 's/.*libbcc\\.so.* => //p'); do mount --bind /dev/null "$library"; done
exec "$@"
"""

pytestmark = pytest.mark.timeout(600)
READY = os.environ.get("ROVER_DIST")
needs_compiled = pytest.mark.skipif(False, reason="") if READY else pytest.mark.compiled


class Packages(NamedTuple):
    """Directories with packages."""

    plain: Path
    """Of all members: source distributions, and wheels for every Python."""
    compiled: Path
    """Wheels for this Python and this machine, of the members that have any."""


def run(*command: str | Path, **variables: str | Path) -> str:
    """Returns what it printed."""
    environment = ENVIRONMENT | {name: str(value) for name, value in variables.items()}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy(member: Path, directory: Path, *, ignored: tuple[str, ...] = BUILT) -> Path:
    return shutil.copytree(member, directory / member.name, ignore=shutil.ignore_patterns(*ignored))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    directory = tmp_path_factory.mktemp("packages")
    found = Packages(directory / "plain", directory / "compiled")
    found.compiled.mkdir()
    if READY:
        found.plain.mkdir()
        for package in Path(READY).iterdir():
            is_plain = package.name.endswith((".tar.gz", "-none-any.whl"))
            shutil.copy(package, found.plain if is_plain else found.compiled)
        return found
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", found.plain)
    for member in MEMBERS:
        run(*build, copy(member, directory / "sources"), ROVER_COMPILE="0")
    root = directory / "sources/root"
    root.mkdir()
    shutil.copytree(ROOT / "docs", root / "docs")
    for name in ("pyproject.toml", "CHANGELOG.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, root)
    run(*build, root)
    return found


@pytest.fixture(scope="module")
def compiled(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled wheels."""
    if READY:
        return packages.compiled
    directory = tmp_path_factory.mktemp("compiled")
    built = f"build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    for member in COMPILED:
        there = copy(member, directory, ignored=("*.egg-info", "__pycache__", "lib.*", "temp.*", "bdist.*"))
        later = time.time() + 3600  # newer than all it was compiled from: it is not compiled again
        for extension in sorted((there / "src").rglob("*.so")):
            to = there / built / extension.relative_to(there / "src")
            to.parent.mkdir(parents=True, exist_ok=True)
            extension.rename(to)
            os.utime(to, (later, later))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "-w", packages.compiled, *(directory / member.name for member in COMPILED))
    return packages.compiled


# -- what is in them ------------------------------------------------------------------------------


def names(package: Path) -> set[str]:
    """The files of a wheel or of a source distribution, here without its directory."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return {name for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(package) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def the(directory: Path, member: Path, pattern: str) -> Path:
    """The one package of a member that matches."""
    stem = PROJECTS[member]["name"].replace("-", "_")
    (found,) = directory.glob(f"{stem}-{VERSION}{pattern}")
    return found


def sources(member: Path) -> set[str]:
    """What the repository has of a member's package."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone, which tell what belongs to a package")
    git = ("git", "-c", "safe.directory=*", "-C", ROOT)  # whoever owns the clone
    listed = run(*git, "ls-files", "-z", member / "src").split("\0")
    return {str((ROOT / name).relative_to(member / "src")) for name in listed if name}


def stems(files: Iterable[str], *suffixes: str) -> set[str]:
    """Without their suffixes, of those that have one of these."""
    return {name.partition(".")[0] for name in files if name.endswith(suffixes)}


def expected(member: Path) -> set[str]:
    """What a wheel holds besides its metadata and what is compiled."""
    declarations = ".pxd" if member == ROOT / "core" else ()  # with which other packages are compiled
    return {
        name for name in sources(member) if not name.endswith((".pxd", ".pyx")) or name.endswith(declarations)
    }


def hot(member: Path) -> set[str]:
    """The modules that are compiled, without their suffixes."""
    return stems(sources(member), ".pxd", ".pyx")


def content(wheel: Path) -> set[str]:
    return {name for name in names(wheel) if ".dist-info/" not in name}


@pytest.mark.parametrize("member", PUBLISHED, ids=lambda m: PROJECTS[m]["name"])
def test_a_source_distribution_holds_what_it_is_built_from(member, packages):
    found = names(the(packages.plain, member, ".tar.gz"))
    assert {"pyproject.toml", "LICENSE", "NOTICE", PROJECTS[member]["readme"]} <= found
    if member != ROOT:
        built = {name for name in found if ".egg-info/" in name}
        assert {name for name in found - built if name.startswith("src/")} == {
            f"src/{name}" for name in sources(member)
        }
    assert not [
        name for name in found if name.startswith(("tests/", "build/")) or name.endswith((".so", ".binpb"))
    ]


@pytest.mark.parametrize("member", PUBLISHED, ids=lambda m: PROJECTS[m]["name"])
def test_a_plain_wheel_holds_what_runs_and_no_more(member, packages):
    wheel = the(packages.plain, member, "-py3-none-any.whl")
    if member == ROOT:
        assert content(wheel) == set()
    else:
        due = expected(member)
        compiled = {name.replace(".proto", ".binpb") for name in due if name.endswith(".proto")}
        assert content(wheel) == due | compiled
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name) for name in archive.namelist() if name.endswith("/METADATA"))
    assert {name.rpartition("/")[2] for name in names(wheel) if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert b"\nDescription-Content-Type: text/markdown\n" in metadata
    assert (member / PROJECTS[member]["readme"]).read_bytes().strip() in metadata


@needs_compiled
@pytest.mark.parametrize("member", COMPILED, ids=lambda m: PROJECTS[m]["name"])
def test_a_compiled_wheel_holds_what_is_compiled_as_well(member, compiled):
    wheel = the(compiled, member, f"-cp3{sys.version_info.minor}-*.whl")
    found = content(wheel)
    modules = {name for name in found if name.endswith(".so")}
    assert found - modules == expected(member)
    assert stems(modules, ".so") == hot(member)


# -- installed ------------------------------------------------------------------------------------


TESTED_WITH = ("hypothesis", "pytest")
"""What the plugins of authors are."""


def needed() -> dict[str, importlib.metadata.Distribution]:
    """What others have made and ours depend on, directly or not."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name for project in PROJECTS.values() for name in project["dependencies"]] + [*TESTED_WITH]
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in found and not name.startswith("rover-"):
            found[name] = importlib.metadata.distribution(name)
            waiting += found[name].requires or []
    return found


def repack(distribution: importlib.metadata.Distribution, directory: Path) -> None:
    """Writes the wheel that an installed distribution came from."""
    described = distribution.read_text("WHEEL") or ""
    tags = [line.removeprefix("Tag: ") for line in described.splitlines() if line.startswith("Tag: ")]
    tag = next(tag for tag in tags if not parse_tag(tag).isdisjoint(sys_tags()))
    name = canonicalize_name(distribution.name).replace("-", "_")
    left_out = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    files = [
        path
        for path in distribution.files or ()
        if not {"..", "__pycache__"} & set(path.parts) and path.name not in left_out
    ]
    (metadata,) = {path.parent for path in files if path.name == "METADATA"}
    with zipfile.ZipFile(directory / f"{name}-{distribution.version}-{tag}.whl", "w") as wheel:
        for path in files:
            wheel.write(path.locate(), str(path))
        record = metadata / "RECORD"
        wheel.writestr(str(record), "".join(f"{path},,\n" for path in [*files, record]))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels of others."""
    directory = tmp_path_factory.mktemp("others")
    for distribution in needed().values():
        repack(distribution, directory)
    return directory


def links(*directories: Path) -> list[str]:
    return ["--no-index", *(f"--find-links={directory}" for directory in directories)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two exchanges of HTTP/1.1."""
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    for target, status in (("/first", 200), ("/second", 404)):
        line.client(f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
        line.server(f"HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok".encode())
    line.close()
    return write_capture(tmp_path / "two.pcap", segments)


def replayed(rover: Path, capture: Path) -> list[str]:
    """The lines of its access logs."""
    command = (rover, "replay", "--sink", "jsonl", capture)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    logs = [json.loads(line) for line in lines]
    assert [(log["url.path"], log["http.response.status_code"]) for log in logs] == [
        ("/first", 200),
        ("/second", 404),
    ]
    return lines


def plainly_replayed(capture: Path) -> list[str]:
    """What the checkout in plain Python says."""
    code = "import plain; plain.install(); from rover.cli import main; main()"
    command = (sys.executable, "-c", code, "replay", "--sink", "jsonl", capture)
    variables = ENVIRONMENT | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def installed_by_pip(environment: Path, *directories: Path) -> Path:
    """Returns the command, in a new virtual environment that has every package."""
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python", "install", "-q")
    run(*pip, *links(*directories), "rover-agent", *BESIDE)
    return environment / "bin/rover"


def extensions(environment: Path) -> set[str]:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (site,) = environment.glob("lib/python3*/site-packages")
    found = (str(path.relative_to(site)) for path in site.rglob(f"rover*/**/*{suffix}"))
    return stems(found, ".so")


def test_pip_installs_all_of_it(packages, others, capture, tmp_path):
    rover = installed_by_pip(tmp_path / "environment", packages.plain, others)
    assert extensions(tmp_path / "environment") == set()
    assert replayed(rover, capture) == plainly_replayed(capture)
    listed = run(rover, "plugins")
    for project in PROJECTS.values():
        assert project["name"] == "rover-agent" or f"{project['name']} {VERSION}" in listed
    assert "failed" not in listed


@needs_compiled
def test_pip_prefers_what_is_compiled(packages, compiled, others, capture, tmp_path):
    rover = installed_by_pip(tmp_path / "environment", packages.plain, compiled, others)
    assert extensions(tmp_path / "environment") == set().union(*map(hot, COMPILED))
    assert replayed(rover, capture) == plainly_replayed(capture)


@pytest.mark.parametrize(
    ("kind", "provides"),
    [
        ("--protocol", "protocol my_lines"),
        ("--sink", "sink my_lines"),
        ("--hooks", "settings, handle_access_log, startup"),
    ],
)
def test_a_new_plugin_works_once_it_is_installed(kind, provides, packages, others, tmp_path):
    """Its tests pass, rover lists it, and a capture of its protocol gives its access logs."""
    rover = installed_by_pip(tmp_path / "environment", packages.plain, others)
    python = rover.with_name("python")
    written = tmp_path / "rover-plugin-my-lines"
    run(rover, "plugins", "new", "my-lines", kind, "--directory", written)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "built", written)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    run(*pip, *links(tmp_path / "built", others), "rover-plugin-my-lines[test]")
    assert " passed" in run(python, "-m", "pytest", "-W", "error", written)
    (listed,) = [line.split() for line in run(rover, "plugins").splitlines() if line.startswith("my_lines ")]
    assert " ".join(listed[1:]) == f"rover-plugin-my-lines 0.1.0 {provides}"
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    line.client(b"ask who\nask why\n")
    line.server(b"say me\n")
    line.server(b"say because\n")
    line.close()
    capture = write_capture(tmp_path / "lines.pcap", segments)
    if kind == "--hooks":
        return
    if kind == "--sink":
        out = tmp_path / "out"
        run(rover, "replay", "--sink", "my_lines", "--set", f"sink.my_lines.path={out}", capture)
        assert out.read_text().count("\tbreak\t") == out.read_text().count("\n")
        return
    said = [
        json.loads(log)
        for log in run(rover, "replay", "--sink", "jsonl", capture).splitlines()
        if log[0] == "{"
    ]
    assert [
        (log["network.protocol.name"], log["my_lines.question"], log["my_lines.answer"]) for log in said
    ] == [
        ("my_lines", "who", "me"),
        ("my_lines", "why", "because"),
    ]


def tool(name: str) -> Path:
    """An installer, from this environment or from PATH."""
    there = Path(sys.executable).with_name(name)
    found = there if there.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (pip install {name})")
    return Path(found)


def test_uv_tool_install_offers_the_command(packages, others, capture, tmp_path):
    uv = tool("uv")
    directories = {
        "UV_CACHE_DIR": tmp_path / "cache",
        "UV_TOOL_DIR": tmp_path / "tools",
        "UV_TOOL_BIN_DIR": tmp_path / "bin",
    }
    command = (uv, "tool", "install", "--offline", "--python", sys.executable)
    run(*command, *links(packages.plain, others), "rover-agent", **directories)
    assert replayed(tmp_path / "bin/rover", capture) == plainly_replayed(capture)


def test_pipx_install_offers_the_command(packages, others, capture, tmp_path):
    """With uv to do the work: with pip it begins by downloading the newest one."""
    pipx, uv = tool("pipx"), tool("uv")
    settings = {
        "PATH": f"{uv.parent}:{os.environ['PATH']}",
        "PIPX_HOME": tmp_path / "pipx",
        "PIPX_BIN_DIR": tmp_path / "bin",
        "UV_CACHE_DIR": tmp_path / "cache",
        "UV_FIND_LINKS": f"{packages.plain},{others}",
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }
    run(pipx, "install", "--backend", "uv", "--python", sys.executable, "rover-agent", **settings)
    assert replayed(tmp_path / "bin/rover", capture) == plainly_replayed(capture)


@pytest.mark.live
def test_without_bcc_it_says_what_to_install(packages, others, tmp_path):
    rover = installed_by_pip(tmp_path / "environment", packages.plain, others)
    for command in ("doctor", "run"):
        hidden = ("unshare", "--mount", "sh", "-ec", HIDE_BCC, "sh", rover, command)
        done = subprocess.run(hidden, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done
        said = [line for line in (done.stdout + done.stderr).splitlines() if "python3-bpfcc" in line]
        # The doctor says so once more where it could not compile the programs.
        starts = ("FAIL  bcc", "FAIL  programs") if command == "doctor" else ("rover: ",)
        assert [line.startswith(start) for line, start in zip(said, starts, strict=True)] == [True] * len(
            said
        )
