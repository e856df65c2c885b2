"""A core whose public values have one more field each, under plugins that were released before.

The suites of plugins run on a copy of the core in which every value has grown, with whatever of the plugins
was compiled against the core as it is. A compiled core that has grown has another ABI number: that its
compiled plugins then run in plain Python is tested on a copy with the number alone changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from captures import Line, Segment, write_capture
from rover.abi import ABI

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core/src"
SUITES = (
    "bpf/tests/test_record.py",
    "plugins/http1/tests/test_http1_conformance.py",
    "plugins/http1/tests/test_http1_growth.py",
    "plugins/http2/tests/test_http2_conformance.py",
    "plugins/http2/tests/test_http2_upgrade.py",
    "plugins/sink_log/tests/test_console.py",
    "plugins/sink_log/tests/test_jsonl.py",
    "plugins/sink_oap/tests/test_oap_encoding.py",
    "plugins/sink_oap/tests/test_oap_naming.py",
    "plugins/sink_otlp/tests/test_otlp_encoding.py",
    "plugins/source_pcap/tests/test_tcp_reassembly.py",
)
"""Those that make and read the most kinds of values; all suites of all plugins take half an hour."""
GROWN = """
from rover import *
from rover.http import TraceContext
assert Address(host="a", port=1).grown == Process(pid=1, name="").grown == 7
assert TraceContext(provider="w3c", trace_id="1", span_id="2").grown == 7
"""

pytestmark = pytest.mark.timeout(600)


FIELD = (r"(class \w+\(Value\):.*?__slots__ = \()", r'\1"grown", ')
PARAMETER = (
    r"(class \w+\(Value\):.*?)    \) -> None:\n",
    r"\1        grown: int = 7,\n    ) -> None:\n        self.grown = grown\n",
)
MAKER = (
    r"(\ndef new_\w+\(.*?)(\) -> \w+:.*?)(    return made\n)",
    r"\1    grown: int = 7,\n\2    made.grown = grown\n\3",
)


def grow(source: str) -> tuple[str, int]:
    """The source with one more field in each value, and in what makes it; and how many values that are."""
    for change in (PARAMETER, MAKER):
        source = re.sub(*change, source, flags=re.DOTALL)
    return re.subn(*FIELD, source, flags=re.DOTALL)


def run(core: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """With this core instead of the checkout's."""
    variables = {name: value for name, value in os.environ.items() if name != "ROVER_PLAIN"}
    paths = {"PYTHONPATH": str(core)}
    return subprocess.run(
        command, cwd=ROOT, env=variables | paths, capture_output=True, text=True, timeout=500
    )


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to import it from."""
    core = tmp_path_factory.mktemp("grown")
    shutil.copytree(CORE / "rover", core / "rover", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    values = 0
    for module in [*core.glob("rover/values/*.py"), core / "rover/http/trace.py"]:
        source, number = grow(module.read_text())
        module.write_text(source)
        values += number
    assert values == 16
    done = run(core, sys.executable, "-c", GROWN)
    assert done.returncode == 0, done.stderr
    return core


@pytest.mark.parametrize("suite", SUITES)
def test_plugins_work_with_values_that_have_grown(grown: Path, suite: str) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-m", "not live and not compiled")
    done = run(grown, sys.executable, "-m", "pytest", *options, suite)
    assert done.returncode == 0, done.stdout[-4000:]


# -- the number of the layouts -----------------------------------------------------------------------


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    line.client(b"GET /first HTTP/1.1\r\nHost: a.example\r\n\r\n")
    line.server(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok")
    line.close()
    return write_capture(tmp_path / "one.pcap", segments)


def replay(core: Path, capture: Path) -> tuple[list[str], list[str]]:
    """Access logs, and the lines about plain Python."""
    code = "from rover.cli import main; main()"
    done = run(core, sys.executable, "-c", code, "replay", "--sink", "jsonl", capture)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), [each for each in done.stderr.splitlines() if "plain Python" in each]


@pytest.mark.compiled
def test_what_was_compiled_for_another_core_runs_in_plain_python(capture: Path, tmp_path: Path) -> None:
    """It says so in one line, with what to do about it; what comes of it is the same."""
    expected, said = replay(CORE, capture)
    assert len(expected) == 1
    assert not said
    core = tmp_path / "core"
    shutil.copytree(CORE / "rover", core / "rover", ignore=shutil.ignore_patterns("__pycache__"))
    build = tmp_path / "build"
    (build / "src/rover").mkdir(parents=True)
    for name in ("__init__.py", "abi.py", "building.py", "_abi.pxd", "_abi.pyx"):
        shutil.copy(CORE / "rover" / name, build / "src/rover")
    declared = build / "src/rover/_abi.pxd"
    declared.write_text(declared.read_text().replace(f"NUMBER = {ABI}", f"NUMBER = {ABI + 1}"))
    shutil.copy(ROOT / "core/setup.py", build)
    command = (sys.executable, "setup.py", "-q", "build_ext", "--build-lib", core)
    subprocess.run(command, cwd=build, check=True, capture_output=True)
    abi = core / "rover/abi.py"
    abi.write_text(abi.read_text().replace(f"\nABI = {ABI}\n", f"\nABI = {ABI + 1}\n"))
    found, said = replay(core, capture)
    assert found == expected
    named = [line.removeprefix("rover: ").partition(" ")[0] for line in said]
    assert {"rover-plugin-http1", "rover-plugin-sink-log"} <= set(named)
    assert len(named) == len(set(named))
    assert all(f"it was compiled for ABI {ABI}, rover-core has {ABI + 1}" in line for line in said)
    assert all(f"--no-binary {name} {name}`" in line for name, line in zip(named, said, strict=True))


@pytest.mark.compiled
def test_compiled_plugins_of_a_core_that_is_not_run_in_plain_python(grown: Path, capture: Path) -> None:
    expected, _ = replay(CORE, capture)
    found, said = replay(grown, capture)
    assert found == expected
    assert said
    assert all("rover-core is not compiled" in line for line in said)
