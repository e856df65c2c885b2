"""Several processes share a source: every exchange once, one report, and none left behind."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rover import (
    DROP,
    Address,
    Closed,
    Detail,
    Direction,
    Loss,
    Opened,
    Process,
    ProtocolSpec,
    RecordHandler,
    Role,
    RoverError,
    Setting,
    Settings,
    SinkError,
    SinkSpec,
    Syscall,
    UsageError,
    Worker,
    hookimpl,
)
from rover.plugins.manager import PluginManager
from rover.run import workers
from rover.run.configuration import Catalogue

CONNECTIONS = 40
EACH = 5
"""Exchanges on every connection."""
DEADLINE = 20.0
SLACK = 10.0
"""Seconds beyond a deadline, on a machine that is busy."""

Act = Callable[[int], object]


def nothing(_number: int) -> None:
    """Does not happen."""


def talk(handler: RecordHandler, identity: int) -> None:
    """A connection with its exchanges, and its end."""
    handler.process(Process(pid=identity, name=f"app{identity}"))
    accept = Detail(
        connection=identity,
        sequence=0,
        start=1,
        end=2,
        position=0,
        size=0,
        pid=identity,
        fd=3,
        syscall=Syscall.ACCEPT4,
        direction=Direction.EGRESS,
        error=0,
    )
    ends = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=identity)
    handler.opened(
        Opened(
            connection=identity,
            time=2,
            local=ends[0],
            remote=ends[1],
            role=Role.SERVER,
            pid=identity,
            late=False,
            detail=accept,
        )
    )
    positions = {Direction.INGRESS: 0, Direction.EGRESS: 0}
    calls = [(Direction.INGRESS, b"?%d-%d\n"), (Direction.EGRESS, b"!%d-%d\n")]
    sequence = 1
    for number in range(EACH):
        for direction, form in calls:
            data = form % (identity, number)
            position = positions[direction]
            time_ = 10 * sequence
            handler.data(
                Detail(
                    connection=identity,
                    sequence=sequence,
                    start=time_,
                    end=time_ + 1,
                    position=position,
                    size=len(data),
                    pid=identity,
                    fd=3,
                    syscall=Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE,
                    direction=direction,
                    error=0,
                ),
                data,
            )
            positions[direction] += len(data)
            sequence += 1
    handler.closed(Closed(connection=identity, time=10 * sequence, reset=False, detail=None))


@dataclasses.dataclass
class Memory:
    """A source in memory, divisible; it tells a file what is done with it, from whatever process."""

    diary: Path
    waits: bool = False
    """It ends when it is stopped, with half of its records untold until then."""
    on_start: Act = nothing
    on_poll: Act = nothing
    epoch: int = 0
    ignored: list[int] = dataclasses.field(default_factory=list)

    def note(self, line: str) -> None:
        with self.diary.open("a") as file:
            file.write(line + "\n")

    def divide(self, count: int) -> Sequence[Part]:
        self.note(f"divided by {count}")
        return [Part(self, number, count) for number in range(count)]

    def start(self) -> None:
        self.note("started")

    def ignore(self, pid: int) -> None:
        self.ignored.append(pid)

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        raise AssertionError("the whole is not read")

    def now(self) -> int:
        return time.monotonic_ns()

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True

    def counters(self) -> Mapping[str, int]:
        return {"whole": 1, "shared": 100}

    def stop(self, handler: RecordHandler) -> None:
        self.note("stopped")
        handler.lost(Loss(records=7, cause="ring_full"))

    def close(self) -> None:
        self.note("closed")


class Part:
    """The connections whose id says so."""

    def __init__(self, whole: Memory, number: int, count: int) -> None:
        self.epoch = 0
        self.whole = whole
        self.number = number
        self.left = [identity for identity in range(1, CONNECTIONS + 1) if identity % count == number]
        self.kept = len(self.left) // 2 if whole.waits else 0

    def start(self) -> None:
        self.whole.note(f"part {self.number} started in {os.getpid()}")
        self.whole.on_start(self.number)

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        self.whole.on_poll(self.number)
        if len(self.left) > self.kept:
            talk(handler, self.left.pop())
            return True
        if self.whole.waits:
            time.sleep(min(timeout, 0.01))
        return self.whole.waits

    def now(self) -> int:
        return time.monotonic_ns()

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True

    def counters(self) -> Mapping[str, int]:
        return {"shared": self.number + 1}

    def stop(self, handler: RecordHandler) -> None:
        self.whole.note(f"part {self.number} stopped")
        while self.left:
            talk(handler, self.left.pop())

    def close(self) -> None:
        pass


class Lines:
    """A sink: the requests, a line each, and what happens to it."""

    kernel_logs = False

    def __init__(self, settings: Mapping[str, Any], worker: Worker) -> None:
        self.worker = worker
        self.file = open(settings["path"], "ab", buffering=0)  # noqa: SIM115
        if settings["refuses"] == worker.number:
            raise RoverError("no more room")
        self.leaves = settings["leaves"] == worker.number
        self.hangs = settings["hangs"] == worker.number

    def write(self, logs: Sequence[Any]) -> None:
        if self.leaves:
            raise SinkError("the reader left", closed=True)
        if self.hangs:
            self.file.write(b"hangs\n")
            threading.Event().wait()
        with self.worker.lock:
            for log in logs:
                self.file.write(f"{log.attributes['request']} {log.connection.process.name}\n".encode())

    def flush(self) -> None:
        pass

    def reopen(self) -> None:
        self.file.write(b"reopened by %d\n" % self.worker.number)

    def counters(self) -> Mapping[str, int]:
        return {"closed": 1}

    def close(self) -> int:
        return 0


@dataclasses.dataclass
class Stage:
    """What is installed, a place for files, and a run."""

    catalogue: Catalogue
    path: Path
    diary: Path

    def source(self, **options: Any) -> Memory:
        return Memory(self.diary, **options)

    def run(self, source: Any, count: int = 2, *assignments: str, **options: Any) -> Any:
        chosen = [f"sink.lines.path={self.path}", "run.sinks=lines", *assignments]
        settings = self.catalogue.settings(None, chosen, {})
        return workers.run(self.catalogue, settings, source, count, lossless=True, **options)

    @property
    def requests(self) -> collections.Counter[str]:
        return collections.Counter(
            line for line in self.path.read_text().splitlines() if line.startswith("?")
        )

    @property
    def notes(self) -> list[str]:
        return self.diary.read_text().splitlines() if self.diary.exists() else []

    def wait_for(self, path: Path, *lines: str) -> None:
        end = time.monotonic() + DEADLINE
        while not (path.exists() and set(lines) <= set(path.read_text().splitlines())):
            assert time.monotonic() < end, path.read_text() if path.exists() else "no file"
            time.sleep(0.005)


EXPECTED = collections.Counter(
    f"?{identity}-{number} app{identity}" for identity in range(1, CONNECTIONS + 1) for number in range(EACH)
)


class Faulty:
    """A plugin that fails once per exchange."""

    @hookimpl
    def handle_exchange(self, exchange: Any) -> None:
        raise ValueError("never well")


@pytest.fixture
def stage(tmp_path: Path, lines: ProtocolSpec) -> Iterator[Stage]:
    class Installed:
        @hookimpl
        def register_protocols(self) -> list[ProtocolSpec]:
            return [lines]

        @hookimpl
        def register_sinks(self) -> list[SinkSpec]:
            settings = [
                Setting("path", "", "file"),
                Setting("refuses", -1, "number of a worker in which it does not open"),
                Setting("leaves", -1, "number of a worker in which it takes nothing"),
                Setting("hangs", -1, "number of a worker in which it never returns"),
            ]
            alone = SinkSpec("alone", lambda settings: None)  # type: ignore[arg-type,return-value]
            return [SinkSpec("lines", alone.make, settings, Lines), alone]

    manager = PluginManager()
    manager.register(Installed(), "installed")
    yield Stage(Catalogue(manager), tmp_path / "log", tmp_path / "diary")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def stop_soon(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_exchange_once_and_figures_that_add_up(stage: Stage, count: int) -> None:
    report, failure = stage.run(stage.source(), count)
    assert failure == ""
    assert stage.requests == EXPECTED
    total = CONNECTIONS * EACH
    calls = CONNECTIONS * (2 * EACH + 1)
    assert report.totals() == [
        f"seen {total} exchanges; {CONNECTIONS} connections, {calls} calls",
        f"lines logged {total}, lost 0",
        "7 records lost (ring_full 7)",
    ]
    assert report.counters() == [
        f"source: shared {100 + sum(range(1, count + 1))}, whole 1",
        f"lines: closed {count}",
    ]
    assert report.failures == []


def test_what_was_captured_before_a_signal_is_delivered_after_the_capture_ended(stage: Stage) -> None:
    """The whole stops before any part: a part then finds all there is, and its end."""
    report, failure = stage.run(stage.source(waits=True), ready=stop_soon)
    assert failure == ""
    assert stage.requests == EXPECTED
    assert report.exchanges == EXPECTED.total()
    ends = [note for note in stage.notes if "started" not in note and "divided" not in note]
    assert ends[0] == "stopped"
    assert sorted(ends[1:3]) == ["part 0 stopped", "part 1 stopped"]
    assert ends[3:] == ["closed"]


def test_the_parent_ignores_its_workers_before_they_open_anything(stage: Stage) -> None:
    source = stage.source()
    stage.run(source)
    pids = [int(note.split()[-1]) for note in stage.notes if " started in " in note]
    assert source.ignored == pids
    assert len(set(pids) | {os.getpid()}) == 3


def test_ctrl_c_and_a_service_manager_reach_every_process_but_only_the_parent_acts(stage: Stage) -> None:
    def all_of_the_group(_number: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    _, failure = stage.run(stage.source(on_poll=all_of_the_group))
    assert failure == ""
    assert stage.requests == EXPECTED


def test_sighup_is_passed_on(stage: Stage) -> None:
    def rotate() -> None:
        stage.wait_for(stage.path, "reopened by 0", "reopened by 1")
        os.kill(os.getpid(), signal.SIGTERM)

    waiting = threading.Thread(target=rotate)

    def ready() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        waiting.start()

    _, failure = stage.run(stage.source(waits=True), ready=ready)
    waiting.join()
    assert failure == ""
    assert stage.requests == EXPECTED


def first_time(path: Path) -> bool:
    """For whichever process comes first."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@pytest.fixture
def stop_when(until: Callable[[Callable[[], object]], None]) -> Iterator[Callable[..., Callable[[], None]]]:
    """What `ready` may be: from then on the run is ended as soon as a condition holds."""
    threads = []

    def when(condition: Callable[[], object]) -> Callable[[], None]:
        def wait() -> None:
            try:
                until(condition)
            finally:
                stop_soon()

        def ready() -> None:
            threads.append(threading.Thread(target=wait))
            threads[-1].start()

        return ready

    yield when
    for thread in threads:
        thread.join()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ZeroDivisionError("nothing\nmore")


DEATHS = [
    (die, "worker {} died (signal 9): the exchanges it had in hand are lost"),
    (lambda: os._exit(3), "worker {} died (exit code 3): the exchanges it had in hand are lost"),
    (fail, "worker {}: internal error: ZeroDivisionError: nothing"),
]


@pytest.mark.parametrize("dying", [0, 1])
@pytest.mark.parametrize(("death", "message"), DEATHS, ids=["killed", "exits", "bug"])
def test_a_worker_that_dies_is_started_again(
    stage: Stage, stop_when: Any, tmp_path: Path, dying: int, death: Callable[[], None], message: str
) -> None:
    def once(number: int) -> None:
        if number == dying and first_time(tmp_path / "once"):
            death()

    def both_at_it() -> bool:
        return stage.path.exists() and stage.requests.total() == EXPECTED.total() // 2

    report, failure = stage.run(stage.source(waits=True, on_poll=once), ready=stop_when(both_at_it))
    assert failure == message.format(dying + 1)
    assert stage.requests == EXPECTED
    assert report.exchanges == EXPECTED.total()
    assert report.workers == {"died": 1, "started_again": 1}
    starts = [note for note in stage.notes if note.startswith(f"part {dying} started")]
    assert len(set(starts)) == 2


def test_a_worker_that_dies_each_time_is_started_ever_more_rarely(
    stage: Stage, stop_when: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(workers, "LONGEST_PAUSE", 0.004)

    def die_always(number: int) -> None:
        if number == 1:
            die()

    def five() -> bool:
        """The sixth start is after the fifth death."""
        return sum(note.startswith("part 1 started") for note in stage.notes) >= 6

    report, _ = stage.run(stage.source(waits=True, on_poll=die_always), ready=stop_when(five))
    others = collections.Counter(r for r in EXPECTED if int(r[1:].split("-")[0]) % 2 == 0)
    assert others <= stage.requests
    assert report.workers["died"] >= 5
    pauses = [
        float(r.getMessage().split()[-2]) for r in caplog.records if "started again in" in r.getMessage()
    ]
    assert pauses[:4] == [0.001, 0.002, 0.004, 0.004]


def test_a_worker_that_cannot_begin_again_is_tried_again(
    stage: Stage, stop_when: Any, tmp_path: Path
) -> None:
    def die_once(number: int) -> None:
        if number == 1 and first_time(tmp_path / "once"):
            die()

    def refuse_once(number: int) -> None:
        if number == 1 and (tmp_path / "once").exists() and first_time(tmp_path / "twice"):
            raise RoverError("not now")

    def both_at_it() -> bool:
        return stage.path.exists() and stage.requests.total() == EXPECTED.total() // 2

    source = stage.source(waits=True, on_poll=die_once, on_start=refuse_once)
    report, failure = stage.run(source, ready=stop_when(both_at_it))
    assert "died (signal 9)" in failure
    assert stage.requests == EXPECTED
    assert report.workers == {"died": 2, "started_again": 2}


def test_what_a_killed_worker_had_counted_is_not_lost(stage: Stage, stop_when: Any, tmp_path: Path) -> None:
    """Its figures are its newest report; what its sinks had not taken by then is lost, by cause."""
    seen = CONNECTIONS // 2 * EACH // 2

    def die_late(number: int) -> None:
        if number == 1 and stage.path.exists():
            own = [r for r in stage.requests if int(r[1:].split("-")[0]) % 2]
            if len(own) == seen and first_time(tmp_path / "told"):
                time.sleep(2 * workers.FIGURES_INTERVAL)
            elif len(own) == seen and first_time(tmp_path / "once"):
                die()

    def again() -> bool:
        return (tmp_path / "once").exists() and stage.requests.total() == 3 * seen

    report, _ = stage.run(stage.source(waits=True, on_poll=die_late), ready=stop_when(again))
    (sink,) = report.sinks
    assert report.exchanges == sink.logged + sum(sink.lost.values())
    assert seen - EACH <= report.exchanges - EXPECTED.total() <= seen


def test_a_stopped_worker_does_not_keep_the_others_from_ending(stage: Stage, parent: Any) -> None:
    pid, children = parent("limits.stop_seconds=2")
    os.kill(children[1], signal.SIGSTOP)
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert time.monotonic() - began < 2 + SLACK
    assert_gone(children)
    assert stage.notes[-1] == "failure: worker 2 did not end in time: the exchanges it had in hand are lost"
    assert {"part 0 stopped", "part 2 stopped"} <= set(stage.notes)


def test_a_source_that_fails_in_one_worker_ends_all(stage: Stage) -> None:
    def fail(number: int) -> None:
        if number == 0:
            raise RoverError("the kernel went away")

    report, failure = stage.run(stage.source(waits=True, on_poll=fail))
    assert failure == "the kernel went away"
    assert report.exchanges == EXPECTED.total() // 2


def test_a_sink_that_takes_nothing_any_more_in_one_worker_ends_all(stage: Stage) -> None:
    report, failure = stage.run(stage.source(waits=True), 2, "sink.lines.leaves=1")
    assert failure == "sink lines: the reader left"
    (sink,) = report.sinks
    assert report.exchanges == sink.logged + sum(sink.lost.values())


@pytest.mark.parametrize("number", [0, 1])
def test_a_sink_that_does_not_open_in_a_worker_refuses_the_run(stage: Stage, number: int) -> None:
    with pytest.raises(RoverError, match="no more room") as raised:
        stage.run(stage.source(waits=True), 2, f"sink.lines.refuses={number}")
    assert not isinstance(raised.value, UsageError)
    assert stage.notes[-1] == "closed"


def test_a_part_that_does_not_start_refuses_the_run(stage: Stage) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise UsageError("not here")

    with pytest.raises(UsageError, match="not here"):
        stage.run(stage.source(waits=True, on_start=fail))


def test_a_worker_that_dies_before_it_is_ready(stage: Stage) -> None:
    with pytest.raises(RoverError, match=r"worker 1 died \(signal 9\)"):
        stage.run(stage.source(on_start=lambda number: os.kill(os.getpid(), signal.SIGKILL)))


class Refusing:
    """A plugin that refuses every run."""

    @hookimpl
    def startup(self, settings: Settings) -> None:
        raise UsageError(f"plugin.refusing.key = {settings['plugin.refusing.key']}: no such key")

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return [Setting("key", "none", "a key")]


def test_a_plugin_that_refuses_the_run_refuses_it_in_workers(stage: Stage) -> None:
    stage.catalogue.manager.register(Refusing(), "refusing")
    refused = Stage(Catalogue(stage.catalogue.manager), stage.path, stage.diary)
    with pytest.raises(UsageError, match=r"^plugin\.refusing\.key = x: no such key$"):
        refused.run(refused.source(waits=True), 2, "plugin.refusing.key=x")
    assert stage.notes[-1] == "closed"
    assert not list(stage.catalogue.manager.failures())


class Quiet:
    """Drops what the first connections ask, and marks the rest."""

    @hookimpl
    def handle_access_log(self, log: Any) -> Any:
        if log.protocol and log.connection.id % 2:
            return DROP
        return log.replace(attributes={**log.attributes, "reply": "masked"}) if log.protocol else None


def test_what_plugins_drop_in_each_worker_is_added_up(stage: Stage) -> None:
    stage.catalogue.manager.register(Quiet(), "quiet")
    report, _ = stage.run(stage.source())
    (sink,) = report.sinks
    assert report.dropped == {"quiet": EXPECTED.total() - sink.logged}
    assert 0 < sink.logged == stage.requests.total() < EXPECTED.total()
    assert sum(sink.lost.values()) == 0
    assert f"{report.dropped['quiet']} exchanges dropped (quiet {report.dropped['quiet']})" in report.totals()


def test_failures_of_plugins_are_added_up(stage: Stage) -> None:
    """What failed before there were workers is told once, not by each."""
    manager = stage.catalogue.manager
    manager.register(Faulty(), "faulty").failed("import", ImportError("of before"))
    report, _ = stage.run(stage.source())
    assert {(f.plugin, f.kind, f.message, f.count) for f in report.failures} == {
        ("faulty", "import: ImportError", "of before", 1),
        ("faulty", "handle_exchange: ValueError", "never well", EXPECTED.total()),
    }


class Whole:
    """A source that cannot be divided."""

    epoch = 0


@pytest.mark.parametrize(
    ("assignments", "count", "message"),
    [
        ([], 9, "run.workers = 9: must be from 1 to 8"),
        ([], 0, "run.workers = 0: must be from 1 to 8"),
        (["run.sinks=alone"], 2, "sink alone runs in one process: run it without --workers"),
        (["run.sinks=lines,alone"], 2, "sink alone runs in one process: run it without --workers"),
        (["run.sinks=nowhere"], 2, "unknown sink 'nowhere'; installed: alone, lines"),
        (["run.sinks="], 2, "no sink; name one with --sink"),
        (["ports.80=nowhere"], 2, "no such protocol"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(
    stage: Stage, assignments: list[str], count: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stage.run(stage.source(), count, *assignments)
    assert stage.notes == []


def test_a_source_that_cannot_be_divided(stage: Stage) -> None:
    with pytest.raises(UsageError, match="source ebpf is read by one process: run it without --workers"):
        stage.run(Whole())


def test_what_plugins_print_is_printed_once(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the parent's buffer by every process, nor a worker's by none."""
    with os.fdopen(os.dup(1), "w") as buffered, contextlib.redirect_stdout(buffered):
        print("the parent's")
        stage.run(stage.source(on_start=lambda number: print(f"of {number}")))
    assert sorted(capfd.readouterr().out.splitlines()) == ["of 0", "of 1", "the parent's"]


def alive(pid: int) -> bool:
    """Neither gone nor waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def parent(stage: Stage, fork: Callable[[Callable[[], object]], int]) -> Callable[..., tuple[int, list[int]]]:
    """A run in a process of its own: its pid, and those of its three workers, once they are ready."""

    def start(*assignments: str) -> tuple[int, list[int]]:
        source = stage.source(waits=True)

        def life() -> None:
            _, failure = stage.run(source, 3, *assignments, ready=lambda: source.note("ready"))
            source.note(f"failure: {failure}")

        pid = fork(life)
        stage.wait_for(stage.diary, "ready")
        children = [int(note.split()[-1]) for note in stage.notes if " started in " in note]
        assert [alive(child) for child in children] == [True] * 3
        return pid, children

    return start


def assert_gone(pids: Sequence[int]) -> None:
    end = time.monotonic() + DEADLINE
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_parent_that_is_killed_leaves_nobody_behind(parent: Any) -> None:
    pid, children = parent()
    os.kill(pid, signal.SIGKILL)
    assert_gone(children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_all_at_once(stage: Stage, parent: Any, number: int) -> None:
    """The first one waits for a sink that hangs."""
    pid, children = parent("sink.lines.hangs=1", "limits.stop_seconds=600")
    stage.wait_for(stage.path, "hangs")
    os.kill(pid, number)
    stage.wait_for(stage.diary, "stopped", "part 1 stopped")
    os.kill(pid, number)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -number
    assert_gone(children)
