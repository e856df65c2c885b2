"""Setting up: what the Makefile and workspace/ do, in a workspace of two small modules."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAMPS = (".venv", ".run", ".compiled")
DEADLINE = 100.0
"""Seconds: the compiler takes one of a module here, and many times that on a busy machine."""


# -- make ----------------------------------------------------------------------------------------


def steps(*arguments: str) -> list[str]:
    """The commands that make would run in this checkout."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    make = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=bare, capture_output=True, text=True, check=True
    )
    return make.stdout.splitlines()


def environment(folder: Path, *stamps: str) -> str:
    """Has make believe that so much has been set up there, just now."""
    later = time.time() + 3600  # than every source
    for number, stamp in enumerate(stamps):
        (folder / stamp).touch()
        os.utime(folder / stamp, (later + number, later + number))
    return f"VENV={folder}"


def test_with_nothing_changed_make_run_only_runs(tmp_path):
    found = steps("run", environment(tmp_path, *STAMPS))
    assert [command.split("/")[-1].strip() for command in found] == ["rover run"]


def test_make_run_does_not_wait_for_the_compiler_and_make_test_does(tmp_path):
    venv = environment(tmp_path, ".venv", ".run")
    assert any("workspace.compile --beside" in command for command in steps("run", venv))
    (tested,) = [command for command in steps("compile", venv) if "workspace.compile" in command]
    assert "--beside" not in tested


def test_after_an_interrupted_pip_the_environment_is_made_again(tmp_path):
    venv = environment(tmp_path, ".unsure", ".run", ".compiled")
    assert any("-m venv --clear" in command for command in steps("run", venv))


def test_every_package_is_built_again_when_its_metadata_changes(tmp_path):
    venv = environment(tmp_path, *STAMPS)
    for member in ("core", "bpf", "plugins/sink_oap", "."):
        found = steps("run", venv, "-W", os.path.normpath(f"{member}/pyproject.toml"))
        assert any("workspace.editable" in command for command in found), member


# -- the scripts that make calls -----------------------------------------------------------------


def run(*command: object, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=os.environ | variables, capture_output=True, text=True
    )


def test_a_step_is_one_line_with_its_time():
    done = run("workspace/step", "doing this", "sh", "-c", "echo noise; echo more >&2")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("doing this ... ")
    assert done.stderr.endswith(" s\n")
    assert done.stderr.count("\n") == 1


def test_a_step_that_fails_shows_what_was_said():
    done = run("workspace/step", "doing this", "sh", "-c", "echo reason; exit 7")
    assert done.returncode == 7
    assert done.stderr == "doing this ... failed\nreason\n"


def test_debian_packages_that_are_there_are_not_installed_again():
    if not shutil.which("dpkg-query"):
        pytest.skip("needs dpkg")
    done = run("workspace/debian", "dpkg", "coreutils")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_requirements_are_those_of_all_packages_and_none_of_ours():
    found = run(sys.executable, "-m", "workspace.members").stdout.splitlines()
    names = {line.partition(">")[0] for line in found}
    assert {"pluggy", "hpack", "orjson", "grpcio", "setuptools", "cython", "hatchling"} <= names
    assert not [name for name in names if name.startswith("rover")]
    assert "pytest" in run(sys.executable, "-m", "workspace.members", "dev").stdout.splitlines()


# -- compiling -----------------------------------------------------------------------------------

COMPILER = """#!/bin/sh
# The C compiler; for a module that is named here it does not go on before it is told.
for word; do
  case $word in *"$HANG_AT"*.c) : >"$HANGS"; while [ ! -e "$HANGS.over" ]; do sleep 0.1; done ;; esac
done
exec gcc "$@"
"""


class Workspace:
    """A workspace with one package of two modules, `outer` with a class derived from one of `inner`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "core/src/sample"
        self.stamp = root / "stamp"
        self.hangs = root / "hangs"
        """Is there when the compiler hangs."""
        self.source.mkdir(parents=True)
        shutil.copytree(ROOT / "workspace", root / "workspace")
        shutil.copy(ROOT / "core/setup.py", root / "core")  # says that it is compiled
        (root / "core/pyproject.toml").touch()
        (self.source / "__init__.py").touch()
        self.write("inner", "class Inner:\n    pass\n", "cdef class Inner:\n    cdef public int number\n")
        self.write(
            "outer",
            "from sample.inner import Inner\nclass Outer(Inner):\n    pass\n",
            "from sample.inner cimport Inner\ncdef class Outer(Inner):\n    pass\n",
        )
        compiler = root / "compiler"
        compiler.write_text(COMPILER)
        compiler.chmod(0o755)
        self.variables = {"CC": str(compiler), "HANG_AT": "nothing", "HANGS": str(self.hangs)}

    def write(self, name: str, python: str, declarations: str) -> None:
        (self.source / f"{name}.py").write_text(python)
        (self.source / f"{name}.pxd").write_text(declarations)

    def start(self, *options: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "workspace.compile", *options, str(self.stamp)],
            cwd=self.root,
            env=os.environ | self.variables | variables,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def compile(self, *options: str, **variables: str) -> tuple[int, str]:
        """Its exit code, and what it said."""
        process = self.start(*options, **variables)
        said = process.communicate(timeout=DEADLINE)[1]
        return process.returncode, said

    def used(self) -> set[str]:
        """The compiled modules that Python would import."""
        return {path.name.partition(".")[0] for path in self.source.glob("*.so")}

    def kept(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "build/compiled").glob("sample*.so")}

    def imports(self, number: int = 1) -> str:
        """The file that `outer` is imported from, whose class takes this number."""
        script = f"import sample.outer as outer; outer.Outer().number = {number}; print(outer.__file__)"
        done = run(sys.executable, "-c", script, cwd=self.root / "core/src", PYTHONDONTWRITEBYTECODE="1")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def workspace(tmp_path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    run("sh", "-c", f"kill -9 -$(cat {tmp_path}/build/compiled/lock)")  # what compiles beside it


@pytest.mark.compiled
def test_all_modules_are_compiled_once(workspace):
    code, said = workspace.compile()
    assert (code, workspace.used()) == (0, {"inner", "outer"}), said
    assert said.startswith("compiling 2 modules ... ")
    assert workspace.imports().endswith(".so")
    assert workspace.stamp.exists()
    before = workspace.kept()
    assert workspace.compile() == (0, "")
    assert workspace.kept() == before


@pytest.mark.compiled
def test_what_was_interrupted_is_not_used_and_goes_on_where_it_was(workspace):
    process = workspace.start(HANG_AT="outer")
    until(workspace.hangs.exists)
    until(lambda: len(workspace.kept()) == 1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    process.stderr.close()
    assert workspace.used() == set()
    assert not workspace.stamp.exists()
    assert workspace.imports().endswith(".py")
    kept = workspace.kept()
    code, said = workspace.compile()
    assert code == 0
    assert said.startswith("compiling 1 modules ... ")
    assert workspace.kept().items() > kept.items()
    assert workspace.imports().endswith(".so")
    assert not list((workspace.root / "build/compiled").glob("tmp*"))


@pytest.mark.compiled
def test_beside_nobody_waits_and_nothing_is_used_until_the_next_start(workspace):
    code, said = workspace.compile("--beside", HANG_AT="outer")
    assert code == 0
    assert said == "compiling 2 modules beside it, at idle priority: the next start uses them\n"
    until(workspace.hangs.exists)
    assert workspace.used() == set()
    assert "has not ended" in workspace.compile("--beside")[1]
    # Who cannot wait takes it over.
    code, said = workspace.compile()
    assert (code, workspace.used()) == (0, {"inner", "outer"}), said


@pytest.mark.compiled
def test_what_was_compiled_beside_it_is_used_by_the_next_start(workspace):
    workspace.compile("--beside")
    until(lambda: len(workspace.kept()) == 2)
    assert workspace.used() == set()
    assert workspace.compile("--beside") == (0, "")
    assert workspace.used() == {"inner", "outer"}
    assert workspace.stamp.exists()


@pytest.mark.compiled
def test_nothing_is_deleted_while_somebody_compiles(workspace):
    """Who compiles may have kept its last module, and not have ended."""
    workspace.compile()
    folder = workspace.root / "build/compiled"
    (folder / "tmpfolder").mkdir()
    (folder / "tmplog").touch()
    with open(folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert workspace.compile() == (0, "")
        assert len(list(folder.glob("tmp*"))) == 2
    assert workspace.compile() == (0, "")
    assert not list(folder.glob("tmp*"))


@pytest.mark.compiled
def test_who_compiles_a_module_is_not_forgotten_when_its_parent_is_killed(workspace):
    process = workspace.start(HANG_AT="outer")
    try:
        until(workspace.hangs.exists)
        process.kill()
        process.wait(DEADLINE)
        assert "has not ended" in workspace.compile("--beside")[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE)
    code, said = workspace.compile()
    assert (code, workspace.used()) == (0, {"inner", "outer"}), said


@pytest.mark.compiled
def test_of_a_package_that_has_changed_nothing_compiled_is_used(workspace):
    """Neither what is old, nor the module that takes the layout of another's class from its compiled form."""
    workspace.compile()
    workspace.write("inner", "class Inner:\n    pass\n", "cdef class Inner:\n    cdef public long number\n")
    workspace.compile("--beside", HANG_AT="sample")
    assert workspace.used() == set()
    assert workspace.imports().endswith(".py")
    code, said = workspace.compile()
    assert (code, workspace.used()) == (0, {"inner", "outer"})
    assert said.startswith("compiling 2 modules ... ")  # outer takes declarations from inner


@pytest.mark.compiled
def test_what_changes_while_it_is_compiled_is_compiled_as_it_is_then(workspace):
    process = workspace.start(HANG_AT="inner")
    until(workspace.hangs.exists)
    workspace.write(
        "inner", "class Inner:\n    pass\n", "cdef class Inner:\n    cdef public long long number\n"
    )
    workspace.hangs.with_suffix(".over").touch()
    said = process.communicate(timeout=DEADLINE)[1]
    assert (process.returncode, workspace.used()) == (0, {"inner", "outer"}), said
    assert said.count("compiling ") == 2
    assert workspace.imports(1 << 40).endswith(".so")
    assert workspace.compile() == (0, "")


@pytest.mark.compiled
def test_what_is_not_compiled_any_more_is_not_used_any_more(workspace):
    workspace.compile()
    (workspace.source / "outer.pxd").unlink()
    assert workspace.compile() == (0, "")
    assert workspace.used() == {"inner"}
    assert workspace.imports().endswith(".py")


@pytest.mark.compiled
def test_a_module_that_cannot_be_compiled_is_told_and_python_runs(workspace):
    workspace.write("outer", "import nothing that\n", "cdef int number\n")
    code, said = workspace.compile()
    assert code == 1
    assert "sample.outer" in said
    assert workspace.used() == set()
    code, said = workspace.compile("--beside")
    assert code == 0
    assert "compiling failed, see build/compiled/sample.outer-" in said
