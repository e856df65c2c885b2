"""What is watched: process, name, port, cgroup; and what never is."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import Selection
from rover.errors import RoverError
from rover_source_ebpf.selection import cgroup_root

pytestmark = pytest.mark.live

Start = Callable[..., Any]

SAYS_ITS_NAME = "s = connect(int(sys.argv[1])); s.send(sys.argv[2].encode()); s.recv(1); s.close()"
"""Closes when the peer has: all its records are made before the peer's end is seen."""


class Port:
    """An unwatched server; `heard` is what came, in the order of the connections."""

    def __init__(self, port: int, listen: Start) -> None:
        self.number = port
        self.heard: list[bytes] = []
        listen(port, self._answer)

    def _answer(self, peer: socket.socket) -> None:
        self.heard.append(peer.recv(100))


def payloads(watch: Any, *ports: int) -> set[bytes]:
    """Of everything, or of some ports' connections."""
    watch.drain()
    connections = [seen for port in ports for seen in watch.of_port(port)] if ports else None
    everything = watch.recorder.connections.values() if connections is None else connections
    return {payload for seen in everything for _, payload in seen.calls if payload}


def test_processes_and_their_descendants(start_watch: Start, ports: Start, run: Start, listen: Start) -> None:
    """Born before or after, also of parents that are gone by the time of the first call."""
    port = Port(ports(1)[0], listen)
    tree = run(
        """
port = int(sys.argv[1])
def call(name):
    s = connect(port); s.send(name.encode()); s.recv(1); s.close()
r, w = os.pipe()
old = os.fork()
if old == 0:
    os.read(r, 1); call("older child"); os._exit(0)
say(); hear()
call("itself"); os.write(w, b"x"); os.waitpid(old, 0)
new = os.fork()
if new == 0:
    if os.fork() == 0:
        if os.fork() == 0:
            while os.getppid() != 1: time.sleep(0.001)
            call("orphan"); os._exit(0)
        os._exit(0)
    os._exit(0)
os.waitpid(new, 0)
threading.Thread(target=call, args=("thread",)).start()
subprocess = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-I", "-S", "-c",
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
    "s.send(b'program'); s.recv(1)", str(port)])
say(); hear()
""",
        port.number,
    )
    tree.hear()
    watch = start_watch(Selection(pids=(tree.pid,)))
    other = run(SAYS_ITS_NAME, port.number, "other")
    tree.say()
    assert other.end() == 0
    tree.hear()
    watch.until(lambda: b"orphan" in payloads(watch), "the orphan's call")
    assert payloads(watch) == {b"itself", b"older child", b"orphan", b"thread", b"program"}
    assert other.pid not in watch.recorder.processes
    tree.say()
    assert tree.end() == 0


def test_names(start_watch: Start, ports: Start, run: Start, listen: Start) -> None:
    """That of the main thread, whatever a thread calls itself; a new name is a new judgement."""
    port = Port(ports(1)[0], listen)
    watch = start_watch(Selection(comms=("chosen", "also-chosen")))
    child = run(
        """
port = int(sys.argv[1])
def call(name):
    s = connect(port); s.send(name.encode()); s.recv(1); s.close()
def rename(name):
    libc.prctl(15, name, 0, 0, 0)
call("unchosen name"); rename(b"chosen"); call("chosen name")
rename(b"also-chosen"); call("other chosen name")
def thread():
    rename(b"unchosen"); call("thread of a chosen name")
t = threading.Thread(target=thread); t.start(); t.join()
rename(b"chosen-not"); call("longer name")
""",
        port.number,
    )
    assert child.end() == 0
    assert payloads(watch) == {b"chosen name", b"other chosen name", b"thread of a chosen name"}
    assert watch.recorder.processes[child.pid] == ["chosen", "also-chosen"]


def test_ports_on_either_end(watch: Any, ports: Start, run: Start, listen: Start) -> None:
    here, there = watch.port(), watch.port()
    (other,) = ports(1)
    answered = Port(there, listen)
    Port(other, listen)
    client = run(SAYS_ITS_NAME, there, "remote port")
    unselected = run(SAYS_ITS_NAME, other, "unselected")
    server = run(
        """
l = socket.create_server(("127.0.0.1", int(sys.argv[1]))); say()
c, _ = l.accept(); c.recv(100); c.close()
""",
        here,
    )
    server.hear()
    with socket.create_connection(("127.0.0.1", here)) as peer:
        peer.send(b"local port")
        assert server.end() == 0
    assert (client.end(), unselected.end()) == (0, 0)
    assert answered.heard == [b"remote port"]
    assert payloads(watch, there) == {b"remote port"}
    assert payloads(watch, here) == {b"local port"}
    assert watch.of_port(other) == []
    assert unselected.pid not in watch.recorder.processes


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup v2 directory of the test's own, with one below it."""
    root = cgroup_root(Path("/proc/mounts").read_text().splitlines())
    if root is None:
        pytest.skip("cgroup v2 is not mounted")
    made = root / f"rover-test-{os.getpid()}"
    try:
        (made / "below").mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"cannot make a cgroup: {error}")
    yield made
    for directory in (made / "below", made):
        with contextlib.suppress(OSError):
            directory.rmdir()


def test_cgroups_and_those_below(
    start_watch: Start, ports: Start, run: Start, listen: Start, cgroup: Path
) -> None:
    port = Port(ports(1)[0], listen)
    watch = start_watch(Selection(cgroups=(str(cgroup),)))
    code = 'open(sys.argv[3] + "/cgroup.procs", "w").write(str(os.getpid()));' + SAYS_ITS_NAME
    children = [
        run(code, port.number, "inside", cgroup),
        run(code, port.number, "below", cgroup / "below"),
        run(SAYS_ITS_NAME, port.number, "outside"),
    ]
    assert [child.end() for child in children] == [0, 0, 0]
    assert payloads(watch) == {b"inside", b"below"}


def test_kinds_are_joined_by_and(start_watch: Start, ports: Start, run: Start, listen: Start) -> None:
    chosen, other = ports(2)
    Port(chosen, listen)
    Port(other, listen)
    child = run(f"hear(); {SAYS_ITS_NAME}; sys.argv[1] = sys.argv[3]; {SAYS_ITS_NAME}", chosen, "yes", other)
    watch = start_watch(Selection(pids=(child.pid,), ports=(chosen,)))
    stranger = run(SAYS_ITS_NAME, chosen, "stranger")
    child.say()
    assert (child.end(), stranger.end()) == (0, 0)
    assert payloads(watch) == {b"yes"}
    assert {seen.opened.remote.port for seen in watch.recorder.connections.values()} == {chosen}


def test_the_agent_never_sees_itself(watch: Any, run: Start) -> None:
    """No thread of it; nor a worker it names."""
    port = watch.port()
    worker = run(f"hear(); {SAYS_ITS_NAME}", port, "worker")
    watch.source.ignore(worker.pid)
    with socket.create_server(("127.0.0.1", port)) as listener:
        watched = run(SAYS_ITS_NAME, port, "watched")
        worker.say()
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()
        thread = threading.Thread(target=lambda: socket.create_connection(("127.0.0.1", port)).close())
        thread.start()
        thread.join()
        listener.accept()[0].close()
    assert (worker.end(), watched.end()) == (0, 0)
    assert payloads(watch, port) == {b"watched"}
    assert {seen.opened.pid for seen in watch.of_port(port)} == {watched.pid}
    assert worker.pid not in watch.recorder.processes
    assert os.getpid() not in watch.recorder.processes


def test_the_connection_of_the_console_is_not_watched(
    start_watch: Start, ports: Start, run: Start, listen: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSH_CONNECTION names it, seen from either end."""
    port, source = ports(2)
    Port(port, listen)
    monkeypatch.setenv("SSH_CONNECTION", f"127.0.0.1 {source} 127.0.0.1 {port}")
    watch = start_watch(Selection(ports=(port,)))
    console = run(
        """
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), source_address=("127.0.0.1", int(sys.argv[2])))
s.send(b"console"); s.recv(1)
""",
        port,
        source,
    )
    other = run(SAYS_ITS_NAME, port, "other")
    assert (console.end(), other.end()) == (0, 0)
    assert payloads(watch) == {b"other"}


def test_a_process_selected_by_pid_must_exist(start_watch: Start) -> None:
    ended = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    ended.wait()
    with pytest.raises(RoverError, match=f"--pid {ended.pid}"):
        start_watch(Selection(pids=(ended.pid,)))


def test_inside_a_pid_namespace(ports: Start, listen: Start, tmp_path: Path) -> None:
    """The agent is known by its own number there, and tells of processes by theirs there."""
    (port,) = ports(1)
    heard = Port(port, listen)
    script = tmp_path / "agent.py"
    script.write_text(
        """
import os, socket, subprocess, sys, time
sys.path[:0] = sys.argv[2:]
from rover.contracts.source import Selection
from rover_source_ebpf.settings import SETTINGS
from rover_source_ebpf.source import EbpfSource

port = int(sys.argv[1])
CLIENT = (
    "import os, socket, sys; sys.stdin.readline(); s = socket.create_connection(('127.0.0.1', %d));"
    "s.send(b'from %%d' %% os.getpid()); s.recv(1)" % port
)

class Handler:
    def process(self, process): print("process", process.pid)
    def opened(self, opened): print("opened", opened.pid)
    def data(self, detail, payload): print("data", detail.pid, payload)
    def closed(self, closed): print("closed")
    def lost(self, loss): print("lost", loss)

def client():
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", CLIENT], stdin=subprocess.PIPE)

chosen, other = client(), client()
settings = {setting.name: setting.default for setting in SETTINGS}
source = EbpfSource(settings, Selection(pids=(chosen.pid,)))
source.start()
socket.create_connection(("127.0.0.1", port)).send(b"the agent itself")
for each in (chosen, other):
    each.communicate(b"go\\n")
print("chosen", chosen.pid, "agent", os.getpid())
source.stop(Handler())
source.close()
"""
    )
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(script), str(port), *sys.path]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if "unshare failed" in ran.stderr:
        pytest.skip(ran.stderr.strip())
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    chosen = next(line.split()[1] for line in lines if line.startswith("chosen"))
    assert int(chosen) < 1000
    assert len(heard.heard) == 3
    assert [line for line in lines if line.startswith("data")] == [
        f"data {chosen} b'from {chosen}'",
        f"data {chosen} b''",
    ]
    assert [line for line in lines if line.startswith("process")] == [f"process {chosen}"]
    assert not any(line.startswith("lost") for line in lines)
