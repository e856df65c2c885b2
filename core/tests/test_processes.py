"""describe_process: asked once of a process, believed in the order of calls, carried by each of its logs."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rover import Process, hookimpl
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
