"""Every setting there is as a configuration file: TOML that says of each its type, default and meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from rover.contracts.settings import Setting, Value
from rover.plugins.manager import printable

WIDTH = 80
OPEN = "*"
"""The last part of a key that stands for keys the user chooses."""


def template(declared: Mapping[str, Setting]) -> Iterator[str]:
    """Its lines. Read as a configuration, it says what holds without one."""
    yield "# Every setting of rover and of the plugins that are installed, with its default."
    tables: dict[str, list[tuple[str, Setting]]] = {}
    for key, setting in sorted(declared.items()):
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append((name, setting))
    for table, settings in sorted(tables.items()):
        yield ""
        yield f"[{table}]"
        for number, (name, setting) in enumerate(settings):
            if number:
                yield ""
            yield from comment(setting)
            if name != OPEN:
                yield f"{name} = {toml(setting.default)}"


def comment(setting: Setting) -> Iterator[str]:
    """What a setting is, above it."""
    kind = f"one of {', '.join(setting.choices)}" if setting.choices else setting.kind
    facts = [f"{kind}, {setting.bounds}" if setting.bounds else kind]
    if not setting.name.endswith(OPEN):
        facts.append(f"default {toml(setting.default)}")
    if setting.environment:
        facts.append(f"{setting.environment} overrides it")
    for text in (setting.help, "; ".join(facts)):
        for line in textwrap.wrap(printable(text), WIDTH - 2, break_on_hyphens=False):
            yield f"# {line}"


def toml(value: Value) -> str:
    """A value as TOML 1.0 writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{"".join(map(_character, value))}"'
    if isinstance(value, list):
        return f"[{', '.join(_each(value))}]"
    return repr(value)


def _each(values: Iterable[str | int]) -> Iterator[str]:
    for value in values:
        yield toml(value)


def _character(character: str) -> str:
    """In a basic string: a surrogate, which no string of TOML can hold, is a question mark."""
    if character in '"\\':
        return f"\\{character}"
    number = ord(character)
    if 0xD800 <= number < 0xE000:
        return "?"
    return character if character.isprintable() else f"\\U{number:08X}"
