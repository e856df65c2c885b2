"""Do these bytes, the first of a call, open HTTP/2?

Without the preface (joined late, or the server's side) the answer comes from frame headers, and
a wrong YES costs the connection a break: only a whole chain of plausible ones counts.
"""

from __future__ import annotations

from rover import Verdict
from rover_plugin_http2.frames import (
    CONTINUATION,
    DEFAULT_MAX_FRAME_SIZE,
    DEFINED_FLAGS,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITISED,
    SETTINGS,
    STREAM_MASK,
    implausible,
    read_settings,
    settings_fault,
)
from rover_plugin_http2.header_blocks import opening

YES, NO, MAYBE = Verdict  # once: what an enumeration holds is slow to ask for
MAX_FRAMES = 5
"""Frames looked at for a HEADERS frame; the kernel side looks at as many."""
MAX_SETTINGS = 16
"""Settings of one frame; a dozen are registered."""
_REGISTERED = frozenset({0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8, 0x9})
"""RFC 9113 section 11.3 and the registry it founded; 0x7 was never assigned."""


def sniff(data: bytes | bytearray) -> Verdict:
    """YES for the preface, for a HEADERS frame that opens a request or response, or SETTINGS."""
    if data.startswith(PREFACE):
        return YES
    if PREFACE.startswith(data):
        return MAYBE
    position, end = 0, len(data)
    for _ in range(MAX_FRAMES):
        if end - position < HEADER_SIZE:
            # What has come of this header is looked at as if the rest were as it should be.
            return _begins_frame(bytes(data[position:]))
        upper, lower, kind, flags, word = HEADER.unpack_from(data, position)
        length = upper << 8 | lower
        if length > DEFAULT_MAX_FRAME_SIZE or implausible(kind, flags, word, length):
            return NO
        position += HEADER_SIZE
        if kind == HEADERS:
            return _opens_message(data, position, length, flags, word)
        if kind == SETTINGS and length:
            return _announces(bytes(data[position : position + length]), length)
        position += length
        if position > end:
            return MAYBE
    return NO


def _begins_frame(start: bytes) -> Verdict:
    """Fewer bytes than a frame header has: could they become one?"""
    padded = start + bytes(HEADER_SIZE - len(start))
    upper, lower, kind, flags, word = HEADER.unpack_from(padded)
    plausible = (
        upper << 8 | lower <= DEFAULT_MAX_FRAME_SIZE
        and kind <= CONTINUATION
        and not flags & ~DEFINED_FLAGS[kind]
        and word <= STREAM_MASK
    )
    return MAYBE if plausible else NO


def _opens_message(data: bytes | bytearray, position: int, length: int, flags: int, stream: int) -> Verdict:
    """A HEADERS frame: its first field is a pseudo-header field of the static table."""
    behind = position + length
    position += (1 if flags & PADDED else 0) + (5 if flags & PRIORITISED else 0)
    kind = opening(data, position, min(len(data), behind))
    if kind is None:
        return MAYBE if len(data) < behind else NO
    # Requests come on streams of the client's, which are odd (RFC 9113 section 5.1.1).
    return YES if kind == "response" or (kind == "request" and stream & 1) else NO


def _announces(payload: bytes, length: int) -> Verdict:
    """A SETTINGS frame that announces something: known settings, with values they may have."""
    if length > 6 * MAX_SETTINGS:
        return NO
    settings = read_settings(payload[: len(payload) // 6 * 6])
    if settings_fault(settings) or any(s not in _REGISTERED and not _extends(s) for s, _ in settings):
        return NO
    if len(payload) < length:
        return MAYBE
    return YES if any(setting in _REGISTERED for setting, _ in settings) else NO


def _extends(setting: int) -> bool:
    """Settings outside the registry: reserved to keep receivers tolerant (0x?a?a), experimental."""
    return setting & 0x0F0F == 0x0A0A or setting >= 0xF000
