"""A scripted source and a sink that remembers, around the real pipeline."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pytest

from rover import (
    NEED_MORE,
    AccessLog,
    Address,
    AnyExchange,
    Closed,
    Detail,
    Direction,
    Exchange,
    Opened,
    Outcomes,
    Process,
    ProtocolBreak,
    ProtocolSpec,
    Role,
    StreamBuffer,
    Syscall,
    Verdict,
    hookimpl,
)
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager


class Memory:
    """A sink that keeps what it is given."""

    kernel_logs = True

    def __init__(self) -> None:
        self.logs: list[AccessLog] = []

    def write(self, logs: Sequence[AccessLog]) -> None:
        self.logs += logs

    def flush(self) -> None:
        pass

    def reopen(self) -> None:
        pass

    def counters(self) -> Mapping[str, int]:
        return {}

    def close(self) -> int:
        return 0


class Direct(Outlet):
    """An outlet without queue and thread."""

    def put(self, log: AccessLog) -> None:
        self.sink.write([log])


class Lines:
    """A decoder of request lines `?...` and reply lines `!...`; `#word` is a break."""

    def __init__(self) -> None:
        self.role: Role | None = None
        self._asked: list[tuple[int, str, int]] = []
        self._number = 0
        self._answered = 0

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        if buffer.at_gap:
            return ProtocolBreak(reason="gap", detail="bytes are missing")
        end = buffer.data.find(b"\n", buffer.offset)
        if end < 0:
            return NEED_MORE
        line = bytes(buffer.data[buffer.offset : end]).decode()
        size = end + 1 - buffer.offset
        if line.startswith("#raise"):
            raise ValueError("a bug")
        if line.startswith("#upgrade "):
            buffer.consume(size)
            return ProtocolBreak(reason="upgrade", upgrade=line.removeprefix("#upgrade "))
        if line.startswith("#"):
            return ProtocolBreak(reason=line[1:])
        if line.startswith("?"):
            self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT
            self._asked.append((self._number, line, buffer.since))
            buffer.consume(size, self._number)
            self._number += 1
            return self.decode(direction, buffer, now)
        if not self._asked:
            buffer.consume(size)
            return self.decode(direction, buffer, now)
        number, request, start = self._asked.pop(0)
        buffer.consume(size, number)
        return Exchange(
            owner=number, start=start, end=now, name="lines", attributes={"request": request, "reply": line}
        )

    def expire(self, now: int) -> list[Exchange]:
        return []

    def close(self, now: int) -> list[Exchange]:
        return [
            Exchange(owner=n, start=start, end=now, name="lines", attributes={"request": r})
            for n, r, start in self._asked
        ]


def sniff_lines(data: bytes | bytearray) -> Verdict:
    return Verdict.YES if data[:1] in (b"?", b"!", b"#") else Verdict.NO


LINES = ProtocolSpec("lines", sniff_lines, lambda connection, settings, upgrade: Lines())


@dataclasses.dataclass
class Bench:
    """The pipeline with scripted records going in and logs coming out."""

    manager: PluginManager
    pipeline: Pipeline
    memory: Memory
    uploads: list[tuple[int, int]]
    gone: set[int]
    breaks: list[ProtocolBreak]
    unneeded: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    known: dict[int, Opened] = dataclasses.field(default_factory=dict)
    """Connections the source can describe: those it has told of."""
    clock: int = 0
    sequences: dict[int, int] = dataclasses.field(default_factory=dict)
    positions: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    sent: list[Detail] = dataclasses.field(default_factory=list)

    def detail(self, identity: int, syscall: Syscall, direction: Direction, size: int = 0) -> Detail:
        self.clock += 10
        sequence = self.sequences.get(identity, 0)
        self.sequences[identity] = sequence + 1
        position = self.positions.get((identity, direction), 0)
        self.positions[identity, direction] = position + size
        detail = Detail(
            connection=identity,
            sequence=sequence,
            start=self.clock - 5,
            end=self.clock,
            position=position,
            size=size,
            pid=42,
            fd=3,
            syscall=syscall,
            direction=direction,
            error=0,
        )
        self.sent.append(detail)
        return detail

    def open(self, identity: int = 1, role: Role | None = Role.SERVER, *, late: bool = False) -> None:
        detail = None if late else self.detail(identity, Syscall.ACCEPT4, Direction.EGRESS)
        local, remote = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=4000)
        opened = Opened(
            connection=identity,
            time=self.clock,
            local=local,
            remote=remote,
            role=role,
            pid=42,
            late=late,
            detail=detail,
        )
        self.known[identity] = opened.replace(late=True, detail=None)
        self.pipeline.opened(opened)

    def read(self, data: bytes, identity: int = 1, size: int | None = None) -> None:
        self.move(Syscall.READ, Direction.INGRESS, data, identity, size)

    def write(self, data: bytes, identity: int = 1, size: int | None = None) -> None:
        self.move(Syscall.WRITE, Direction.EGRESS, data, identity, size)

    def move(
        self, syscall: Syscall, direction: Direction, data: bytes, identity: int, size: int | None
    ) -> None:
        detail = self.detail(identity, syscall, direction, len(data) if size is None else size)
        self.pipeline.data(detail, data)

    def eof(self, identity: int = 1) -> None:
        self.pipeline.data(self.detail(identity, Syscall.READ, Direction.INGRESS), b"")

    def close(self, identity: int = 1) -> None:
        detail = self.detail(identity, Syscall.CLOSE, Direction.EGRESS)
        self.pipeline.closed(Closed(connection=identity, time=self.clock, reset=False, detail=detail))

    @property
    def logs(self) -> list[AccessLog]:
        return self.memory.logs

    @property
    def exchanges(self) -> list[AccessLog]:
        return [log for log in self.logs if log.protocol]

    def check_each_once(self) -> None:
        """Each call's detail was delivered, once."""
        in_order = attrgetter("connection", "sequence")
        assert sorted(self.delivered, key=in_order) == sorted(self.sent, key=in_order)

    @property
    def delivered(self) -> list[Detail]:
        return [detail for log in self.logs for detail in log.details]

    def set_upload(self, connection: int, limit: int) -> None:
        self.uploads.append((connection, limit))

    def set_unneeded(self, connection: int, direction: int, position: int) -> None:
        self.unneeded.append((connection, direction, position))

    def describe(self, connection: int) -> Opened | None:
        return self.known.get(connection)

    def is_open(self, connection: int) -> bool:
        return connection not in self.gone


@pytest.fixture
def lines() -> ProtocolSpec:
    return LINES


@pytest.fixture
def sink() -> Memory:
    """Of exchanges alone."""
    memory = Memory()
    memory.kernel_logs = False
    return memory


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    def make(
        *plugins: object,
        protocols: Sequence[ProtocolSpec] = (LINES,),
        ports: Mapping[str, str] | None = None,
        max_connections: int = 1000,
        max_memory: int = 256 << 20,
        source: object = None,
        kernel_logs: bool = True,
        live: bool = True,
    ) -> Bench:
        manager = PluginManager()
        breaks: list[ProtocolBreak] = []

        class Observer:
            @hookimpl
            def on_protocol_break(self, protocol_break: ProtocolBreak) -> None:
                breaks.append(protocol_break)

        manager.register(Observer(), "observer")
        for number, plugin in enumerate(plugins):
            manager.register(plugin, f"plugin{number}")
        memory = Memory()
        memory.kernel_logs = kernel_logs
        bench = Bench(manager, None, memory, [], set(), breaks)  # type: ignore[arg-type]
        settings: dict[str, dict[str, Any]] = {}
        bench.pipeline = Pipeline(
            manager,
            Recogniser(manager, protocols, ports or {}),
            [Direct("memory", memory)],
            bench if source is None else source,
            epoch=1_700_000_000_000_000_000,
            protocol_settings=settings,
            max_connections=max_connections,
            max_memory=max_memory,
            live=live,
        )
        bench.pipeline.process(Process(pid=42, name="app"))
        return bench

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def until() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Waits for a condition, up to ten seconds, and fails if it never comes true."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            pause.wait(0.002)

    return wait
