"""The words of an expression. This file knows no grammar and no access logs.

Python's own grammar reads what is made here: each name and each literal is a run of underscores as long as
it was, so that every column stays where it is, and nothing of what somebody wrote reaches Python but
operators, brackets and methods of four names. What stood at a column is looked up.
"""

from __future__ import annotations

import dataclasses
import re

from rover.errors import UsageError

METHODS = ("startswith", "endswith", "contains", "matches")
OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",")
KEYWORDS = ("and", "or", "not", "in")
CONSTANTS = {"true": True, "false": False, "True": True, "False": False}
MEANT = {
    "=": "==",
    "&&": "and",
    "||": "or",
    "!": "not",
    "=>": ">=",
    "=<": "<=",
    "<>": "!=",
    "=~": ".matches(...)",
}
"""What other languages write, and what is written here."""

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

MAX_DIGITS = 19
"""Of a number: as many as 62 bits hold, which is as large as an attribute gets."""
SHOWN = 20
"""Characters of what is wrong that a message shows."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>-?[0-9][0-9A-Za-z_.]*)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)
    | (?P<sign>[=!<>&|~]+|[()\[\],])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?([A-Za-z]+)", re.ASCII)
_ESCAPE = re.compile(r"\\([\\\"'])")


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A name of something that an access log tells."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Literal:
    """A value as it stands."""

    value: str | int | float | bool
    duration: bool = False
    """Whether it was given in units of time; then it is in ns."""


Operand = Reference | Literal


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """An expression with its operands taken out."""

    source: str
    """For Python's parser, of the length that the expression has."""
    operands: dict[int, Operand]
    """By column, from 0."""


def wrong(text: str, column: int, what: str) -> UsageError:
    """What is wrong where: columns are told from 1, and of several lines the line, too."""
    before, rest = text[:column], text[column:]
    line, column = before.count("\n") + 1, column - before.rfind("\n")
    place = f"column {column}" if line == 1 else f"line {line}, column {column}"
    shown = rest[:SHOWN].splitlines()[0] if rest.strip() else ""
    return UsageError(f"{place}{f', at {shown!r}' if shown else ''}: {what}")


def words_of(text: str, max_depth: int) -> Words:
    """Takes an expression apart. Raises UsageError, which names the column, for what is no word, for brackets
    that do not fit, and for those and `not` within each other deeper than `max_depth`."""
    source: list[str] = []
    operands: dict[int, Operand] = {}
    brackets: list[int] = []
    negations = at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise wrong(text, at, _no_word(text[at]))
        kind, word, end = match.lastgroup, match[0], match.end()
        if kind == "space":
            source.append(" " * len(word))
            at = end
            continue
        if kind != "sign" and source and source[-1][-1] not in " ()[],=<>!":
            # Side by side Python would read them as one.
            raise wrong(text, at, "a blank is due before this")
        negations = negations + 1 if word == "not" else 0
        if kind == "name" and word in KEYWORDS:
            source.append(word)
        elif kind == "name":
            reference, method = _called(text, word, at, end)
            operands[at] = reference
            source.append("_" * (len(word) - len(method)) + method)
        elif kind == "text":
            operands[at] = Literal(_ESCAPE.sub(r"\1", word[1:-1]))
            source.append("_" * len(word))
        elif kind == "number":
            operands[at] = _number(text, word, at)
            source.append("_" * len(word))
        else:
            if word not in OPERATORS:
                meant = MEANT.get(word)
                raise wrong(text, at, f"write {meant}" if meant else "this is no operator")
            _bracket(text, word, at, brackets)
            source.append(word)
        if len(brackets) + negations > max_depth:
            raise wrong(text, at, f"nested deeper than {max_depth}")
        at = end
    if brackets:
        raise wrong(text, brackets[-1], "this bracket is never closed")
    if not operands:
        raise UsageError("the expression is empty" if not text.strip() else "there is nothing to compare")
    return Words("".join(source), operands)


def _no_word(character: str) -> str:
    if character in "\"'":
        return "this text has no end"
    if character in "+*/%^@-":
        return "there is no arithmetic"
    if character == ".":
        return "a name stands before a dot"
    return f"{character!r} means nothing here" if character.isprintable() else "a character nobody sees"


def _called(text: str, word: str, at: int, end: int) -> tuple[Operand, str]:
    """What a name stands for, and the method that is called of it with the dot before: "" for none."""
    if not text[end:].lstrip().startswith("("):
        if word in CONSTANTS:
            return Literal(CONSTANTS[word]), ""
        return Reference(word), ""
    name, dot, method = word.rpartition(".")
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise wrong(
            text, at + len(name) + len(dot), f"there is no function {method[:SHOWN]}; there are {known}"
        )
    if not name:
        raise wrong(text, at, f"write url.path.{method}(...)")
    return Reference(name), dot + method


def _number(text: str, word: str, at: int) -> Literal:
    """A number, a duration, or a size."""
    digits = sum(character.isdigit() for character in word)
    if digits > MAX_DIGITS:
        raise wrong(text, at, f"a number of more than {MAX_DIGITS} digits")
    if _NUMBER.fullmatch(word):
        return Literal(float(word) if "." in word else int(word))
    sign, unsigned = (-1, word[1:]) if word.startswith("-") else (1, word)
    if not _PART.sub("", unsigned):
        parts = _PART.findall(unsigned)
        for units in (NANOSECONDS, BYTES):
            if all(unit in units for *_, unit in parts) and (units is NANOSECONDS or len(parts) == 1):
                # In whole numbers: 0.1ms is 100,000 ns, and no other.
                amount = sum(
                    int(whole + part) * units[unit] / 10 ** len(part)
                    if int(whole + part) * units[unit] % 10 ** len(part)
                    else int(whole + part) * units[unit] // 10 ** len(part)
                    for whole, part, unit in parts
                )
                return Literal(sign * amount, duration=units is NANOSECONDS)
    known = ", ".join((*NANOSECONDS, *BYTES))
    raise wrong(text, at, f"this is no number; units are {known}")


def _bracket(text: str, word: str, at: int, brackets: list[int]) -> None:
    if word in "([":
        brackets.append(at)
    elif word in ")]" and (not brackets or text[brackets.pop()] != "(["[")]".index(word)]):
        raise wrong(text, at, "this bracket closes nothing")
