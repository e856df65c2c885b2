"""The syntax of RESP: the types of values, and how large what is taken for one may be.

Source: "Redis serialization protocol specification" (RESP2 and RESP3), and Redis's own reader of commands
(networking.c, processInlineBuffer and processMultibulkBuffer).
"""

from __future__ import annotations

CRLF = b"\r\n"
RETURN, NEWLINE = CRLF
ZERO = b"0"[0]
STAR, DOLLAR, MINUS = b"*$-"
NULL = b"-1\r\n"
"""The length of what is not there."""
SIMPLE = frozenset(b"+-:_#,(")
"""A line is all there is of these."""
BULK = frozenset(b"$!=")
"""These have so many bytes after the line, and another CRLF."""
AGGREGATE = frozenset(b"*~>%|")
"""These have so many values after the line; of % and | so many pairs."""
ATTRIBUTE, MAP, BLOB_ERROR, COLON = b"|%!:"
TYPES = SIMPLE | BULK | AGGREGATE
REPLIES = TYPES - {STAR}
"""What begins with one of these is no command."""

MAX_LINE = 65_536
"""Bytes of a line: what Redis allows an inline command (PROTO_INLINE_MAX_SIZE), and much more than its own
replies of one line have."""
MAX_DIGITS = 13
"""Of a length or a count: ten terabytes, where Redis takes strings of 512 MB unless it is told otherwise."""
MAX_HEADER = 1 + MAX_DIGITS + 2
"""Bytes of a line that holds one."""
MAX_DEPTH = 128
"""Aggregates within aggregates: clients stop at 7 to 9 (hiredis), a script can nest some more."""
KEPT = 256
"""Bytes that are kept of a command's name and of its first argument, and of an error."""
MAX_NAME = 64
"""Bytes of a command's name that are shown: those of modules are the longest, and half of it."""

NEED, DONE, BAD = range(3)
"""More bytes are needed; the message is over; this is no message."""
