"""Records of the kernel's ring buffer, from its memory to access logs, in every form that is there.

The first setting is how many records are taken at a time, the second nothing. A step is a record. Its
control: bits 0 to 2 the kind, 3 that its writer gave it up, 4 that the payload is the record from
after its kind on; else header and addresses are made to fit, bit 5 being the direction, 6 which of two
connections it is, 7 that more was moved than captured; and of the payload the first byte is the flags.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rover.values.records import RecordHandler, Role
from rover_source_ebpf import record
from rover_source_ebpf.ring import BUSY, DISCARD, PAGE, Ring

from .calls import Calls
from .script import Step, read, write
from .watched import Watched, make_pipeline

SIZE = 8192
"""Of the ring: it is full after a record or two of the largest input."""
DISCARDED, AS_IT_IS, EGRESS, OTHER, MORE = 8, 16, 32, 64, 128
WORDS = (
    *(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"nginx\0"),
    *(b"\xff\xff\x0a\0\0\1", bytes(16), b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x40", b"\xff" * 8),
)


class Memory:
    """kernel/bpf/ringbuf.c, the producer's side."""

    def __init__(self) -> None:
        self.consumer = bytearray(PAGE)
        self.memory = bytearray(PAGE + 2 * SIZE)
        self.produced = 0

    def ring(self) -> Ring:
        """Its reader."""
        return Ring(self.consumer, self.memory, self._window_at, SIZE, SIZE + PAGE)

    def _window_at(self, offset: int) -> memoryview:
        return memoryview(self.memory)[PAGE + offset :][: SIZE + PAGE]

    def has_room(self, size: int) -> bool:
        return self.produced + (size + 15 & ~7) - self.consumed() < SIZE

    def consumed(self) -> int:
        """The position up to which the reader gave back."""
        position: int = struct.unpack_from("=Q", self.consumer)[0]
        return position

    def write(self, record: bytes, flags: int) -> None:
        """One record, with BUSY, DISCARD or neither."""
        at = self.produced % SIZE
        entry = struct.pack("=II", len(record) | flags, 0) + record
        twice = self.memory[PAGE : PAGE + SIZE] * 2
        twice[at : at + len(entry)] = entry
        # What ran over the end of the first copy is at its beginning; both copies are one memory.
        ring = twice[SIZE : SIZE + at + len(entry) - SIZE] if at + len(entry) > SIZE else b""
        ring = bytes(ring) + bytes(twice[len(ring) : SIZE])
        self.memory[PAGE:] = ring * 2
        self.produced += len(record) + 15 & ~7
        struct.pack_into("=Q", self.memory, 0, self.produced)


def record_of(step: Step, calls: Calls) -> bytes:
    """See above."""
    kind, payload = step.bits(0, 3), step.payload
    if step.control & AS_IT_IS:
        return struct.pack("=H", kind) + payload
    flags, payload = payload[0] if payload else 0, payload[1:]
    connection, direction = 1 + step.bits(6, 1), step.bits(5, 1)
    captured = len(payload) if kind == record.KIND_DATA else 0
    moved = captured + 100 * step.bits(7, 1) if kind == record.KIND_DATA else 0
    detail = calls.next(connection, direction, moved)
    header = record.HEADER.pack(
        kind,
        flags,
        captured,
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
    if kind == record.KIND_OPENED:
        ends = struct.pack(
            "=Q10xH4s10xH4sHHB3x", calls.time, 0xFFFF, b"\x0a\0\0\1", 0xFFFF, b"\x0a\0\0\2", 80, 4000, 2
        )
        payload += ends[len(payload) :]
    elif kind == record.KIND_PROCESS:
        payload = payload.ljust(record.COMM.size, b"\0")
    return header + payload


def forms() -> list[Any]:
    """The decoder in Python, and compiled where it was."""
    found: list[Any] = [record.RecordDecoder]
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    extension = Path(record.__file__).with_name(f"_record{suffix}")
    if extension.exists():
        name = "rover_source_ebpf._record"
        loader = importlib.machinery.ExtensionFileLoader(name, str(extension))
        spec = importlib.util.spec_from_file_location(name, extension, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        found.append(module.RecordDecoder)
    return found


FORMS = forms()


def check(data: bytes) -> int:
    """See above for the settings."""
    settings, steps = read(data)
    calls = Calls()
    records = [(record_of(step, calls), bool(step.control & DISCARDED)) for step in steps]
    first, *others = [run(form, records, settings[0] % 16 + 1) for form in FORMS]
    assert all(other.got == first.got for other in others), "every form delivers the same"
    return first.exchanges


def _role(pid: int, port: int) -> Role | None:
    return Role.SERVER if pid == 42 and port == 80 else None


def run(form: Any, records: Iterable[tuple[bytes, bool]], limit: int) -> Watched:
    """What a decoder delivers of them."""
    memory = Memory()
    ring = memory.ring()
    decoder = form(_role)
    watched = Watched()
    written = 0
    for payload, discarded in records:
        while not memory.has_room(len(payload)):
            assert drain(memory, ring, decoder, watched, limit), "a full ring has something to take"
        memory.write(payload, DISCARD if discarded else 0)
        written += not discarded
    memory.write(b"", BUSY)
    while drain(memory, ring, decoder, watched, limit):
        pass
    ring.close()
    assert len(watched.got) == written, "each record is delivered, or counted as lost, once"
    assert decoder.malformed == watched.pipeline.totals.records_lost["malformed"]
    watched.finish(1 << 40)
    return watched


def drain(memory: Memory, ring: Ring, decoder: Any, handler: RecordHandler, limit: int) -> bool:
    """Takes some and gives all of it back; whether there were any."""
    before = memory.consumed()
    records = ring.take(limit)
    decoder.deliver_all(handler, ring.memory, records)
    ring.settle()
    return memory.consumed() != before


LONGEST = SIZE // 2
"""Bytes of a record that surely fits into the ring."""


def _pass_on(form: Any, data: bytes) -> None:
    memory, calls = Memory(), Calls()
    ring, pipeline = memory.ring(), make_pipeline()
    decoder = form(_role)
    for step in read(data)[1]:
        flags, payload = step.payload[:1], step.payload[1:]
        for at in range(0, len(payload) or 1, LONGEST):
            memory.write(record_of(step._replace(payload=flags + payload[at : at + LONGEST]), calls), 0)
            drain(memory, ring, decoder, pipeline, 16)
    ring.close()
    pipeline.finish(1 << 40)


RUNS = tuple(functools.partial(_pass_on, form) for form in FORMS)


def weigh(data: bytes) -> int:
    """Bytes of the records: a step of three makes one of seventy."""
    calls = Calls()
    return sum(len(record_of(step, calls)) for step in read(data)[1])


def seeds() -> list[bytes]:
    """Connections as the kernel tells of them, and records that are none."""
    get = b"\0GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    ok = b"\0HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
    process, opened, data, closed = (
        record.KIND_PROCESS,
        record.KIND_OPENED,
        record.KIND_DATA,
        record.KIND_CLOSED,
    )
    talks: list[list[tuple[int, bytes]]] = [
        [
            (process, b"\0nginx"),
            (opened, b"\1"),
            (data, get),
            (data | EGRESS, ok),
            (data, b"\0"),
            (closed, b"\1"),
        ],
        [(data | OTHER, get), (data | EGRESS | OTHER, ok), (opened | OTHER, b"\2"), (closed | OTHER, b"\4")],
        [
            (opened, b"\3"),
            (data | MORE, get),
            (data | EGRESS | MORE, ok),
            (data | DISCARDED, get),
            (closed, b"\5"),
        ],
        [(opened, b"\0" + bytes(58)), (process, b"\0\xff\xfd"), (data, get), (closed, b"\0"), (data, get)],
        [
            (data | AS_IT_IS, record.HEADER.pack(3, 0, 70, *range(9), 1, 0)[2:]),
            (opened | AS_IT_IS, bytes(110)),
        ],
        [
            (opened, b"\1"),
            (data, get),
            (data | EGRESS | MORE, b"\0junk\n"),
            (data | EGRESS, b"\0" + b"HTTP/1.1 200 " * 4 + b"\rX\n" + ok[1:]),
        ],
        [(0, b"\0"), (5, b"\0"), (7 | AS_IT_IS, b""), (data | AS_IT_IS, b"\xff" * 62)],
    ]
    return [write(bytes([n, 0]), talk) for n, talk in enumerate(talks)]
