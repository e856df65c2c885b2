"""SkyWalking Rover's configuration as rover's: what is read, what becomes of each key, what is said."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rover import Settings, UsageError
from rover.contracts.settings import read_file
from rover.errors import NotInstalledError, RoverError
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue
from rover_plugin_skywalking_config.keys import FATES, Files, Taken, fate
from rover_plugin_skywalking_config.reading import MAX_DEPTH, MAX_FILE, MAX_VALUES, read, resolved, values
from rover_plugin_skywalking_config.translation import Translation, configuration, report, translate

SHIPPED = Path(__file__).with_name("rover_configs.yaml")
MANAGER = PluginManager()
MANAGER.load_entry_points()
DECLARED = Catalogue(MANAGER).declared


def translated(text: str, directory: Path = Path("/nonexistent"), **environment: str) -> Translation:
    return translate(values(text), environment, DECLARED, directory)


def outcomes(made: Translation) -> dict[str, str]:
    return {line.key: line.outcome for line in made.lines}


def taken(made: Translation) -> dict[str, object]:
    return {key: value for key, (value, _) in made.settings.items()}


def test_the_file_as_it_is_shipped() -> None:
    made = translated(SHIPPED.read_text())
    assert taken(made) == {
        "run.sinks": ["oap"],
        "sink.oap.address": ["localhost:11800"],
        "sink.oap.tls": False,
        "sink.oap.tls_insecure": False,
        "sink.oap.retry_max": 5.0,
        "sink.oap.exclude_namespaces": ["istio-system", "cert-manager", "kube-system"],
        "sink.oap.flush_max_count": 2000,
        "sink.oap.flush_period": 5.0,
    }
    assert {key for key, outcome in outcomes(made).items() if outcome == "not supported"} == {
        "profiling.active",
        "profiling.check_interval",
        "profiling.flush_interval",
        "profiling.task.on_cpu.dump_period",
        "profiling.task.network.report_interval",
        "profiling.task.network.meter_prefix",
        "profiling.task.network.protocol_analyze.per_cpu_buffer",
        "profiling.task.network.protocol_analyze.parallels",
        "profiling.task.network.protocol_analyze.queue_size",
        "pprof.enabled",
        "pprof.host",
        "pprof.port",
    }


def leaves(node: object) -> int:
    if isinstance(node, dict | list):
        return sum(map(leaves, node.values() if isinstance(node, dict) else node))
    return 1


def test_every_key_is_told_of() -> None:
    """Once, and those first that something is lost by."""
    made = translated(SHIPPED.read_text())
    assert [line.key for line in made.lines] == list(values(SHIPPED.read_text()))
    assert len(made.lines) == leaves(yaml.safe_load(SHIPPED.read_text()))
    said = list(report(made.lines))
    assert len(said) == len(made.lines)
    first = [line[:13].strip() for line in said]
    assert first == sorted(first, key=["not supported", "not needed", "taken"].index)


def test_what_is_written_is_a_configuration(tmp_path: Path) -> None:
    environment = {"ROVER_BACKEND_ADDR": "a:1, [::1]:2", "ROVER_BACKEND_AUTHENTICATION": 'a "quoted" \\ word'}
    made = translated(SHIPPED.read_text(), **environment)
    file = tmp_path / "rover.toml"
    file.write_text("\n".join(configuration(made, 'odd\n"name')))
    assert read_file(file, DECLARED) == taken(made)
    settings = Settings(DECLARED, read_file(file, DECLARED))
    assert settings["sink.oap.address"] == ["a:1", "[::1]:2"]
    assert settings["sink.oap.authentication"] == 'a "quoted" \\ word'


@pytest.mark.parametrize(
    ("value", "environment", "becomes"),
    [
        ("plain", {}, "plain"),
        ("", {}, ""),
        ("${A:b}", {}, "b"),
        ("${A:b}", {"A": "c"}, "c"),
        ("${A:b}", {"A": ""}, "b"),
        ("${A:}", {}, ""),
        ('${A:"b"}', {}, "b"),
        ('${A:""}', {}, ""),
        ('${A:"b"}', {"A": '"c"'}, '"c"'),
        ("${A:b:1}", {}, "b:1"),
        ("${A:{{.Pod.Name}}}", {}, "{{.Pod.Name}}"),
        ("before ${A:b} after", {}, "b"),
        ("${a:b}", {"a": "c"}, "${a:b}"),
        ("${A}", {"A": "c"}, "${A}"),
        ("$A", {"A": "c"}, "$A"),
    ],
)
def test_placeholders(value: str, environment: dict[str, str], becomes: str) -> None:
    assert resolved(value, environment) == becomes


def test_files_of_tls(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    on = {"ROVER_BACKEND_ENABLE_TLS": "true"}
    assert not [key for key in taken(translated(text, tmp_path)) if key.startswith("sink.oap.tls_c")]
    made = translated(text, tmp_path, **on)
    assert taken(made)["sink.oap.tls"] is True
    assert outcomes(made)["core.backend.ca_pem_path"] == "not needed"
    (tmp_path / "ca.pem").touch()
    made = translated(text, tmp_path, ROVER_BACKEND_PEM_PATH="/etc/own.pem", **on)
    assert taken(made)["sink.oap.tls_ca"] == "ca.pem"
    assert taken(made)["sink.oap.tls_cert"] == "/etc/own.pem"
    assert "sink.oap.tls_key" not in taken(made)


def test_a_key_in_other_letters() -> None:
    made = translated("Core:\n  BACKEND:\n    Addr: a:1\n")
    assert taken(made)["sink.oap.address"] == ["a:1"]


def test_keys_that_nobody_knows() -> None:
    made = translated("own: 1\naccess_log:\n  own: {a: [1, 2]}\n  empty:\n")
    assert outcomes(made) == {
        "own": "not supported",
        "access_log.own.a[0]": "not supported",
        "access_log.own.a[1]": "not supported",
        "access_log.empty": "not supported",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "core: {backend: {check_period: soon}}",
            r"core.backend.check_period \(sink.oap.retry_max\) = 'soon': must",
        ),
        (
            "access_log: {flush: {max_count: -1}}",
            r"access_log.flush.max_count \(sink.oap.flush_max_count\) = '-1': mu",
        ),
        (
            "core: {backend: {enable_tls: perhaps}}",
            r"core.backend.enable_tls \(sink.oap.tls\) = 'perhaps': must be tr",
        ),
    ],
)
def test_a_value_that_its_setting_does_not_take(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        translated(text)


def test_without_the_sink() -> None:
    with pytest.raises(NotInstalledError, match="the sink oap is not installed"):
        translate({}, {}, {}, Path())


def test_what_is_named_is_a_setting() -> None:
    """Of what is taken, and in the reasons."""
    for becomes in FATES.values():
        named = re.findall(r"\b(?:sink|source|limits|run)\.[a-z_.]*[a-z]", str(becomes))
        assert set(named) <= set(DECLARED)
        if isinstance(becomes, Taken | Files):
            assert named == [becomes.setting]


def test_the_longest_beginning_that_is_known() -> None:
    assert fate("access_log.protocol_analyze.parallels") != fate("access_log.protocol_analyze.queue_size")
    assert fate("profiling.a.b.c") == fate("profiling.active")


# -- files that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x", "line 1: anchors and aliases are not taken; write the value twice"),
        ("a: *x", "line 1: anchors and aliases are not taken"),
        ("a: 1\nb: 2\nA: 3", "line 3: 'a' is there twice"),
        ("a: {b: 1}\n---\nc: 1", "line 2: there is a second document"),
        ("- a", "line 1: a mapping is due"),
        ("text", "line 1: a mapping is due"),
        ("{a: b", "line 1: expected"),
        ("a: 'b", "line 1: found unexpected end of stream"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("? [a]\n: b", "line 1: a key is due"),
        ("&a k: v", "line 1: a key is due"),
        ("a: \x00", "unacceptable character"),
        ("a: " + "[" * 50_000, f"line 1: there are more than {MAX_DEPTH} levels"),
        ("{a: " * 50_000, f"line 1: there are more than {MAX_DEPTH} levels"),
        ("".join(f"{' ' * n}a:\n" for n in range(200)), f"there are more than {MAX_DEPTH} levels"),
        ("".join(f"a{n}: 1\n" for n in range(20_000)), f"there are more than {MAX_VALUES} values"),
    ],
    ids=range(16),
)
def test_what_is_refused(text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=re.escape(said)):
        values(text)
    assert time.process_time() - began < 10


def test_tags_make_nothing() -> None:
    assert values("a: !!python/object/apply:os.system [exit 1]\nb: !own {c: !!int x}") == {
        "a[0]": "exit 1",
        "b.c": "x",
    }


@pytest.mark.parametrize("text", ["", "# nothing", "---", "~", "{}"])
def test_an_empty_file(text: str) -> None:
    assert values(text) == {}


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#?,% \n\t~", max_size=200))
def test_any_text_is_values_or_an_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(each, str) for pair in values(text).items() for each in pair)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none: No such file"):
        read(tmp_path / "none")
    file = tmp_path / "file"
    file.write_bytes(b"a" * (MAX_FILE + 1))
    with pytest.raises(UsageError, match="is larger than 256 KiB"):
        read(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(UsageError, match="is no YAML"):
        read(file)
    with pytest.raises(RoverError, match="cannot read"):
        read(tmp_path)


# -- the command --------------------------------------------------------------------------------


def rover(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "rover", *map(str, arguments)]
    return subprocess.run(
        argv, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


def test_the_command(tmp_path: Path) -> None:
    ran = rover("config", "import", SHIPPED, cwd=tmp_path, ROVER_BACKEND_ADDR="oap:11800")
    assert ran.returncode == 0
    assert tomllib.loads(ran.stdout)["sink"]["oap"]["address"] == ["oap:11800"]
    said = ran.stderr.splitlines()
    assert said[-1] == "rover: 52 keys: 7 taken, 33 not needed, 12 not supported"
    assert len(said) == 53
    written = rover("config", "import", SHIPPED, "-o", "a.toml", cwd=tmp_path, ROVER_BACKEND_ADDR="oap:11800")
    assert (written.returncode, written.stdout, written.stderr) == (0, "", ran.stderr)
    assert (tmp_path / "a.toml").read_text() == ran.stdout
    again = rover("config", "import", SHIPPED, "-o", "a.toml", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "rover: a.toml is there already; name another file, or remove it\n"


def test_the_command_refuses_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: &x [*x]\n")
    ran = rover("config", "import", "bad.yaml", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "rover: bad.yaml cannot be read: line 1: anchors and aliases are not taken; write the value twice\n"
    )


def test_rover_runs_with_it(tmp_path: Path) -> None:
    """As far as without a kernel: the file is read, its sink made."""
    assert rover("config", "import", SHIPPED, "-o", "a.toml", cwd=tmp_path).returncode == 0
    (tmp_path / "none.pcap").write_bytes(
        bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")  # a capture without packets
    )
    ran = rover(
        *("replay", "none.pcap", "--config", "a.toml", "--set", "sink.oap.spool=no"),
        cwd=tmp_path,
        ROVER_BACKEND_ADDR="127.0.0.1:1",
    )
    assert ran.returncode == 0, ran.stderr
    assert "rover: oap logged 0, lost 0" in ran.stderr
