"""A command of a plugin that watches, or reads files, into a sink of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

import rover.recording
from rover import (
    Address,
    Detail,
    Direction,
    Opened,
    Process,
    ProtocolSpec,
    Role,
    Syscall,
    UsageError,
    hookimpl,
)
from rover.cli.watching import Asked, Watching, asking
from rover.plugins.manager import PluginManager
from rover.recording.writer import Writer


def recording(path: Path, count: int) -> str:
    """So many exchanges of the protocol `lines`."""
    writer = Writer(str(path))
    writer.begin(0, 0)
    writer.process(Process(pid=7, name="app"))
    ends = Address(host="10.0.0.1", port=80), Address(host="10.0.0.2", port=1024)
    opened = Opened(
        connection=1, time=1, local=ends[0], remote=ends[1], role=Role.SERVER, pid=7, late=False, detail=None
    )
    writer.opened(opened)
    for number in range(2 * count):
        data = b"?%03d\n" % (number // 2) if number % 2 == 0 else b"!\n"
        detail = Detail(
            connection=1,
            sequence=number,
            start=10 + number,
            end=11 + number,
            position=number // 2 * (5 if number % 2 == 0 else 2),
            size=len(data),
            pid=7,
            fd=3,
            syscall=Syscall.READ if number % 2 == 0 else Syscall.WRITE,
            direction=Direction.INGRESS if number % 2 == 0 else Direction.EGRESS,
            error=0,
        )
        writer.data(detail, data)
    writer.end(1000)
    assert writer.failure == ""
    return str(path)


@pytest.fixture
def in_a_process(
    fork: Callable[[Callable[[], object]], int], lines: ProtocolSpec
) -> Callable[[Callable[[PluginManager], object]], None]:
    """Runs a function, which takes the signals for its process, in one of its own."""

    class Installed:
        @hookimpl
        def register_protocols(self) -> list[ProtocolSpec]:
            return [lines]

    manager = PluginManager()
    for name, plugin in (("recording", rover.recording), ("lines", Installed())):
        manager.register(plugin, name)

    def run(function: Callable[[PluginManager], object]) -> None:
        _, status = os.waitpid(fork(lambda: function(manager)), 0)
        assert os.waitstatus_to_exitcode(status) == 0

    return run


def requests(sink: Any) -> list[str]:
    return [str(log.attributes["request"]) for log in sink.logs if log.protocol]


def test_files_are_read_again_until_nobody_wants_it(
    tmp_path: Path, in_a_process: Callable[..., None], sink: Any
) -> None:
    files = [recording(tmp_path / "a", 3), recording(tmp_path / "b", 1)]
    once = ["?000", "?001", "?002", "?000"]

    def function(manager: PluginManager) -> None:
        answers = iter([None, True, None, None, True, False])
        reading: list[bool] = []

        def again(seconds: float) -> bool | None:
            reading.append(watching.reading)
            return next(answers)

        watching = Watching(manager, Asked(files=files), "mine", sink, again=again)
        assert watching.reading
        assert watching.run(contextlib.nullcontext()) == ""
        watching.end("")
        assert requests(sink) == 3 * once
        assert reading == [False] * 6
        (told,) = watching.agent.report().sinks
        assert (told.name, told.logged) == ("mine", 12)

    in_a_process(function)


def test_an_end_is_heard_while_somebody_looks_at_what_files_came_to(
    tmp_path: Path, in_a_process: Callable[..., None], sink: Any
) -> None:
    file = recording(tmp_path / "a", 3)

    def function(manager: PluginManager) -> None:
        left = threading.Event()

        def again(seconds: float) -> None:
            assert not left.is_set()
            os.kill(os.getpid(), signal.SIGTERM)

        watching = Watching(manager, Asked(files=[file]), "mine", sink, again=again)
        assert watching.run(contextlib.nullcontext(), left.set) == ""
        assert left.is_set()
        assert watching.stopping
        assert requests(sink) == ["?000", "?001", "?002"]

    in_a_process(function)


def test_files_that_cannot_be_read_are_told_and_the_others_are_read(
    tmp_path: Path, in_a_process: Callable[..., None], sink: Any
) -> None:
    good, bad = recording(tmp_path / "a", 3), str(tmp_path / "nowhere")

    def function(manager: PluginManager) -> None:
        watching = Watching(manager, Asked(files=[bad, good]), "mine", sink)
        assert watching.run(contextlib.nullcontext()) == ""
        assert len(requests(sink)) == 3
        with pytest.raises(typer.Exit) as ended:
            watching.end("")
        assert ended.value.exit_code == 2
        with pytest.raises(typer.Exit) as ended:
            Watching(manager, Asked(files=[bad, bad]), "mine", sink)
        assert ended.value.exit_code == 2
        with pytest.raises(UsageError, match="unknown source 'none'"):
            Watching(manager, Asked(source="none"), "mine", sink)

    in_a_process(function)


def test_a_command_gets_what_is_asked_for() -> None:
    """The files and all options, beside the parameters of its own."""
    got: list[tuple[str, Asked]] = []
    cli = typer.Typer()

    @cli.command("count")
    @asking
    def count(
        context: typer.Context, asked: Asked, by: Annotated[str, typer.Option(help="What.")] = "route"
    ) -> None:
        """How many there are."""
        got.append((f"{context.command.name} {by}", asked))

    options = ["--pid", "1", "--pid", "2", "--port", "80", "--no-mask", "--set", "a=b", "--config", "c.toml"]
    for arguments in (
        [],
        ["--by", "host", *options, "--comm", "nginx", "--cgroup", "/x", "--source", "s", "f"],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output
    everything = Asked(
        files=["f"],
        config=Path("c.toml"),
        source="s",
        pids=[1, 2],
        comms=["nginx"],
        ports=[80],
        cgroups=["/x"],
        no_mask=True,
        sets=["a=b"],
    )
    assert got == [("count route", Asked()), ("count host", everything)]
    assert "How many there are." in CliRunner().invoke(cli, ["--help"]).output
