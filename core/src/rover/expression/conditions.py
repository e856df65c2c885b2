"""Comparisons of what an access log tells. What is absent makes each of them false.

An attribute of several texts, such as the values of a header, compares as its texts do: it is enough that one
of them is equal, contained or begins so; for `!=` and `not in` each must differ.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from rover.errors import UsageError
from rover.expression.names import Reader
from rover.values.access_log import AccessLog

Condition = Callable[[AccessLog], bool]
Scalar = str | int | float | bool

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""The same comparison with its sides changed."""


def same(one: object, other: object) -> bool:
    """Equal, and of one kind: true is not 1."""
    return one == other and (type(one) is bool) == (type(other) is bool)


def present(read: Reader) -> Condition:
    """Whether it is there, and neither false, 0 nor empty."""
    return lambda log: bool(read(log))


def compared(read: Reader, sign: str, value: Scalar) -> Condition:
    """With a literal."""
    kind = type(value)
    if sign == "==":
        if kind is str or kind is int:
            return lambda log: value in v if type(v := read(log)) is tuple else v == value and type(v) is kind
        return lambda log: same(read(log), value)
    if sign == "!=":
        return lambda log: (
            value not in v if type(v := read(log)) is tuple else v is not None and not same(v, value)
        )
    order = ORDERS[sign]
    if kind is str:
        return lambda log: (
            order(v, value)
            if type(v := read(log)) is str
            else type(v) is tuple and any(order(each, value) for each in v)
        )
    if kind is bool:
        return lambda log: False  # noqa: ARG005
    return lambda log: type(v := read(log)) is int and order(v, value)


def compared_with_each_other(one: Reader, sign: str, other: Reader) -> Condition:
    """Two that an access log tells."""

    def holds(log: AccessLog) -> bool:
        left, right = one(log), other(log)
        if left is None or right is None:
            return False
        lefts = left if type(left) is tuple else (left,)
        rights = right if type(right) is tuple else (right,)
        if sign == "==":
            return any(same(a, b) for a in lefts for b in rights)
        if sign == "!=":
            return not any(same(a, b) for a in lefts for b in rights)
        order = ORDERS[sign]
        return any(_ordered(a, b) and order(a, b) for a in lefts for b in rights)

    return holds


def _ordered(one: object, other: object) -> bool:
    return type(one) is type(other) and type(one) is not bool


def one_of(read: Reader, values: Sequence[Scalar], negated: bool) -> Condition:
    """Whether it is in a list, or is not."""
    known = frozenset((value, type(value) is bool) for value in values)

    def holds(log: AccessLog) -> bool:
        value = read(log)
        if value is None:
            return False
        if type(value) is tuple:
            found = any((each, False) in known for each in value)
        else:
            found = (value, type(value) is bool) in known
        return found is not negated

    return holds


def _texts(test: Callable[[str], bool], read: Reader) -> Condition:
    """Whether a text passes the test, or one of several does."""
    return lambda log: (
        test(v) if type(v := read(log)) is str else type(v) is tuple and any(test(each) for each in v)
    )


def contains(read: Reader, part: str) -> Condition:
    """Whether it has the part in it."""
    return _texts(lambda text: part in text, read)


def contains_other(read: Reader, part: Reader, negated: bool = False) -> Condition:
    """Whether what one name stands for is in what another does; `negated`: both are texts, and it is not."""

    def holds(log: AccessLog) -> bool:
        text, inner = read(log), part(log)
        if type(text) is not str or type(inner) is not str:
            return False
        return (inner in text) is not negated

    return holds


def lacks(read: Reader, part: str) -> Condition:
    """Whether it is there and has the part not in it."""
    return lambda log: (
        part not in v
        if type(v := read(log)) is str
        else type(v) is tuple and all(part not in each for each in v)
    )


def startswith(read: Reader, begin: str) -> Condition:
    """Whether it begins so."""
    return _texts(lambda text: text.startswith(begin), read)


def endswith(read: Reader, end: str) -> Condition:
    """Whether it ends so."""
    return _texts(lambda text: text.endswith(end), read)


def matches(read: Reader, pattern: str) -> Condition:
    """Whether a part of it matches an RE2 pattern, in time that grows as the text does, whatever the
    pattern.

    Raises UsageError for one that is none, and where RE2 is not installed.
    """
    try:
        import re2
    except ImportError:
        raise UsageError("matches needs another package: pip install google-re2") from None
    options = re2.Options()
    options.log_errors = False  # it writes to standard error
    options.never_capture = True
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise UsageError(f"RE2 does not take this pattern: {said}") from None
    # As bytes: for a str RE2's Python counts characters, which nobody asked for.
    return _texts(lambda text: search(text.encode(errors="replace")) is not None, read)


METHODS: dict[str, Callable[[Reader, str], Condition]] = {
    "startswith": startswith,
    "endswith": endswith,
    "contains": contains,
    "matches": matches,
}
