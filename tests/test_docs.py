"""What the documents show is what the command takes and says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from rover.cli.command import build
from rover.plugins import PluginManager
from rover.report import Report, SinkReport
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
    """Every `rover COMMAND ...` in them, to the end of the command, by document."""
    for document in DOCUMENTS:
        for line in "\n".join(blocks(document)).splitlines():
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
