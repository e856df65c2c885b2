"""Compiles what is hot in every package: `python -m workspace.compile [--beside] STAMP`.

`rover.building` says which modules these are and how each is compiled. Here the modules of all
packages share one pool. What has been compiled is kept in build/compiled under a key of all that went into
it. That is a copy of the sources, made when the module's turn comes: a change of them meanwhile changes
nothing that is compiled. The modules of a package are put in use, beside their sources, only when all of them
are there. So nothing half written is ever imported, nor old modules with new ones, and an interrupted
compilation goes on where it was.

With `--beside` the caller does not wait: a process with a session of its own compiles in idle processor
time, and puts nothing in use. The next start does. The stamp is made when all is in use.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import rover.building  # `from rover import` would import what is compiled, of an older checkout perhaps
from workspace.members import ROOT, members

KEPT = ROOT / "build/compiled"
CORE = ROOT / "core/src"
"""Whose declarations every package may take."""
SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")
PACKAGES = ["gcc", "libc6-dev", "libpython3-dev"]
"""Of Debian, where a compiler or the headers of Python are missing."""
MEMORY = 400 << 20
"""Bytes that the compiler may take for one module; 250 MB were seen."""
CIMPORT = re.compile(r"^\s*from\s+([\w.]+)\s+cimport\s", re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """A module that is compiled."""

    member: Path
    source: Path
    """The .py, with a .pxd beside it, or the .pyx."""

    @property
    def name(self) -> str:
        """As it is imported."""
        return ".".join(self.source.relative_to(self.member / "src").with_suffix("").parts)

    @functools.cached_property
    def kept(self) -> Path:
        """Where it is when it has been compiled."""
        return KEPT / f"{self.name}-{self._key()}{SUFFIX}"

    @property
    def failure(self) -> Path:
        """What the compiler said when it could not be compiled."""
        return self.kept.with_suffix(".failed")

    @property
    def used(self) -> Path:
        """Where Python finds it."""
        return self.source.with_name(self.source.stem + SUFFIX)

    def _key(self) -> str:
        """Of all that goes into it."""
        key = hashlib.sha256(f"{sys.version} {importlib.metadata.version('cython')}".encode())
        key.update(Path(rover.building.__file__).read_bytes())
        for _, content in sorted(self._read().items()):
            key.update(content)
        return key.hexdigest()[:16]

    def _read(self) -> dict[Path, bytes]:
        """What Cython reads, by its path below `src`: its own sources, and the declarations that it takes
        from others."""
        own = self.source.relative_to(self.member / "src")
        read: dict[Path, bytes] = {}
        waiting = [own, own.with_suffix(".pxd")]
        while waiting:
            path = waiting.pop()
            places = (source / path for source in (self.member / "src", CORE))
            if path not in read and (place := next((each for each in places if each.exists()), None)):
                read[path] = place.read_bytes()
                names = CIMPORT.findall(read[path].decode())
                waiting += [Path(*name.split(".")).with_suffix(".pxd") for name in names]
        return read

    def copied(self, folder: Path) -> Module:
        """The same, with its sources as they are now in a package of that folder."""
        for path, content in self._read().items():
            copy = folder / "src" / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            for package in list(path.parents)[:-1]:
                (folder / "src" / package / "__init__.py").touch()  # where Cython looks for declarations
        return Module(folder, folder / self.source.relative_to(self.member))


def modules_of(member: Path) -> list[Module]:
    """The modules of a package that are compiled."""
    with contextlib.chdir(member):
        names = rover.building.sources()
    return [Module(member, member / name) for name in names]


def build(module: Module) -> None:
    """Compiles a module that lies in a folder of its own. The folder takes all but the whole of it."""
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    with contextlib.chdir(module.member):
        extensions = rover.building.extensions([module.source.relative_to(module.member)], "build")
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.build_lib = command.build_temp = "build"
        command.ensure_finalized()
        for extension in extensions:
            extension.optional = False  # a failure is one, and tells
        command.run()
        Path(command.get_ext_fullpath(module.name)).replace(module.kept)


def start(module: Module) -> int:
    """Starts to compile a module, in a process that ends with 0 when it is kept."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with (
            tempfile.TemporaryDirectory(dir=KEPT, prefix="tmp") as folder,
            tempfile.NamedTemporaryFile(dir=KEPT, prefix="tmp") as log,
        ):
            copy = module.copied(Path(folder))
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                build(copy)
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                shutil.copyfile(log.name, copy.failure)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def compile_all(modules: list[Module]) -> list[Module]:
    """Compiles these, as many at once as there are processors and memory; those that could not be."""
    import setuptools.command.build_ext  # noqa: F401  # once, before the forks
    from Cython.Build import cythonize  # noqa: F401

    at_once = max(1, min(len(os.sched_getaffinity(0)), available_memory() // MEMORY))
    waiting = sorted(modules, key=lambda module: module.source.stat().st_size)  # the largest are begun first
    running: dict[int, Module] = {}
    failed = []
    while waiting or running:
        while waiting and len(running) < at_once:
            module = waiting.pop()
            running[start(module)] = module
        child, status = os.wait()
        module = running.pop(child)
        if status:
            failed.append(module)
    return failed


def available_memory() -> int:
    """Bytes."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) << 10 if found else 0


def put_in_use(member: Path, modules: list[Module]) -> bool:
    """Whether all of a package is compiled, and in use now. If not, nothing compiled is in use: a compiled
    module takes the layout of another's classes from its compiled form. What is not compiled any more is in
    use no more either."""
    whole = all(module.kept.exists() for module in modules)
    for path in set(member.joinpath("src").rglob("*" + SUFFIX)) - {module.used for module in modules}:
        path.unlink()
    if whole and all(module.used.exists() and same(module.used, module.kept) for module in modules):
        for module in modules:  # newer than its source, which was only touched
            os.utime(module.used)
        return True
    for path in member.joinpath("src").rglob("*" + SUFFIX):
        path.unlink()
    if whole:
        for module in modules:
            new = module.used.with_suffix(".new")
            shutil.copyfile(module.kept, new)
            new.replace(module.used)
    return whole


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same."""
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def tidy(modules: list[Module]) -> None:
    """Deletes what is not needed any more: of former sources, of interrupted processes. Nobody else may
    compile here: what lies there is in use until then."""
    needed = {module.kept for module in modules}
    for path in KEPT.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in needed and path.name not in ("lock", "log"):
            path.unlink()


def lacks_compiler() -> bool:
    """Whether a C compiler or Python's headers are missing."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    return not shutil.which(compiler) or not Path(sysconfig.get_path("include"), "Python.h").exists()


def install_compiler(become_root: str = "sudo") -> bool:
    """Whether there is a compiler now. What may not ask for a password runs in a session of its own: nothing
    that ends this process ends apt."""
    if lacks_compiler():
        command = [str(ROOT / "workspace/debian"), *PACKAGES]
        environment = os.environ | {"SUDO": become_root}
        subprocess.run(command, check=False, env=environment, start_new_session=become_root != "sudo")
    return not lacks_compiler()


def may_install() -> bool:
    """Whether this process may install Debian packages without asking for a password."""
    sudo = ["sudo", "-n", "true"]
    with contextlib.suppress(FileNotFoundError):  # no sudo
        return os.geteuid() == 0 or not subprocess.run(sudo, capture_output=True, check=False).returncode
    return False


@contextlib.contextmanager
def alone(*, wait: bool) -> Iterator[bool]:
    """Yields whether this process is the only one that compiles here. With `wait` it will be: a process that
    was started with `--beside` is ended, since it would take its time; another one is waited for. A process
    that it forks holds the lock, too, also when it is left alone: flock(2), unlike lockf(3)."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with open(KEPT / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not wait:
                yield False
                return
            lock.seek(0)
            if process := lock.read():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(process), signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        if os.getpgrp() == os.getpid() == os.getsid(0):
            lock.write(str(os.getpid()))
            lock.flush()
        yield True


def beside(missing: list[Module], stamp: Path) -> str:
    """Has a process of its own compile these, unless one does; what there is to say about it."""
    with alone(wait=False) as free:
        if not free:
            return "rover runs in plain Python: compiling beside it has not ended yet"
    if failures := [module.failure for module in missing if module.failure.exists()]:
        return f"rover runs in plain Python: compiling failed, see {failures[0].relative_to(ROOT)}"
    if lacks_compiler() and not may_install():
        return "rover runs in plain Python, which is slower: `make compile` installs a compiler and uses it"
    with open(KEPT / "log", "w") as log:
        subprocess.Popen(
            [sys.executable, "-m", "workspace.compile", "--idle", str(stamp)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    first = f"installing {' '.join(PACKAGES)} and " if lacks_compiler() else ""
    return f"{first}compiling {len(missing)} modules beside it, at idle priority: the next start uses them"


def every_module() -> dict[Path, list[Module]]:
    """By package, as their sources are now."""
    return {member: modules_of(member) for member in members() if (member / "setup.py").exists()}


def missing_of(modules: dict[Path, list[Module]]) -> list[Module]:
    """Those that have not been compiled."""
    return [module for of_member in modules.values() for module in of_member if not module.kept.exists()]


def compile_missing() -> int:
    """Compiles what has not been, and what was changed meanwhile; the exit code."""
    while missing := missing_of(every_module()):
        print(f"compiling {len(missing)} modules ... ", end="", file=sys.stderr, flush=True)
        begin = time.monotonic()
        failed = compile_all(missing)
        print("failed" if failed else f"{time.monotonic() - begin:.1f} s", file=sys.stderr)
        for module in failed:
            said = module.failure.read_text() if module.failure.exists() else "killed, or changed meanwhile"
            print(f"{module.name}:\n{said}", file=sys.stderr)
        if failed:
            return 1
    return 0


def main() -> int:
    """The exit code: 0 when all is in use, or on its way with `--beside`."""
    parser = argparse.ArgumentParser(prog="python -m workspace.compile", description="Compiles what is hot.")
    parser.add_argument("--beside", action="store_true", help="do not wait: compile beside what runs next")
    parser.add_argument("--idle", action="store_true", help="use idle processor time; put nothing in use")
    parser.add_argument("stamp", type=Path, help="the file that is made when all is in use")
    options = parser.parse_args()
    modules = every_module()
    missing = missing_of(modules)
    if options.idle:
        os.nice(19)
        with contextlib.suppress(OSError):  # where a container forbids it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with alone(wait=False) as free:
            return 0 if not free or (install_compiler("sudo -n") and not compile_all(missing)) else 1
    code = 0
    if missing and options.beside:
        print(beside(missing, options.stamp), file=sys.stderr)
    elif missing:
        if not install_compiler():
            return 1
        with alone(wait=True):
            code = compile_missing()
        modules = every_module()
    used = [put_in_use(member, of_member) for member, of_member in modules.items()]
    if all(used):
        with alone(wait=False) as free:
            if free:  # else the next start finds what there is to delete
                tidy([module for of_member in modules.values() for module in of_member])
        options.stamp.touch()
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
