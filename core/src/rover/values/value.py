"""What every value that crosses packages has in common.

A value is frozen, and it is made with keywords alone, so that it may gain a field, with a default, without
breaking a plugin that was released before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self


class Value:
    """Compares, hashes, prints and pickles by its fields, which are the names in `__slots__`.

    A field is set once, by `__init__`. A value that was compiled has its fields in C, read-only.
    """

    __slots__ = ()

    def replace(self, **changes: Any) -> Self:
        """The same but for these fields. Raises TypeError for a name that is no field."""
        return type(self)(**{**fields(self), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        if name not in type(self).__slots__ or hasattr(self, name):
            raise AttributeError(f"{type(self).__name__} is frozen: replace({name}=...) makes another one")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return fields(self) == fields(other)

    def __hash__(self) -> int:
        return hash(tuple(fields(self).values()))

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in fields(self).items())
        return f"{type(self).__name__}({listed})"

    def __reduce__(self) -> tuple[Callable[..., Value], tuple[type[Value], dict[str, Any]]]:
        return made, (type(self), fields(self))


def fields(value: Value) -> dict[str, Any]:
    """The value of each field by its name, in order."""
    slots: tuple[str, ...] = type(value).__slots__
    return {name: getattr(value, name) for name in slots}


def made(kind: type[Value], values: Mapping[str, Any]) -> Value:
    """The value of these fields: what pickle calls."""
    return kind(**values)
