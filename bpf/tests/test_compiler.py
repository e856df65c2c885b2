"""Compiling in a process of its own, and not compiling what was compiled before."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rover.contracts.source import Selection
from rover.errors import RoverError
from rover_source_ebpf import compiler, programs
from rover_source_ebpf.cache import Cache
from rover_source_ebpf.compiler import Compiler
from rover_source_ebpf.image import Image
from rover_source_ebpf.settings import SETTINGS
from rover_source_ebpf.source import EbpfSource
from rover_source_ebpf.verdict import last_lines, useful_line

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
DEADLINE = 60.0


def compile_nothing(compiler: Compiler) -> Image:
    return compiler.compile("", [], programs.C / "headers")


def is_gone(pid: int) -> bool:
    """Whether a process has ended: its parent may not have noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
        time.sleep(0.005)


# -- the process ----------------------------------------------------------------------------------


def test_no_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The loader finds this one first."""
    (tmp_path / "libbcc.so.0").write_bytes(b"no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    for ask in (compile_nothing, Compiler.describe):
        with Compiler() as started, pytest.raises(RoverError) as caught:
            ask(started)
        assert "libbcc.so.0" in str(caught.value)
        assert "apt-get install python3-bpfcc" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_one_that_is_killed() -> None:
    with Compiler() as started:
        os.kill(started.pid, signal.SIGKILL)
        with pytest.raises(RoverError, match="the compiler was ended by signal 9"):
            compile_nothing(started)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("", "the compiler ended with 0"),
        ("raise SystemExit(3)", "the compiler ended with 3"),
        ("raise ValueError('x')", "ended with 1: ValueError: x"),
        ("print('[1]')", "the compiler ended with 0"),
        ("print('{}')", "the compiler's answer cannot be read"),
        ('print(\'{"maps": [[1]], "functions": []}\')', "the compiler's answer cannot be read"),
        ("import sys; print('{\"failed\": \"x\"}'); sys.exit('c.c:1: error: y')", "c.c:1: error: y"),
        ('print(\'{"failed": "x"}\')', "(compile): x"),
        ('print(\'{"missing": "a\\\\nb"}\')', "a\\nb"),
    ],
)
def test_answers_that_are_none(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(compiler, "PROGRAM", tmp_path / "program.py")
    with Compiler() as started, pytest.raises(RoverError) as caught:
        compile_nothing(started)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_does_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setattr(compiler, "PROGRAM", tmp_path / "program.py")
    monkeypatch.setattr(compiler, "PATIENCE", 0.1)
    with Compiler() as started, pytest.raises(RoverError, match=r"did not end within 0\.1 s"):
        compile_nothing(started)
    assert is_gone(started.pid)


def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RoverError, match="/nowhere/python"):
        Compiler()


def test_it_ends_with_what_started_it() -> None:
    """However that ends: here by a signal that nobody can act on."""
    code = (
        "from rover_source_ebpf.compiler import Compiler; import time\n"
        "c = Compiler(); print(c.pid, flush=True); time.sleep(1000)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    until(lambda: is_gone(pid), "the compiler to end")


# -- the programs -----------------------------------------------------------------------------------


def image(cache: Cache, **settings: int) -> Image:
    source = EbpfSource(DEFAULTS | settings, Selection())
    return programs.image(source._macros(), source._tracepoints(), cache)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The compilers that were started."""
    pids: list[int] = []
    make = Compiler.__init__

    def count(self: Compiler) -> None:
        make(self)
        pids.append(self.pid)

    monkeypatch.setattr(Compiler, "__init__", count)
    return pids


@pytest.mark.live
def test_it_compiles_once(live: None, tmp_path: Path, started: list[int]) -> None:
    cache = Cache(tmp_path)
    tmp_path.chmod(0o700)
    first = image(cache)
    assert len(started) == 1
    assert is_gone(started[0])
    assert {each.name for each in first.maps} >= {"events_0", "conns", "stages", "counters"}
    assert {f"on_{name}" for name in first.tracepoints} <= {each.name for each in first.functions}
    assert image(cache) == first
    assert len(started) == 1
    image(cache, max_connections=1000)
    assert len(started) == 2

    # Another compiler: the files that were one have changed, or are gone.
    (key,) = [name for name in os.listdir(tmp_path) if Image.from_bytes(kept(cache, name)) == first]
    for change in ({"size": 1}, {"modified": 1}, {"path": "/nowhere"}):
        old = dataclasses.replace(first.compiler[0], **change)
        other = dataclasses.replace(first, compiler=(*first.compiler[1:], old))
        cache.put(key.removesuffix(".image"), other.to_bytes())
        before = len(started)
        assert image(cache) == first
        assert len(started) == before + 1


def kept(cache: Cache, name: str) -> bytes:
    content = cache.get(name.removesuffix(".image"))
    assert content is not None
    return content


@pytest.mark.live
def test_without_a_cache_it_compiles_each_time(live: None, started: list[int]) -> None:
    assert image(Cache(None)) == image(Cache(None))
    assert len(started) == 2


def test_the_key_has_everything_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    types = tmp_path / "vmlinux"
    types.write_bytes(b"types")
    package = tmp_path / "package"
    (package / "c").mkdir(parents=True)
    for name in ("kernel.py", "c/maps.c", "c/wire.h"):
        (package / name).write_text(name)
    monkeypatch.setattr(programs, "VMLINUX", types)
    monkeypatch.setattr(programs, "PACKAGE", package)
    key = programs.key_of({"A": 1, "B": 2}, ["x"])
    assert key == programs.key_of({"B": 2, "A": 1}, ["x"])
    keys = [key, programs.key_of({"A": 1, "B": 3}, ["x"]), programs.key_of({"A": 1, "B": 2}, ["y"])]
    for changed in (types, package / "kernel.py", package / "c/maps.c", package / "c/wire.h"):
        changed.write_text("changed")
        keys.append(programs.key_of({"A": 1, "B": 2}, ["x"]))
    (package / "c/wire.h").rename(package / "c/other.h")
    keys.append(programs.key_of({"A": 1, "B": 2}, ["x"]))
    assert len(set(keys)) == len(keys)
    types.unlink()
    assert programs.key_of({}, []) == "", "what cannot be known is not kept"


# -- interrupted ------------------------------------------------------------------------------------


SLOW = """
import os, runpy, sys, time
program = runpy.run_path({program!r})
program["die_with"](int(sys.argv[1]))
with open({said!r}, "w") as said:
    said.write(str(os.getpid()))
time.sleep(1000)
"""
"""A compiler that never comes to an end."""
AGENT = """
import pathlib, sys
from rover_source_ebpf import compiler
compiler.PROGRAM = pathlib.Path({program!r})
from rover.cli import main
main(["run"])
"""


@pytest.mark.live
@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
    ids=["ctrl-c", "term", "kill"],
)
def test_an_end_while_it_compiles(live: None, tmp_path: Path, number: signal.Signals, to_group: bool) -> None:
    """At once, without a word, without a process or a piece of a file left over."""
    program, said = tmp_path / "slow.py", tmp_path / "said"
    os.mkfifo(said)
    program.write_text(SLOW.format(program=str(compiler.PROGRAM), said=str(said)))
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT.format(program=str(program))],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "CACHE_DIRECTORY": str(tmp_path / "cache")},
        start_new_session=True,
    )
    try:
        child = int(said.read_text())
        (os.killpg if to_group else os.kill)(agent.pid, number)
        out, err = agent.communicate(timeout=DEADLINE)
    finally:
        agent.kill()
        agent.communicate()
    assert agent.returncode == -number
    assert out == err == b""
    until(lambda: is_gone(child), "the compiler to end")
    assert not (tmp_path / "cache").exists()


@pytest.mark.live
def test_the_agent_never_loads_the_compiler(live: None, tmp_path: Path) -> None:
    """Cold or warm; and then it is small."""
    environment = {**os.environ, "CACHE_DIRECTORY": str(tmp_path / "cache")}
    for _ in range(2):
        agent = subprocess.Popen(
            [sys.executable, "-m", "rover", "run", "--port", "1"],
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            assert agent.stderr is not None
            assert "watching" in agent.stderr.readline()
            maps = Path(f"/proc/{agent.pid}/maps").read_text()
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines()
            )
        finally:
            agent.terminate()
            agent.communicate(timeout=DEADLINE)
        assert "libbcc" not in maps
        assert "LLVM" not in maps
        assert int(status["VmRSS"].split()[0]) < 70 * 1024


# -- what is said -----------------------------------------------------------------------------------

VERIFIER = (
    "func#0 @0\n0: R1=ctx()\n; x @ y.c:1\n1: (61) r1 = 0\nR9 invalid mem access 'scalar'\n"
    "verification time 12 usec\nstack depth 0\nprocessed 130 insns (limit 1000000) max_states_per_insn 0\n\n"
)


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ("", ""),
        (
            "maps.c:3:1: warning: x\nsyscalls.c:9:5: error: use of undeclared identifier 'y'\n  y\n"
            "1 error generated.\n",
            "syscalls.c:9:5: error: use of undeclared identifier 'y'",
        ),
        (VERIFIER, "R9 invalid mem access 'scalar'"),
    ],
    ids=["nothing", "compiler", "verifier"],
)
def test_the_useful_line(printed: str, line: str) -> None:
    assert useful_line(printed) == line


def test_the_last_lines() -> None:
    assert last_lines(VERIFIER)[-2:] == ["1: (61) r1 = 0", "R9 invalid mem access 'scalar'"]
    assert last_lines("") == []


def test_what_the_child_says_is_json(tmp_path: Path) -> None:
    """And its standard output is nothing else's: the library may print there."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(compiler.PROGRAM), str(os.getpid())],
        input=b"null",
        capture_output=True,
        timeout=DEADLINE,
    )
    assert set(json.loads(done.stdout)) <= {"compiler", "missing"}
