"""From the values of one configuration to settings of the other, and what became of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rover import Setting
from rover.cli.template import toml
from rover.contracts.settings import Value
from rover.errors import NotInstalledError
from rover_plugin_skywalking_config.keys import (
    LIST,
    TLS,
    UNKNOWN,
    Files,
    NotNeeded,
    NotSupported,
    fate,
)
from rover_plugin_skywalking_config.reading import resolved

SINK = "sink.oap.address"
"""Without it none of this can be set."""


class Line(NamedTuple):
    """What became of one key."""

    key: str
    outcome: str
    """"taken", "not needed" or "not supported"."""
    said: str
    """The setting and its value, or the reason."""


class Translation(NamedTuple):
    """The result."""

    settings: Mapping[str, tuple[Value, str]]
    """By full key: the value, and the key that it is from."""
    lines: tuple[Line, ...]


def translate(
    found: Mapping[str, str],
    environment: Mapping[str, str],
    declared: Mapping[str, Setting],
    directory: Path,
) -> Translation:
    """`found`: `reading.values`. `directory`: where files are that have no absolute path.

    Raises UsageError for a value that its setting does not take.
    """
    if SINK not in declared:
        raise NotInstalledError("the sink oap is not installed, and most of it is for that", "sink oap")
    given = {key: resolved(value, environment) for key, value in found.items()}
    tls = given.get(TLS, "").lower() == "true"
    settings: dict[str, tuple[Value, str]] = {"run.sinks": (["oap"], "")}
    lines = []
    for key, text in given.items():
        line = _line(key, text, tls, declared, directory)
        if isinstance(line, Line):
            lines.append(line)
            continue
        setting, value = line
        settings[setting] = value, key
        lines.append(Line(key, "taken", f"{setting} = {toml(value)}"))
    return Translation(settings, tuple(lines))


def _line(
    key: str, text: str, tls: bool, declared: Mapping[str, Setting], directory: Path
) -> Line | tuple[str, Value]:
    """What became of one key: the setting and its value where it is taken."""
    becomes = fate(re.sub(r"\[\d+\]", "[]", key))
    if isinstance(becomes, NotNeeded):
        return Line(key, "not needed", becomes.reason)
    if text == "" and becomes is not UNKNOWN:
        return Line(key, "not needed", "it is empty")
    if isinstance(becomes, NotSupported):
        return Line(key, "not supported", becomes.reason)
    if isinstance(becomes, Files):
        if not tls:
            return Line(key, "not needed", "it counts with TLS only")
        if text == becomes.usual and not (directory / text).exists():
            return Line(key, "not needed", f"there is no file {text} here")
    value: object = [each for each in text.split(",") if each.strip()] if key in LIST else text
    setting = declared.get(becomes.setting)
    if setting is None:
        return Line(key, "not supported", f"what is installed has no setting {becomes.setting}")
    return becomes.setting, setting.read(f"{key} ({becomes.setting})", value)


def configuration(translation: Translation, name: str) -> Iterator[str]:
    """A configuration file, by lines."""
    yield f"# Made by `rover config import` from {toml(name)[1:-1]}, a configuration of SkyWalking Rover."
    tables: dict[str, list[str]] = {}
    for key, (value, source) in translation.settings.items():
        table, _, setting = key.rpartition(".")
        comment = f"  # {source}" if source else ""
        tables.setdefault(table, []).append(f"{setting} = {toml(value)}{comment}")
    for table, lines in sorted(tables.items()):
        yield ""
        yield f"[{table}]"
        yield from lines


def report(lines: tuple[Line, ...]) -> Iterator[str]:
    """What became of every key, for people: those first that something is lost by."""
    width = max((len(line.key) for line in lines), default=0)
    for outcome in ("not supported", "not needed", "taken"):
        for line in lines:
            if line.outcome == outcome:
                yield f"{outcome:13}  {line.key:{width}}  {line.said}"
