"""What opens a connection to Redis: an array of strings, the first of which is a command's name."""

from __future__ import annotations

import re

from rover import Verdict
from rover_plugin_redis.commands import KNOWN

OPENING = re.compile(rb"\*([1-9][0-9]{0,6})\r\n\$([1-9][0-9]?)\r\n([A-Za-z][A-Za-z0-9._-]*)\r\n")
"""The first argument and what frames it. Names of modules' commands have a dot."""
BEGINNING = re.compile(
    rb"\*(?:[1-9][0-9]{0,6}(?:\r(?:\n(?:\$(?:[1-9][0-9]?(?:\r(?:\n(?:[A-Za-z][A-Za-z0-9._-]*\r?)?)?)?)?)?)?)?)?\Z"
)
"""A beginning of that."""
LONGEST = 1 + 7 + 2 + 1 + 2 + 2 + 99 + 2
"""Bytes of it."""

INLINE = re.compile(rb"([A-Za-z]{1,20})(?: [^\r\n]{0,1000})?\r?\n")
"""A command as a line. It is bounded, so that other text is not waited for."""
INLINE_BEGINNING = re.compile(rb"[A-Za-z]{1,20}(?: [^\r\n]{0,1000})?\r?\Z")
OTHERS = re.compile(rb" HTTP/[0-9]")
"""In a line that Redis would take for a command (GET), but the peer did not mean so."""


def sniff(data: bytes | bytearray) -> Verdict:
    """Whether these bytes open a command as clients send it."""
    if not data.startswith(b"*"):
        return Verdict.NO
    match = OPENING.match(data)
    if match:
        return Verdict.YES if int(match[2]) == len(match[3]) else Verdict.NO
    return Verdict.MAYBE if BEGINNING.match(data[: LONGEST + 1]) else Verdict.NO


def sniff_own(data: bytes | bytearray) -> Verdict:
    """The same on a port of Redis, where a command may also be a line of words, as people and health checks
    send it."""
    if data.startswith(b"*"):
        return sniff(data)
    match = INLINE.match(data)
    if match:
        known = match[1].decode().upper() in KNOWN and not OTHERS.search(match[0])
        return Verdict.YES if known else Verdict.NO
    return Verdict.MAYBE if INLINE_BEGINNING.match(data[:1030]) else Verdict.NO
