"""Whatever hangs, raises or storms: a run ends in time, with its totals; nothing else of it is disturbed."""

from __future__ import annotations

import dataclasses
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rover import (
    Address,
    Detail,
    Direction,
    Opened,
    Process,
    ProtocolSpec,
    RecordHandler,
    Role,
    RoverError,
    SinkError,
    SinkSpec,
    SourceSpec,
    Syscall,
    hookimpl,
)
from rover.plugins.manager import PluginManager
from rover.run.agent import Agent
from rover.run.configuration import Catalogue
from rover.run.signals import Signals

STOP_SECONDS = 2
SLACK = 10.0
"""Seconds beyond a deadline, on a machine that is busy."""

Act = Callable[[], Any]


def hang() -> None:
    """In a system call that goes on after a signal."""
    os.write(2, b"hanging\n")
    time.sleep(1000)


def spin() -> None:
    """In Python."""
    os.write(2, b"hanging\n")
    while True:
        pass


def nothing() -> None:
    """Does not happen."""


class Talk:
    """A live source: an exchange on a connection of its own with each poll, each telling its number."""

    epoch = 0

    def __init__(self, **acts: Act) -> None:
        self.acts = acts
        self.number = 0

    def act(self, name: str) -> Any:
        return self.acts.get(name, nothing)()

    def start(self) -> None:
        self.act("start")

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        if self.number == 20:
            self.act("poll")
        self.number += 1
        identity = self.number
        ends = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=1024 + identity % 60000)
        handler.process(Process(pid=7, name="app"))
        handler.opened(
            Opened(
                connection=identity,
                time=2,
                local=ends[0],
                remote=ends[1],
                role=Role.SERVER,
                pid=7,
                late=False,
                detail=None,
            )
        )
        for number, (direction, data) in enumerate(
            [(Direction.INGRESS, b"?%d\n" % identity), (Direction.EGRESS, b"!\n")]
        ):
            call = Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE
            handler.data(
                Detail(
                    connection=identity,
                    sequence=number,
                    start=10 + number,
                    end=11 + number,
                    position=0,
                    size=len(data),
                    pid=7,
                    fd=3,
                    syscall=call,
                    direction=direction,
                    error=0,
                ),
                data,
            )
        time.sleep(0.001)
        return True

    def now(self) -> int:
        return time.monotonic_ns()

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True

    def counters(self) -> Mapping[str, int]:
        return self.act("counters") or {}

    def stop(self, handler: RecordHandler) -> None:
        self.act("stop")

    def close(self) -> None:
        self.act("close")


class Acting:
    """A sink that writes lines to a file, and does something else in one of its methods."""

    kernel_logs = False

    def __init__(self, path: Path, **acts: Act) -> None:
        self.path = path
        self.acts = acts
        self.open()
        if "prepare" in acts:
            self.prepare = self._prepare

    def open(self) -> None:
        self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def act(self, name: str) -> Any:
        return self.acts.get(name, nothing)()

    def _prepare(self, log: Any) -> Any:
        self.act("prepare")
        return log

    def write(self, logs: Sequence[Any]) -> None:
        self.act("write")
        self.file.write(b"".join(f"{log.attributes['request']}\n".encode() for log in logs))

    def flush(self) -> None:
        self.act("flush")

    def reopen(self) -> None:
        self.act("reopen")
        self.file.close()
        self.open()

    def counters(self) -> Any:
        return self.act("counters") or {}

    def close(self) -> Any:
        return self.act("close") or 0


class Slow:
    """A decoder's protocol that never comes back from a request."""

    def __init__(self, act: Act) -> None:
        self.role = None
        self.act = act

    def decode(self, direction: Direction, buffer: Any, now: int) -> Any:
        self.act()

    def expire(self, now: int) -> list[Any]:
        return []

    close = expire


@dataclasses.dataclass
class Stage:
    """A run of what is installed, in this process."""

    directory: Path
    lines: ProtocolSpec
    sinks: dict[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)
    plugins: list[object] = dataclasses.field(default_factory=list)
    source: Any = None
    protocol: ProtocolSpec | None = None
    leave: Act = nothing
    """What gives the terminal back."""
    manager: PluginManager = dataclasses.field(default_factory=PluginManager)

    def path(self, name: str) -> Path:
        return self.directory / name

    def numbers(self, name: str = "good") -> list[int]:
        """Of the exchanges that a sink has written, whole lines only."""
        if not self.path(name).exists():
            return []
        return [int(line[1:]) for line in self.path(name).read_bytes().split(b"\n")[:-1]]

    def agent(self, signals: Signals | None = None, **options: Any) -> Agent:
        stage = self

        class Installed:
            @hookimpl
            def register_protocols(self) -> list[ProtocolSpec]:
                return [stage.protocol or stage.lines]

            @hookimpl
            def register_sinks(self) -> list[SinkSpec]:
                makers = {"good": lambda: Acting(stage.path("good")), **stage.sinks}
                return [SinkSpec(name, lambda _, make=make: make()) for name, make in makers.items()]

            @hookimpl
            def register_sources(self) -> list[SourceSpec]:
                return []

        self.manager.register(Installed(), "installed")
        for number, plugin in enumerate(self.plugins):
            self.manager.register(plugin, f"plugin{number}")
        catalogue = Catalogue(self.manager)
        given = [
            f"run.sinks={','.join(dict.fromkeys([*self.sinks, 'good']))}",
            f"limits.stop_seconds={STOP_SECONDS}",
        ]
        settings = catalogue.settings(None, given, {})
        self.source = self.source or Talk()
        return Agent(catalogue, settings, self.source, signals=signals, **options)

    def life(self, **options: Any) -> int:
        """As a command has it; the exit code. What it says is in the file `said`."""
        os.dup2(os.open(self.path("said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        signals = Signals()
        signals.take()
        agent = self.agent(signals, **options)
        with signals.watch(agent.stop_seconds, agent.last_words, self.leave):
            os.write(2, b"watching\n")
            failure = agent.run()
            for line in [*agent.report().lines(), failure]:
                os.write(2, f"rover: {line}\n".encode())
        return 1 if failure else 0

    @property
    def said(self) -> str:
        return self.path("said").read_text() if self.path("said").exists() else ""


@pytest.fixture
def stage(tmp_path: Path, lines: ProtocolSpec) -> Stage:
    return Stage(tmp_path, lines)


Start = Callable[..., int]


@pytest.fixture
def start(stage: Stage, fork: Callable[[Callable[[], object]], int]) -> Start:
    """Runs the stage in a process of its own; returns its pid."""

    def begin(**options: Any) -> int:
        return fork(lambda: os._exit(stage.life(**options)))

    return begin


def ended(pid: int, seconds: float = STOP_SECONDS + SLACK) -> int:
    """Its exit code; it must end by then."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.01)


class Hanging:
    """A plugin whose hook never returns."""

    def __init__(self, act: Act) -> None:
        self.act = act


class HangingExchange(Hanging):
    @hookimpl
    def handle_exchange(self, exchange: Any) -> None:
        if exchange.attributes["request"] == "?20":
            self.act()


class HangingShutdown(Hanging):
    @hookimpl
    def shutdown(self) -> None:
        self.act()


ENDS = ("shutdown", "close", "counters", "stop")
"""What is called at the end only."""
HANGS: dict[str, Callable[[Stage], object]] = {
    "hook": lambda stage: stage.plugins.append(HangingExchange(hang)),
    "hook that spins": lambda stage: stage.plugins.append(HangingExchange(spin)),
    "shutdown": lambda stage: stage.plugins.append(HangingShutdown(hang)),
    **{
        f"sink {method}": lambda stage, method=method: stage.sinks.update(
            bad=lambda: Acting(stage.path("bad"), **{method: hang})
        )
        for method in ("write", "flush", "close", "counters", "prepare")
    },
    "two sinks": lambda stage: stage.sinks.update(
        bad=lambda: Acting(stage.path("bad"), write=hang),
        worse=lambda: Acting(stage.path("worse"), close=spin),
    ),
    **{
        f"source {method}": lambda stage, method=method: setattr(stage, "source", Talk(**{method: hang}))
        for method in ("poll", "stop", "close", "counters")
    },
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", HANGS)
def test_what_hangs_holds_up_no_end(
    stage: Stage, start: Start, until: Callable[..., None], what: str, number: int
) -> None:
    """One deadline for all of it; a sink that does not hang writes what it was given."""
    HANGS[what](stage)
    pid = start()
    if what.rpartition(" ")[2] in ENDS:
        until(lambda: len(stage.numbers()) >= 15)
    else:
        until(lambda: {"watching", "hanging"} <= set(stage.said.splitlines()))
    began = time.monotonic()
    os.kill(pid, number)
    assert ended(pid) == 1
    assert time.monotonic() - began >= 0.5 * STOP_SECONDS  # it had the time it was given
    assert "rover: seen " in stage.said
    assert "Traceback" not in stage.said
    assert stage.numbers() == list(range(1, len(stage.numbers()) + 1))


def test_an_endless_decoder_holds_up_no_end(stage: Stage, start: Start, until: Callable[..., None]) -> None:
    stage.protocol = dataclasses.replace(stage.lines, make=lambda *_: Slow(spin))
    pid = start()
    until(lambda: "hanging" in stage.said)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 1
    assert f"did not end within {STOP_SECONDS} s, held up in " in stage.said


def test_a_start_that_hangs_ends_at_once(stage: Stage, start: Start, until: Callable[..., None]) -> None:
    stage.source = Talk(start=lambda: (os.write(2, b"starting\n"), hang()))
    for number in (signal.SIGTERM, signal.SIGINT):
        stage.path("said").unlink(missing_ok=True)
        pid = start()
        until(lambda: "starting" in stage.said)
        os.kill(pid, number)
        assert ended(pid) == -number


def test_a_second_signal_ends_a_hanging_hook_at_once(
    stage: Stage, start: Start, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "STOP_SECONDS", 600)
    stage.plugins.append(HangingExchange(hang))
    pid = start()
    until(lambda: "hanging" in stage.said)
    os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGINT)
    assert ended(pid, SLACK) == 128 + signal.SIGINT


@pytest.mark.parametrize("ending", ["orderly", "deadline", "second signal"])
def test_the_terminal_is_given_back_before_the_process_may_end_at_once(
    stage: Stage, start: Start, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    stage.leave = lambda: os.write(2, b"left\n")
    if ending != "orderly":
        stage.plugins.append(HangingExchange(hang))
    if ending == "second signal":
        monkeypatch.setattr(sys.modules[__name__], "STOP_SECONDS", 600)
    pid = start()
    until(lambda: len(stage.numbers()) >= 15 if ending == "orderly" else "hanging" in stage.said)
    os.kill(pid, signal.SIGTERM)
    while ending == "second signal" and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        os.kill(pid, signal.SIGTERM)  # one that comes before the last was heard is no second one
    code = ended(pid)
    assert code == {"orderly": 0, "deadline": 1}.get(ending, 128 + signal.SIGTERM)
    before, left, after = stage.said.partition("left\n")
    assert left
    assert "rover: " not in before
    assert bool(after) == (ending != "second signal")


def test_nobody_reads_what_it_says_at_its_end(
    stage: Stage, fork: Callable[..., int], until: Callable[..., None]
) -> None:
    """Standard error is a pipe that is full."""
    read, write = os.pipe()

    def life() -> None:
        def fill() -> None:
            os.dup2(write, 2)
            os.set_blocking(2, False)
            try:
                while True:
                    os.write(2, b"x" * 4096)
            except BlockingIOError:
                os.set_blocking(2, True)

        stage.source = Talk(stop=fill)
        os._exit(stage.life())

    pid = fork(life)
    until(lambda: len(stage.numbers()) >= 15)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 1
    os.close(read)
    os.close(write)


# -- SIGHUP --------------------------------------------------------------------------------------


def test_a_storm_of_hangups_loses_nothing_and_stops_nothing(
    stage: Stage, start: Start, until: Callable[..., None]
) -> None:
    """As fast as they come, under load, with rotations: no deadlock, no recursion, each line once."""
    pid = start()
    until(lambda: "watching" in stage.said)
    rotated = []
    end = time.monotonic() + 3
    while time.monotonic() < end or not rotated:
        for _ in range(200):
            os.kill(pid, signal.SIGHUP)
        if len(stage.numbers()) > 5:
            rotated.append(stage.path(f"good.{len(rotated)}"))
            stage.path("good").rename(rotated[-1])
            until(lambda: os.kill(pid, signal.SIGHUP) or stage.path("good").exists())
    assert rotated
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 0, stage.said
    numbers = [number for path in rotated for number in stage.numbers(path.name)] + stage.numbers()
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert f"seen {len(numbers)} exchanges; " in stage.said
    assert f"good logged {len(numbers)}, lost 0" in stage.said


def test_a_hangup_before_the_run_kills_nobody(stage: Stage, start: Start, until: Callable[..., None]) -> None:
    stage.source = Talk(start=lambda: os.kill(os.getpid(), signal.SIGHUP))
    reopened = stage.path("reopened")
    stage.sinks["bad"] = lambda: Acting(stage.path("bad"), reopen=reopened.touch)
    pid = start()
    until(reopened.exists)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 0


# -- a closed terminal ---------------------------------------------------------------------------

UNDER_A_TERMINAL: dict[str, tuple[list[str], bool]] = {
    "plain": ([], True),
    "by a shell": (["sh", "-c", '"$@"; true', "sh"], True),
    "nohup": (["nohup"], False),
    "daemon": (["sh", "-c", 'setsid "$@" & wait', "sh"], False),
}

PROGRAM = """
import os, signal, sys
sys.path[:0] = {path!r}
import pathlib
from test_endings import Stage
from conftest import LINES
os._exit(Stage(pathlib.Path({directory!r}), LINES).life())
"""


@pytest.mark.parametrize("how", UNDER_A_TERMINAL)
def test_a_closed_terminal_ends_what_was_started_from_it(
    stage: Stage, until: Callable[..., None], how: str
) -> None:
    """A real one. What nohup(1) or setsid(1) started outlives it, and SIGHUP has its files reopened."""
    before, ends = UNDER_A_TERMINAL[how]
    program = PROGRAM.format(path=[str(Path(__file__).parent)], directory=str(stage.directory))
    shell, terminal = pty.fork()
    if shell == 0:
        os.execvp((before or [sys.executable])[0], [*before, sys.executable, "-c", program])
    try:
        until(lambda: len(stage.numbers()) >= 5)
        (pid,) = find(program)
        os.kill(pid, signal.SIGHUP)
        stage.path("good").rename(stage.path("older"))
        until(lambda: os.kill(pid, signal.SIGHUP) or len(stage.numbers()) >= 5)  # it is open still
        os.close(terminal)
        if ends:
            until(lambda: find(program) == [])
            assert "rover: seen " in stage.said
            assert stage.said.count("logged") == 1
        else:
            count = len(stage.numbers())
            stage.path("good").rename(stage.path("old"))
            os.kill(pid, signal.SIGHUP)
            until(lambda: len(stage.numbers()) > count)
            os.kill(pid, signal.SIGTERM)
            until(lambda: find(program) == [])
            assert "lost 0" in stage.said
    finally:
        for pid in find(program):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(shell, 0)


def test_a_thread_that_a_plugin_leaves_behind_holds_up_no_end(
    stage: Stage, until: Callable[..., None]
) -> None:
    """Python waits for it when all else has ended."""
    program = PROGRAM.format(path=[str(Path(__file__).parent)], directory=str(stage.directory))
    program = program.replace(
        "os._exit(",
        "import threading, time\nthreading.Thread(target=time.sleep, args=[1000]).start()\nsys.exit(",
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: len(stage.numbers()) >= 5)
        process.terminate()
        assert process.wait(STOP_SECONDS + SLACK) == 1
        assert "lost 0" in stage.said
        assert "did not end within" in stage.said
    finally:
        process.kill()
        process.wait()


def find(program: str) -> list[int]:
    """The processes that run this text, Python's own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if arguments[0].endswith(b"python") and program.encode() in arguments and state != "Z":
            found.append(int(entry.name))
    return found


# -- sinks that misbehave ------------------------------------------------------------------------


class MuteError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise SystemExit(3)


def throws(error: BaseException | type[BaseException]) -> Act:
    def throw() -> None:
        raise error

    return throw


ERRORS = [
    ValueError("a bug"),
    SystemExit(0),
    KeyboardInterrupt(),
    GeneratorExit(),
    MuteError(),
    MemoryError(),
]
METHODS = ["make", "write", "flush", "reopen", "counters", "close", "prepare"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_sink_raises_is_its_own_failure(stage: Stage, method: str, error: BaseException) -> None:
    """Counted and named; the other sink has every exchange, and the run goes on."""
    if method == "make":
        stage.sinks["bad"] = throws(error)
    else:
        stage.sinks["bad"] = lambda: Acting(stage.path("bad"), **{method: throws(error)})
    agent = stage.agent()
    timer = run_for_a_while(agent, stage)
    failure = agent.run()
    timer.join()
    seen = agent.pipeline.totals.exchanges
    assert stage.numbers() == list(range(1, seen + 1))
    report = agent.report()
    kinds = {f.kind for f in report.failures if f.plugin == "installed"}
    assert f"sink bad: {method}: {type(error).__name__}" in kinds
    assert failure.startswith(f"sink bad: {type(error).__name__}")
    for sink in report.sinks:
        assert seen == sink.logged + sum(sink.lost.values())
    if method in ("write", "prepare"):
        assert "bad" not in {sink.name for sink in report.sinks if sink.logged}


def run_for_a_while(agent: Agent, stage: Stage) -> threading.Thread:
    """Ends it when there are some exchanges, and a rotation."""

    def watch() -> None:
        while agent.pipeline.totals.exchanges < 20:
            time.sleep(0.001)
        agent.reopen()
        while agent.pipeline.totals.exchanges < 60:
            time.sleep(0.001)
        agent.stop()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


class Gone:
    """A sink with an attribute that raises."""

    @property
    def kernel_logs(self) -> bool:
        raise SystemExit(1)


RETURNS: dict[str, tuple[str, Any]] = {
    "text": ("close", lambda: "three"),
    "a negative number": ("close", lambda: -5),
    "true": ("close", lambda: True),
    "a list": ("counters", lambda: [1, 2]),
    "figures that are none": ("counters", lambda: {"a": "b"}),
    "names that are none": ("counters", lambda: {1: 1}),
    "a name that steers a terminal": ("counters", lambda: {"\x1b[2J": 1}),
    "a figure of no end": ("counters", lambda: {"a": 1 << 64}),
    "figures without end": ("counters", lambda: {str(n): n for n in range(100_000)}),
}


@pytest.mark.parametrize("what", RETURNS)
def test_what_a_sink_returns_that_is_nothing_is_its_own_failure(stage: Stage, what: str) -> None:
    method, act = RETURNS[what]
    stage.sinks["bad"] = lambda: Acting(stage.path("bad"), **{method: act})
    agent = stage.agent()
    timer = run_for_a_while(agent, stage)
    assert agent.run().startswith("sink bad: TypeError: returned ")
    timer.join()
    report = agent.report()
    assert {f.kind for f in report.failures} == {f"sink bad: {method}: TypeError"}
    (bad, _) = report.sinks
    assert (bad.logged, bad.counters) == (report.exchanges, {})
    assert "\x1b" not in "".join(report.lines())


@pytest.mark.parametrize("made", [None, 7, Gone()], ids=["none", "number", "gone"])
def test_what_is_no_sink_is_left_out(stage: Stage, made: Any) -> None:
    stage.sinks["bad"] = lambda: made
    agent = stage.agent()
    timer = run_for_a_while(agent, stage)
    assert "sink bad: TypeError" in agent.run()
    timer.join()
    assert len(stage.numbers()) == agent.pipeline.totals.exchanges


def test_without_any_sink_there_is_no_run(stage: Stage) -> None:
    stage.sinks["bad"] = throws(SystemExit(0))
    with pytest.raises(RoverError, match="sink bad: SystemExit"):
        stage.agent(sinks=["bad"])


def test_a_sink_that_the_caller_has_made(stage: Stage) -> None:
    """Beside those that are named, or alone; what it raises is told by its name."""
    alone = stage.agent(sinks=(), brought={"mine": Acting(stage.path("mine"))})
    timer = run_for_a_while(alone, stage)
    assert alone.run() == ""
    timer.join()
    (sink,) = alone.report().sinks
    assert (sink.name, sink.logged) == ("mine", alone.pipeline.totals.exchanges)
    assert stage.numbers("mine") == list(range(1, sink.logged + 1))
    assert not stage.path("good").exists()


# -- the source ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["poll", "stop", "close", "counters"])
def test_a_source_that_fails_ends_the_run_with_its_totals(
    stage: Stage, method: str, error: BaseException
) -> None:
    stage.source = Talk(**{method: throws(error)})
    agent = stage.agent()
    timer = run_for_a_while(agent, stage) if method != "poll" else None
    assert f"{type(error).__name__}: " in agent.run()
    if timer is not None:
        timer.join()
    report = agent.report()
    assert report.exchanges == len(stage.numbers()) > 0


# -- a replay that waits for its reader ----------------------------------------------------------


def test_a_lossless_run_whose_reader_does_not_read_ends_in_time(
    stage: Stage, start: Start, until: Callable[..., None]
) -> None:
    """The main thread waits for room in the queue: there it hears of the end."""
    stage.sinks["bad"] = lambda: Acting(
        stage.path("bad"), write=lambda: (stage.path("blocked").touch(), hang())
    )
    pid = start(lossless=True)
    until(stage.path("blocked").exists)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 1
    assert "did not finish in time" in stage.said or "did not end within" in stage.said


def test_a_sink_that_says_it_is_closed_ends_the_run(stage: Stage) -> None:
    def closed() -> None:
        raise SinkError("nobody reads", closed=True)

    stage.sinks["good"] = lambda: Acting(stage.path("good"), write=closed)
    assert stage.agent().run() == "sink good: nobody reads"


def test_standard_output_that_is_not_open() -> None:
    """Nothing else is taken for it: its lines go nowhere, which is said."""
    check = (
        "import os; from rover.cli.command import open_standard_streams as o; o()\n"
        "n = os.open('/dev/null', 0)\n"
        "try: os.write(1, b'x')\n"
        "except OSError as e: os._exit(n * 10 + e.errno)\n"
    )
    done = subprocess.run(["sh", "-c", 'exec "$1" -c "$2" >&-', "sh", sys.executable, check], check=False)
    assert done.returncode == 3 * 10 + 9  # the first that is free, EBADF
