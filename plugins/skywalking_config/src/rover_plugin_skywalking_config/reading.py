"""A configuration file of SkyWalking Rover, as texts by dotted key.

What YAML would make of a text (a number, a time, an object of Python) does not matter: each value has a
setting that says what it is to be. So the file is read as events, and nothing is made of them but texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from rover import UsageError
from rover.contracts.settings import shown
from rover.errors import file_error

MAX_FILE = 256 << 10
"""Bytes of a file: theirs has eight thousand."""
MAX_DEPTH = 32
"""Mappings and lists within each other: theirs has six."""
MAX_VALUES = 10_000
"""Values of a file: theirs has sixty."""

_PLACEHOLDER = re.compile(r"\$\{([_A-Z0-9]+):(.*)\}", re.DOTALL)
_QUOTED = re.compile(r'"([^"]*)"')


def read(path: Path) -> str:
    """The text of a file. Raises UsageError, or RoverError where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise file_error(f"cannot read {path}", error) from None
    if len(content) > MAX_FILE:
        raise UsageError(f"{path} is larger than {MAX_FILE >> 10} KiB: that is no configuration")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no YAML: {error}") from None


def values(text: str) -> dict[str, str]:
    """Every value by its key: `core.backend.addr`, `process_discovery.scanner.regex[0].layer`. Keys are in
    small letters, which are all the same there.

    Raises ValueError, which says what is wrong and in which line.
    """
    found: dict[str, str] = {}
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    try:
        for key, event in _Document(events).walk():
            if key in found:
                raise ValueError(f"{_line(event)}: {shown(key)} is there twice")
            if len(found) == MAX_VALUES:
                raise ValueError(f"{_line(event)}: there are more than {MAX_VALUES} values")
            found[key] = event.value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ValueError(f"{f'line {mark.line + 1}: ' if mark else ''}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return found


class _Document:
    """The events of one document, bounded."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events

    def walk(self) -> Iterator[tuple[str, yaml.ScalarEvent]]:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ValueError(f"{_line(event)}: there is a second document")
            elif isinstance(event, yaml.MappingStartEvent):
                yield from self._mapping("", 1)
            elif isinstance(event, yaml.NodeEvent) and not _is_empty(event):
                raise ValueError(f"{_line(event)}: a mapping is due")

    def _node(self, key: str, event: yaml.Event, depth: int) -> Iterator[tuple[str, yaml.ScalarEvent]]:
        if depth > MAX_DEPTH:
            raise ValueError(f"{_line(event)}: there are more than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ValueError(f"{_line(event)}: anchors and aliases are not taken; write the value twice")
        if isinstance(event, yaml.ScalarEvent):
            yield key, event
        elif isinstance(event, yaml.MappingStartEvent):
            yield from self._mapping(f"{key}.", depth + 1)
        elif isinstance(event, yaml.SequenceStartEvent):
            number = 0
            while not isinstance(each := next(self._events), yaml.SequenceEndEvent):
                yield from self._node(f"{key}[{number}]", each, depth + 1)
                number += 1

    def _mapping(self, prefix: str, depth: int) -> Iterator[tuple[str, yaml.ScalarEvent]]:
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.anchor:
                raise ValueError(f"{_line(event)}: a key is due")
            yield from self._node(prefix + event.value.lower(), next(self._events), depth)


def _is_empty(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value in ("", "~", "null") and event.style is None


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}"


def resolved(value: str, environment: Mapping[str, str]) -> str:
    """A value as that agent would have it: `${NAME:default}` is the variable, else the default. Quotes around
    a default, as in `${NAME:"ca.pem"}`, are not a part of it."""
    match = _PLACEHOLDER.search(value)
    if match is None:
        return value
    name, default = match.groups()
    quoted = _QUOTED.fullmatch(default)
    return environment.get(name) or (quoted[1] if quoted else default)
