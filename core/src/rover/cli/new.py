"""`rover plugins new`: the package of a plugin that works, to be made another.

The templates are packages that work as they are, for the name `example`.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from rover.errors import RoverError, UsageError, file_error
from rover.plugins.manager import PluginManager

TEMPLATES = Path(__file__).parent / "templates"
PREFIX = "rover-plugin-"
NAMED = "example"
"""The name in the templates: each occurrence of it is one of the plugin's name."""
KINDS = (".py", ".toml", ".md")
"""Of files in the templates. Others, such as what Python compiled of them, are nobody's."""
UNPINNED = "rover-core>=0"
"""What stands in the templates for the version that is running."""
MAX_NAME = 40
"""Characters: with the package's prefix a cell of `rover plugins` of which a terminal has room for two."""

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def register(group: typer.Typer) -> None:
    """Adds the command."""

    @group.command("new")
    def new(
        context: typer.Context,
        name: Annotated[str, typer.Argument(help="Of the plugin, and of what it provides: a word.")],
        protocol: Annotated[
            bool, typer.Option("--protocol", help="It decodes a protocol. This is what is written anyway.")
        ] = False,
        sink: Annotated[bool, typer.Option("--sink", help="It takes access logs somewhere.")] = False,
        hooks: Annotated[bool, typer.Option("--hooks", help="It changes and drops access logs.")] = False,
        directory: Annotated[
            Path | None,
            typer.Option(
                "--directory", metavar="PATH", help="Made for the package. Else it is rover-plugin-NAME here."
            ),
        ] = None,
    ) -> None:
        """Write the package of a new plugin: one that works, with tests.

        It has an example of a protocol, of a sink or of hooks, which you replace by yours.
        """
        kinds = [
            kind for kind, wanted in (("sink", sink), ("hooks", hooks), ("protocol", protocol)) if wanted
        ]
        if len(kinds) > 1:
            raise UsageError(f"--{kinds[0]} and --{kinds[1]}: a plugin begins as one of them")
        word = checked_name(name, context.obj)
        target = Path(PREFIX + word.replace("_", "-")) if directory is None else directory
        write(TEMPLATES / (kinds or ["protocol"])[0], word, target)
        typer.echo(f"{target}: pip install -e '{target}[test]' && pytest {target}")


def checked_name(name: str, manager: PluginManager) -> str:
    """The name with `_` where it has `-`, as Python wants it. Raises UsageError."""
    shown = repr(name[:MAX_NAME])
    if name.startswith((PREFIX, PREFIX.replace("-", "_"))) and name != PREFIX:
        raise UsageError(f"{shown}: leave out {PREFIX!r}, which the name of the package begins with anyway")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise UsageError(
            f"{shown} is no name of a plugin: write small letters, digits, - and _, a letter first, "
            f"at most {MAX_NAME}"
        )
    word = name.replace("-", "_")
    if word in {plugin.name.replace("-", "_") for plugin in manager.plugins}:
        raise UsageError(f"a plugin {shown} is installed already")
    return word


def write(template: Path, word: str, target: Path) -> None:
    """Copies a template to a new directory, for this name. Raises RoverError."""
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{target} is there already; name another with --directory") from None
    except OSError as error:
        raise file_error(f"cannot make {target}", error) from None
    try:
        for source in sorted(template.rglob("*")):
            if source.suffix in KINDS or source.name == "py.typed":
                file = target / renamed(str(source.relative_to(template)), word)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(renamed(source.read_text(encoding="utf-8"), word), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise RoverError(f"cannot write {target}: {error.strerror or error}") from None


def renamed(text: str, word: str) -> str:
    """A template's text or path, for a plugin of this name."""
    pinned = f"rover-core>={importlib.metadata.version('rover-core')}"
    capitals = "".join(part.capitalize() for part in word.split("_"))
    text = text.replace(UNPINNED, pinned).replace(PREFIX + NAMED, PREFIX + word.replace("_", "-"))
    return (
        text.replace(NAMED, word).replace(NAMED.capitalize(), capitals).replace(NAMED.upper(), word.upper())
    )
