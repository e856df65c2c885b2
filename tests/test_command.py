"""The command line: every error is one line that names the thing and the fix, with exit code 1 or 2."""

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.cli.packages import hint
from rover.cli.template import toml
from rover.contracts.settings import read_file
from rover.errors import NotInstalledError, UsageError
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
"""Even root may then read only what its mode lets it, and load no program into the kernel."""


def rover(*arguments, unprivileged=False, **options):
    """Runs the command to its end."""
    argv = [sys.executable, "-m", "rover", *arguments]
    if unprivileged and os.geteuid() == 0:
        argv = [*WITHOUT_CAPABILITIES, *argv]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--sink", "nowhere"], 2, "rover: unknown sink 'nowhere'; installed: console, jsonl"),
        (["run", "--source", "nowhere"], 2, "rover: unknown source 'nowhere'; installed: "),
        (["run", "--set", "sink.jsonl.pth=x"], 2, "did you mean 'sink.jsonl.path'?"),
        (["run", "--set", "nonsense"], 2, "write key=value"),
        (["run", "--config", "/nowhere.toml"], 2, "cannot read configuration /nowhere.toml: No such file"),
        (["run", "--set", "ports.80=nowhere"], 2, "no such protocol; installed: http1"),
        (["run", "--set", "ports.x=http1"], 2, "ports.x: not a port number"),
        (["run", "--sink", "jsonl", "--set", "sink.jsonl.path=/nowhere/x"], 2, "cannot open /nowhere/x"),
        (["run", "--pid", "x"], 2, "--pid"),
        (["run", "--workers", "0"], 2, "run.workers = 0: must be from 1 to 8"),
        (["run", "--workers", "9"], 2, "run.workers = 9: must be from 1 to 8"),
        (["run", "--workers", "2", "--sink", "nowhere"], 2, "rover: unknown sink 'nowhere'; installed: "),
        (["run", "--workers", "2", "--set", "run.sinks="], 2, "no sink; name one with --sink"),
        (["record", "/dev/null", "--workers", "2"], 2, "--workers"),
        (["replay", "/nowhere"], 2, "rover: cannot read /nowhere: No such file or directory"),
        (["replay", "/dev/null"], 2, "rover: /dev/null is empty"),
        (["record", "/nowhere/x", "--source", "nowhere"], 2, "unknown source 'nowhere'"),
        (
            ["oap-receiver", "--cert", "/nowhere", "--key", "/nowhere"],
            2,
            "cannot read /nowhere: No such file",
        ),
        (["replay", "/"], 2, "rover: cannot read /: Is a directory"),
        (["run", "--set", "limits.queue=x"], 2, "limits.queue = 'x': must be an int"),
        (["nonsense"], 2, "nonsense"),
        (["run", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_wrong_use(arguments, code, message):
    done = rover(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""


FILES = {
    "replayed": ["replay", "{}"],
    "a configuration": ["run", "--config", "{}"],
    "a configuration of another command": ["replay", "capture", "--config", "{}"],
    "to be written": ["replay", "capture", "--sink", "jsonl", "--set", "sink.jsonl.path={}"],
}
"""Everywhere a user can name a file."""


@pytest.mark.parametrize("arguments", FILES.values(), ids=FILES)
@pytest.mark.parametrize(
    ("path", "code", "why"),
    [
        ("nowhere/x", 2, "No such file or directory"),
        ("capture/x", 2, "Not a directory"),
        (".", 2, "Is a directory"),
        ("x" * 300, 2, "File name too long"),
        ("private", 1, "Permission denied"),
    ],
    ids=["missing", "below a file", "a directory", "too long", "private"],
)
def test_the_same_mistake_has_the_same_exit_code(tmp_path, arguments, path, code, why):
    (tmp_path / "capture").write_bytes(CAPTURE)
    (tmp_path / "private").touch(mode=0)
    filled = [part.format(path) for part in arguments]
    done = rover(*filled, cwd=tmp_path, unprivileged=True)
    assert done.returncode == code, done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_may_not_be_read(tmp_path):
    file = tmp_path / "capture"
    file.write_bytes(b"x")
    file.chmod(0)
    done = rover("replay", str(file), unprivileged=True)
    assert done.returncode == 1
    assert done.stderr == f"rover: cannot read {file}: Permission denied\n"


WITHOUT_PLUGINS = "import importlib.metadata\nimportlib.metadata.entry_points = lambda **_: ()\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "unknown source 'ebpf'; installed: none; pip install rover-source-ebpf"),
        (["run", "--source", "mine"], "unknown source 'mine'; installed: none"),
        (["record", "-"], "unknown source 'ebpf'; installed: none; pip install rover-source-ebpf"),
    ],
)
def test_what_is_not_installed_is_named_with_its_package(tmp_path, arguments, message):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_PLUGINS)
    done = rover(*arguments, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (2, f"rover: {message}\n")


@pytest.mark.parametrize(
    ("named", "package"),
    [
        ("sink oap", "; pip install rover-plugin-sink-oap"),
        ("protocol http2", "; pip install rover-plugin-http2"),
    ],
)
def test_sinks_and_protocols_of_ours_are_known_by_package(named, package):
    assert hint(NotInstalledError("unknown", named)) == package
    assert hint(NotInstalledError("unknown", "sink mine")) == hint(UsageError("other")) == ""


@pytest.mark.parametrize("text", ["[run]\nworkers = 'x'", "[run]\nwrokers = 1", "[run\n", "run = 1"])
def test_an_error_in_a_configuration_file_names_it(tmp_path, text):
    file = tmp_path / "rover.toml"
    file.write_text(text)
    done = rover("run", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"rover: configuration {file}")
    assert "run" in done.stderr or "line 1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_unprivileged():
    done = rover("run", unprivileged=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "sudo" in done.stderr or "root" in done.stderr


def test_the_doctor_says_it_before_it_hurts():
    done = rover("doctor", unprivileged=True)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any("FAIL" in line and "privileges" in line for line in lines)
    assert [line[0] for line in lines if " programs " in line] == ["-"], "nothing is ok that was not tried"


def test_without_bcc(tmp_path):
    """As on a host where the Debian package was never installed."""
    (tmp_path / "libbcc.so.0").write_bytes(b"no library")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "CACHE_DIRECTORY": str(tmp_path / "cache")}
    done = rover("run", env=environment)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "python3-bpfcc" in done.stderr or os.geteuid() != 0
    doctor = rover("doctor", env=environment)
    assert doctor.returncode == 1
    assert any("FAIL" in line and "python3-bpfcc" in line for line in doctor.stdout.splitlines())
    assert not any(line.startswith("ok") and "programs" in line for line in doctor.stdout.splitlines())


@pytest.mark.live
def test_the_doctor_finds_this_host_well():
    done = rover("doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert re.search(r"^ok +programs +the kernel takes all \d+ of them", done.stdout, re.MULTILINE)


def test_help_names_every_command():
    done = rover("--help")
    assert done.returncode == 0
    for command in ("run", "replay", "record", "plugins", "doctor"):
        assert command in done.stdout


def test_settings_are_listed_with_their_help():
    done = rover("plugins", "--settings")
    assert "[sink.jsonl]" in done.stdout
    assert '# file to append to; - is standard output\n# a string; default "-"\npath = "-"\n' in done.stdout


def test_the_settings_that_are_listed_are_a_configuration_file(tmp_path):
    """It says what holds without it: of every setting but those whose keys the user chooses."""
    (tmp_path / "rover.toml").write_text(rover("plugins", "--settings").stdout)
    (tmp_path / "capture").write_bytes(CAPTURE)
    done = rover("replay", "--config", "rover.toml", "capture", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, rover("replay", "capture", cwd=tmp_path).stdout)
    manager = PluginManager()
    manager.load_entry_points()
    declared = Catalogue(manager).declared
    given = read_file(tmp_path / "rover.toml", declared)
    assert given == {key: setting.default for key, setting in declared.items() if not key.endswith(".*")}


@given(st.one_of(st.text(), st.floats(allow_nan=False), st.integers(), st.booleans(), st.lists(st.text())))
def test_a_default_reads_back_from_toml(value):
    assert tomllib.loads(f"a = {toml(value)}") == {"a": value}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_each_shell(shell, tmp_path):
    done = rover(env={**os.environ, "_ROVER_COMPLETE": f"source_{shell}"})
    assert done.returncode == 0
    assert f"_ROVER_COMPLETE=complete_{shell}" in done.stdout
    if interpreter := shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([interpreter, "-n", script], check=True, timeout=60)


def test_completion_completes():
    environment = {
        **os.environ,
        "_ROVER_COMPLETE": "complete_bash",
        "COMP_WORDS": "rover re",
        "COMP_CWORD": "1",
    }
    assert sorted(rover(env=environment).stdout.split()) == ["record", "replay"]


def test_the_version_of_rover_and_of_its_packages():
    done = rover("--version")
    first, *packages = done.stdout.splitlines()
    assert first == f"rover {version('rover-core')} (Python {platform.python_version()})"
    assert f"rover-plugin-http1 {version('rover-plugin-http1')}" in packages
    assert packages == sorted(set(packages))


@pytest.mark.parametrize("arguments", [["--debug", "replay", "/nowhere"], ["replay", "--debug", "/nowhere"]])
def test_debug_stands_before_or_after_the_command(arguments):
    assert "--debug" in rover("--help").stdout
    told = rover(*arguments).stderr.splitlines()
    assert told[-1] == "rover: cannot read /nowhere: No such file or directory"


def test_after_two_hyphens_everything_is_a_name():
    assert (
        rover("replay", "--", "--debug").stderr == "rover: cannot read --debug: No such file or directory\n"
    )


def test_a_replay_imports_what_it_needs():
    """Imports are most of the time that a replay of a small capture takes."""
    heavy = "bcc", "ctypes", "google.protobuf", "grpc", "h11", "multiprocessing", "pydantic"
    code = (
        "import sys; from rover.cli import main\n"
        "try: main(['replay', '/dev/null'])\n"
        f"except SystemExit: print(*[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "/dev/null is empty" in done.stderr
    assert done.stdout.split() == []


CAPTURE = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
"""The header of one without packets."""


def test_a_foreign_file_among_captures_costs_only_itself(tmp_path):
    (tmp_path / "capture").write_bytes(CAPTURE)
    (tmp_path / "text").write_text("no capture\n")
    done = rover("replay", "text", "nowhere", "capture", cwd=tmp_path)
    assert done.returncode == 2
    assert [line.partition(" (")[0] for line in done.stderr.splitlines()] == [
        "rover: text: neither a capture nor a recording",
        "rover: cannot read nowhere: No such file or directory",
        "rover: seen 0 exchanges; 0 connections, 0 calls",
        "rover: console logged 0, lost 0",
        "rover: 0 records lost",
    ]


def test_standard_input_that_is_not_open():
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m rover replay - <&-', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "rover: cannot read standard input: it is not open\n")


def test_messages_that_cannot_be_written_fail_nothing(tmp_path):
    """Of a service whose standard error is a file on a full disk."""
    (tmp_path / "capture").write_bytes(CAPTURE)
    with open("/dev/full", "w") as full:
        argv = [sys.executable, "-m", "rover", "replay", str(tmp_path / "capture")]
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=full, check=False, timeout=60)
    assert done.returncode == 0
