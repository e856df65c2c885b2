"""The shape of the project: who may import whom, and what every package has."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rover.cli.packages import PACKAGES as BY_NAME
from rover.configuration import Catalogue
from rover.plugins import PluginManager

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core"
MEMBERS = [CORE, ROOT / "bpf", *sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml"))]
PACKAGES = {
    member: next(p.name for p in (member / "src").glob("rover*") if p.suffix != ".egg-info")
    for member in MEMBERS
}


def imported(source: Path) -> set[str]:
    """Every module a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.name)
def test_everything_imports_the_core_and_nothing_else_of_ours(member):
    own = PACKAGES[member]
    others = set(PACKAGES.values()) - {own, "rover"}
    for source in (member / "src").rglob("*.py"):
        tops = {module.partition(".")[0] for module in imported(source)}
        assert not tops & others, f"{source} imports another plugin"


def test_within_the_core_imports_go_one_way():
    """Vocabulary, then contracts, then the pipeline, then what puts it together."""
    layers = [
        {
            "errors",
            "records",
            "tuples",
            "_tuples",
            "collector",
            "lock",
            "priority",
            "signals",
            "gunzip",
            "byte_stream",
        },
        {"connection", "exchange", "details", "settings"},
        {"access_log", "buffer", "http"},
        {"decoder", "source", "sink"},
        {"hookspecs", "guard", "_guard"},
        {"plugins", "testing", "paced", "api"},
        {"pipeline", "configuration"},
        {"report"},
        {"agent", "worker"},
        {"workers", "recording"},
        {"cli"},
        {"__main__"},
    ]
    level = {name: number for number, layer in enumerate(layers) for name in layer}
    for source in (CORE / "src/rover").rglob("*.py"):
        name = source.relative_to(CORE / "src/rover").parts[0].removesuffix(".py")
        if name == "__init__":  # the public surface: everything an author needs
            continue
        for module in imported(source):
            parts = module.split(".")
            if parts[0] == "rover" and len(parts) > 1 and parts[1] != name:
                assert level[parts[1]] <= level[name], f"{source} imports {module}"


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.name)
def test_every_package_is_whole(member):
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    assert project["name"].startswith("rover-")
    assert project["description"]
    assert (member / "README.md").read_text().count("\n") > 5
    assert list((member / "tests").glob("test_*.py"))
    package = member / "src" / PACKAGES[member]
    assert (package / "py.typed").exists()
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.name)
def test_every_module_says_what_it_is_for(member):
    for source in (member / "src").rglob("*.py"):
        if "_pb2" not in source.name:
            assert ast.get_docstring(ast.parse(source.read_text())), f"{source} has no docstring"


def test_the_root_installs_the_default_set():
    root = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {tomllib.loads((m / "pyproject.toml").read_text())["project"]["name"] for m in MEMBERS}
    assert set(root["dependencies"]) <= names


def test_the_table_of_packages_is_what_they_register():
    manager = PluginManager()
    manager.load_entry_points()
    Catalogue(manager)
    ours = {project["name"] for project in map(project_of, MEMBERS)} - {"rover-core"}
    provided = {
        provides: plugin.distribution.partition(" ")[0]
        for plugin in manager.plugins
        for provides in plugin.provides
    }
    assert {what: package for what, package in provided.items() if package in ours} == BY_NAME


def project_of(member: Path) -> dict[str, Any]:
    return tomllib.loads((member / "pyproject.toml").read_text())["project"]
