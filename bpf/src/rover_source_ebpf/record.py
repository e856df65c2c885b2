"""From the bytes of a record in the ring buffer to rover.records; the layout is c/wire.h.

The kernel side is ours, but a record is checked as if it were not: one that is too short for its
kind, or of an unknown kind, is skipped and counted. `_record.pyx` is the same, compiled.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from rover.values.records import (
    MAX_NUMBER,
    Address,
    Closed,
    Detail,
    Loss,
    Opened,
    Plaintext,
    Process,
    RecordHandler,
    Role,
)
from rover_source_ebpf.waiting import Waiting

KIND_PROCESS, KIND_OPENED, KIND_DATA, KIND_CLOSED, KIND_PLAINTEXT, KIND_PLACED = 1, 2, 3, 4, 5, 6
FLAG_DETAIL, FLAG_LATE, FLAG_RESET, FLAG_WAITING = 1, 2, 4, 8

HEADER = struct.Struct("=HHIQQQQQIIiHBB")
"""struct header: kind, flags, captured, then the fields of a Detail in their order."""
DETAIL = 3
"""Where the fields of the Detail begin."""
unpack_header = HEADER.unpack_from
COMM = struct.Struct("=16s")
"""The rest of struct process_record."""
ENDS = struct.Struct("=Q16s16sHHB3x")
"""The rest of struct opened_record: time, addresses, ports, role."""
UNSEEN = struct.Struct("=Q")
"""The rest of struct closed_record."""

CIPHERTEXT = struct.Struct("=Q")
"""The rest of struct plaintext_record."""
PLACED = struct.Struct("=QQQQQI4x")
"""The rest of struct placed_record: serial, two positions, two offsets, which of these are known."""

ROLES = (None, Role.CLIENT, Role.SERVER)
V4_MAPPED = bytes(10) + b"\xff\xff"


@lru_cache(4096)
def host(raw: bytes) -> str:
    """Sixteen bytes as text; v4-mapped as IPv4 (RFC 4291 section 2.5.5.2)."""
    if raw.startswith(V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


class RecordDecoder:
    """Hands each record to a RecordHandler, except for plaintext that has to wait for its connection."""

    def __init__(self, role_of: Callable[[int, int], Role | None], ring: int = 0, rings: int = 1) -> None:
        """`role_of(pid, local port)` guesses where the kernel could not tell. `ring`: the one that is read,
        of `rings`."""
        self._role_of = role_of
        self._ring = ring
        self._rings = rings
        self._waiting = Waiting()
        self.unplaced = 0
        """Records whose connection was never known."""
        self.malformed = 0
        """Records that were skipped."""

    def deliver_all(self, handler: RecordHandler, memory: Any, records: Sequence[tuple[int, int]]) -> None:
        """Each record, by its offset and its length."""
        for offset, length in records:
            self.deliver(handler, memory, offset, length)

    def deliver(self, handler: RecordHandler, memory: Any, offset: int, length: int) -> None:
        """One record, `memory[offset:offset + length]`; a slice of `memory` is a copy of it."""
        if length < HEADER.size:
            return self._skip(handler)
        fields = unpack_header(memory, offset)
        kind, flags, captured = fields[:DETAIL]
        connection, sequence, start, end, position, size, pid, fd, syscall, direction, error = fields[DETAIL:]
        if sequence | start | end | position > MAX_NUMBER or direction > 1:
            return self._skip(handler)
        detail = Detail(
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
        at = offset + HEADER.size
        if kind == KIND_DATA:
            if captured > length - HEADER.size or captured > detail.size:
                return self._skip(handler)
            return handler.data(detail, bytes(memory[at : at + captured]))
        if kind == KIND_CLOSED:
            call = detail if flags & FLAG_DETAIL else None
            unseen = UNSEEN.unpack_from(memory, at)[0] if length >= HEADER.size + UNSEEN.size else 0
            if unseen > MAX_NUMBER:
                return self._skip(handler)
            reset = bool(flags & FLAG_RESET)
            return handler.closed(
                Closed(connection=detail.connection, time=detail.end, reset=reset, detail=call, unseen=unseen)
            )
        if kind == KIND_OPENED and length >= HEADER.size + ENDS.size:
            time, local, remote, local_port, remote_port, number = ENDS.unpack_from(memory, at)
            if number >= len(ROLES) or time > MAX_NUMBER:
                return self._skip(handler)
            role = ROLES[number] or self._role_of(detail.pid, local_port)
            return handler.opened(
                Opened(
                    connection=detail.connection,
                    time=time,
                    local=Address(host=host(local), port=local_port),
                    remote=Address(host=host(remote), port=remote_port),
                    role=role,
                    pid=detail.pid,
                    late=bool(flags & FLAG_LATE),
                    detail=detail if flags & FLAG_DETAIL else None,
                )
            )
        if kind == KIND_PLAINTEXT and length >= HEADER.size + CIPHERTEXT.size:
            if captured > length - HEADER.size - CIPHERTEXT.size or captured > detail.size:
                return self._skip(handler)
            (ciphertext,) = CIPHERTEXT.unpack_from(memory, at)
            at += CIPHERTEXT.size
            plaintext = Plaintext(
                connection=connection,
                sequence=sequence,
                start=start,
                end=end,
                position=position,
                size=size,
                ciphertext=ciphertext if ciphertext <= MAX_NUMBER else -1,
                pid=pid,
                direction=direction,
            )
            payload = bytes(memory[at : at + captured])
            if flags & FLAG_WAITING:
                return self._give_up(handler, self._waiting.add(plaintext, payload))
            return handler.plaintext(plaintext, payload)
        if kind == KIND_PLACED and length >= HEADER.size + PLACED.size:
            serial, *positions, ingress, egress, known = PLACED.unpack_from(memory, at)
            if max(positions) > MAX_NUMBER:
                return self._skip(handler)
            offsets = (ingress if known & 1 else None, egress if known & 2 else None)
            waited = self._waiting.placed(serial, connection, sequence, (positions[0], positions[1]), offsets)
            if connection % self._rings == self._ring:  # the others' readers have the same
                for plaintext, payload in waited:
                    handler.plaintext(plaintext, payload)
            return None
        if kind == KIND_PROCESS and length >= HEADER.size + COMM.size:
            (comm,) = COMM.unpack_from(memory, at)
            name = comm.split(b"\0", 1)[0].decode(errors="replace")
            return handler.process(Process(pid=detail.pid, name=name))
        return self._skip(handler)

    def finish(self, handler: RecordHandler) -> None:
        """Nothing follows: what waits has waited in vain."""
        self._give_up(handler, self._waiting.clear())

    def _give_up(self, handler: RecordHandler, records: int) -> None:
        if records and not self._ring:  # it waited at each reader, and is lost once
            self.unplaced += records
            handler.lost(Loss(records=records, cause="tls_unplaced"))

    def _skip(self, handler: RecordHandler) -> None:
        self.malformed += 1
        handler.lost(Loss(records=1, cause="malformed"))
