"""Conditions on access logs, as people write them: `status >= 500 or duration > 200ms`.

The names are those of JSON lines. The README of rover-plugin-filter describes the language for its users.
"""

from rover.expression.expression import MAX_DEPTH, MAX_LENGTH, Expression, compile_expression

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "Expression", "compile_expression"]
