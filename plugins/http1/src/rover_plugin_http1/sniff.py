"""Do the first bytes of a direction open an HTTP/1.x message?"""

from __future__ import annotations

import contextlib

from rover.contracts.protocol import Verdict
from rover_plugin_http1.ordinary import opens_ordinary_request
from rover_plugin_http1.startline import (
    KNOWN_METHODS,
    STATUS_PREFIX,
    may_open_request,
    split_doubtful_line,
    split_request_line,
)

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http1._ordinary import opens_ordinary_request  # type: ignore[no-redef]

YES, NO, MAYBE = Verdict  # once: what an enumeration holds is slow to ask for
ENOUGH = 16
"""Bytes that decide for a known method before its line is complete: as many as the capture asks
for in the kernel before it decides anything."""
LOOK_AHEAD = 2048
"""Bytes after which a line that has not ended is none: an unknown method with a target longer
than this is rarer than a text protocol that says nothing for as long."""


def sniff(data: bytes | bytearray) -> Verdict:
    """YES for a status line, a request line with any method, or the beginning of one with a
    known method; MAYBE for less than that, and for a line that only its answer can show to be a
    request."""
    if opens_ordinary_request(data, LOOK_AHEAD):
        return YES
    opening = bytes(data[:LOOK_AHEAD]).lstrip(b"\r\n")
    if STATUS_PREFIX.startswith(opening[: len(STATUS_PREFIX)]):
        return YES if opening.startswith(STATUS_PREFIX) else MAYBE
    line, end, _ = opening.partition(b"\n")
    if end:
        if split_request_line(line):
            return YES
        doubtful = len(data) < LOOK_AHEAD and split_doubtful_line(line)
        return MAYBE if doubtful else NO
    method, space, target = line.partition(b" ")
    # RFC 9113 section 11.6: the method PRI is reserved for the HTTP/2 preface.
    if not may_open_request(line) or (space and method == b"PRI"):
        return NO
    if method in KNOWN_METHODS and len(line) >= ENOUGH and target[0] > 0x20:
        return YES
    return MAYBE if len(data) < LOOK_AHEAD else NO
