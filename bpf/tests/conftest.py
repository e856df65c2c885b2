"""The real source on this kernel, a handler that remembers, and watched processes.

The test process is the agent, which is never watched: it plays the peer of the watched
children. Tests share a source, which takes seconds to start, and tell their traffic apart by port.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rover.contracts.source import Selection, Wanted
from rover.contracts.tls_library import TlsLibrarySpec
from rover.errors import RoverError
from rover.values.records import SYSCALL_NAMES, Closed, Detail, Direction, Loss, Opened, Plaintext, Process
from rover_source_ebpf import checks
from rover_source_ebpf.settings import SETTINGS
from rover_source_ebpf.source import EbpfSource

DEADLINE = 30.0 * float(os.environ.get("ROVER_TEST_PATIENCE", "1"))
"""Seconds anything may take; what takes longer has failed. ROVER_TEST_PATIENCE is a
factor, for machines that are emulated."""
PORTS = 128
"""Ports the shared source watches: more than there are tests."""

PRELUDE = """
import ctypes, json, os, select, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
INPUT = os.fdopen(0, "rb", 0)
def say(value="ok"):
    os.write(1, json.dumps(value).encode() + b"\\n")
def hear():
    return json.loads(INPUT.readline())
def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port))
def exactly(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data
"""


@dataclasses.dataclass
class Seen:
    """All that was delivered of one connection."""

    opened: Opened | None = None
    calls: list[tuple[Detail, bytes]] = dataclasses.field(default_factory=list)
    plaintext: list[tuple[Plaintext, bytes]] = dataclasses.field(default_factory=list)
    closed: list[Closed] = dataclasses.field(default_factory=list)

    @property
    def details(self) -> list[Detail]:
        """Of every call, connect and accept and close too."""
        first = [self.opened.detail] if self.opened and self.opened.detail else []
        last = [closed.detail for closed in self.closed if closed.detail]
        return [*first, *(detail for detail, _ in self.calls), *last]

    def moved(self, direction: Direction) -> list[tuple[str, int, bytes]]:
        """(call, bytes moved, payload) of each call of a direction."""
        return [
            (SYSCALL_NAMES[d.syscall], d.size, payload)
            for d, payload in self.calls
            if d.direction == direction
        ]


class Recorder:
    """A RecordHandler that keeps everything."""

    def __init__(self) -> None:
        self.processes: dict[int, list[str]] = collections.defaultdict(list)
        self.connections: dict[int, Seen] = {}
        self.losses: collections.Counter[str] = collections.Counter()
        self.unannounced: set[int] = set()
        """Pids whose records came before they were told of."""
        self.records = 0

    def _of(self, connection: int) -> Seen:
        self.records += 1
        return self.connections.setdefault(connection, Seen())

    def process(self, process: Process) -> None:
        self.processes[process.pid].append(process.name)

    def opened(self, opened: Opened) -> None:
        assert opened.connection not in self.connections, "opened twice, or after its first record"
        self._of(opened.connection).opened = opened
        self._check(opened.pid)

    def data(self, detail: Detail, payload: bytes) -> None:
        seen = self._of(detail.connection)
        assert seen.opened is not None, "data before the connection"
        assert not seen.closed, "data after the end"
        assert len(payload) <= detail.size
        seen.calls.append((detail, payload))
        self._check(detail.pid)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        seen = self._of(plaintext.connection)
        assert seen.opened is not None, "plaintext before the connection"
        assert not seen.closed, "plaintext after the end"
        assert len(payload) <= plaintext.size
        seen.plaintext.append((plaintext, payload))
        self._check(plaintext.pid)

    def closed(self, closed: Closed) -> None:
        self._of(closed.connection).closed.append(closed)

    def lost(self, loss: Loss) -> None:
        self.losses[loss.cause] += loss.records

    def _check(self, pid: int) -> None:
        if pid not in self.processes:
            self.unannounced.add(pid)


class Child:
    """A watched process that runs a piece of Python."""

    def __init__(
        self, code: str, *arguments: object, executable: str = sys.executable, **options: Any
    ) -> None:
        argv = [executable, "-I", "-S", "-u", "-c", PRELUDE + code, *map(str, arguments)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, value: object = "go") -> None:
        """To its `hear()`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """What it `say()`s next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait(DEADLINE)}"
        return json.loads(line)

    def end(self) -> int:
        """Waits until it ended by itself; its exit status."""
        status = self.process.wait(DEADLINE)
        self._close()
        return status

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@functools.cache
def _candidates() -> Iterator[int]:
    return iter(random.sample(range(10_000, 32_000), 22_000))


def free_ports(number: int) -> list[int]:
    """Ports nobody listens on, nor connects from: they lie below net.ipv4.ip_local_port_range.

    Each is given once: a port of the shared source is no other test's.
    """
    found: list[int] = []
    for port in _candidates():
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == number:
            break
    return found


@pytest.fixture
def ports() -> Callable[[int], list[int]]:
    """Finds free ports."""
    return free_ports


class Watch:
    """A started source and what it delivered."""

    def __init__(
        self,
        selection: Selection,
        wanted: Wanted | None = None,
        libraries: Sequence[TlsLibrarySpec] = (),
        **settings: int | str,
    ) -> None:
        values = {setting.name: setting.default for setting in SETTINGS} | settings
        self.by_sockets = values["tracepoints"] == "sockets"
        """What is told otherwise then, README.md says ("Bystanders")."""
        self.source = EbpfSource(values, selection)
        if wanted is not None:
            self.source.inform(wanted)
        if libraries:
            self.source.read_tls(libraries)
        self.recorder = Recorder()
        self._ports = iter(selection.ports)
        try:
            self.source.start()
        except BaseException:
            self.source.close()
            raise

    def port(self) -> int:
        """A watched port no other test uses."""
        return next(self._ports)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Polls until the condition is true; fails, saying `what`, when it never is."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
            self.source.poll(self.recorder, 0.05)

    def drain(self) -> None:
        """Polls until nothing comes any more: what was made before this was called is here."""
        while True:
            before = self.recorder.records
            self.source.poll(self.recorder, 0)
            if self.recorder.records == before:
                return

    def of_port(self, port: int) -> list[Seen]:
        """The connections with a port on either end, in the order they were opened."""
        return [
            seen
            for seen in self.recorder.connections.values()
            if seen.opened and port in (seen.opened.local.port, seen.opened.remote.port)
        ]

    def ended(self, port: int, number: int = 1) -> list[Seen]:
        """Waits until `number` connections of a port have ended."""
        self.until(
            lambda: len(found := self.of_port(port)) >= number and all(seen.closed for seen in found),
            f"{number} connections of port {port} to end",
        )
        return self.of_port(port)


def why_not_live() -> str:
    """Why the source cannot run here; empty when it can."""
    failed = [check for check in checks.check() if check.required and not check.ok]
    return "; ".join(f"{check.subject}: {check.finding}" for check in failed)


@pytest.fixture(scope="session")
def live() -> None:
    """Skips where this host cannot run the source, saying why."""
    if reason := why_not_live():
        pytest.skip(reason)


@pytest.fixture(scope="session", params=["calls", "sockets"])
def watch(live: None, request: pytest.FixtureRequest) -> Iterator[Watch]:
    """A source for all tests that need no selection of their own; it watches some free ports. In turn by the
    tracepoints of all calls, and by those of sockets where the kernel has them."""
    way = request.param
    try:
        started = Watch(Selection(ports=tuple(free_ports(PORTS))), tracepoints=way)
    except RoverError as error:
        if "source.ebpf.tracepoints" not in str(error):
            raise
        pytest.skip(str(error))
    yield started
    started.source.close()


@pytest.fixture(scope="session")
def new_watch(live: None) -> Callable[..., Watch]:
    """Starts a source, which its user closes."""
    return Watch


@pytest.fixture
def start_watch(live: None) -> Iterator[Callable[..., Watch]]:
    """Starts sources of a test's own."""
    started: list[Watch] = []

    def start(selection: Selection, wanted: Wanted | None = None, **settings: int | str) -> Watch:
        watch = Watch(selection, wanted, **settings)
        started.append(watch)
        return watch

    yield start
    for each in started:
        each.source.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Child]]:
    """Starts children, and ends whatever still runs."""
    children: list[Child] = []

    def start(code: str, *arguments: object, **options: Any) -> Child:
        child = Child(code, *arguments, **options)
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop()


class Peer:
    """The unwatched end: listens in this process, answers each connection with `answer`."""

    def __init__(self, port: int, host: str, answer: Callable[[socket.socket], None]) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._answer = answer
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            thread = threading.Thread(target=self._one, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._answer(connection)
        self._open.discard(connection)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)


def swallow(connection: socket.socket) -> None:
    """Reads to the end and closes."""
    while connection.recv(65536):
        pass


@pytest.fixture
def listen() -> Iterator[Callable[..., Peer]]:
    """Starts unwatched servers."""
    peers: list[Peer] = []

    def start(port: int, answer: Callable[[socket.socket], None] = swallow, host: str = "127.0.0.1") -> Peer:
        peer = Peer(port, host, answer)
        peers.append(peer)
        return peer

    yield start
    for peer in peers:
        peer.close()
