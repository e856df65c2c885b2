"""The rules of `make test-distributions`, as far as they can be tested without a root."""

from __future__ import annotations

import subprocess
import sys

import pytest

from distributions import first_line, replay, suite


def test_the_capture_holds_what_every_python_has_to_find_in_it(tmp_path):
    capture, output = tmp_path / "capture.pcap", tmp_path / "access.jsonl"
    expected = replay.write_capture(capture)
    command = [sys.executable, "-m", "rover", "replay", str(capture), "--sink", "jsonl"]
    subprocess.run([*command, "--set", f"sink.jsonl.path={output}"], check=True, timeout=60)
    assert replay.rows_of(output.read_bytes()) == expected


@pytest.mark.parametrize(
    ("commands", "kind"),
    [
        (["make run"], "ours"),
        (["make run", "apt-get install -y gcc", "/usr/bin/dpkg --unpack"], "apt"),
        (["make run", ".venv/bin/python3 .venv/bin/pip install -q x"], "pip"),
        (["make run", "python3 -m pip install x"], "pip"),
        (["make run", "uv pip install x"], "pip"),
        (["make run", "python3 .venv/bin/pip install -e .", "python3 /x/_in_process.py build_wheel"], "ours"),
        (["make run", "python3 setup.py build_ext", "/usr/libexec/gcc/cc1 -O2"], "ours"),
        (["python3 -m http.server 8000", "python3 -m rover run"], "ours"),
        ([""], "ours"),
        ([], "ours"),
    ],
)
def test_what_takes_the_time_of_a_set_up(commands, kind):
    assert first_line.kind_of([command.split(" ") for command in commands]) == kind


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ('{"rover.role":"client","url.original":"/?first"}', {"client"}),
        ('{"rover.role":"server","url.original":"/?first"}', {"server"}),
        ('{"rover.role":"server","url.original":"/another"}', set()),
        ("installing gcc: 12 s", set()),
        ("[]", set()),
        ("7", set()),
    ],
)
def test_a_first_line_is_the_access_log_of_the_request(line, ends):
    assert first_line.end_of(line) == ends


JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="passes"><system-out>said</system-out></testcase>
<testcase classname="a" name="fails"><failure message="assert
  0">trace</failure></testcase>
<testcase classname="a" name="breaks"><error message="in a fixture"/></testcase>
<testcase classname="a" name="skips"><skipped message="{reason}"/></testcase>
</testsuite></testsuites>"""


def test_results_are_read_as_pytest_wrote_them(tmp_path):
    (tmp_path / "results.xml").write_text(JUNIT.format(reason="needs x"))
    results = suite.read(tmp_path / "results.xml", 1.0, 2.0)
    assert (results.passed, results.skipped) == (1, {"needs x": 1})
    assert results.failed == ["a::fails: assert 0", "a::breaks: in a fixture"]
    assert not results.well


@pytest.mark.parametrize(
    ("reason", "well"),
    [
        ("this kernel runs no 32-bit calls (CONFIG_IA32_EMULATION)", True),
        ("cannot make a cgroup: Read-only file system", True),
        ("needs nginx (Debian: nginx-light)", False),
        ("needs root", False),
        ("needs bcc: none found", False),
    ],
)
def test_a_skip_is_well_only_where_the_root_or_the_kernel_is_its_reason(reason, well):
    assert suite.Results(1, [], {reason: 1}, 0.0, 0.0).well is well
