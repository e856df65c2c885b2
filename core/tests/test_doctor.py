"""`rover doctor`: what it asks the sources, what it makes of their answers, which packages run compiled."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rover import Check, Selection, Setting, Settings, SourceSpec, hookimpl
from rover.cli import doctor
from rover.plugins.manager import PluginManager

OK = Check("a", True, "fine")
FAILED = Check("b", False, "broken", "repair it")
MINOR = Check("c", False, "worn", "oil it", required=False)
UNKNOWN = Check("d", False, "not tried here", "go elsewhere", tried=False)
UNKNOWN_TOO = Check("d", True, "not tried here", tried=False)


def manager(*specs: SourceSpec) -> PluginManager:
    class Installed:
        @hookimpl
        def register_sources(self) -> list[SourceSpec]:
            return list(specs)

    made = PluginManager()
    made.register(Installed(), "installed")
    return made


def run(installed: PluginManager, *arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines of the sources."""
    app = typer.Typer(context_settings={"obj": installed})
    doctor.register(app)
    app.callback()(lambda: None)
    done = CliRunner().invoke(app, ["doctor", *arguments])
    others = ("compiled", "python", "priority", "install a plugin")  # the doctor's own lines
    return done.exit_code, [line for line in done.output.splitlines() if not any(o in line for o in others)]


@pytest.mark.parametrize(
    ("check", "line", "code"),
    [
        (OK, "ok a fine", 0),
        (FAILED, "FAIL b broken; repair it", 1),
        (MINOR, "warn c worn; oil it", 0),
        (UNKNOWN, "- d not tried here; go elsewhere", 0),
        (UNKNOWN_TOO, "- d not tried here", 0),
    ],
)
def test_a_line_for_each_check(check: Check, line: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not tried is never ok, and fails nothing."""
    monkeypatch.setattr(doctor, "compiled_checks", lambda _: iter(()))
    monkeypatch.setattr(doctor, "plugin_checks", lambda _: [])
    spec = SourceSpec("ebpf", lambda *_: None, check=lambda: [check])  # type: ignore[arg-type,return-value]
    found, lines = run(manager(spec))
    assert " ".join(lines[0].split()) == line
    assert found == code


class Rehearsed:
    """What it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, object], Selection]] = []

    def __call__(self, settings: dict[str, object], selection: Selection) -> list[Check]:
        self.calls.append((settings, selection))
        return [OK]


def spec(name: str, rehearse: object, *, live: bool = True) -> SourceSpec:
    return SourceSpec(
        name,
        lambda *_: None,  # type: ignore[arg-type,return-value]
        settings=[Setting("size", 3, "of it")],
        live=live,
        rehearse=rehearse,  # type: ignore[arg-type]
    )


def test_the_source_that_would_run_is_rehearsed(tmp_path: Path) -> None:
    """With the settings that it would run with; the others are not."""
    file = tmp_path / "rover.toml"
    file.write_text('[run]\nsource = "mine"\n[source.mine]\nsize = 5\n[select]\nport = [80]\n')
    mine, other, reader = Rehearsed(), Rehearsed(), Rehearsed()
    installed = manager(spec("mine", mine), spec("ebpf", other), spec("file", reader, live=False))
    run(installed, "--config", str(file), "--set", "select.comm=nginx")
    assert mine.calls == [({"size": 5}, Selection(ports=(80,), comms=("nginx",)))]
    assert other.calls == reader.calls == []
    run(installed)
    assert other.calls == [({"size": 3}, Selection())]
    run(installed, "--set", "run.source=file")
    assert reader.calls == [], "a file is not captured from"


@pytest.mark.parametrize("answer", [[7], None, ValueError("no"), SystemExit(0)])
def test_a_rehearsal_that_fails_is_a_line(answer: object) -> None:
    def rehearse(*_: object) -> object:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    code, lines = run(manager(spec("ebpf", rehearse), spec("other", None)))
    assert code == 1
    assert [line.split()[:3] for line in lines if "FAIL" in line and "source" in line][:1] == [
        ["FAIL", "source", "ebpf"]
    ]


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        ([OK, MINOR], ["ok a fine", "warn c worn; oil it"]),
        ([FAILED], ["FAIL b broken; repair it"]),
        ([], []),
        (None, []),
        ([7], ["warn plugin hosts check_host: TypeError:"]),
        (7, ["warn plugin hosts check_host: TypeError:"]),
        (ValueError("no"), ["warn plugin hosts check_host: ValueError: no"]),
        (SystemExit(0), ["warn plugin hosts check_host: SystemExit:"]),
    ],
)
def test_what_other_plugins_find_on_the_host(answer: object, due: list[str]) -> None:
    """With the settings that they would run with."""
    asked: list[object] = []

    class Hosts:
        @hookimpl
        def register_settings(self) -> list[Setting]:
            return [Setting("size", 3, "of it")]

        @hookimpl
        def check_host(self, settings: Settings) -> list[Check]:
            asked.append(settings["plugin.hosts.size"])
            if isinstance(answer, BaseException):
                raise answer
            return answer  # type: ignore[return-value]

    installed = manager(spec("ebpf", None))
    installed.register(Hosts(), "hosts")
    _, lines = run(installed, "--set", "plugin.hosts.size=5")
    told = [" ".join(line.split()) for line in lines if " hosts " in line or line.split()[1] in "abc"]
    assert len(told) == len(due)
    assert all(line.startswith(start) for line, start in zip(told, due, strict=True))
    assert asked == [5]


SUFFIX = doctor.importlib.machinery.EXTENSION_SUFFIXES[0]


@pytest.mark.parametrize(
    ("files", "loaded", "verdict", "finding"),
    [
        (["a.py"], {}, "-", "no module has a compiled form"),
        (["a.py", "a.pxd"], {}, "warn", "0 of 1 hot modules"),
        (["a.py", "a.pxd", f"a{SUFFIX}"], {"a": SUFFIX}, "ok", "yes, 1 module"),
        (["a.py", "a.pxd", f"a{SUFFIX}"], {}, "ok", "yes, 1 module"),
        (["a.py", f"a{SUFFIX}", "below/b.py", f"below/b{SUFFIX}"], {}, "ok", "yes, 2 modules"),
        (["a.py", f"a{SUFFIX}", "_b.pyx", "b.py"], {}, "warn", "1 of 2 hot modules"),
        (["a.py", f"a{SUFFIX}", "a.pxd"], {"a": ".py"}, "warn", "0 of 1 hot modules"),
        (["a.py", "a.pxd", "a.cpython-20-other.so"], {}, "warn", "0 of 1 hot modules"),
    ],
)
def test_what_runs_compiled(
    files: list[str],
    loaded: dict[str, str],
    verdict: str,
    finding: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    package = types.ModuleType("stranger")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "stranger", package)
    for name, suffix in loaded.items():
        module = types.ModuleType(f"stranger.{name}")
        module.__file__ = str(tmp_path / f"{name}{suffix}")
        monkeypatch.setitem(sys.modules, f"stranger.{name}", module)
    check = doctor.compiled_check("stranger")
    assert doctor.verdict(check) == verdict
    assert check.finding.startswith(finding)
    assert check.subject == "compiled stranger"


def test_every_package_has_a_line() -> None:
    installed = PluginManager()
    installed.load_entry_points()
    subjects = [check.subject for check in doctor.compiled_checks(installed)]
    assert "compiled rover" in subjects
    assert len(subjects) == len(set(subjects))
    assert {f"compiled {plugin.module.partition('.')[0]}" for plugin in installed.plugins} <= set(subjects)
