"""What the documents show is what the command takes and says."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import rover
import rover.pytest_plugin
import rover.testing
import tls_programs
from rover import AccessLog, Connection, Outcome, Process
from rover.cli.command import build
from rover.contracts import hooks
from rover.plugins.manager import HOOKS, PluginManager
from rover.plugins.tls_library import checked_probes
from rover.run.configuration import Catalogue
from rover.run.report import Report, SinkReport
from rover.testing import access_logs, check_sink
from rover.values.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover_plugin_sink_log.layout import LAYOUTS, layout_of

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("*/README.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]


def blocks(document: Path) -> Iterator[str]:
    """The fenced blocks without a language, or of a shell's."""
    yield from re.findall(
        r"^```(?:sh|console|shell|bash)?\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL
    )


def shown() -> Iterator[tuple[str, list[str]]]:
    """Every `rover COMMAND ...` in them, to the end of the command, by document. A line that ends in a
    backslash goes on in the next."""
    for document in DOCUMENTS:
        for line in "\n".join(blocks(document)).replace("\\\n", " ").splitlines():
            if re.search(r"rover \S+  |[\[']", line):  # a synopsis, or words about a command
                continue
            words = shlex.split(line, comments=True)
            for start in [i for i, word in enumerate(words) if word in ("rover", ".venv/bin/rover")]:
                command = []
                for word in words[start + 1 :]:
                    if word in ("|", ">", "<", "&&") or word.startswith((">", "<")):
                        break
                    command.append(word)
                if command and command[0] in COMMANDS:
                    yield str(document.relative_to(ROOT)), command


MANAGER = PluginManager()
MANAGER.load_entry_points()
COMMANDS: dict[str, Any] = getattr(get_command(build(MANAGER)), "commands")  # noqa: B009  (no type has it)
SHOWN = list(shown())


def test_the_documents_show_commands():
    assert {command[0] for _, command in SHOWN} >= {"run", "replay", "plugins"}


@pytest.mark.parametrize(("document", "command"), SHOWN, ids=lambda value: " ".join(value)[:60])
def test_a_command_that_is_shown_is_taken(document, command):
    """Its options and arguments are read, and nothing is run."""
    name, *arguments = command
    COMMANDS[name].make_context(name, arguments, obj=MANAGER)


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them: words of small letters, joined by hyphens."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_a_link_leads_somewhere(document):
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_document():
    """Once to each. That of the package is its description on an index."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    documents = {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")} - {"docs/rover-agent.md"}
    assert documents <= set(links)
    assert len(links) == len(set(links))


@each_document
def test_a_target_that_is_shown_is_made(document):
    """`make TARGET` in code of either kind. With a variable alone it is the first target."""
    code = [*blocks(document), *re.findall(r"`([^`\n]+)`", document.read_text())]
    shown = [name for each in code for name in re.findall(r"^make ([a-z][a-z-]*)", each, re.MULTILINE)]
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(shown) <= set(targets)


@each_document
def test_a_file_that_is_named_is_there(document):
    """From the top of the repository: in text between backquotes, and what commands read."""
    places = r"(?:core|bpf|docs|packaging|plugins|tests|workspace)/"
    text = document.read_text()
    named = re.findall(rf"`({places}[\w./-]+)`", text)
    read = re.findall(rf"(?<=[ ]){places}[\w./-]+", "\n".join(blocks(document)))
    assert not [path for path in [*named, *read] if not path.endswith("/") and not (ROOT / path).exists()]


@each_document
def test_a_setting_that_is_named_is_known(document):
    known = set(Catalogue(MANAGER).declared)
    heads = {setting.rpartition(".")[0] for setting in known}
    named = re.findall(r"(?:`|--set )([a-z]\w*(?:\.[a-z]\w*)+)(?==\S|`)", document.read_text())
    assert not [name for name in named if name.rpartition(".")[0] in heads and name not in known]


def python(document: Path) -> list[str]:
    """Its programs."""
    return re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


GUIDE = ROOT / "docs/plugins.md"


def guide(*parts: str) -> dict[str, Any]:
    """The programs of the guide to plugins that have these parts, run one after the other."""
    program: dict[str, Any] = {}
    for part in parts:
        (source,) = [source for source in python(GUIDE) if part in source]
        exec(source, program)
    return program


@pytest.mark.parametrize("test", re.findall(r"^def (test_\w+)", GUIDE.read_text(), re.MULTILINE))
def test_the_protocol_that_the_guide_shows_passes_the_tests_it_shows(test):
    """10,000 lines in a call, a gap, bytes that are no text, and the laws."""
    guide("class Lines:", f"def {test}(")[test]()


def test_the_sink_that_the_guide_shows_counts(tmp_path):
    (spec,) = guide("def register_sinks(")["register_sinks"]()
    check_sink(spec, {"path": str(tmp_path / "count")})
    logs = [log for log in access_logs() if log.protocol or log.outcome is Outcome.BREAK]
    assert int((tmp_path / "count").read_text()) % len(logs) == 0


# -- every name is in the guide ----------------------------------------------------------------------


def spans(text: str) -> set[str]:
    """The words in code, in text and in blocks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return {word for each in code for word in re.findall(r"\w+", each)}


def sections() -> dict[str, str]:
    """Of the reference, by each name in its heading."""
    _, _, reference = GUIDE.read_text().partition("\n## Reference\n")
    found = re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", reference, re.MULTILINE | re.DOTALL)
    return {name: text for heading, text in found for name in heading.split(", ")}


def fields(kind: type) -> set[str]:
    """What is public of a class, and none of what Python's own classes have."""
    names, common = set(dir(kind)), set()
    for base in kind.__mro__:
        names |= set(getattr(base, "__annotations__", ()))
        if base.__module__ in ("builtins", "enum", "typing"):
            common |= set(dir(base))
    return {name for name in names - common if not name.startswith("_")}


PUBLIC = {name: getattr(rover, name) for name in rover.__all__}
CLASSES = {name: value for name, value in PUBLIC.items() if isinstance(value, type)}
MESSAGES = [HttpExchange, HttpStream, HttpRequest, HttpResponse, Headers]
"""What hooks are given besides."""


@pytest.mark.parametrize("kind", {*CLASSES.values(), *MESSAGES}, ids=lambda kind: kind.__name__)
def test_every_field_of_a_public_value_is_in_the_guide(kind):
    assert kind.__name__ in sections(), "no heading of the reference names it"
    _, _, reference = GUIDE.read_text().partition("\n## Reference\n")
    of_all, _, _ = reference.partition("\n### ")
    assert fields(kind) <= spans(sections()[kind.__name__]) | spans(of_all)


def test_every_public_name_is_in_the_guide():
    assert set(PUBLIC) <= spans(GUIDE.read_text()) | set(sections())
    assert set(rover.testing.__all__) <= spans(GUIDE.read_text())


def test_every_hook_is_in_the_guide_with_its_arguments():
    shown = re.findall(r"`(\w+)\(([\w, ]*)\)`", GUIDE.read_text())
    for hook in HOOKS:
        arguments = inspect.signature(getattr(hooks, hook)).parameters
        assert (hook, ", ".join(arguments)) in shown, hook


def test_every_law_is_in_the_guide():
    """By its first words, which the messages begin with."""
    source = "".join(path.read_text() for path in (ROOT / "core/src/rover/testing").glob("*.py"))
    said = set(re.findall(r'(?:LawError\(\s*f?|law = |_compare\()"([a-z][a-z -]+[a-z])', source))
    _, _, told = GUIDE.read_text().partition("| law |")
    assert len(said) > 10
    assert not {law for law in said if law not in told}


def test_every_fixture_is_in_the_guide():
    fixtures = re.findall(r"@pytest.fixture.*\ndef (\w+)", Path(rover.pytest_plugin.__file__).read_text())
    assert len(fixtures) == 4
    assert set(fixtures) <= spans(GUIDE.read_text())


def test_the_sink_that_the_readme_shows_prints_errors(capsys):
    (sink,) = python(ROOT / "README.md")
    program: dict[str, Any] = {}
    exec(sink, program)
    (spec,) = program["register_sinks"]()
    connection = Connection(
        id=1, local=None, remote=None, role=None, process=Process(pid=7, name="nginx"), opened=0, epoch=0
    )
    logs = [
        AccessLog(
            connection=connection,
            start=0,
            end=1,
            attributes={"http.response.status_code": status, "url.original": f"/{status}"},
        )
        for status in (200, 503)
    ]
    spec.make({}).write(logs)
    assert capsys.readouterr().out == "nginx /503\n"


def test_the_readme_shows_the_console():
    text = (ROOT / "README.md").read_text()
    (header,) = re.findall(r"^TIME .*$", text, re.MULTILINE)
    layout = layout_of(120)
    assert header == layout.header()
    for line in re.findall(r"^\d\d:\d\d:\d\d.*$", text, re.MULTILINE):
        assert line[header.index("METHOD") :].startswith(("GET     /", "HEAD    /"))
        assert line[header.index("STATUS") :].startswith(("200  ", "404  "))


def test_the_widths_that_are_told_are_those_of_the_layouts():
    text = (ROOT / "docs/command.md").read_text()
    told = [int(number) for number in re.findall(r"^\| (\d+) (?:to \d|and more)", text, re.MULTILINE)]
    assert sorted(told) == sorted(layout.least for layout in LAYOUTS if layout.least)


@pytest.mark.parametrize("document", ["README.md", "docs/tls.md"])
def test_what_of_tls_is_read_is_told(document):
    assert tls_programs.table() in (ROOT / document).read_text()


def test_what_of_tls_is_said_to_be_read_is_tried():
    """By a plugin that is there, and with programs that the live tests run."""
    witnesses = "".join(
        (ROOT / "tests" / file).read_text() for file in ("tls_peers.py", "live/test_grpc_witness.py")
    )
    plugins = {spec.name for spec in Catalogue(MANAGER).tls_libraries}
    for row in tls_programs.ROWS:
        assert (row.read == "yes") == bool(row.witnesses) == bool(row.plugin), row.programs
        assert not row.plugin or row.plugin in plugins
        assert not [name for name in row.witnesses if f'"{name}": ' not in witnesses]
    assert {row.plugin for row in tls_programs.ROWS} - {""} == plugins


def test_the_tls_library_that_the_guide_shows_is_found(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    (spec,) = guide("def register_tls_libraries(")["register_tls_libraries"]()
    path = tmp_path / "libacme.so"
    source = "long {0}(void *s, char *b, long n) {{ return n; }}"
    functions = "".join(source.format(name) for name in ("acme_tls_recv", "acme_tls_send"))
    command = ["gcc", "-shared", "-x", "c", "-", "-o", path]
    subprocess.run(command, input=functions, text=True, check=True)
    with path.open("rb") as file:
        probes = checked_probes(spec.find(file, lambda name: None))
    assert isinstance(probes, rover.TlsProbes)
    assert len(probes.probes) == 4
    with Path("/bin/sh").open("rb") as file:
        assert spec.find(file, lambda name: None) is None


@pytest.mark.parametrize(
    ("document", "report"),
    [
        (
            "docs/access-logs.md",
            Report(
                exchanges=2000,
                connections=40,
                calls=8012,
                breaks={"upgrade": 2},
                sinks=[SinkReport("console", 1996, {"queue_full": 4})],
                noted={"connections evicted": 12},
            ),
        ),
        (
            "README.md",
            Report(
                exchanges=4,
                connections=4,
                calls=19,
                source={"uploaded_bytes": 1382, "records": 22},
                sinks=[SinkReport("console", 4)],
            ),
        ),
    ],
)
def test_the_totals_that_are_shown_are_told_like_this(document, report):
    told = "".join(f"rover: {line}\n" for line in report.lines())
    assert told in (ROOT / document).read_text()
