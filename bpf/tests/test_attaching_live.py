"""Probes come into the files that processes run code from, and leave those that nobody does any more."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from rover.contracts.source import Selection
from rover.contracts.tls_library import Moment, TlsFunction, TlsLibrarySpec, TlsProbe, TlsProbes
from rover.files.elf import ElfError, opened
from rover_source_ebpf import attaching, tls

pytestmark = pytest.mark.live

Start = Callable[..., Any]
KINDS = {"acme_read": TlsFunction.READ, "acme_write": TlsFunction.WRITE}
SOURCE = """
#include <unistd.h>
long acme_write(long fd, const char *text, long size) { return write(fd, text, size); }
long acme_read(long fd, char *text, long size) { return read(fd, text, size); }
"""
CHILD = """
lib = ctypes.CDLL(sys.argv[1])
say("loaded"); hear()
s = connect(int(sys.argv[2]))
lib.acme_write(ctypes.c_long(s.fileno()), b"GET one", ctypes.c_long(7))
exactly(s, 7)
s.close()
say("done"); hear()
"""


def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | None:
    try:
        elf = opened(file)
        functions = elf.functions(*KINDS)
    except ElfError:
        return None
    if not functions:
        return None
    probes = [
        TlsProbe(offset=elf.entry(function.address), function=KINDS[name], moment=moment)
        for name, function in functions.items()
        for moment in (Moment.ENTRY, Moment.RETURN)
    ]
    return TlsProbes(library="Acme", probes=tuple(probes))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """One that nobody has loaded."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (Debian: gcc)")
    path = tmp_path / "libacme.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", path], input=SOURCE, text=True, check=True
    )
    return path


@pytest.fixture
def start(
    new_watch: Start, run: Start, listen: Start, ports: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Starts a source, which runs until the test is over, and programs that load a library."""
    if reason := tls.why_unsupported():
        pytest.skip(reason)
    monkeypatch.setattr(attaching, "PATIENCE", 0.05)
    started: list[Attached] = []

    def begin(selection: Selection = Selection()) -> Attached:  # noqa: B008
        (port,) = ports(1)
        listen(port, lambda connection: connection.sendall(connection.recv(100)))
        watch = new_watch(selection, libraries=[TlsLibrarySpec(name="acme", find=find)])
        started.append(Attached(watch, run, port))
        return started[-1]

    yield begin
    for each in started:
        each.watch.source.close()


class Attached:
    """A source, and programs that it watches."""

    def __init__(self, watch: Any, run: Start, port: int) -> None:
        self.watch = watch
        self._run = run
        self.port = port

    def program(self, library: Path) -> Any:
        """One that has loaded a library, and goes on when it is told to."""
        child = self._run(CHILD, library, self.port)
        assert child.hear() == "loaded"
        return child

    def has(self, file: os.stat_result) -> bool:
        """Whether there are probes in a file."""
        return any(key.inode == file.st_ino for key in self.watch.source._attaching._links)

    def wait(self, file: os.stat_result, *, there: bool = True) -> None:
        self.watch.until(lambda: self.has(file) is there, "probes" if there else "no probes")

    def speak(self, child: Any) -> list[bytes]:
        """Has a program say something; returns what was read of it as plaintext."""
        before = len(self.watch.of_port(self.port))
        child.say()
        assert child.hear() == "done"
        seen = self.watch.ended(self.port, before + 1)[before]
        self.watch.drain()
        return [data for _, data in seen.plaintext]


def test_a_library_that_ran_before_the_agent(start: Start, library: Path, run: Start) -> None:
    early = run(CHILD, library, "0")
    assert early.hear() == "loaded"
    attached = start()
    assert attached.has(library.stat())  # when the source has started


def test_a_library_that_is_loaded_later(start: Start, library: Path) -> None:
    attached = start()
    assert not attached.has(library.stat())
    child = attached.program(library)
    attached.wait(library.stat())
    assert attached.speak(child) == [b"GET one"]


def test_a_program_that_is_its_own_library(start: Start, tmp_path: Path) -> None:
    """Nothing is mapped by mmap, but by execve."""
    program, source = tmp_path / "program", tmp_path / "program.c"
    source.write_text(SOURCE + 'int main(void) { char c; write(1, "x", 1); read(0, &c, 1); return 0; }')
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    subprocess.run(["gcc", "-o", program, source], check=True)
    attached = start()
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        attached.wait(program.stat())
        process.communicate(b"x")


def test_a_library_that_is_replaced(start: Start, library: Path) -> None:
    """Who has the old file goes on with it, and who begins has the new one."""
    attached = start()
    old, first = attached.program(library), library.stat()
    attached.wait(first)
    other = library.with_name("new")
    shutil.copy(library, other)
    other.rename(library)
    new, second = attached.program(library), library.stat()
    attached.wait(second)
    assert first.st_ino != second.st_ino
    assert attached.speak(old) == attached.speak(new) == [b"GET one"]


def test_a_library_that_was_deleted_before_it_is_looked_at(start: Start, library: Path, run: Start) -> None:
    child = run(CHILD, library, "0")
    assert child.hear() == "loaded"
    file = library.stat()
    library.unlink()
    assert start().has(file)


def test_probes_leave_a_file_that_nobody_runs_code_from(
    start: Start, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And come back when somebody does."""
    monkeypatch.setattr(attaching, "UNUSED_INTERVAL", 0.0)
    attached = start()
    for _ in range(2):
        child = attached.program(library)
        attached.wait(library.stat())
        assert attached.speak(child) == [b"GET one"]
        child.say()
        assert child.end() == 0
        attached.wait(library.stat(), there=False)


def test_where_processes_are_selected_others_have_no_probes(start: Start, library: Path, run: Start) -> None:
    other = library.with_name("libother.so")
    shutil.copy(library, other)
    early = run(CHILD, other, "0")
    assert early.hear() == "loaded"
    attached = start(Selection(pids=(os.getpid(),)))  # and its descendants
    assert attached.has(other.stat())
    attached = start(Selection(comms=("nobody",)))
    attached.program(library)
    attached.watch.drain()
    assert attached.watch.source._attaching._links == {}


def test_nothing_is_left_when_the_source_ends(start: Start, library: Path) -> None:
    attached = start()
    child = attached.program(library)
    attached.wait(library.stat())
    before = len(links())
    attached.watch.source.close()
    assert len(links()) < before  # one link or two for each file: see tls.py
    child.say()
    assert child.hear() == "done"


def links() -> list[str]:
    """Of the descriptors of this process, those that hold probes."""
    held = []
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            held.append(Path("/proc/self/fdinfo", name).read_text())
        except OSError:
            continue
    return [text for text in held if "uprobe" in text]
