"""The shape of the project: who may import whom, and what every package has."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rover.cli.packages import PACKAGES as BY_NAME
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

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
        {"errors", "values", "files"},
        {"streams", "http", "sending", "expression", "metrics"},
        {"contracts"},
        {"api", "plugins"},
        {"pipeline"},
        {"run", "recording", "testing", "pytest_plugin"},
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


# -- what is published --------------------------------------------------------------------------

PUBLISHED = [ROOT, *MEMBERS]
PYPROJECTS = {member: tomllib.loads((member / "pyproject.toml").read_text()) for member in PUBLISHED}
PROJECTS = {member: pyproject["project"] for member, pyproject in PYPROJECTS.items()}
VERSION = PROJECTS[ROOT]["version"]
each_published = pytest.mark.parametrize("member", PUBLISHED, ids=lambda m: PROJECTS[m]["name"])


def pinned() -> set[str]:
    """What constraints.txt names."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(Requirement(line).name) for line in lines if line and line[0] != "#"}


def test_the_root_installs_the_default_set():
    """In the versions it was released with."""
    names = {PROJECTS[member]["name"] for member in MEMBERS}
    assert set(PROJECTS[ROOT]["dependencies"]) <= {f"{name}=={VERSION}" for name in names}


def test_the_root_has_the_command():
    """pipx and `uv tool install` offer the commands of the package they are given, and no other's."""
    assert PROJECTS[ROOT]["scripts"] == PROJECTS[CORE]["scripts"]


@each_published
def test_there_is_one_version(member):
    """`make version` writes it everywhere."""
    project = PROJECTS[member]
    assert project["version"] == VERSION
    ours = [each for each in map(Requirement, project["dependencies"]) if each.name.startswith("rover-")]
    if member not in (ROOT, CORE):
        assert [str(each) for each in ours] == [f"rover-core~={VERSION}"]


@each_published
def test_an_index_can_show_it(member):
    project = PROJECTS[member]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE", "NOTICE"]
    assert project["authors"]
    assert project["keywords"]
    classifiers = set(project["classifiers"])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)} <= classifiers
    assert "Operating System :: POSIX :: Linux" in classifiers
    assert ("Typing :: Typed" in classifiers) == (member != ROOT)
    assert ("Programming Language :: Cython" in classifiers) == (member / "setup.py").exists()
    assert not any("License" in each for each in classifiers)  # `license` says it (PEP 639)


@each_published
def test_a_long_description_stands_alone(member):
    """On an index a link to a file of the repository leads nowhere."""
    text = (member / PROJECTS[member]["readme"]).read_text()
    assert not [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")]


@each_published
def test_the_licence_goes_with_it(member):
    assert (member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (member / "NOTICE").read_text().startswith("rover\nCopyright ")


@each_published
def test_what_builds_and_tests_it_is_pinned(member):
    project = PROJECTS[member]
    wanted = [
        *project["dependencies"],
        *project.get("optional-dependencies", {}).get("dev", []),
        *PYPROJECTS[member]["build-system"]["requires"],
    ]
    names = {canonicalize_name(Requirement(each).name) for each in wanted}
    assert {name for name in names if not name.startswith("rover-")} <= pinned()
    if member != ROOT:  # built without isolation, with what the root's developers have
        at_hand = {Requirement(each).name for each in PROJECTS[ROOT]["optional-dependencies"]["dev"]}
        requires = {Requirement(each).name for each in PYPROJECTS[member]["build-system"]["requires"]}
        assert requires - {"rover-core"} <= at_hand


def test_the_table_of_packages_is_what_they_register():
    manager = PluginManager()
    manager.load_entry_points()
    Catalogue(manager)
    ours = {PROJECTS[member]["name"] for member in MEMBERS} - {"rover-core"}
    provided = {
        provides: plugin.distribution.partition(" ")[0]
        for plugin in manager.plugins
        for provides in plugin.provides
        if " " in provides  # not "settings", which have no name
    }
    assert {what: package for what, package in provided.items() if package in ours} == BY_NAME
