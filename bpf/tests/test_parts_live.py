"""A divided source: each process is told of its own connections, their processes, and nothing twice."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import DivisibleSource, Selection
from rover.errors import UsageError
from rover.values.records import Closed, Detail, Loss, Opened, Process
from rover_source_ebpf.settings import SETTINGS
from rover_source_ebpf.source import MAX_RINGS, EbpfSource

Start = Callable[..., Any]
DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
EXCHANGES = 60

TALK = """
port, count = map(int, sys.argv[1:])
for n in range(count):
    with connect(port) as s:
        s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        exactly(s, 4)
say()
"""
SERVE = """
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=100)
say()
for n in range(int(sys.argv[2])):
    s, _ = listener.accept()
    s.recv(100)
    s.sendall(b"done")
    s.recv(1)
    s.close()
say()
"""


def test_it_is_divisible() -> None:
    source = EbpfSource(DEFAULTS, Selection())
    assert isinstance(source, DivisibleSource)
    for count in (0, MAX_RINGS + 1):
        with pytest.raises(UsageError, match=f"not {count}"):
            source.divide(count)


class Diary:
    """A RecordHandler that keeps what it is told as plain values."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []
        """(what, connection or 0, pid)."""
        self.lost_records = 0

    def process(self, process: Process) -> None:
        self.told.append(("process", 0, process.pid))

    def opened(self, opened: Opened) -> None:
        self.told.append(("opened", opened.connection, opened.pid))

    def data(self, detail: Detail, payload: bytes) -> None:
        self.told.append(("data", detail.connection, detail.pid))

    def closed(self, closed: Closed) -> None:
        self.told.append(("closed", closed.connection, closed.detail.pid if closed.detail else 0))

    def lost(self, loss: Loss) -> None:
        self.lost_records += loss.records


def read_part(part: Any, end: int, said: int) -> None:
    """Until the pipe ends; then tells what it was told."""
    diary = Diary()
    part.start()
    os.write(said, b"\n")
    os.set_blocking(end, False)
    while True:
        part.poll(diary, 0.01)
        try:
            if os.read(end, 1) == b"":
                break
        except BlockingIOError:
            continue
    part.stop(diary)
    assert diary.lost_records == 0
    with open(said, "wb") as pipe:
        pipe.write(json.dumps(diary.told).encode())


def attached() -> int:
    """How many of the kernel's links this process holds."""
    links = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links += "bpf_link" in os.readlink(entry) or "raw-tracepoint" in os.readlink(entry)
        except OSError:
            continue
    return links


@pytest.mark.live
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_each_connection_is_one_parts(
    count: int, ports: Start, run: Start, fork: Callable[[Callable[[], object]], int]
) -> None:
    (port,) = ports(1)
    source = EbpfSource(DEFAULTS | {"ring_size": 1}, Selection(ports=(port,)))
    parts = source.divide(count)
    source.start()
    try:
        assert attached()
        end, ended = os.pipe()
        pipes = []
        for part in parts:
            read, write = os.pipe()
            fork(lambda part=part, write=write: (os.close(ended), read_part(part, end, write)))  # type: ignore[misc]
            os.close(write)
            pipes.append(read)
            assert os.read(read, 1) == b"\n"
        server = run(SERVE, port, EXCHANGES)
        server.hear()
        client = run(TALK, port, EXCHANGES)
        client.hear()
        server.hear()
        assert (server.end(), client.end()) == (0, 0)
        losses = Diary()
        source.stop(losses)
        assert losses.told == []
        os.close(ended)
        shares = []
        for read in pipes:
            with open(read, "rb") as pipe:
                shares.append(json.loads(pipe.read()))
        os.close(end)
        counters = source.counters()
    finally:
        source.close()

    owners = collections.defaultdict(set)
    kinds: collections.Counter[str] = collections.Counter()
    for number, told in enumerate(shares):
        known = set()
        for what, connection, pid in told:
            kinds[what] += 1
            if what == "process":
                known.add(pid)
                continue
            owners[connection].add(number)
            assert connection % count == number
            assert pid in known  # whom this part has been told of before
    assert len(owners) == 2 * EXCHANGES
    assert all(len(found) == 1 for found in owners.values())
    assert kinds["opened"] == kinds["closed"] == 2 * EXCHANGES
    assert counters["records"] == kinds.total()
    assert counters["records_lost"] == 0
