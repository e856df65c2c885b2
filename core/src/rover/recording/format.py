"""The entries of a recording, as docs/recording-format.md describes them. No I/O.

They lie in blocks (`framing`). What is read here may come from anybody: whatever the bytes, the answer is a
value or `DamageError`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rover.plugins.guard import checked_description
from rover.recording.framing import DamageError, checked_time
from rover.values.attributes import AttributeValue
from rover.values.records import (
    MAX_NUMBER,
    NO_ATTRIBUTES,
    Address,
    Closed,
    Detail,
    Loss,
    Opened,
    Plaintext,
    Process,
    Role,
)

MAX_PAYLOAD = 8 << 20
"""Bytes kept of one call: eight times what a stream buffer holds of one, so it cuts nothing
that a decoder could use."""
MAX_CAUSES = 64
"""Causes of loss a reader takes, as the totals keep a counter of each; a source has a handful."""

MAX_DESCRIPTION = 1 << 16
"""Bytes of what plugins said of a process: 4,096 characters, the longest of which are written as twelve."""

PROCESS, OPENED, DATA, CLOSED, LOSS, CLOCK, END, PLAINTEXT = range(1, 9)
"""Entry types. Others are passed over."""

ROLES = (None, Role.CLIENT, Role.SERVER)
LATE, RESET, DETAIL, UNSEEN = 1, 1, 2, 4
"""Flags: of an opening, of a closing, of both that a detail follows, of a closing that a number of
bytes follows that no recorded call moved."""

_SIZE = struct.Struct("<I")
_ENTRY = struct.Struct("<BI")  # type, size of what follows
_DETAIL_FIELDS = "QQqqQQiiHBi"  # as in `Detail`
_DETAIL = struct.Struct("<" + _DETAIL_FIELDS)
_DATA = struct.Struct("<" + _DETAIL_FIELDS + "I")  # detail, size of the payload after it
_DATA_ENTRY = struct.Struct("<BI" + _DETAIL_FIELDS + "I")
_PLAINTEXT_FIELDS = "QQqqQQqqiB"  # as in `Plaintext`
_PLAINTEXT = struct.Struct("<" + _PLAINTEXT_FIELDS + "I")  # ..., size of the payload after it
_PLAINTEXT_ENTRY = struct.Struct("<BI" + _PLAINTEXT_FIELDS + "I")
_OPENED = struct.Struct("<QqiBB")  # connection, time, pid, role, flags
_CLOSED = struct.Struct("<QqB")  # connection, time, flags
_UNSEEN = struct.Struct("<Q")
_PROCESS = struct.Struct("<i")
_LOSS = struct.Struct("<Q")
_CLOCK = struct.Struct("<qI")  # time, number of connections that follow
_END = struct.Struct("<q")
_TEXT = struct.Struct("<B")
_PORT = struct.Struct("<H")


class Clock(NamedTuple):
    """The moment of a tick of the pipeline, and what the source knew then."""

    time: int
    gone: Sequence[int]
    """The connections of which the source said, in that tick, that they exist no more."""


class Call(NamedTuple):
    """One socket call."""

    detail: Detail
    payload: bytes


class TlsCall(NamedTuple):
    """One call of a TLS library."""

    plaintext: Plaintext
    payload: bytes


class End(NamedTuple):
    """The orderly end."""

    time: int
    """When what was unfinished was given up."""


Record = Process | Opened | Call | TlsCall | Closed | Loss | Clock | End


# Packing raises struct.error or ValueError for a value that its field cannot hold.


def pack_call(detail: Detail, payload: bytes) -> bytes:
    """A DATA entry up to its payload, which must follow."""
    size = len(payload)
    return _DATA_ENTRY.pack(DATA, _DATA.size + size, *_numbers(detail), size)


def pack_plaintext(plaintext: Plaintext, payload: bytes) -> bytes:
    """A PLAINTEXT entry up to its payload, which must follow."""
    size = len(payload)
    return _PLAINTEXT_ENTRY.pack(
        PLAINTEXT,
        _PLAINTEXT.size + size,
        plaintext.connection,
        plaintext.sequence,
        plaintext.start,
        plaintext.end,
        plaintext.position,
        plaintext.size,
        plaintext.ciphertext_start,
        plaintext.ciphertext,
        plaintext.pid,
        plaintext.direction,
        size,
    )


def pack_process(process: Process) -> bytes:
    """A PROCESS entry."""
    # A name that was no UTF-8 came here with surrogates in it, and must come back with them.
    name = process.name.encode("utf-8", "surrogatepass")
    return _entry(PROCESS, _PROCESS.pack(process.pid) + _pack_text(name) + _pack_said(process.attributes))


def pack_opened(opened: Opened) -> bytes:
    """An OPENED entry."""
    flags = (LATE if opened.late else 0) | (DETAIL if opened.detail is not None else 0)
    role = ROLES.index(opened.role)
    return _entry(
        OPENED,
        _OPENED.pack(opened.connection, opened.time, opened.pid, role, flags)
        + _pack_address(opened.local)
        + _pack_address(opened.remote)
        + _pack_detail(opened.detail),
    )


def pack_closed(closed: Closed) -> bytes:
    """A CLOSED entry."""
    flags = (
        (RESET if closed.reset else 0)
        | (DETAIL if closed.detail is not None else 0)
        | (UNSEEN if closed.unseen else 0)
    )
    return _entry(
        CLOSED,
        _CLOSED.pack(closed.connection, closed.time, flags)
        + _pack_detail(closed.detail)
        + (_UNSEEN.pack(closed.unseen) if closed.unseen else b""),
    )


def pack_loss(loss: Loss) -> bytes:
    """A LOSS entry."""
    return _entry(LOSS, _LOSS.pack(loss.records) + _pack_word(loss.cause))


def pack_clock(clock: Clock) -> bytes:
    """A CLOCK entry."""
    gone = struct.pack(f"<{len(clock.gone)}Q", *clock.gone)
    return _entry(CLOCK, _CLOCK.pack(clock.time, len(clock.gone)) + gone)


def pack_end(end: End) -> bytes:
    """An END entry."""
    return _entry(END, _END.pack(*end))


def _entry(kind: int, content: bytes) -> bytes:
    return _ENTRY.pack(kind, len(content)) + content


def _pack_text(text: bytes) -> bytes:
    return _TEXT.pack(len(text)) + text


def _pack_said(attributes: Mapping[str, AttributeValue]) -> bytes:
    """Nothing where nothing was said."""
    if not attributes:
        return b""
    said = json.dumps(dict(attributes), separators=(",", ":")).encode("ascii")
    return _SIZE.pack(len(said)) + said


def _pack_word(word: str) -> bytes:
    if not _is_word(word):
        raise ValueError(f"{word!r} is not printable ASCII")
    return _pack_text(word.encode())


def _is_word(text: str) -> bool:
    """Causes and addresses go to terminals as they are, so they must be fit for it."""
    return text.isascii() and text.isprintable()


def _pack_address(address: Address) -> bytes:
    return _pack_word(address.host) + _PORT.pack(address.port)


def _pack_detail(detail: Detail | None) -> bytes:
    return b"" if detail is None else _DETAIL.pack(*_numbers(detail))


def unpack_entry(entries: bytes, at: int) -> tuple[Record | None, int]:
    """The entry at `at` of a block, None if its type is unknown, and where the next one begins."""
    start = at + _ENTRY.size
    if start > len(entries):
        raise DamageError("an entry cut off by the end of its block")
    kind, size = _ENTRY.unpack_from(entries, at)
    end = start + size
    if end > len(entries):
        raise DamageError(f"an entry of {size} bytes, more than its block has")
    if kind == DATA:
        return _unpack_call(entries, start, end), end
    unpack = _UNPACK.get(kind)
    if unpack is None:
        return None, end
    try:
        return unpack(entries[start:end]), end
    except struct.error:
        raise DamageError(f"an entry of type {kind} that is too short") from None


def _unpack_call(entries: bytes, start: int, end: int) -> Call:
    begin = start + _DATA.size
    if begin > end:
        raise DamageError(f"an entry of type {DATA} that is too short")
    *fields, captured = _DATA.unpack_from(entries, start)
    detail = _detail(fields)
    if captured > end - begin or captured > detail.size:
        raise DamageError(
            f"{captured} bytes of payload in a call of {detail.size}, an entry of {end - start}"
        )
    return Call(detail, entries[begin : begin + captured])


def _unpack_plaintext(content: bytes) -> TlsCall:
    fields = _PLAINTEXT.unpack_from(content)
    connection, sequence, start, end, position, size, began, ended, pid, direction, captured = fields
    begin = _PLAINTEXT.size
    if captured > len(content) - begin or captured > size:
        raise DamageError(f"{captured} bytes of payload in a call of {size}, an entry of {len(content)}")
    if direction > 1:
        raise DamageError(f"direction {direction}")
    if max(sequence, position, size, began, ended, abs(start), abs(end)) > MAX_NUMBER:
        raise DamageError("a number of more than 62 bits")
    if began < -1 or ended < -1:
        raise DamageError(f"ciphertext from {began} to {ended}")
    plaintext = Plaintext(
        connection=connection,
        sequence=sequence,
        start=start,
        end=end,
        position=position,
        size=size,
        ciphertext=ended,
        pid=pid,
        direction=direction,
        ciphertext_start=began,
    )
    return TlsCall(plaintext, content[begin : begin + captured])


def _unpack_process(content: bytes) -> Process:
    (pid,) = _PROCESS.unpack_from(content)
    name, end = _unpack_text(content, _PROCESS.size)
    said = _unpack_said(content, end) if len(content) > end else NO_ATTRIBUTES
    try:
        return Process(pid=pid, name=name.decode("utf-8", "surrogatepass"), attributes=said)
    except UnicodeDecodeError:
        raise DamageError("a name that is not UTF-8") from None


def _unpack_said(content: bytes, at: int) -> Mapping[str, AttributeValue]:
    (size,) = _SIZE.unpack_from(content, at)
    begin = at + _SIZE.size
    if size > min(MAX_DESCRIPTION, len(content) - begin):
        raise DamageError(f"a description of {size} bytes")
    try:
        return checked_description(json.loads(content[begin : begin + size]))
    except (ValueError, RecursionError, TypeError):
        raise DamageError("a description that is not attributes by name") from None


def _unpack_opened(content: bytes) -> Opened:
    connection, time, pid, role, flags = _OPENED.unpack_from(content)
    if role >= len(ROLES):
        raise DamageError(f"role {role}")
    local, at = _unpack_address(content, _OPENED.size)
    remote, at = _unpack_address(content, at)
    detail = _unpack_detail(content, at) if flags & DETAIL else None
    return Opened(
        connection=connection,
        time=checked_time(time),
        local=local,
        remote=remote,
        role=ROLES[role],
        pid=pid,
        late=bool(flags & LATE),
        detail=detail,
    )


def _unpack_closed(content: bytes) -> Closed:
    connection, time, flags = _CLOSED.unpack_from(content)
    detail = _unpack_detail(content, _CLOSED.size) if flags & DETAIL else None
    unseen = 0
    if flags & UNSEEN:
        (unseen,) = _UNSEEN.unpack_from(content, _CLOSED.size + (_DETAIL.size if detail is not None else 0))
        if unseen > MAX_NUMBER:
            raise DamageError("a number of more than 62 bits")
    return Closed(
        connection=connection,
        time=checked_time(time),
        reset=bool(flags & RESET),
        detail=detail,
        unseen=unseen,
    )


def _unpack_loss(content: bytes) -> Loss:
    (records,) = _LOSS.unpack_from(content)
    cause, _ = _unpack_word(content, _LOSS.size)
    return Loss(records=records, cause=cause)


def _unpack_clock(content: bytes) -> Clock:
    time, number = _CLOCK.unpack_from(content)
    if number > (len(content) - _CLOCK.size) // 8:
        raise DamageError(f"{number} connections in an entry of {len(content)} bytes")
    return Clock(checked_time(time), struct.unpack_from(f"<{number}Q", content, _CLOCK.size))


def _unpack_end(content: bytes) -> End:
    (time,) = _END.unpack_from(content)
    return End(checked_time(time))


_UNPACK: dict[int, Callable[[bytes], Record]] = {
    PROCESS: _unpack_process,
    OPENED: _unpack_opened,
    CLOSED: _unpack_closed,
    LOSS: _unpack_loss,
    CLOCK: _unpack_clock,
    END: _unpack_end,
    PLAINTEXT: _unpack_plaintext,
}


def _unpack_text(content: bytes, at: int) -> tuple[bytes, int]:
    (size,) = _TEXT.unpack_from(content, at)
    begin = at + _TEXT.size
    end = begin + size
    if end > len(content):
        raise DamageError(f"a text of {size} bytes, more than its entry has")
    return content[begin:end], end


def _unpack_word(content: bytes, at: int) -> tuple[str, int]:
    text, end = _unpack_text(content, at)
    word = text.decode("latin-1")
    if not _is_word(word):
        raise DamageError("a text that is not printable ASCII")
    return word, end


def _unpack_address(content: bytes, at: int) -> tuple[Address, int]:
    host, at = _unpack_word(content, at)
    (port,) = _PORT.unpack_from(content, at)
    return Address(host=host, port=port), at + _PORT.size


def _unpack_detail(content: bytes, at: int) -> Detail:
    return _detail(_DETAIL.unpack_from(content, at))


def _numbers(detail: Detail) -> tuple[int, ...]:
    """In the order of `_DETAIL_FIELDS`."""
    return (
        detail.connection,
        detail.sequence,
        detail.start,
        detail.end,
        detail.position,
        detail.size,
        detail.pid,
        detail.fd,
        detail.syscall,
        detail.direction,
        detail.error,
    )


def _detail(numbers: Sequence[int]) -> Detail:
    """Of numbers in the order of `_DETAIL_FIELDS`."""
    connection, sequence, start, end, position, size, pid, fd, syscall, direction, error = numbers
    if direction > 1:
        raise DamageError(f"direction {direction}")
    if max(sequence, position, size, abs(start), abs(end)) > MAX_NUMBER:
        raise DamageError("a number of more than 62 bits")
    return Detail(
        connection=connection,
        sequence=sequence,
        start=start,
        end=end,
        position=position,
        size=size,
        pid=pid,
        fd=fd,
        syscall=syscall,
        direction=direction,
        error=error,
    )
