"""What stands before a frame's payload (RFC 6455 section 5.2). This file knows no connection."""

from __future__ import annotations

from typing import NamedTuple

from rover_plugin_websocket.undecodable import Undecodable

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NAMES = {
    CONTINUATION: "continuation",
    TEXT: "text",
    BINARY: "binary",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
}
"""Of the opcodes that are defined (section 11.8)."""
MAX_CONTROL = 125
"""Bytes of a control frame's payload (section 5.5)."""

RSV1 = 0x40
RESERVED = 0x70
FIN = MASKED = CONTROL = 0x80


class Frame(NamedTuple):
    """A frame's header."""

    final: bool
    """Whether its message ends with it."""
    reserved: int
    """Of the bits in RESERVED, those that are set."""
    opcode: int
    key: bytes
    """Four bytes that mask the payload; empty where it is not masked."""
    length: int
    """Bytes of the payload."""
    size: int
    """Bytes of the header."""

    @property
    def control(self) -> bool:
        """Whether it belongs to no message."""
        return self.opcode >= CLOSE


def read_frame(data: bytes | bytearray, offset: int) -> Frame | None:
    """The header that begins at an index; None while it is not whole.

    Raises Undecodable for one that no endpoint sends. A length may be written with more bytes than it
    needs: that is forbidden, but leaves no doubt.
    """
    here = len(data) - offset
    if here < 2:
        return None
    first, second = data[offset], data[offset + 1]
    opcode, length, size = first & 0x0F, second & 0x7F, 2
    if opcode not in NAMES:
        raise Undecodable("framing", f"opcode {opcode:#x}")
    if opcode >= CLOSE:
        if not first & FIN:
            raise Undecodable("framing", f"a {NAMES[opcode]} frame in fragments")
        if length > MAX_CONTROL:
            raise Undecodable("framing", f"a {NAMES[opcode]} frame of more than {MAX_CONTROL} bytes")
    if length > MAX_CONTROL:
        extended = 2 if length == MAX_CONTROL + 1 else 8
        size += extended
        if here < size:
            return None
        length = int.from_bytes(data[offset + 2 : offset + size], "big")
        if length >> 63:
            raise Undecodable("framing", f"{length} bytes long")
    key = b""
    if second & MASKED:
        if here < size + 4:
            return None
        key = bytes(data[offset + size : offset + size + 4])
        size += 4
    return Frame(bool(first & FIN), first & RESERVED, opcode, key, length, size)


def unmasked(payload: bytes, key: bytes) -> bytes:
    """A payload as it was before it was masked (section 5.3)."""
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload)) if key else payload
