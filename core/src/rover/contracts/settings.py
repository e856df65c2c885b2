"""Configuration: declared settings, a TOML file, variables of the environment, `--set key=value`.

Every part declares what it can be told as `Setting`s; nothing else is accepted. Keys are dotted
(`sink.jsonl.path`), in the file as tables.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rover.errors import UsageError, file_error

# A time as Go, Docker and Kubernetes write it: 5s, 1m30s, 500ms.
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# A size as Docker, Kubernetes and systemd write it: 256MiB, 64k, 1G. Units are powers of 1024.
_SIZE = re.compile(r"(\d+)\s*([kmgt])?(i?b)?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

MAX_FILE = 1 << 20
"""Bytes of a configuration file: a thousand times what all settings take; more is another file."""

Value = str | int | float | bool | list[str] | list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One thing a user may set."""

    name: str
    """Without the owner's prefix: `path`. `paths.*` is a table of them, whose keys the user chooses."""
    default: Value
    """Its type is the setting's type; a list's is told by `items`."""
    help: str
    """One line, with the unit."""
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    items: type[str | int] = str
    environment: str = ""
    """Variable that overrides the file; the command line overrides both. Empty: there is no variable."""
    seconds: bool = False
    """A time in seconds; it may be given with units, as in `1m30s`."""
    size: bool = False
    """A number of bytes; it may be given with units, as in `256MiB`."""

    def read(self, key: str, value: object) -> Value:
        """The value in the setting's type. Raises UsageError naming `key`."""
        converted = self._convert(key, value)
        if self.choices and converted not in self.choices:
            raise UsageError(f"{key} = {shown(value)}: must be one of {', '.join(self.choices)}")
        if isinstance(converted, int | float) and not (
            (self.minimum is None or self.minimum <= converted)
            and (self.maximum is None or converted <= self.maximum)
        ):
            raise UsageError(f"{key} = {shown(value)}: must be {self.bounds}")
        return converted

    @property
    def kind(self) -> str:
        """What its values are, for people: "an int"."""
        if self.seconds:
            return "a time: seconds, or as in 500ms, 1m30s"
        if self.size:
            return "a size: bytes, or as in 64KiB, 256MiB"
        if isinstance(self.default, list):
            return f"a list of {'int' if self.items is int else 'strings'}"
        if isinstance(self.default, bool):
            return "true or false"
        return {int: "an int", float: "a number"}.get(type(self.default), "a string")

    @property
    def bounds(self) -> str:
        """ "from 1 to 8", "at least 1", "at most 8"; empty when there are none."""
        if self.minimum is None:
            return "" if self.maximum is None else f"at most {self.maximum}"
        return (
            f"at least {self.minimum}" if self.maximum is None else f"from {self.minimum} to {self.maximum}"
        )

    def _convert(self, key: str, value: object) -> Value:
        default = self.default
        try:
            if isinstance(default, list):
                parts = value.split(",") if isinstance(value, str) else value
                if not isinstance(parts, list):
                    parts = [parts]
                if any(isinstance(part, bool | list | dict) for part in parts):
                    raise ValueError
                stripped = [p.strip() if isinstance(p, str) else p for p in parts]
                return [self.items(p) for p in stripped if p != ""]  # type: ignore[return-value,arg-type]
            if isinstance(default, bool):
                if isinstance(value, bool):
                    return value
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                    str(value).lower()
                ]
            if isinstance(value, bool | list | dict):
                raise ValueError
            if self.seconds and isinstance(value, str) and value and not _DURATION.sub("", value):
                value = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
            if self.size and isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
                value = int(match[1]) << 10 * _POWERS[(match[2] or "").lower()]
            if isinstance(default, int):
                if isinstance(value, float) and not value.is_integer():
                    raise ValueError
                return int(value)  # type: ignore[call-overload, no-any-return]
            if isinstance(default, float):
                number = float(value)  # type: ignore[arg-type]
                if not math.isfinite(number):
                    raise ValueError
                return number
        except (ValueError, KeyError, TypeError, OverflowError):
            raise UsageError(f"{key} = {shown(value)}: must be {self.kind}") from None
        return str(value)


def shown(value: object) -> str:
    """A value that was given, for a message: its beginning."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


MAX_SHOWN = 100
"""Characters of a value in a message, which is a line."""


def find(declared: Mapping[str, Setting], key: str) -> Setting:
    """The declaration of a key. Raises UsageError, which names the nearest one."""
    setting, table = declared.get(key), key
    while setting is None and table:
        # `ports.*` declares a table whose keys the user chooses; one may have dots.
        table = table.rpartition(".")[0]
        setting = declared.get(f"{table}.*")
    if setting is None:
        near = difflib.get_close_matches(key, declared, 1, 0.5)
        raise UsageError(f"unknown setting {shown(key)}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return setting


class Settings:
    """Values of all declared settings, immutable."""

    def __init__(self, declared: Mapping[str, Setting], given: Mapping[str, object] = {}) -> None:
        """`declared` and `given` by full key. Raises UsageError for an unknown key or bad value."""
        self._declared = dict(declared)
        values: dict[str, Value] = {key: s.default for key, s in declared.items()}
        for key, value in given.items():
            values[key] = find(declared, key).read(key, value)
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def section(self, prefix: str) -> dict[str, Any]:
        """The settings under `prefix.`, without it."""
        start = prefix + "."
        return {
            k[len(start) :]: v
            for k, v in self._values.items()
            if k.startswith(start) and not k.endswith(".*")
        }

    def items(self) -> Iterable[tuple[str, Value, Setting]]:
        """(key, value, declaration) of every setting."""
        return [(key, value, find(self._declared, key)) for key, value in sorted(self._values.items())]


def read_file(path: Path, declared: Mapping[str, Setting]) -> dict[str, object]:
    """The settings of a configuration file, by full key. Raises UsageError naming the file, and the key or
    the line."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise file_error(f"cannot read configuration {path}", error) from None
    if len(content) > MAX_FILE:
        raise UsageError(f"configuration {path} is larger than {MAX_FILE >> 20} MiB")
    try:
        given = dict(_flatten("", tomllib.loads(content.decode())))
    except RecursionError:
        raise UsageError(
            f"configuration {path} is not valid TOML: its values are nested too deeply"
        ) from None
    except ValueError as error:  # a TOMLDecodeError, a UnicodeDecodeError, a number of thousands of digits
        raise UsageError(f"configuration {path} is not valid TOML: {error}") from None
    try:
        return {key: find(declared, key).read(key, value) for key, value in given.items()}
    except UsageError as error:
        raise UsageError(f"configuration {path}: {error}") from None


def _flatten(prefix: str, table: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield prefix + key, value


def read_environment(declared: Mapping[str, Setting], environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that variables set, by full key; an empty variable is as if absent.

    Raises UsageError naming the variable.
    """
    return {
        key: setting.read(setting.environment, value)
        for key, setting in declared.items()
        if setting.environment and (value := environment.get(setting.environment))
    }


def read_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """`key=value` strings from the command line. Raises UsageError for one without `=`."""
    given: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment!r}: write key=value")
        given[key.strip()] = value
    return given
