"""A command with its reply, or without one, as an exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from rover import Attributes, AttributeValue, Exchange, Outcome, Shape
from rover_plugin_redis.commands import FIRST_KEY
from rover_plugin_redis.pairing import Command

CODE = re.compile(rb"[A-Z][A-Z0-9_]{0,31}(?=[ \r\n]|\Z)")
"""What an error begins with, by the custom of Redis."""

SHAPE = Shape(
    (
        "db.operation.name",
        "db.response.status_code",
        "error.type",
        "db.namespace",
        "redis.key",
        "redis.request.size",
        "redis.response.size",
        "db.system.name",
    )
)
"""What a log says, the most telling first: a terminal shows no more than fits."""


def exchange_of(
    command: Command, now: int, outcome: Outcome, size: int, error: bytes | None, database: str, keys: bool
) -> Exchange:
    """What the log of a command says. `size` is its reply's, -1 where there is none; `error` is what that
    says, if it is one; `database` is empty where it is not known; `keys`: whether the first key is told."""
    code = kind = key = None
    if error is not None:
        match = CODE.match(error)
        code = match[0].decode() if match else None
        kind = code or "_OTHER"
    if keys and command.argument and command.name in FIRST_KEY:
        key = command.argument.decode("utf-8", "backslashreplace")
    cells = (
        command.name or None,
        code,
        kind,
        database or None,
        key,
        command.size or None,
        size if size >= 0 else None,
        "redis",
    )
    return Exchange(
        owner=command.owner,
        start=command.start,
        end=now,
        name="redis",
        attributes=cast("Mapping[str, AttributeValue]", Attributes(SHAPE, cells)),
        outcome=outcome,
        assumed=command.assumed and size >= 0,
    )
