"""The packages of the workspace. `python -m workspace.members [EXTRA]...` lists what they require."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOR_EDITABLE = {"editables>=0.5"}
"""What hatchling asks for on top of `build-system.requires`, by `get_requires_for_build_editable`."""


def members() -> list[Path]:
    """The folder of each package. The last is the root, which requires the others."""
    folders = [ROOT / "core", ROOT / "bpf", *sorted(ROOT.glob("plugins/*")), ROOT]
    return [folder for folder in folders if (folder / "pyproject.toml").exists()]


def configuration(member: Path) -> dict[str, Any]:
    """A package's pyproject.toml."""
    return tomllib.loads((member / "pyproject.toml").read_text())


def requirements(extras: list[str]) -> list[str]:
    """Of others' packages: what ours need to run and to be built, and these extras of the root."""
    configurations = [configuration(member) for member in members()]
    projects = [each["project"] for each in configurations]
    wanted = {requirement for each in configurations for requirement in each["build-system"]["requires"]}
    wanted |= FOR_EDITABLE
    wanted |= {requirement for project in projects for requirement in project.get("dependencies", [])}
    optional = projects[-1].get("optional-dependencies", {})
    wanted |= {requirement for extra in extras for requirement in optional[extra]}
    ours = tuple(project["name"] for project in projects)
    return sorted(requirement for requirement in wanted if not requirement.startswith(ours))


if __name__ == "__main__":
    print(*requirements(sys.argv[1:]), sep="\n")
