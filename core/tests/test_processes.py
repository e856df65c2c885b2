"""describe_process: asked once of a process, believed in the order of calls, carried by each of its logs."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rover import Direction, Process, Provisional, Syscall, hookimpl
from rover.pipeline import processes as module
from rover.pipeline.processes import MAX_PROCESSES, Processes
from rover.plugins.guard import MAX_DESCRIPTION, MAX_DESCRIPTION_TEXT
from rover.plugins.manager import PluginManager

Describe = Callable[[Process], Any]


def plugins(*functions: Describe) -> list[object]:
    """A plugin for each; the first is called first."""

    def plugin(function: Describe) -> object:
        @hookimpl
        def describe_process(process: Process) -> Any:
            return function(process)

        return types.SimpleNamespace(describe_process=describe_process)

    return [plugin(function) for function in reversed(functions)]


def processes(*functions: Describe) -> tuple[Processes, PluginManager]:
    manager = PluginManager()
    for number, plugin in enumerate(plugins(*functions)):
        manager.register(plugin, f"plugin{number}")
    return Processes(manager.first_result("describe_process"), live=True), manager


def failures(manager: PluginManager) -> list[str]:
    return [f"{plugin}: {kind}" for plugin, kind, _ in manager.failures()]


def named(asked: list[Process]) -> Describe:
    """Notes whom it is asked about."""

    def describe(process: Process) -> Mapping[str, str]:
        asked.append(process)
        return {"service.name": f"{process.name}-service"}

    return describe


def test_each_log_of_a_process_carries_it(make_bench: Any) -> None:
    """Of exchanges, breaks and calls alone, on all its connections."""
    asked: list[Process] = []
    bench = make_bench(*plugins(named(asked)))
    for identity in (1, 2):
        bench.open(identity)
        bench.read(b"?a\n", identity)
        bench.write(b"!a\n", identity)
        bench.read(b"#gap\n", identity)
        bench.close(identity)
    assert asked == [Process(pid=42, name="app")]
    assert len(bench.logs) == 8
    for log in bench.logs:
        assert log.connection.process.attributes == {"service.name": "app-service"}


def test_it_is_asked_when_a_connection_is_seen(make_bench: Any) -> None:
    asked: list[Process] = []
    bench = make_bench(*plugins(named(asked)))
    bench.pipeline.process(Process(pid=43, name="idle"))
    assert asked == []
    bench.open()
    assert asked == [Process(pid=42, name="app")]


def test_who_uses_a_connection_later_is_described_too(make_bench: Any) -> None:
    """A descriptor that was passed on, or inherited."""
    bench = make_bench(*plugins(named([])))
    bench.pipeline.process(Process(pid=43, name="child"))
    bench.open()
    detail = bench.detail(1, 5, 0, 3).replace(pid=43)
    bench.pipeline.data(detail, b"?a\n")
    bench.write(b"!a\n")
    assert bench.exchanges[0].connection.process == Process(
        pid=43, name="child", attributes={"service.name": "child-service"}
    )


def test_once_and_again_after_an_exec() -> None:
    asked: list[Process] = []
    table, _ = processes(named(asked))
    table.learn(Process(pid=7, name="sh"))
    assert (
        table.get(7) == table.get(7) == Process(pid=7, name="sh", attributes={"service.name": "sh-service"})
    )
    table.learn(Process(pid=7, name="nginx"))
    assert (
        table.get(7)
        == table.get(7)
        == Process(pid=7, name="nginx", attributes={"service.name": "nginx-service"})
    )
    assert asked == [Process(pid=7, name="sh"), Process(pid=7, name="nginx")]


def test_a_process_of_no_name_is_asked_about_once_and_no_process_never() -> None:
    asked: list[Process] = []
    table, _ = processes(named(asked))
    assert table.get(7) == table.get(7) == Process(pid=7, name="", attributes={"service.name": "-service"})
    assert table.get(0) == Process(pid=0, name="")
    assert asked == [Process(pid=7, name="")]


@pytest.mark.parametrize(
    ("child", "said", "carried"),
    [
        ("app", None, {"a": "parent"}),
        ("app", {}, {"a": "parent"}),
        ("app", {"a": "child"}, {"a": "child"}),
        ("sh", None, {}),
        ("", None, {}),
    ],
)
def test_a_child_of_which_nobody_can_say_anything_is_described_as_its_parent(
    make_bench: Any, child: str, said: Mapping[str, str] | None, carried: Mapping[str, str]
) -> None:
    """It served one connection and has ended. One of another name has executed something else."""
    asked: list[int] = []

    def describe(process: Process) -> Mapping[str, str] | None:
        asked.append(process.pid)
        return {"a": "parent"} if process.pid == 42 else said

    bench = make_bench(*plugins(describe))
    bench.pipeline.process(Process(pid=43, name=child))
    bench.open()
    for _ in range(2):
        detail = bench.detail(1, Syscall.READ, Direction.INGRESS, 3).replace(pid=43)
        bench.pipeline.data(detail, b"?a\n")
        bench.write(b"!a\n")
    assert [log.connection.process.attributes for log in bench.exchanges] == [carried] * 2
    assert asked == [42, 43]


def test_what_a_plugin_says_provisionally_is_asked_for_again() -> None:
    asked: list[Process] = []
    answers: list[Any] = [Provisional(a=1), None, Provisional(a=2, b=2), {"a": 3}]

    def describe(process: Process) -> Any:
        asked.append(process)
        return answers.pop(0)

    table, _ = processes(lambda process: {"c": 0}, describe)
    table.learn(Process(pid=7, name="a"))
    assert table.get(7).attributes == {"a": 1, "c": 0}
    assert table.get(7).attributes == {"a": 1, "c": 0}
    table.describe_again()
    assert table.get(7).attributes == {"c": 0}
    table.describe_again()
    assert len(asked) == 2, "None is not provisional"
    table.learn(Process(pid=7, name="a"))
    assert table.get(7).attributes == {"a": 2, "b": 2, "c": 0}
    table.describe_again()
    assert table.get(7).attributes == {"a": 3, "c": 0}
    table.describe_again()
    assert asked == [Process(pid=7, name="a")] * 4
    assert not table._provisional


def test_what_is_said_is_told_once() -> None:
    """To a recording; and connections need not be touched for it."""
    answers: list[Any] = [Provisional(a=1), Provisional(a=1), Provisional(a=2), None]
    told: list[Process] = []
    manager = PluginManager()
    for plugin in plugins(lambda process: answers.pop(0)):
        manager.register(plugin, "plugin")
    table = Processes(manager.first_result("describe_process"), live=True, told=told.append)
    first = table.get(7)
    table.get(7)
    table.describe_again()
    assert table.get(7) is first
    for _ in range(3):
        table.describe_again()
    assert not answers
    assert [process.attributes for process in told] == [{"a": 1}, {"a": 2}]
    assert table.get(7).attributes == {"a": 2}
    table.learn(Process(pid=8, name="b"))
    answers.append(None)
    assert table.get(8).attributes == {}
    assert len(told) == 2


def test_a_process_that_executed_another_program_is_not_asked_about_as_the_old_one() -> None:
    asked: list[str] = []

    def describe(process: Process) -> Any:
        asked.append(process.name)
        return Provisional(a=process.name)

    table, _ = processes(describe)
    table.learn(Process(pid=7, name="sh"))
    table.get(7)
    table.learn(Process(pid=7, name="curl"))
    table.describe_again()
    assert asked == ["sh"], "it has no connection yet"
    assert table.get(7).attributes == {"a": "curl"}
    table.describe_again()
    assert asked == ["sh", "curl", "curl"]


def test_those_asked_about_again_take_turns_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AGAIN", 2)
    monkeypatch.setattr(module, "MAX_PROCESSES", 5)
    asked: list[int] = []

    def describe(process: Process) -> Any:
        asked.append(process.pid)
        return Provisional(a=1)

    table, _ = processes(describe)
    for pid in range(1, 8):
        table.get(pid)
    assert list(table._provisional) == [3, 4, 5, 6, 7]
    asked.clear()
    for _ in range(3):
        table.describe_again()
    assert asked == [3, 4, 5, 6, 7, 3]


def test_connections_that_are_open_get_what_is_said_later(make_bench: Any) -> None:
    answers: list[Any] = [Provisional(a=1), {"a": 2}]
    bench = make_bench(*plugins(lambda process: answers.pop(0) if answers else {"a": "too often"}))
    bench.open(1)
    bench.open(2)
    bench.pipeline.process(Process(pid=43, name="other"))
    for identity in (1, 2):
        bench.read(b"?a\n", identity)
        bench.write(b"!a\n", identity)
    bench.pipeline.tick(bench.clock)
    for identity in (1, 2):
        bench.read(b"?a\n", identity)
        bench.write(b"!a\n", identity)
    said = [log.connection.process.attributes for log in bench.exchanges]
    assert said == [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}]


def test_a_connection_open_over_an_exec_keeps_its_description(make_bench: Any) -> None:
    bench = make_bench(*plugins(named([])))
    bench.open(1)
    bench.pipeline.process(Process(pid=42, name="other"))
    bench.open(2)
    bench.pipeline.tick(bench.clock)
    for identity in (1, 2):
        bench.read(b"?a\n", identity)
        bench.write(b"!a\n", identity)
    said = [log.connection.process.attributes["service.name"] for log in bench.exchanges]
    assert said == ["app-service", "other-service"]


def test_what_is_kept_is_bounded_and_the_least_recently_used_goes() -> None:
    asked: list[Process] = []
    table, _ = processes(named(asked))
    for pid in range(1, MAX_PROCESSES + 1):
        table.learn(Process(pid=pid, name="a"))
    table.get(1)
    for pid in range(MAX_PROCESSES + 1, MAX_PROCESSES + 1000):
        table.learn(Process(pid=pid, name="b"))
    assert table.get(1).name == "a"
    assert table.get(2).name == ""
    assert [process.pid for process in asked] == [1, 2]
    assert len(table._known) == MAX_PROCESSES
    assert len(table._undescribed) <= MAX_PROCESSES


def test_without_plugins_nothing_is_added() -> None:
    table, _ = processes()
    table.learn(Process(pid=7, name="a"))
    assert table.get(7) == Process(pid=7, name="a")
    assert table.get(8) == Process(pid=8, name="")
    assert not table._undescribed


def test_of_an_attribute_the_first_is_believed() -> None:
    table, _ = processes(
        lambda process: {"a": 1, "b": 1},
        lambda process: None,
        lambda process: {"b": 2, "c": 2},
        lambda process: {},
    )
    assert table.get(7).attributes == {"a": 1, "b": 1, "c": 2}


def test_nobody_can_change_what_was_said() -> None:
    mine = {"a": 1}
    table, _ = processes(lambda process: mine)
    said: Any = table.get(7).attributes
    mine["a"] = 2
    assert said == {"a": 1}
    with pytest.raises(TypeError):
        said["a"] = 3


@pytest.mark.parametrize("live", [True, False])
def test_a_plugin_may_ask_whether_the_process_runs_here(make_bench: Any, live: bool) -> None:
    class Plugin:
        @hookimpl
        def describe_process(self, live: bool, process: Process) -> Mapping[str, Any]:
            return {"pid": process.pid, "live": live}

    bench = make_bench(Plugin(), live=live)
    bench.open()
    assert bench.logs[0].connection.process.attributes == {"pid": 42, "live": live}


def ending(process: Process) -> Any:
    raise SystemExit


@pytest.mark.parametrize(
    "wrong",
    [
        ending,
        lambda process: "service",
        lambda process: [("a", 1)],
        lambda process: {"a": None},
        lambda process: {"a": 1.5},
        lambda process: {1: "a"},
        lambda process: {"a": 1 << 62},
        lambda process: dict.fromkeys(map(str, range(MAX_DESCRIPTION + 1)), 1),
        lambda process: {"a": "x" * MAX_DESCRIPTION_TEXT},
        lambda process: {"x" * (MAX_DESCRIPTION_TEXT + 1): 1},
    ],
)
def test_a_plugin_that_fails_takes_nothing_from_the_others(wrong: Describe) -> None:
    table, manager = processes(lambda process: {"a": "first"}, wrong, lambda process: {"b": "last"})
    assert table.get(7).attributes == {"a": "first", "b": "last"}
    (failure,) = failures(manager)
    assert failure.startswith("plugin1: describe_process: ")
