"""register_settings: settings of a plugin that is neither protocol, nor source, nor sink; and startup, which
gets them and may refuse the run."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rover import Setting, Settings, UsageError, hookimpl
from rover.plugins.manager import PluginManager
from rover.run.agent import start_plugins
from rover.run.configuration import CORE, Catalogue

PATHS = Setting("paths", ["/healthz"], "paths that are dropped", environment="QUIET_PATHS")
RATE = Setting("rate", 1, "of how many logs one is kept", minimum=1)


def registering(returned: Any) -> object:
    @hookimpl
    def register_settings() -> Any:
        return returned() if callable(returned) else returned

    return types.SimpleNamespace(register_settings=register_settings)


def catalogue_of(**plugins: object) -> Catalogue:
    manager = PluginManager()
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    return Catalogue(manager)


def failures(catalogue: Catalogue) -> list[str]:
    return [f"{plugin}: {kind}" for plugin, kind, _ in catalogue.manager.failures()]


def test_they_are_named_after_the_plugin() -> None:
    catalogue = catalogue_of(quiet=registering([PATHS, RATE]), loud=registering((RATE,)))
    assert set(catalogue.declared) - set(CORE) == {
        "plugin.quiet.paths",
        "plugin.quiet.rate",
        "plugin.loud.rate",
    }
    settings = catalogue.settings(None, ["plugin.quiet.rate=3", "plugin.quiet.paths=/a,/b"], {})
    assert settings.section("plugin.quiet") == {"paths": ["/a", "/b"], "rate": 3}
    assert settings["plugin.loud.rate"] == 1
    assert [plugin.provides for plugin in catalogue.manager.plugins] == [["settings"], ["settings"]]
    assert failures(catalogue) == []


def test_they_come_from_the_file_and_from_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rover.toml"
    file.write_text("[plugin.quiet]\nrate = 5\n")
    monkeypatch.setenv("QUIET_PATHS", "/x")
    settings = catalogue_of(quiet=registering([PATHS, RATE])).settings(file, (), {})
    assert settings.section("plugin.quiet") == {"paths": ["/x"], "rate": 5}


def test_a_table_has_keys_of_the_users(tmp_path: Path) -> None:
    """Dots in them are theirs. A value is of the declared type, and a declared key comes first."""
    file = tmp_path / "rover.toml"
    file.write_text("""
        [plugin.quiet]
        rate = 5
        [plugin.quiet.rates]
        a = 1
        "status < 400 and url.path == '/x'" = 2
        """)
    catalogue = catalogue_of(quiet=registering([RATE, Setting("rates.*", 1, "rates by name", minimum=1)]))
    assert failures(catalogue) == []
    settings = catalogue.settings(file, ["plugin.quiet.rates.b.c=3"], {})
    assert settings.section("plugin.quiet.rates") == {
        "a": 1,
        "b.c": 3,
        "status < 400 and url.path == '/x'": 2,
    }
    assert settings["plugin.quiet.rate"] == 5
    with pytest.raises(UsageError, match=r"plugin\.quiet\.rates\.d = '0': must be at least 1"):
        catalogue.settings(None, ["plugin.quiet.rates.d=0"], {})
    with pytest.raises(UsageError, match=r"unknown setting 'plugin\.quiet\.rat\.d'"):
        catalogue.settings(None, ["plugin.quiet.rat.d=0"], {})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("plugin.quiet.rate=0", "plugin.quiet.rate = '0': must be at least 1"),
        ("plugin.quiet.rates=1", "unknown setting 'plugin.quiet.rates'; did you mean 'plugin.quiet.rate'"),
        ("plugin.loud.rate=1", "unknown setting 'plugin.loud.rate'; did you mean 'plugin.quiet.rate'"),
    ],
)
def test_a_wrong_one_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        catalogue_of(quiet=registering([RATE])).settings(None, [assignment], {})
    assert message in str(raised.value)


def exits() -> Any:
    raise SystemExit


def endless() -> Any:
    while True:
        yield "not a setting"


@pytest.mark.parametrize(
    "offered",
    [
        exits,
        endless,
        "paths",
        [RATE, RATE],
        [RATE, None],
        [RATE, "path"],
        [RATE, Setting("", 1, "no name")],
        [RATE, Setting("a b", 1, "no word")],
        [RATE, Setting("other", None, "no type")],  # type: ignore[arg-type]
        [RATE, Setting("other", 0, "its default is wrong", minimum=1)],
        7,
    ],
)
def test_what_is_no_setting_is_its_plugins_failure(offered: Any) -> None:
    """What is one beside it, and those of others, are there."""
    catalogue = catalogue_of(wrong=registering(offered), quiet=registering([RATE]))
    expected = {"plugin.quiet.rate"} | ({"plugin.wrong.rate"} if type(offered) is list else set())
    assert set(catalogue.declared) - set(CORE) == expected
    assert {failure.partition(": ")[0] for failure in failures(catalogue)} == {"wrong"}
    assert all(": register_settings: " in failure for failure in failures(catalogue))


@pytest.mark.parametrize("name", ["a.b", "a b", "", "\x1b[2J", "x" * 65])
def test_a_plugin_whose_name_is_no_part_of_a_key_has_none(name: str) -> None:
    catalogue = catalogue_of(**{name: registering([RATE])})
    assert set(catalogue.declared) == set(CORE)
    assert len(failures(catalogue)) == 1


def test_a_plugin_that_has_none_returns_none() -> None:
    catalogue = catalogue_of(quiet=registering(None), empty=registering([]))
    assert set(catalogue.declared) == set(CORE)
    assert failures(catalogue) == []
    assert [plugin.provides for plugin in catalogue.manager.plugins] == [[], []]


# -- startup -----------------------------------------------------------------------------------


class Noting:
    """Writes down what is called."""

    def __init__(self, name: str, diary: list[str], refuses: Callable[[], object] = lambda: None) -> None:
        self._name, self._diary, self._refuses = name, diary, refuses

    @hookimpl
    def startup(self, settings: Mapping[str, Any]) -> None:
        self._refuses()
        self._diary.append(f"{self._name} started with {settings['run.source']}")

    @hookimpl
    def shutdown(self) -> None:
        self._diary.append(f"{self._name} ended")


def raises(error: BaseException) -> Callable[[], object]:
    def refuse() -> None:
        raise error

    return refuse


def test_the_run_that_one_refuses_ends_those_that_have_started() -> None:
    """They are called last first."""
    diary: list[str] = []
    manager = PluginManager()
    manager.register(Noting("never", diary), "never")
    manager.register(Noting("careful", diary, raises(UsageError("plugin.careful.key is empty"))), "careful")
    manager.register(Noting("eager", diary), "eager")
    with pytest.raises(UsageError, match=r"^plugin\.careful\.key is empty$"):
        start_plugins(manager, Settings(CORE))
    assert diary == ["eager started with ebpf", "eager ended"]
    assert not list(manager.failures())


def test_whatever_else_one_raises_is_its_own_failure() -> None:
    diary: list[str] = []
    manager = PluginManager()
    manager.register(Noting("good", diary), "good")
    manager.register(Noting("bad", diary, raises(SystemExit(2))), "bad")
    start_plugins(manager, Settings(CORE))
    assert diary == ["good started with ebpf"]
    assert [(plugin, kind) for plugin, kind, _ in manager.failures()] == [("bad", "startup: SystemExit: 2")]
