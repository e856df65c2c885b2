"""How properties are tested: the same way each time, unless somebody hunts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).parent.parent
FEW = "plugins/http1/tests/test_http1_starts.py"


def hunt(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.hunt", "--seconds", "0", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_commit_passes_twice_or_fails_twice():
    assert settings.default.derandomize
    assert settings.default.deadline is None


def test_a_round_runs_properties_and_nothing_else():
    done = hunt(FEW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deselected" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1] == "1 rounds, 0 of them failed"


def test_where_nothing_is_selected_the_command_was_wrong():
    assert hunt(FEW, "-k", "nowhere").returncode == 2


def test_a_property_that_fails_is_said_with_what_fails_again(tmp_path):
    test = tmp_path / "test_false.py"
    test.write_text(
        "from hypothesis import given, settings, strategies as st\n"
        "@given(st.integers())\n"
        "def test_small(number):\n"
        "    assert not settings.default.derandomize\n"
        "    assert number < 1000\n"
    )
    done = hunt("-c", "pyproject.toml", FEW, str(test))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "number=1000" in done.stdout
    assert "again: " in done.stdout
    assert "--hypothesis-seed=" in done.stdout
