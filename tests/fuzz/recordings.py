"""Recordings, from their bytes to access logs.

The first setting is where the file is cut off once more. Bit 0 of the second: the rest is the file,
after its header. Else it is a script, of which each step is an entry of a block; its control: bits 0
to 2 the type, where 0 is a call of a TLS library, 3 that a block ends with it, 4 that the checksum of
that block is wrong, 5 that the payload is the entry as it is; else it is made to fit, bit 6 being the
direction and 7 which of two connections it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rover.errors import RoverError
from rover.recording import format as form
from rover.recording import framing
from rover.recording.reader import Recording
from rover.recording.writer import Writer
from rover.values.records import Address, Closed, Loss, Opened, Plaintext, Process

from .calls import Calls
from .files import file_of
from .script import SETTINGS, Step, read, write
from .watched import Watched, make_pipeline

BEGINNING = framing.Header(1_700_000_000_000_000_000, 500)
HEADER = framing.pack_header(BEGINNING)
LAST = 1 << 50
"""When a recording that is cut off is said to end, once it is written again."""
ENDS_BLOCK, WRONG, AS_IT_IS, EGRESS, OTHER = 8, 16, 32, 64, 128
WORDS = (
    *(
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"ring_full",
    ),
    *(b"\x0a127.0.0.1\0\0", b"\1\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\x3f", b"\0\0\0\0\0\0\0\x40"),
)


def file(data: bytes) -> bytes:
    """The recording that the fuzzer's bytes mean."""
    if data[1:2] and data[1] & 1:
        return HEADER + data[SETTINGS:]
    _, steps = read(data)
    return HEADER + b"".join(_blocks(steps))


def _blocks(steps: Iterable[Step]) -> Iterable[bytes]:
    calls, entries = Calls(), b""
    wrong = 0
    for step in steps:
        entries += _entry(step, calls)
        wrong = step.bits(4, 1)
        if step.control & ENDS_BLOCK:
            yield _block(entries, wrong)
            entries = b""
    if entries:
        yield _block(entries, wrong)


def _block(entries: bytes, wrong: int) -> bytes:
    size, checksum = struct.unpack("<II", framing.pack_block_header(entries))
    return struct.pack("<II", size, checksum ^ wrong) + entries


def _entry(step: Step, calls: Calls) -> bytes:
    kind, payload = step.bits(0, 3) or form.PLAINTEXT, step.payload
    if step.control & AS_IT_IS:
        return struct.pack("<BI", kind, len(payload)) + payload
    connection, direction = 1 + step.bits(7, 1), step.bits(6, 1)
    flags, text = payload[0] if payload else 0, payload[1:]
    word = "".join(chr(32 + byte % 95) for byte in text[:255])
    if kind == form.DATA:
        return (
            form.pack_call(calls.next(connection, direction, len(payload) + 100 * (flags == 1)), payload)
            + payload
        )
    if kind == form.PLAINTEXT:
        plaintext = calls.plaintext(connection, direction, len(payload) + 100 * (flags == 1))
        return form.pack_plaintext(plaintext, payload) + payload
    detail = calls.next(connection, direction, 0) if flags & 2 else None
    if kind == form.OPENED:
        role = form.ROLES[(flags >> 2) % len(form.ROLES)]
        ends = Address(host=word or "10.0.0.1", port=4000), Address(host="10.0.0.2", port=80)
        return form.pack_opened(
            Opened(
                connection=connection,
                time=calls.time,
                local=ends[0],
                remote=ends[1],
                role=role,
                pid=42,
                late=bool(flags & 1),
                detail=detail,
            )
        )
    if kind == form.CLOSED:
        return form.pack_closed(
            Closed(
                connection=connection,
                time=calls.time,
                reset=bool(flags & 1),
                detail=detail,
                unseen=9 * (flags & 4),
            )
        )
    if kind == form.PROCESS:
        return form.pack_process(Process(pid=42, name=word, attributes={"a": word} if flags & 1 else {}))
    if kind == form.LOSS:
        return form.pack_loss(Loss(records=flags, cause=word))
    if kind == form.CLOCK:
        calls.time += flags * 1_000_000_000
        return form.pack_clock(form.Clock(calls.time, list(text[:8])))
    if kind == form.END:
        return form.pack_end(form.End(calls.time))
    return struct.pack("<BI", 200, len(payload)) + payload


def check(data: bytes) -> int:
    """See above for the settings."""
    recording = file(data)
    told, error, exchanges = replay(recording)
    at = (data[0] if data else 0) * len(recording) // 256
    before, cut_off, _ = replay(recording[:at])
    if not cut_off:
        assert before.pop()[0] == "end", "a recording that is cut off says so"
    assert told[: len(before)] == before, "everything up to the damage"
    assert error or told[-1][0] == "end"
    ended = told if not error else [*told, ("end", LAST)]
    assert replay(rewritten(ended))[:2] == (ended, ""), "written again, it is the same"
    return exchanges


def replay(recording: bytes) -> tuple[list[Any], str, int]:
    """Records and ticks in order, the end if there is one; what was wrong; the number of exchanges."""
    told: list[Any] = []
    error = ""
    seen = 0
    with file_of(recording) as path:
        source, watched = Recording(path), Watched()
        try:
            source.start()
            more = True
            while more:
                clock = source.now()
                more = source.poll(watched, 0)
                told += [("record", record) for record in watched.got[seen:]]
                seen = len(watched.got)
                if not more:
                    told.append(("end", source.now()))
                elif source.now() != clock:
                    told.append(("tick", source.now()))
                    watched.pipeline.tick(source.now())
        except RoverError as failure:
            error = str(failure)
            told += [("record", record) for record in watched.got[seen:]]
        finally:
            source.close()
    watched.finish(source.now())
    return told, error, watched.exchanges


def _pass_on(data: bytes) -> None:
    pipeline = make_pipeline()
    with file_of(file(data)) as path:
        source = Recording(path)
        try:
            source.start()
            while source.poll(pipeline, 0):
                pipeline.tick(source.now())
        except RoverError:
            pass
        finally:
            source.close()
    pipeline.finish(source.now())


RUNS = (_pass_on,)


def weigh(data: bytes) -> int:
    """Bytes of the file: a step of three makes an entry of sixty."""
    return len(file(data))


def rewritten(told: Iterable[Any]) -> bytes:
    """What a writer makes of them."""
    with file_of(b"") as path:
        writer = Writer(path, replace=True)
        writer.begin(*BEGINNING)
        end = LAST
        for kind, value in told:
            if kind == "tick":
                writer.clock(value, ())
                writer.flush()
            elif kind == "end":
                end = value
            elif isinstance(value, Process):
                writer.process(value)
            elif isinstance(value, Opened):
                writer.opened(value)
            elif isinstance(value, Closed):
                writer.closed(value)
            elif isinstance(value, Loss):
                writer.lost(value)
            elif isinstance(value[0], Plaintext):
                writer.plaintext(*value)
            else:
                writer.data(*value)
        writer.end(end)
        assert not writer.failure
        return Path(path).read_bytes()


def seeds() -> list[bytes]:
    """Recordings of whole runs, and of less."""
    get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
    up, down, end = form.DATA | EGRESS, form.DATA, form.END | ENDS_BLOCK
    record = b"\x17\x03\x03\0\x40" + bytes(64)
    talks: list[list[tuple[int, bytes]]] = [
        [
            (form.OPENED, b"\6"),
            *[(up, record), (EGRESS, get), (down, record), (0, ok)],
            (form.CLOSED, b"\2"),
            (end, b""),
        ],
        [
            (form.PROCESS, b"\0curl"),
            (form.OPENED, b"\6"),
            (up, get),
            (down, ok),
            (form.CLOSED, b"\2"),
            (end, b""),
        ],
        [
            (form.OPENED, b"\1::1"),
            (up | ENDS_BLOCK, get),
            (form.CLOCK, b"\2"),
            (down, ok),
            (form.CLOSED, b"\1"),
            (end, b""),
        ],
        [
            (down | OTHER, get),
            (up | OTHER, ok),
            (form.LOSS, b"\3ring_full"),
            (form.OPENED | OTHER, b"\x0a"),
            (end, b""),
        ],
        [
            (form.OPENED, b"\6"),
            (up, get),
            (form.CLOCK | ENDS_BLOCK, b"\1\1"),
            (down, b"\1"),
            (0, b"later"),
            (end, b""),
        ],
        [
            (form.OPENED, b"\6"),
            (up, get),
            (down, b"\1junk\n"),
            (down, b"HTTP/1.1 200 " * 4 + b"\rX\n" + ok),
            (end, b""),
        ],
        [(form.OPENED, b"\6"), (up | ENDS_BLOCK, get), (down | ENDS_BLOCK | WRONG, ok)],
        [
            (form.LOSS | AS_IT_IS, bytes(8) + b"\3abc"),
            (form.DATA | AS_IT_IS, bytes(70)),
            (end | AS_IT_IS, bytes(8)),
        ],
        [
            (form.OPENED | AS_IT_IS, bytes(20) + b"\0\0\3::1\0\1\3::1\0\2"),
            (form.CLOSED | AS_IT_IS, bytes(17)),
        ],
    ]
    scripts = [write(bytes([200 - n, 0]), talk) for n, talk in enumerate(talks)]
    return [*scripts, *(bytes([n, 1]) + file(script)[len(HEADER) :] for n, script in enumerate(scripts[:2]))]
