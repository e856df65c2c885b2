"""GitHub's workflows, checked as far as can be without its machines."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_they_are_what_the_schema_allows(workflow):
    """The schema comes with check-jsonschema: nothing is downloaded."""
    command = Path(sys.executable).with_name("check-jsonschema")
    if not command.exists():
        pytest.skip("needs check-jsonschema (pip install check-jsonschema)")
    checked(command, "--builtin-schema", "vendor.github-workflows", workflow)


def test_actionlint_finds_nothing():
    command = shutil.which("actionlint", path=f"{Path(sys.executable).parent}:{Path.home()}/go/bin:/usr/bin")
    if command is None:
        pytest.skip("needs actionlint (go install github.com/rhysd/actionlint/cmd/actionlint@latest)")
    checked(command, *WORKFLOWS)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_supported_python_is_there(workflow):
    supported = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)}
    (listed,) = re.findall(r"python: \[(.*)\]", workflow.read_text())
    assert set(re.findall(r"3\.\d+", listed)) == supported


def test_wheels_are_built_for_every_supported_python_of_every_compiled_package():
    text = (ROOT / ".github/workflows/packages.yml").read_text()
    (built,) = re.findall(r"CIBW_BUILD: (.*)", text)
    tags = {each.replace("3.", "cp3") for each in re.findall(r'"(3\.\d+)"', text)}
    assert set(re.findall(r"cp3\d+", built)) == tags
    (packages,) = re.findall(r"for package in (.*); do", text)
    setups = (*ROOT.glob("*/setup.py"), *ROOT.glob("plugins/*/setup.py"))
    compiled = {str(setup.parent.relative_to(ROOT)) for setup in setups}
    assert set(packages.split()) == compiled
