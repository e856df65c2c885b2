"""An expression as one function of an access log.

Python's parser reads what `words_of` made of the text. Each node of its tree is taken by name, and any that
is not named here is an error at its column.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable

from rover.errors import UsageError
from rover.expression.conditions import (
    METHODS,
    MIRRORED,
    Condition,
    Scalar,
    compared,
    compared_with_each_other,
    contains,
    contains_other,
    lacks,
    one_of,
    present,
)
from rover.expression.names import OWN, SHORT, Reader, reader
from rover.expression.tokens import Literal, Operand, Reference, words_of, wrong

MAX_LENGTH = 4096
"""Characters: some hundred conditions. What is longer was not written by somebody."""
MAX_DEPTH = 32
"""Brackets and `not` within each other: far below what Python's parser takes, far above what people read."""
UNREADABLE = ("rover.syscalls",)
"""Names that stand for more than a value."""

SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class Expression:
    """A condition on access logs. It never raises, whatever a log holds."""

    __slots__ = ("holds", "names", "text")

    def __init__(self, text: str, holds: Condition, names: frozenset[str]) -> None:
        self.text = text
        """As it was written."""
        self.holds = holds
        """Whether it is true of an access log."""
        self.names = names
        """What it asks of a log, in full."""

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile_expression(text: str) -> Expression:
    """Reads an expression. Raises UsageError: one line, which names the column."""
    if len(text) > MAX_LENGTH:
        raise UsageError(f"the expression is longer than {MAX_LENGTH} characters")
    words = words_of(text, MAX_DEPTH)
    try:
        # In brackets, as a line may begin with blanks there.
        tree = ast.parse(f"({words.source})", mode="eval").body
    except SyntaxError as error:
        column = min(max((error.offset or 2) - 2, 0), len(text))
        raise wrong(text, column, _syntax(text, column)) from None
    compiler = _Compiler(text, words.operands)
    holds = compiler.condition(tree)
    return Expression(text, holds, frozenset(compiler.names))


def _syntax(text: str, column: int) -> str:
    rest = text[column:].strip()
    return "this cannot stand here" if rest else "something is missing after this"


class _Compiler:
    """Makes conditions of a tree."""

    def __init__(self, text: str, operands: dict[int, Operand]) -> None:
        self._text = text
        self._operands = operands
        self.names: set[str] = set()

    def _wrong(self, node: ast.expr, what: str) -> UsageError:
        return wrong(self._text, max(node.col_offset - 1, 0), what)

    def condition(self, node: ast.expr) -> Condition:
        """What is true or false."""
        if isinstance(node, ast.BoolOp):
            join = both if isinstance(node.op, ast.And) else either
            return join([self.condition(each) for each in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return lambda log: not inner(log)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return both(
                [
                    self._comparison(left, sign, right)
                    for left, sign, right in zip(sides, node.ops, sides[1:], strict=False)
                ]
            )
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Name):
            operand = self._operand(node)
            if isinstance(operand, Reference):
                return present(self._reader(operand, node))
            if isinstance(operand.value, bool):
                value = operand.value
                return lambda log: value  # noqa: ARG005
        raise self._wrong(node, "this is no condition")

    def _operand(self, node: ast.expr) -> Operand:
        if isinstance(node, ast.Name):
            return self._operands[node.col_offset - 1]
        raise self._wrong(node, "a name or a value is due")

    def _reader(self, reference: Reference, node: ast.expr) -> Reader:
        name = SHORT.get(reference.name, reference.name)
        if name in UNREADABLE:
            raise self._wrong(node, f"{name} is no single value")
        if "." not in name and name not in OWN:
            # A plugin may have such an attribute; one that is nearly another is a slip.
            near = difflib.get_close_matches(name, [*SHORT, *(own for own in OWN if "." not in own)], 1, 0.75)
            if near:
                raise self._wrong(node, f"there is no {name!r}; did you mean {near[0]}?")
        self.names.add(name)
        return reader(name)

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(operator, ast.In | ast.NotIn):
            return self._membership(left, right, isinstance(operator, ast.NotIn))
        if type(operator) not in SIGNS:
            raise self._wrong(right, "this comparison is not known")
        sign = SIGNS[type(operator)]
        one, other = self._operand(left), self._operand(right)
        if isinstance(one, Reference) and isinstance(other, Reference):
            return compared_with_each_other(self._reader(one, left), sign, self._reader(other, right))
        if isinstance(one, Reference) and isinstance(other, Literal):
            self._unit(one, other, right)
            return compared(self._reader(one, left), sign, other.value)
        if isinstance(one, Literal) and isinstance(other, Reference):
            self._unit(other, one, left)
            return compared(self._reader(other, right), MIRRORED[sign], one.value)
        raise self._wrong(left, "neither side is a name of an access log")

    def _unit(self, reference: Reference, literal: Literal, node: ast.expr) -> None:
        """`duration > 200` would be true of nearly everything."""
        if reference.name == "duration" and not literal.duration:
            raise self._wrong(node, "a duration has a unit, as in 200ms")

    def _membership(self, left: ast.expr, right: ast.expr, negated: bool) -> Condition:
        one = self._operand(left)
        if isinstance(right, ast.Tuple | ast.List):
            values = [self._literal(each) for each in right.elts]
            if not isinstance(one, Reference):
                raise self._wrong(left, "a name of an access log is due")
            return one_of(self._reader(one, left), values, negated)
        other = self._operand(right)
        if isinstance(other, Reference):
            whole = self._reader(other, right)
            if isinstance(one, Reference):
                return contains_other(whole, self._reader(one, left), negated)
            if isinstance(one.value, str):
                return (lacks if negated else contains)(whole, one.value)
            raise self._wrong(left, "a text is due")
        if isinstance(one, Reference):
            # ("GET") is no list of one, as it is none in Python.
            raise self._wrong(right, "a list is due, as in (200, 204) or [200]")
        raise self._wrong(left, "neither side is a name of an access log")

    def _literal(self, node: ast.expr) -> Scalar:
        operand = self._operand(node)
        if isinstance(operand, Reference):
            raise self._wrong(node, "a list has values alone")
        return operand.value

    def _call(self, node: ast.Call) -> Condition:
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in METHODS:
            raise self._wrong(node, "this cannot be called")
        of = self._operand(function.value)
        if not isinstance(of, Reference):
            raise self._wrong(function.value, "a name of an access log is due")
        if len(node.args) != 1 or node.keywords:
            raise self._wrong(node, f"{function.attr} takes one text")
        read = self._reader(of, function.value)
        given = self._operand(node.args[0])
        if isinstance(given, Literal) and isinstance(given.value, str):
            try:
                return METHODS[function.attr](read, given.value)
            except UsageError as error:
                raise self._wrong(node.args[0], str(error)) from None
        if isinstance(given, Reference) and function.attr == "contains":
            return contains_other(read, self._reader(given, node.args[0]))
        raise self._wrong(node.args[0], "a text in quotes is due")


def both(conditions: list[Condition]) -> Condition:
    """Whether all hold."""
    if len(conditions) == 1:
        return conditions[0]
    if len(conditions) == 2:
        first, second = conditions
        return lambda log: first(log) and second(log)
    return _each(conditions, until=False)


def either(conditions: list[Condition]) -> Condition:
    """Whether one holds."""
    if len(conditions) == 2:
        first, second = conditions
        return lambda log: first(log) or second(log)
    return _each(conditions, until=True)


def _each(conditions: list[Condition], until: bool) -> Condition:
    chain: tuple[Callable[..., bool], ...] = tuple(conditions)

    def holds(log: object) -> bool:
        for condition in chain:
            if condition(log) is until:
                return until
        return not until

    return holds
