"""`rover plugins new` writes a package that works, or says why not and leaves nothing half written."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from rover.cli import new
from rover.cli.command import build
from rover.errors import RoverError, UsageError
from rover.plugins.manager import PluginManager


def call(*arguments: str | Path) -> None:
    """The command, in this process. `taken` is a plugin that is installed."""
    manager = PluginManager()
    manager.register(object(), "taken_one")
    app: typer.Typer = build(manager)
    app(["plugins", *map(str, arguments)], standalone_mode=False)


@pytest.mark.parametrize("kind", ["--protocol", "--sink", "--hooks"])
def test_the_tests_of_what_is_written_pass(kind, tmp_path):
    written = tmp_path / "here"
    call("new", "two-words", kind, "--directory", written)
    environment = os.environ | {"PYTHONPATH": str(written / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", written]
    done = subprocess.run(command, env=environment, cwd=written, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_every_name_in_it_is_the_plugins(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call("new", "two-words")
    assert capsys.readouterr().out.startswith("rover-plugin-two-words: pip install -e ")
    written = tmp_path / "rover-plugin-two-words"
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "pyproject.toml",
        "src/rover_plugin_two_words/__init__.py",
        "src/rover_plugin_two_words/py.typed",
        "tests/test_two_words.py",
    }
    for name in files:
        assert "example" not in (written / name).read_text().lower()
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"rover": {"two_words": "rover_plugin_two_words"}}
    assert "class TwoWordsDecoder" in (written / "src/rover_plugin_two_words/__init__.py").read_text()


@pytest.mark.parametrize(
    "name", ["Foo", "a b", "../x", "", "x-", "-x", "1x", "a__b", "é", "a" * 41, "a.b", "x\n"]
)
def test_a_bad_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is no name of a plugin: write small letters"):
        call("new", "--", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rover-plugin-x", "leave out 'rover-plugin-'"),
        ("rover_plugin_x", "leave out 'rover-plugin-'"),
        ("taken-one", "a plugin 'taken-one' is installed already"),
    ],
)
def test_a_name_that_would_be_two_is_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        call("new", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [Path.mkdir, Path.touch])
def test_what_is_there_is_left_alone(there, tmp_path):
    target = tmp_path / "there"
    there(target)
    with pytest.raises(UsageError, match="is there already; name another with --directory"):
        call("new", "x", "--directory", target)
    assert not target.is_dir() or not list(target.iterdir())


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RoverError, match=r"cannot make .*file/below: Not a directory"):
        call("new", "x", "--directory", tmp_path / "file/below")


def test_nothing_is_left_of_what_could_not_be_written_whole(tmp_path):
    template = tmp_path / "template"
    (template / "a").mkdir(parents=True)
    (template / "a/one.py").write_text("")
    (template / "b.py").mkdir()  # which cannot be read as a file
    with pytest.raises(RoverError, match="cannot write"):
        new.write(template, "x", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_plugin_is_of_one_kind():
    with pytest.raises(UsageError, match="--sink and --protocol: a plugin begins as one"):
        call("new", "x", "--protocol", "--sink")


def test_without_a_command_the_plugins_are_listed(capsys):
    call()
    assert capsys.readouterr().out.startswith("PLUGIN     PACKAGE  PROVIDES\ntaken_one")
    call("--settings")
    assert "[limits]" in capsys.readouterr().out
