"""Others do not pay for the probes of the selected, and the selected lose nothing by that."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import Selection
from rover.contracts.tls_library import Moment, TlsFunction, TlsLibrarySpec, TlsProbe, TlsProbes
from rover.files.elf import ElfError, opened
from rover.values.records import Direction
from rover_source_ebpf import attaching, tls
from rover_source_ebpf.reach import EVERYBODY, Reach

pytestmark = pytest.mark.live

Start = Callable[..., Any]
KINDS = {"acme_read": TlsFunction.READ, "acme_write": TlsFunction.WRITE}
SOURCE = """
#include <unistd.h>
long acme_write(long fd, const char *text, long size) { return write(fd, text, size); }
long acme_read(long fd, char *text, long size) { return read(fd, text, size); }
"""
SELECTED = """
load = lambda: ctypes.CDLL(sys.argv[1])
if sys.argv[3] == "early": lib = load()
def speak(text):
    s = connect(int(sys.argv[2]))
    lib.acme_write(ctypes.c_long(s.fileno()), text, ctypes.c_long(len(text)))
    if text == b"slow": say("waiting")
    room = ctypes.create_string_buffer(100)
    lib.acme_read(ctypes.c_long(s.fileno()), room, ctypes.c_long(100))
    s.close(); say("done")
say("begun")
while True:
    heard = hear()
    if heard == "load": lib = load(); say("loaded")
    elif heard == "fork":
        child = os.fork()
        if child: os.waitpid(child, 0)
        else: say(os.getpid())
    elif heard == "exec":
        threading.Thread(target=os.execv, args=(sys.executable, sys.orig_argv)).start()
        time.sleep(60)
    elif heard == "end": os._exit(0)
    else: speak(heard.encode())
"""
OTHER = """
lib = ctypes.CDLL(sys.argv[1])
say("begun")
while hear():
    for _ in range(1000): lib.acme_read(ctypes.c_long(-1), None, ctypes.c_long(0))
    say("done")
"""


def find(file: Any, needed: Callable[[str], Any]) -> TlsProbes | None:
    try:
        functions = (elf := opened(file)).functions(*KINDS)
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


class Watched:
    """A source that watches two processes, which may be told what to do, one of which has a library, beside
    one that calls the library often."""

    def __init__(
        self, new_watch: Start, run: Start, port: int, library: Path, patch: pytest.MonkeyPatch
    ) -> None:
        self.port = port
        self._patch = patch
        self._ended = 0
        self.child = run(SELECTED, library, port, "early")
        self.late = run(SELECTED, library, port, "later")
        assert self.child.hear() == self.late.hear() == "begun"
        self._other = run(OTHER, library)
        assert self._other.hear() == "begun"
        spec = TlsLibrarySpec(name="acme", find=find)
        self.watch = new_watch(Selection(pids=(self.child.pid, self.late.pid)), libraries=[spec])

    @property
    def reach(self) -> Reach | None:
        """Of the probes in the library."""
        return next(iter(self.watch.source._attaching._links.values()), None)

    def wait_for(self, *processes: int) -> None:
        """Until the probes are in these, while the other one calls the library. How often it does in a second
        is the scheduler's affair: here any call is often, and elsewhere none is, so that the probes do not
        leave the whole file before a test has seen them there."""
        with self._patch.context() as patch:
            patch.setattr(attaching, "MANY", 1e-9)
            self.watch.until(
                lambda: self.others() is not None and self.reach and {*self.reach.processes} == {*processes},
                f"probes in {processes}",
            )

    def others(self) -> int:
        """How many of a thousand calls of the other process hit a probe."""
        before = self.watch.source._calls_of_others()
        self._other.say()
        assert self._other.hear() == "done"
        return int(self.watch.source._calls_of_others() - before)

    def plaintext(self, text: str) -> list[tuple[Direction, bytes]]:
        """What a connection said, which has ended."""
        self._ended += 1
        seen = self.watch.ended(self.port, self._ended)[-1]
        self.watch.drain()
        said = [(plaintext.direction, data) for plaintext, data in seen.plaintext]
        assert said[0] == (Direction.EGRESS, text.encode())
        return said

    def speak(self, text: str, child: Any = None) -> None:
        """Both what was sent and what came is seen."""
        child = child or self.child
        child.say(text)
        assert child.hear() == "done"
        assert self.plaintext(text) == [(Direction.EGRESS, text.encode()), (Direction.INGRESS, text.encode())]


@pytest.fixture
def gate() -> threading.Event:
    """Lets slow answers out."""
    return threading.Event()


@pytest.fixture
def begin(
    new_watch: Start,
    run: Start,
    listen: Start,
    ports: Any,
    gate: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Watched]]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (Debian: gcc)")
    if reason := tls.why_unsupported():
        pytest.skip(reason)
    library = tmp_path / "libacme.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=SOURCE, text=True, check=True
    )
    monkeypatch.setattr(attaching, "PATIENCE", 0.05)
    monkeypatch.setattr(attaching, "CALM", 0.3)
    monkeypatch.setattr(attaching, "MANY", math.inf)
    started: list[Watched] = []

    def answer(connection: socket.socket) -> None:
        text = connection.recv(100)
        if text == b"slow":
            gate.wait()
        connection.sendall(text)

    def start() -> Watched:
        (port,) = ports(1)
        listen(port, answer)
        started.append(Watched(new_watch, run, port, library, monkeypatch))
        return started[-1]

    yield start
    gate.set()
    for each in started:
        each.watch.source.close()


def test_others_do_not_pay(begin: Start) -> None:
    watched = begin()
    assert watched.others() == 1000
    watched.speak("zero")  # at a process's first call its verdict is made, as if it had begun
    watched.wait_for(watched.child.pid)
    watched.watch.until(lambda: not watched.others(), "others to hit no probe")
    watched.speak("one")
    assert not watched.others()


def test_a_call_that_lasts_over_the_change(begin: Start, gate: threading.Event) -> None:
    """Whichever of the two it began by, its end is seen, and once."""
    watched = begin()
    slow = [(Direction.EGRESS, b"slow"), (Direction.INGRESS, b"slow")]
    watched.child.say("slow")
    assert watched.child.hear() == "waiting"
    watched.wait_for(watched.child.pid)
    gate.set()
    assert watched.child.hear() == "done"
    assert watched.plaintext("slow") == slow
    gate.clear()
    watched.child.say("slow")
    assert watched.child.hear() == "waiting"
    watched.watch.source._attaching._widen()
    assert {*watched.reach.processes} == {EVERYBODY, watched.child.pid}
    gate.set()
    assert watched.child.hear() == "done"
    assert watched.plaintext("slow") == slow


def test_who_is_forked_is_not_missed(begin: Start) -> None:
    """Nor is who is forked from that one; when they have been there for a while, others do not pay again."""
    watched = begin()
    processes = {watched.child.pid}
    for _ in range(2):
        watched.wait_for(*processes)
        watched.child.say("fork")
        processes.add(watched.child.hear())
        watched.watch.until(lambda: EVERYBODY in watched.reach.processes, "probes in the whole file")
        watched.speak("one")
    watched.wait_for(*processes)
    watched.speak("two")
    watched.child.say("end")
    watched.child.say("one")  # the one that it was forked from goes on
    assert watched.child.hear() == "done"
    assert [data for _, data in watched.plaintext("one")] == [b"one", b"one"]


def test_who_runs_another_program_is_not_missed(begin: Start) -> None:
    """Its number stays, its main thread does not: the one that called execve(2) takes that one's place."""
    watched = begin()
    watched.wait_for(watched.child.pid)
    watched.child.say("exec")
    assert watched.child.hear() == "begun"
    watched.watch.until(lambda: EVERYBODY in watched.reach.processes, "probes in the whole file")
    watched.speak("one")
    watched.wait_for(watched.child.pid)
    watched.speak("two")


def test_who_loads_the_library_later_is_not_missed(begin: Start) -> None:
    """The file is known, because the other one has it."""
    watched = begin()
    watched.wait_for(watched.child.pid)
    watched.late.say("load")
    assert watched.late.hear() == "loaded"
    watched.watch.until(lambda: EVERYBODY in watched.reach.processes, "probes in the whole file")
    watched.speak("one", watched.late)
    watched.wait_for(watched.child.pid, watched.late.pid)
    watched.speak("two", watched.late)
