"""Three runs over the same records give the same bytes of JSON lines: one that only watches, one
that records, and the replay of what it recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rover.recording
from rover import (
    NEED_MORE,
    Address,
    AnyExchange,
    Closed,
    Detail,
    Direction,
    Exchange,
    Loss,
    Opened,
    Outcome,
    Outcomes,
    Plaintext,
    Process,
    ProtocolBreak,
    ProtocolSpec,
    Provisional,
    RecordHandler,
    Role,
    RoverError,
    Source,
    SourceSpec,
    StreamBuffer,
    Syscall,
    UsageError,
    Verdict,
    hookimpl,
)
from rover.cli.command import build
from rover.plugins.manager import PluginManager
from rover.recording import format as form
from rover.recording import framing
from rover.recording.format import MAX_PAYLOAD
from rover.recording.reader import Recording
from rover.recording.recorder import Recorder
from rover.recording.writer import Writer
from rover.run.agent import Agent
from rover.run.configuration import Catalogue
from rover.values.records import MAX_NUMBER

sink_log = pytest.importorskip("rover_plugin_sink_log")

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
PATIENCE = 3 * SECOND


class Lines:
    """A decoder of request lines `?...` and reply lines `!...`.

    What waits longer than PATIENCE is split once and aborted at the end; `#` is a break.
    """

    def __init__(self) -> None:
        self.role: Role | None = None
        self._asked: list[tuple[int, str, int]] = []
        self._split: set[int] = set()
        self._number = 0

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        if buffer.at_gap:
            return ProtocolBreak(reason="gap", detail="bytes are missing")
        end = buffer.data.find(b"\n", buffer.offset)
        if end < 0:
            return NEED_MORE
        line = bytes(buffer.data[buffer.offset : end]).decode("latin-1")
        size = end + 1 - buffer.offset
        if line.startswith("#"):
            return ProtocolBreak(reason="framing", detail=line)
        if line.startswith("?"):
            self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT
            self._asked.append((self._number, line, buffer.since))
            buffer.consume(size, self._number)
            self._number += 1
        elif self._asked:
            number, request, start = self._asked.pop(0)
            buffer.consume(size, number)
            return Exchange(
                owner=number,
                start=start,
                end=now,
                name="lines",
                attributes={"request": request, "reply": line},
            )
        else:
            buffer.consume(size)
        return self.decode(direction, buffer, now)

    def expire(self, now: int) -> list[Exchange]:
        late = [a for a in self._asked if now - a[2] > PATIENCE and a[0] not in self._split]
        self._split |= {number for number, *_ in late}
        return [
            Exchange(
                owner=n, start=start, end=now, name="lines", attributes={"request": r}, outcome=Outcome.SPLIT
            )
            for n, r, start in late
        ]

    def close(self, now: int) -> list[Exchange]:
        return [
            Exchange(
                owner=n,
                start=start,
                end=now,
                name="lines",
                attributes={"request": r},
                outcome=Outcome.ABORTED,
            )
            for n, r, start in self._asked
        ]


class LinesPlugin:
    @hookimpl
    def register_protocols(self) -> Sequence[ProtocolSpec]:
        def sniff(data: bytes | bytearray) -> Verdict:
            return Verdict.YES if data[:1] in (b"?", b"!", b"#") else Verdict.NO

        return [ProtocolSpec("lines", sniff, lambda connection, settings, upgrade: Lines())]


@dataclasses.dataclass
class Poll:
    """One poll: time passes, connections vanish silently, records come."""

    seconds: float = 0
    records: Sequence[Any] = ()
    gone: Sequence[int] = ()


class Script:
    """A live source that plays polls; `ending` tells what comes after the last one."""

    def __init__(self, polls: Sequence[Poll], ending: str = "end", tail: Sequence[Any] = ()) -> None:
        self.epoch = 0
        self.uploads: list[tuple[int, int]] = []
        self.stop_agent: Callable[[], None] = lambda: None
        self.closed = 0
        self._polls = list(polls)
        self._ending = ending
        self._tail = tail
        self._now = 50
        self._gone: set[int] = set()

    def start(self) -> None:
        self.epoch = EPOCH

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        if not self._polls:
            if self._ending == "fail":
                raise RoverError("the kernel is gone")
            self._now += SECOND * 5
            if self._ending != "end":
                self.stop_agent()
            return self._ending == "stop" or self._ending == "fail to stop"
        poll = self._polls.pop(0)
        self._now += int(poll.seconds * SECOND)
        self._gone |= {*poll.gone}
        self._play(handler, poll.records)
        return True

    def _play(self, handler: RecordHandler, records: Sequence[Any]) -> None:
        for record in records:
            self._now += 1000
            match record:
                case Process():
                    handler.process(record)
                case Opened():
                    handler.opened(record)
                case Closed():
                    handler.closed(record)
                case Loss():
                    handler.lost(record)
                case (detail, payload):
                    handler.data(detail, payload)

    def now(self) -> int:
        return self._now

    def set_upload(self, connection: int, limit: int) -> None:
        self.uploads.append((connection, limit))

    def is_open(self, connection: int) -> bool:
        return connection not in self._gone

    def counters(self) -> Mapping[str, int]:
        return {"uploaded_bytes": 1}

    def stop(self, handler: RecordHandler) -> None:
        self._now += SECOND * 2
        self._play(handler, self._tail)
        if self._ending == "fail to stop":
            raise RoverError("the kernel went away")

    def close(self) -> None:
        self.closed += 1


@dataclasses.dataclass
class Ran:
    """What is left of a run."""

    failure: str
    lines: bytes
    totals: list[str]
    uploads: list[tuple[int, int]] = dataclasses.field(default_factory=list)


def run(source: Source, directory: Path, *, protocols: Sequence[object] = (LinesPlugin(),)) -> Ran:
    """A source through the agent with JSON lines, kernel logs and all."""
    log = directory / "log"
    log.unlink(missing_ok=True)
    manager = PluginManager()
    for number, plugin in enumerate([rover.recording, sink_log, *protocols]):
        manager.register(plugin, f"plugin{number}")
    catalogue = Catalogue(manager)
    chosen = ["sink.jsonl.kernel_logs=true", f"sink.jsonl.path={log}"]
    agent = Agent(catalogue, catalogue.settings(None, chosen, {}), source, lossless=True, sinks=["jsonl"])
    inner = getattr(source, "_source", source)
    if isinstance(inner, Script):
        inner.stop_agent = agent.stop
    failure = agent.run()
    assert manager.failures() == []
    return Ran(failure, log.read_bytes(), agent.report().totals(), getattr(inner, "uploads", []))


def three_ways(script: Callable[[], Script], directory: Path, **options: Any) -> list[Ran]:
    """Watched, recorded and replayed."""
    file = directory / "recording"
    writer = Writer(str(file))
    watched = run(script(), directory, **options)
    recorded = run(Recorder(script(), writer), directory, **options)
    assert writer.failure == ""
    return [watched, recorded, run(Recording(str(file)), directory, **options)]


def assert_same(ran: Sequence[Ran]) -> None:
    watched, recorded, replayed = ran
    assert recorded.lines == watched.lines
    assert replayed.lines == watched.lines
    assert recorded.totals == replayed.totals == watched.totals
    assert recorded.uploads == watched.uploads
    assert recorded.failure == watched.failure
    assert replayed.failure == ""


# -- scripted connections ------------------------------------------------------------------------


class Traffic:
    """Makes records that fit together."""

    def __init__(self) -> None:
        self._sequence: dict[int, int] = {}
        self._position: dict[tuple[int, int], int] = {}
        self._time = 100

    def detail(self, identity: int, syscall: Syscall, direction: int, size: int = 0) -> Detail:
        self._time += 1000
        sequence = self._sequence.get(identity, 0)
        self._sequence[identity] = sequence + 1
        position = self._position.get((identity, direction), 0)
        self._position[identity, direction] = position + size
        return Detail(
            connection=identity,
            sequence=sequence,
            start=self._time - 400,
            end=self._time,
            position=position,
            size=size,
            pid=42 + identity % 2,
            fd=3,
            syscall=syscall,
            direction=direction,
            error=0,
        )

    def wait(self, seconds: float) -> Poll:
        self._time += int(seconds * SECOND)
        return Poll(seconds)

    def open(self, identity: int = 1, role: Role | None = Role.SERVER, *, late: bool = False) -> Opened:
        detail = None if late else self.detail(identity, Syscall.ACCEPT4, Direction.EGRESS)
        ends = Address(host="10.0.0.1", port=80), Address(host="2001:db8::2", port=4000 + identity)
        return Opened(
            connection=identity,
            time=self._time,
            local=ends[0],
            remote=ends[1],
            role=role,
            pid=42,
            late=late,
            detail=detail,
        )

    def read(self, data: bytes, identity: int = 1, missing: int = 0) -> tuple[Detail, bytes]:
        size = len(data) + missing
        return self.detail(identity, Syscall.READ, Direction.INGRESS, size), data

    def write(self, data: bytes, identity: int = 1, missing: int = 0) -> tuple[Detail, bytes]:
        size = len(data) + missing
        return self.detail(identity, Syscall.WRITE, Direction.EGRESS, size), data

    def lose(self, identity: int = 1) -> None:
        self.detail(identity, Syscall.READ, Direction.INGRESS, 5)

    def close(self, identity: int = 1, *, reset: bool = False) -> Closed:
        detail = None if reset else self.detail(identity, Syscall.CLOSE, Direction.EGRESS)
        return Closed(connection=identity, time=self._time, reset=reset, detail=detail)


def test_exchanges_breaks_losses_and_plain_connections(tmp_path):
    t = Traffic()
    polls = [
        Poll(0, [Process(pid=42, name="app"), t.open(), t.read(b"?one\n"), t.write(b"!one\n")]),
        Poll(0.1, [Loss(records=3, cause="ring_full"), t.open(2, Role.CLIENT), t.write(b"?two\n", 2)]),
        Poll(
            0.1,
            [
                t.read(b"#", 2),
                t.read(b"wrong\n", 2),
                Loss(records=1, cause="truncated"),
                Process(pid=42, name="renamed"),
            ],
        ),
        Poll(0.1, [t.open(3, None, late=True), *(t.read(b"other", 3) for _ in range(20)), t.close(3)]),
        Poll(0.1, [t.read(b"?three\n", missing=5), t.write(b"!", 2), t.close(2), t.read(b"?unfinished\n")]),
    ]
    ran = three_ways(lambda: Script(polls), tmp_path)
    assert_same(ran)
    for found in (b'"reply":"!one"', b'"rover.break.reason":"framing"', b'"rover.break.reason":"gap"'):
        assert found in ran[2].lines
    assert "4 records lost (ring_full 3, truncated 1)" in ran[2].totals
    assert (2, 0) in ran[1].uploads


class Describes:
    """Says of a process what can be known of it only while it runs, and most of it late."""

    @hookimpl
    def startup(self) -> None:
        self.asked: Counter[int] = Counter()

    @hookimpl
    def describe_process(self, process: Process, live: bool) -> Mapping[str, str | int] | None:
        if not live or process.name == "quiet":
            return None
        self.asked[process.pid] += 1
        said = {"service.name": f"{process.name}-\N{SNAKE}", "times": self.asked[process.pid]}
        return said if said["times"] == 3 else Provisional(said)


class Numbers:
    """Says the same anywhere."""

    @hookimpl
    def describe_process(self, process: Process) -> Mapping[str, str | int]:
        return {"pid": process.pid}


@pytest.mark.parametrize("more", [(), (Numbers(),)])
def test_what_plugins_said_of_processes_while_they_ran(tmp_path: Path, more: tuple[object, ...]) -> None:
    """Before the first connection, again at ticks, after an exec, of a child: each where it was said."""
    t = Traffic()

    def ask(identity: int) -> list[Any]:
        return [t.read(b"?q\n", identity), t.write(b"!a\n", identity)]

    polls = [
        Poll(0, [Process(pid=42, name="app"), Process(pid=43, name="quiet"), t.open(2), *ask(2)]),
        Poll(0, [t.open(1), *ask(1), t.open(4), *ask(4)]),
        Poll(1.5, ask(2)),
        Poll(1.5, ask(2)),
        Poll(1.5, [*ask(2), *ask(1)]),
        Poll(0.1, [Process(pid=42, name="other"), *ask(2), t.open(6), *ask(6)]),
        Poll(1.5, [*ask(2), *ask(6), t.close(2)]),
        Poll(1.5, [*ask(6), t.close(6)]),
    ]
    plugins = (LinesPlugin(), Describes(), *more)
    ran = three_ways(lambda: Script(polls), tmp_path, protocols=plugins)
    assert_same(ran)
    told = [json.loads(line) for line in ran[2].lines.splitlines()]
    said = {(line["service.name"], line["times"]) for line in told if "service.name" in line}
    app, other = "app-\N{SNAKE}", "other-\N{SNAKE}"
    assert said == {(app, 1), (app, 2), (app, 3), (other, 4), (other, 5)}
    assert any("service.name" not in line for line in told)


def test_a_header_of_a_proxy_and_bytes_nobody_saw(tmp_path):
    t = Traffic()
    header = b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n"
    calls = [*(t.read(bytes([byte])) for byte in header), t.read(b"?one\n"), t.write(b"!one\n")]
    polls = [Poll(0, [t.open(), *calls]), Poll(0.1, [t.close().replace(unseen=700)])]
    ran = three_ways(lambda: Script(polls), tmp_path)
    assert_same(ran)
    assert b'"client.address":"192.0.2.7","client.port":5000' in ran[2].lines
    assert "700 bytes by calls that are not watched" in ran[2].totals
    assert "1 connection with such calls" in ran[2].totals


def test_time_alone_splits_an_exchange(tmp_path):
    """Ticks, not records, see it: they fall where they fell."""
    t = Traffic()
    begun = [t.open(), t.read(b"?slow\n")]
    waits = [t.wait(0.4) for _ in range(20)]
    polls = [Poll(0, begun), *waits, Poll(0, [t.write(b"!at last\n")])]
    ran = three_ways(lambda: Script(polls), tmp_path)
    assert_same(ran)
    assert b'"rover.outcome":"split"' in ran[2].lines
    assert b'"rover.outcome":"complete"' in ran[2].lines


def test_a_tick_falls_between_the_same_records_within_one_poll(tmp_path):
    """The poll in which a second passes is delivered whole before the tick."""
    t = Traffic()
    polls = [Poll(0, [t.open(), t.read(b"?slow\n")])]
    for _ in range(8):
        t.wait(1.5)
        polls.append(Poll(1.5, [t.write(b"!"), t.write(b"x\n"), t.read(b"?again\n")]))
    assert_same(three_ways(lambda: Script(polls), tmp_path))


def test_connections_that_vanished_without_a_record(tmp_path):
    t = Traffic()
    polls = [
        Poll(0, [t.open(1), t.read(b"?one\n", 1), t.open(2), t.read(b"?two\n", 2)]),
        *(t.wait(10) for _ in range(3)),
        Poll(0, (), gone=[2]),
        *(t.wait(10) for _ in range(9)),
        Poll(0, [t.write(b"!one\n", 1), t.write(b"!two\n", 2)]),
    ]
    ran = three_ways(lambda: Script(polls), tmp_path)
    assert_same(ran)
    two = [line for line in ran[2].lines.splitlines() if b"?two" in line]
    assert b'"rover.outcome":"aborted"' in two[-1]
    assert b"!one" in ran[2].lines
    recording, told = Recording(str(tmp_path / "recording")), Told()
    recording.start()
    answers = []
    while recording.poll(told, 0):
        answers.append(recording.is_open(2))
    recording.close()
    assert answers.count(False) == 1, "asked and told once"


@pytest.mark.parametrize("ending", ["end", "stop", "stop at the end", "fail", "fail to stop"])
def test_however_it_ends(tmp_path, ending):
    """What was captured before a stop is delivered in it, and recorded; a tick comes before it
    where the last poll took long, and none comes after a poll that was the end."""
    t = Traffic()
    polls = [Poll(0, [t.open(), t.read(b"?one\n")]), t.wait(1.5), Poll(0.2, [t.read(b"?two\n")])]
    tail = [t.write(b"!one\n")]
    ran = three_ways(lambda: Script(polls, ending, tail), tmp_path)
    failure = {"fail": "the kernel is gone", "fail to stop": "the kernel went away"}.get(ending, "")
    assert [r.failure for r in ran] == [failure, failure, ""]
    assert_same(ran)
    assert (b"!one" in ran[2].lines) == ("stop" in ending)
    assert ran[2].lines.count(b'"rover.outcome":"unfinished"') == (1 if "stop" in ending else 2)
    assert (b'"rover.outcome":"split"' in ran[2].lines) == (ending in ("stop", "fail to stop"))


def test_a_payload_longer_than_the_file_holds_is_cut_for_both(tmp_path):
    t = Traffic()
    polls = [
        Poll(0, [t.open(), t.read(b"?one\n"), t.write(b"!" + b"x" * (MAX_PAYLOAD - 2) + b"\n" + b"?y\n")])
    ]
    file = tmp_path / "recording"
    recorded = run(Recorder(Script(polls), Writer(str(file))), tmp_path)
    replayed = run(Recording(str(file)), tmp_path)
    assert recorded.lines == replayed.lines
    assert b'"rover.break.reason":"gap"' in recorded.lines


lines = st.sampled_from([b"?a\n", b"!b\n", b"?c\n!d\n", b"?", b"\n", b"e\n", b"#\n", b"other", b""])


@st.composite
def polls_of(draw: st.DrawFn) -> list[Poll]:
    """Any order of records, also ones that no kernel would deliver."""
    t = Traffic()
    polls = []
    identities = st.integers(1, 3)
    for _ in range(draw(st.integers(0, 6))):
        seconds = draw(st.sampled_from([0, 0.3, 1, 1.1, 4, 70]))
        t.wait(seconds)
        content: list[Any] = []
        for _ in range(draw(st.integers(0, 6))):
            identity = draw(identities)
            match draw(st.sampled_from("oorrrrwwwwwclpx")):
                case "o":
                    role = draw(st.sampled_from([None, *Role]))
                    content.append(t.open(identity, role, late=draw(st.booleans())))
                case "r":
                    content.append(t.read(draw(lines), identity, draw(st.sampled_from([0, 0, 0, 4]))))
                case "w":
                    content.append(t.write(draw(lines), identity))
                case "c":
                    content.append(t.close(identity, reset=draw(st.booleans())))
                case "l":
                    content.append(Loss(records=identity, cause="ring_full"))
                case "p":
                    content.append(Process(pid=42, name=f"app{identity}"))
                case "x":
                    t.lose(identity)
        polls.append(Poll(seconds, content, draw(st.lists(identities, max_size=1))))
    return polls


@settings(max_examples=60, deadline=None)
@given(polls_of(), st.sampled_from(["end", "stop", "stop at the end", "fail"]))
def test_any_run(polls, ending):
    with tempfile.TemporaryDirectory() as directory:
        assert_same(three_ways(lambda: Script(polls, ending), Path(directory)))


# -- HTTP ----------------------------------------------------------------------------------------


def test_http_exchanges(tmp_path):
    http1 = pytest.importorskip("rover_plugin_http1")
    if not hasattr(http1, "register_protocols"):
        pytest.skip("the HTTP/1 plugin registers no protocol")
    t = Traffic()
    get = b"GET /%d HTTP/1.1\r\nHost: example.org\r\n\r\n"
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    polls = [Poll(0, [t.open()])]
    for number in range(20):
        t.wait(0.3)
        polls.append(Poll(0.3, [t.read(get % number), t.write(reply[:30]), t.write(reply[30:])]))
    polls.append(Poll(0, [t.read(get % 99), t.write(reply[:-2]), t.close(reset=True)]))
    ran = three_ways(lambda: Script(polls), tmp_path, protocols=[http1])
    assert_same(ran)
    assert len([line for line in ran[2].lines.splitlines() if b"http.request.method" in line]) == 21


# -- what goes wrong -----------------------------------------------------------------------------


def steady(number: int) -> list[Poll]:
    """An exchange of 2 kB in each of `number` polls, three to the second."""
    t = Traffic()
    polls = [Poll(0, [t.open()])]
    for _ in range(number):
        t.wait(0.35)
        polls.append(Poll(0.35, [t.read(b"?x\n"), t.write(b"!" + b"y" * 2000 + b"\n")]))
    return polls


def replies(ran: Ran) -> list[bytes]:
    """The lines of exchanges that are complete."""
    return [line for line in ran.lines.splitlines() if b'"reply"' in line]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk that is full: the write that crosses it is cut short, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_recording_with_what_fits(tmp_path):
    """One error; what is in the file is whole, and replays to the first part of the logs."""
    file = tmp_path / "recording"
    whole = run(Script(steady(60)), tmp_path)
    writer = Writer(str(file))
    with largest_file(60_000):
        stopped = run(Recorder(Script(steady(60)), writer), tmp_path)
    assert stopped.failure == writer.failure
    assert f"cannot write to {file}: File too large; the recording is good up to there" in writer.failure
    assert file.stat().st_size == writer.size < 60_000
    replayed = run(Recording(str(file)), tmp_path)
    assert f"{file}, byte {writer.size}: no end" in replayed.failure
    exchanges = replies(replayed)
    assert 10 < len(exchanges) < 60
    assert replies(whole)[: len(exchanges)] == exchanges


def test_a_killed_recorder_leaves_all_but_its_last_second(tmp_path):
    file = tmp_path / "recording"
    t = Traffic()
    recorder = Recorder(Script([*steady(30), t.wait(0.5), t.wait(0.5)]), Writer(str(file)))
    handler = Told()
    recorder.start()
    for _ in range(31):
        recorder.poll(handler, 0)
    delivered = Told()
    recording = Recording(str(file))
    recording.start()
    with pytest.raises(RoverError, match="no end"):  # noqa: PT012
        while recording.poll(delivered, 0):
            pass
    assert handler.records[: len(delivered.records)] == delivered.records
    assert 1 + 2 * 30 - 6 <= len(delivered.records) < len(handler.records)
    recording.close()
    recorder.close()


class Told:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def process(self, process: Process) -> None:
        self.records.append(process)

    def opened(self, opened: Opened) -> None:
        self.records.append(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        self.records.append((detail, payload))

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        self.records.append((plaintext, payload))

    def closed(self, closed: Closed) -> None:
        self.records.append(closed)

    def lost(self, loss: Loss) -> None:
        self.records.append(loss)


def test_damage_ends_a_replay_with_the_logs_before_it(tmp_path):
    file = tmp_path / "recording"
    whole = run(Recorder(Script(steady(60)), Writer(str(file))), tmp_path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    replayed = run(Recording(str(file)), tmp_path)
    assert "wrong checksum of a block" in replayed.failure
    exchanges = replies(replayed)
    assert 20 < len(exchanges) < 40
    assert replies(whole)[: len(exchanges)] == exchanges


u64 = st.sampled_from([0, 1, 2, 5, 1000, 2**32, 2**63, 2**64 - 1])
u62 = st.sampled_from([0, 1, 2, 5, 1000, 2**32, MAX_NUMBER])
i62 = st.sampled_from([0, 1, 1000, 10**10, -1, EPOCH, -MAX_NUMBER, MAX_NUMBER])
i32 = st.sampled_from([0, 42, -1, 2**31 - 1])
details = st.none() | st.builds(
    Detail,
    connection=u64,
    sequence=u62,
    start=i62,
    end=i62,
    position=u62,
    size=u62,
    pid=i32,
    fd=i32,
    syscall=st.integers(0, 65535),
    direction=st.integers(0, 1),
    error=i32,
)
plaintexts = st.builds(
    Plaintext,
    connection=u64,
    sequence=u62,
    start=i62,
    end=i62,
    position=u62,
    size=u62,
    ciphertext=u62 | st.just(-1),
    pid=i32,
    direction=st.integers(0, 1),
    ciphertext_start=u62 | st.just(-1),
)
ends = st.builds(Address, host=st.sampled_from(["", "::1"]), port=st.sampled_from([0, 80, 65535]))
packed = st.one_of(
    st.builds(Process, pid=i32, name=st.text(st.characters(codec=None), max_size=5)).map(form.pack_process),
    st.builds(
        Opened,
        connection=u64,
        time=i62,
        local=ends,
        remote=ends,
        role=st.sampled_from([None, *Role]),
        pid=i32,
        late=st.booleans(),
        detail=details,
    ).map(form.pack_opened),
    st.builds(Closed, connection=u64, time=i62, reset=st.booleans(), detail=details, unseen=u62).map(
        form.pack_closed
    ),
    st.builds(Loss, records=u64, cause=st.just("ring_full")).map(form.pack_loss),
    st.builds(form.Clock, i62, st.lists(u64, max_size=3)).map(form.pack_clock),
    st.tuples(details.filter(bool), lines)
    .map(lambda call: (call[0].replace(size=max(call[0].size, len(call[1]))), call[1]))
    .map(lambda call: form.pack_call(*call) + call[1]),
    st.tuples(plaintexts, lines)
    .map(lambda call: (call[0].replace(size=max(call[0].size, len(call[1]))), call[1]))
    .map(lambda call: form.pack_plaintext(*call) + call[1]),
)


@settings(max_examples=100, deadline=None)
@given(i62, i62, st.lists(packed, min_size=1, max_size=20))
def test_a_made_file_harms_nobody(epoch, clock, entries):
    """Its checksums are right and its values are not: it is read to its end, with nothing failing."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "recording")
        content = b"".join(entries)
        header = framing.pack_header(framing.Header(epoch, clock))
        file.write_bytes(header + framing.pack_block_header(content) + content)
        replayed = run(Recording(str(file)), Path(directory))
        assert replayed.failure == f"{file}, byte {file.stat().st_size}: no end: {NO_END}"


NO_END = "the recorder was killed, or the file is cut off here"


def test_a_source_that_cannot_start_replaces_no_file(tmp_path):
    file = tmp_path / "recording"
    file.write_bytes(b"precious")
    script = Script([])

    def start() -> None:
        raise RoverError("no privileges")

    script.start = start  # type: ignore[method-assign]
    with pytest.raises(RoverError, match="no privileges"):
        run(Recorder(script, Writer(str(file))), tmp_path)
    assert file.read_bytes() == b"precious"
    assert script.closed == 1


def test_a_file_that_cannot_be_opened_lets_go_of_the_source(tmp_path):
    script = Script([])
    with pytest.raises(RoverError, match="cannot open /nowhere/x"):
        run(Recorder(script, Writer("/nowhere/x")), tmp_path)
    assert script.closed == 1


# -- the commands --------------------------------------------------------------------------------


class ScriptPlugin:
    """`--source script`: seven exchanges."""

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec]:
        return [SourceSpec("script", lambda settings, selection: Script(steady(7)))]


@pytest.fixture
def rover_command() -> Iterator[Callable[..., int]]:
    """Runs the command in this process; returns its exit code."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)

    def command(*arguments: str) -> int:
        manager = PluginManager()
        for number, plugin in enumerate([rover.recording, sink_log, LinesPlugin(), ScriptPlugin()]):
            manager.register(plugin, f"plugin{number}")
        code = build(manager)(list(arguments), standalone_mode=False, prog_name="rover")
        return code if isinstance(code, int) else 0

    yield command
    os.setpriority(os.PRIO_PROCESS, 0, nice)  # `record` has set run.nice; later tests begin as this one did


def test_record_and_replay(tmp_path, rover_command, capfd):
    file, live = str(tmp_path / "x.rec"), tmp_path / "live"
    log = ("--sink", "jsonl", "--set", f"sink.jsonl.path={live}")
    assert rover_command("record", file, "--source", "script", *log) == 0
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"rover: recording through script to {file}; Ctrl-C ends\n")
    assert f"rover: 15 records, {Path(file).stat().st_size} bytes in {file}\n" in told.err
    assert "rover: seen 7 exchanges; 1 connection, 15 calls\nrover: jsonl logged 7, lost 0\n" in told.err
    assert rover_command("replay", file, "--sink", "jsonl") == 0
    assert capfd.readouterr().out.encode() == live.read_bytes()


def test_a_file_that_exists_is_replaced_when_it_is_asked_for(tmp_path, rover_command):
    file = tmp_path / "x.rec"
    file.write_bytes(b"precious")
    with pytest.raises(UsageError, match=f"^{file} exists; --force replaces it$"):
        rover_command("record", str(file), "--source", "script")
    assert file.read_bytes() == b"precious"
    assert rover_command("record", "--force", str(file), "--source", "script") == 0
    assert rover_command("replay", str(file), "--sink", "jsonl") == 0


def test_no_sink_unless_asked(tmp_path, rover_command, capfd):
    config = tmp_path / "config.toml"
    config.write_text('[run]\nsource = "script"\nsinks = ["nowhere"]\n')
    assert rover_command("record", str(tmp_path / "x.rec"), "--config", str(config)) == 0
    assert "rover: seen 7 exchanges; 1 connection, 15 calls" in capfd.readouterr().err


def test_replay_at_speed(tmp_path, rover_command, capfd):
    """The slowed source knows the epoch as soon as the recording does."""
    file = str(tmp_path / "x.rec")
    rover_command("record", file, "--source", "script")
    capfd.readouterr()
    rover_command("replay", file, "--sink", "jsonl")
    fast = capfd.readouterr().out
    rover_command("replay", file, "--sink", "jsonl", "--speed", "100")
    assert capfd.readouterr().out == fast
    assert '"timestamp":"2023-11-14T22:13:20' in fast


def test_record_to_standard_output(tmp_path, rover_command, capfdbinary):
    assert rover_command("record", "-", "--source", "script") == 0
    data = capfdbinary.readouterr().out
    file = tmp_path / "x.rec"
    assert rover_command("record", str(file), "--source", "script") == 0
    assert data == file.read_bytes()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_takes_no_access_logs_as_well(rover_command, name):
    with pytest.raises(UsageError, match="standard output is the recording's"):
        rover_command("record", name, "--source", "script", "--sink", "console")


def test_a_recording_is_not_recorded_again(tmp_path, rover_command):
    with pytest.raises(UsageError, match="unknown source 'recording'; installed: script"):
        rover_command("record", str(tmp_path / "x"), "--source", "recording")


def test_a_full_disk_is_one_line_and_exit_code_1(tmp_path, rover_command, capfd):
    file = tmp_path / "x.rec"
    with largest_file(8000):
        assert rover_command("record", str(file), "--source", "script") == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if "cannot write" in line]
    assert len(errors) == 1
    assert str(file) in errors[0]


def test_a_cut_off_recording_is_one_line_and_exit_code_1(tmp_path, rover_command, capfd):
    file = tmp_path / "x.rec"
    rover_command("record", str(file), "--source", "script")
    file.write_bytes(file.read_bytes()[:-3])
    capfd.readouterr()
    assert rover_command("replay", str(file), "--sink", "jsonl") == 1
    told = capfd.readouterr()
    assert told.err.count("cut off within a block") == 1
    assert told.out.count('"lines"') >= 3
