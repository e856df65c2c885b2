"""Configuration: a wrong key or value is an error that names the thing and the nearest right one."""

import types
from pathlib import Path

import pytest

from rover import Setting, Settings, SinkSpec, UsageError, hookimpl
from rover.contracts.settings import read_assignments, read_environment, read_file
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

DECLARED = {
    "sink.jsonl.path": Setting("path", "-", "file"),
    "sink.jsonl.kernel_logs": Setting("kernel_logs", False, "flag"),
    "limits.queue": Setting("queue", 10, "number", minimum=1),
    "select.pid": Setting("pid", [], "numbers", items=int),
    "select.comm": Setting("comm", [], "names"),
    "run.workers": Setting("workers", 1, "number", minimum=1, maximum=8),
    "few": Setting("few", 1, "number", maximum=3),
    "sink.console.color": Setting("color", "auto", "colours", choices=("auto", "always", "never")),
    "protocol.http1.rate": Setting("rate", 0.5, "share"),
    "ports.*": Setting("ports.*", "", "pins"),
    "sink.oap.period": Setting("period", 5.0, "seconds", seconds=True, environment="ROVER_PERIOD"),
}


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("sink.jsonl.path", "/tmp/log", "/tmp/log"),
        ("sink.jsonl.kernel_logs", "true", True),
        ("sink.jsonl.kernel_logs", "no", False),
        ("sink.jsonl.kernel_logs", True, True),
        ("limits.queue", "7", 7),
        ("select.pid", "1, 2", [1, 2]),
        ("select.pid", [3], [3]),
        ("select.pid", 3, [3]),
        ("protocol.http1.rate", "2", 2.0),
        ("ports.8080", "http1", "http1"),
        ("sink.oap.period", "7", 7.0),
        ("sink.oap.period", 7, 7.0),
        ("sink.oap.period", "5s", 5.0),
        ("sink.oap.period", "500ms", 0.5),
        ("sink.oap.period", "1h1m1.5s", 3661.5),
    ],
)
def test_values_are_read_in_the_type_of_their_default(key, given, value):
    assert Settings(DECLARED, {key: given})[key] == value


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("sink.jsonl.pth", "x", "unknown setting 'sink.jsonl.pth'; did you mean 'sink.jsonl.path'?"),
        ("sink.jsnl.path", "x", "unknown setting 'sink.jsnl.path'; did you mean 'sink.jsonl.path'?"),
        ("limits.queue", "many", "limits.queue = 'many': must be an int"),
        ("limits.queue", "0", "limits.queue = '0': must be at least 1"),
        ("limits.queue", True, "limits.queue = True: must be an int"),
        ("limits.queue", 1.5, "limits.queue = 1.5: must be an int"),
        ("select.pid", "1,x", "select.pid = '1,x': must be a list of int"),
        ("sink.jsonl.kernel_logs", "maybe", "sink.jsonl.kernel_logs = 'maybe': must be true or false"),
        ("limits.queue", "9" * 5000, f"limits.queue = '{'9' * 99}...: must be an int"),
        ("limits.queue", float("inf"), "limits.queue = inf: must be an int"),
        ("run.workers", 0, "run.workers = 0: must be from 1 to 8"),
        ("run.workers", 9, "run.workers = 9: must be from 1 to 8"),
        ("few", 4, "few = 4: must be at most 3"),
        ("select.pid", [True], "select.pid = [True]: must be a list of int"),
        ("select.comm", [{"a": 1}], "select.comm = [{'a': 1}]: must be a list of strings"),
        ("sink.jsonl.path", False, "sink.jsonl.path = False: must be a string"),
        ("sink.jsonl.path", ["x"], "sink.jsonl.path = ['x']: must be a string"),
        ("protocol.http1.rate", float("nan"), "protocol.http1.rate = nan: must be a number"),
        ("protocol.http1.rate", "inf", "protocol.http1.rate = 'inf': must be a number"),
        ("sink.console.color", "pink", "must be one of auto, always, never"),
        ("sink.oap.period", "", "sink.oap.period = '': must be a time"),
        ("sink.oap.period", "s", "sink.oap.period = 's': must be a time"),
        ("sink.oap.period", "5s!", "sink.oap.period = '5s!': must be a time"),
        ("protocol.http1.rate", "5s", "protocol.http1.rate = '5s': must be a number"),
    ],
)
def test_a_wrong_one_is_named(key, given, message):
    with pytest.raises(UsageError) as raised:
        Settings(DECLARED, {key: given})
    assert message in str(raised.value)


def test_a_section_is_what_a_plugin_gets():
    settings = Settings(DECLARED, {"sink.jsonl.path": "x"})
    assert settings.section("sink.jsonl") == {"path": "x", "kernel_logs": False}


def test_a_table_of_chosen_keys_is_empty_until_one_is_chosen():
    assert Settings(DECLARED).section("ports") == {}
    assert Settings(DECLARED, {"ports.8080": "http1"}).section("ports") == {"8080": "http1"}


def test_a_file_is_tables_of_dotted_keys(tmp_path):
    file = tmp_path / "rover.toml"
    file.write_text('[sink.jsonl]\npath = "x"\n[ports]\n8080 = "http1"\n')
    assert read_file(file, DECLARED) == {"sink.jsonl.path": "x", "ports.8080": "http1"}


def test_an_unreadable_or_broken_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read configuration .*nowhere.toml: No such file"):
        read_file(tmp_path / "nowhere.toml", DECLARED)
    broken = tmp_path / "broken.toml"
    broken.write_text("a = 1\nb = = 2")
    with pytest.raises(UsageError, match=r"broken.toml is not valid TOML: .*line 2"):
        read_file(broken, DECLARED)
    for nested in ("a = " + "[" * 100_000, "a = " + "9" * 5000):
        broken.write_text(nested)
        with pytest.raises(UsageError, match=r"broken.toml is not valid TOML"):
            read_file(broken, DECLARED)
    with pytest.raises(UsageError, match="configuration /dev/zero is larger than 1 MiB"):
        read_file(Path("/dev/zero"), DECLARED)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_file(broken, DECLARED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[limits]\nqueue = "many"', "limits.queue = 'many': must be an int"),
        ("[sink.jsonl]\npth = 1", "unknown setting 'sink.jsonl.pth'; did you mean 'sink.jsonl.path'?"),
        ("sink = 3", "unknown setting 'sink'"),
    ],
)
def test_a_wrong_setting_in_a_file_names_file_and_key(tmp_path, text, message):
    file = tmp_path / "rover.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_file(file, DECLARED)
    assert str(raised.value).startswith(f"configuration {file}: {message}")


def test_an_assignment_needs_an_equals_sign():
    assert read_assignments(["a.b=c=d"]) == {"a.b": "c=d"}
    with pytest.raises(UsageError, match="write key=value"):
        read_assignments(["a.b"])


def test_a_variable_sets_what_names_it():
    assert read_environment(DECLARED, {"ROVER_PERIOD": "1m", "HOME": "/root"}) == {"sink.oap.period": 60.0}
    assert read_environment(DECLARED, {"ROVER_PERIOD": ""}) == {}
    with pytest.raises(UsageError, match="ROVER_PERIOD = 'soon'"):
        read_environment(DECLARED, {"ROVER_PERIOD": "soon"})


def test_the_command_line_overrides_the_environment_which_overrides_the_file(tmp_path, monkeypatch):
    @hookimpl
    def register_sinks():
        return [SinkSpec("oap", lambda _settings: None, [DECLARED["sink.oap.period"]])]

    manager = PluginManager()
    manager.register(types.SimpleNamespace(register_sinks=register_sinks), "oap")
    catalogue = Catalogue(manager)
    file = tmp_path / "rover.toml"
    file.write_text('run.sinks = ["a"]\nsink.oap.period = 1\n')

    def period(file, assignments):
        return catalogue.settings(file, assignments, {})["sink.oap.period"]

    assert period(None, []) == 5.0
    assert period(file, []) == 1.0
    monkeypatch.setenv("ROVER_PERIOD", "2s")
    assert period(file, []) == 2.0
    assert period(file, ["sink.oap.period=3"]) == 3.0
    assert catalogue.settings(file, ["run.sinks=b"], {"run.sinks": ["c"]})["run.sinks"] == ["c"]
