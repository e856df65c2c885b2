"""What a server says of a failure: google.rpc.Status, in gRPC's trailer `grpc-status-details-bin` or a body.

It is read by hand: three messages with a field or two each, for which the core needs no protobuf.

    message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
    message Any { string type_url = 1; bytes value = 2; }
    message RetryInfo { google.protobuf.Duration retry_delay = 1; }
    message Duration { int64 seconds = 1; int32 nanos = 2; }
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
MAX_DETAILS = 8192
"""Characters of the trailer that are looked at; gRPC itself bounds all headers to as many."""
Value = TypeVar("Value", bytes, int)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class RpcStatus(NamedTuple):
    """What is read of it."""

    message: str = ""
    """For people."""
    retry_delay: float | None = None
    """Seconds that the server asks for before the next attempt."""


def of_trailer(trailer: str) -> RpcStatus:
    """Of the trailer's text; an empty status of what is none."""
    if len(trailer) > MAX_DETAILS:
        return RpcStatus()
    try:
        # Unpadded as it is sent (PROTOCOL-HTTP2.md); padding does no harm.
        text = trailer.rstrip("=")
        return of_message(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        return RpcStatus()


def of_message(status: bytes) -> RpcStatus:
    """Of the message; an empty status of what is none."""
    try:
        message = _last(status, 2, b"").decode("utf-8", "replace")
        for detail in _all(status, 3):
            if _last(detail, 1, b"") == RETRY_INFO:
                delay = _last(_last(detail, 2, b""), 1, b"")
                seconds = _signed(_last(delay, 1, 0)) + _signed(_last(delay, 2, 0)) / 1e9
                return RpcStatus(message, max(0.0, seconds))
    except ValueError:
        return RpcStatus()
    return RpcStatus(message)


def _all(message: bytes, wanted: int) -> Iterator[bytes]:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, bytes):
            yield value


def _last(message: bytes, wanted: int, absent: Value) -> Value:
    """The value of a field: the last one counts."""
    found = absent
    for number, value in _fields(message):
        if number == wanted and isinstance(value, type(absent)):
            found = value
    return found


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field. Raises ValueError where it is no message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(message):
            raise ValueError("cut off")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a varint of more than ten bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
