"""Frame headers: what they say, and which ones no HTTP/2 endpoint sends (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

HEADER_SIZE = 9
HEADER = struct.Struct(">HBBBI")
"""Length (its upper 16 bits, its lower 8), type, flags, reserved bit and stream."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

NAMES = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

STREAM_MASK = 0x7FFF_FFFF
"""The highest bit is reserved and ignored (section 4.1)."""

DEFINED_FLAGS = (
    END_STREAM | PADDED,
    END_STREAM | END_HEADERS | PADDED | PRIORITISED,
    0,
    0,
    ACK,
    END_HEADERS | PADDED,
    ACK,
    0,
    0,
    END_HEADERS,
)
"""By type. An endpoint leaves the others unset, a receiver ignores them (section 4.1)."""

ON_CONNECTION = (False, False, False, False, True, False, True, True, None, False)
"""By type: whether it is sent on stream 0 only; None may be either."""

DEFAULT_MAX_FRAME_SIZE = 16_384
LARGEST_MAX_FRAME_SIZE = (1 << 24) - 1
DEFAULT_TABLE_SIZE = 4_096

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5

_ENTRY = struct.Struct(">HI")


def name(kind: int) -> str:
    """The frame type's name, for people."""
    return NAMES[kind] if kind < len(NAMES) else f"frame of type {kind}"


def fault(kind: int, flags: int, stream: int, length: int) -> str:
    """Why no endpoint sends a frame with this header; empty when one may.

    `stream` without the reserved bit. The frame's length is checked against what its type
    asks for, not against the announced maximum. Unknown types are ignored, whatever they
    carry (section 4.1).
    """
    if kind > CONTINUATION:
        return ""
    on_connection = ON_CONNECTION[kind]
    if on_connection is not None and on_connection is not (stream == 0):
        return "on a stream" if stream else "on stream 0"
    least = 0
    if kind <= HEADERS:
        least = 1 if flags & PADDED else 0
        if kind == HEADERS and flags & PRIORITISED:
            least += 5
    elif kind == SETTINGS:
        if length % 6 or (flags & ACK and length):
            return f"{length} bytes long"
    elif kind == PUSH_PROMISE:
        least = 5 if flags & PADDED else 4
    elif kind == GOAWAY:
        least = 8
    elif kind != CONTINUATION:
        fixed = 5 if kind == PRIORITY else 8 if kind == PING else 4
        if length != fixed:
            return f"{length} bytes long"
    return f"{length} bytes long" if length < least else ""


def implausible(kind: int, flags: int, stream: int, length: int) -> str:
    """Why bytes that may be anything are no frame header; empty when they look like one.

    Stricter than `fault`, for where nothing has shown yet that a frame begins there: `stream`
    comes with its reserved bit, which every known endpoint leaves unset, as it does undefined
    flags. Types above 0x09 exist, but never before SETTINGS and header blocks have been seen.
    """
    if kind > CONTINUATION:
        return "no type of RFC 9113"
    if flags & ~DEFINED_FLAGS[kind]:
        return f"flags {flags:#04x}"
    if stream > STREAM_MASK:
        return "the reserved bit set"
    if kind != DATA and length > DEFAULT_MAX_FRAME_SIZE:
        return f"{length} bytes long"
    return fault(kind, flags, stream, length)


def continuations(data: bytes | bytearray, position: int, end: int) -> bytes:
    """The payloads of the CONTINUATION frames between two indices."""
    fragments = []
    while position < end:
        upper, lower, _, _, _ = HEADER.unpack_from(data, position)
        start = position + HEADER_SIZE
        position = start + (upper << 8 | lower)
        fragments.append(data[start:position])
    return b"".join(fragments)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """(identifier, value) of a SETTINGS payload, whose length is a multiple of 6."""
    return list(_ENTRY.iter_unpack(payload))


def settings_fault(settings: list[tuple[int, int]]) -> str:
    """Why no endpoint sends these settings (section 6.5.2); empty when one may."""
    for identifier, value in settings:
        if identifier == ENABLE_PUSH and value > 1:
            return f"SETTINGS_ENABLE_PUSH {value}"
        if identifier == INITIAL_WINDOW_SIZE and value > STREAM_MASK:
            return f"SETTINGS_INITIAL_WINDOW_SIZE {value}"
        if identifier == MAX_FRAME_SIZE and not DEFAULT_MAX_FRAME_SIZE <= value <= LARGEST_MAX_FRAME_SIZE:
            return f"SETTINGS_MAX_FRAME_SIZE {value}"
    return ""
