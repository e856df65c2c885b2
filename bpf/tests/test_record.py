"""Records of the ring buffer as values; hostile ones are skipped and counted."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.values.records import Address, Closed, Detail, Loss, Opened, Plaintext, Process, Role
from rover_source_ebpf.record import RecordDecoder

try:
    from rover_source_ebpf import _record as compiled
except ImportError:
    compiled = None  # type: ignore[assignment]

HEADER = "=HHIQQQQQIIiHBB"
DETAIL = Detail(
    connection=2**64 - 1,
    sequence=3,
    start=100,
    end=200,
    position=2**40,
    size=70,
    pid=42,
    fd=5,
    syscall=18,
    direction=1,
    error=0,
)
PAYLOAD = bytes(range(70))


class Recorder:
    """Keeps what it is handed, in order."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def process(self, process: Process) -> None:
        self.got.append(process)

    def opened(self, opened: Opened) -> None:
        self.got.append(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        self.got.append((detail, payload))

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        self.got.append((plaintext, payload))

    def closed(self, closed: Closed) -> None:
        self.got.append(closed)

    def lost(self, loss: Loss) -> None:
        self.got.append(loss)


NAMES = (
    "connection",
    "sequence",
    "start",
    "end",
    "position",
    "size",
    "pid",
    "fd",
    "syscall",
    "direction",
    "error",
)
"""The fields of a detail in the order in which they lie in a record."""


def numbers(detail: Detail) -> list[int]:
    """As they lie in a record."""
    return [getattr(detail, name) for name in NAMES]


def header(kind: int, flags: int = 0, captured: int = 0, detail: Detail = DETAIL) -> bytes:
    return struct.pack(HEADER, kind, flags, captured, *numbers(detail))


def ends(local: bytes, remote: bytes, role: int = 1, time: int = 150) -> bytes:
    return struct.pack("=Q16s16sHHB3x", time, local, remote, 40000, 80, role)


def mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)


def decode(record: bytes, role: Role | None = None, before: bytes = b"xx") -> list[Any]:
    recorder = Recorder()
    RecordDecoder(lambda pid, port: role).deliver(
        recorder, before + record + b"behind", len(before), len(record)
    )
    return recorder.got


LOCAL, REMOTE = mapped("10.0.0.1"), mapped("10.0.0.2")


def test_the_header_is_64_bytes() -> None:
    assert len(header(3)) == 64


@pytest.mark.parametrize("captured", [0, 1, 70])
def test_data(captured: int) -> None:
    assert decode(header(3, captured=captured) + PAYLOAD[:captured]) == [(DETAIL, PAYLOAD[:captured])]


def test_a_descriptor_of_none_and_large_figures() -> None:
    detail = DETAIL.replace(fd=-1, size=2**32 - 1, pid=2**22, sequence=2**33)
    assert decode(header(3, detail=detail)) == [(detail, b"")]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, Closed(connection=DETAIL.connection, time=200, reset=False, detail=None)),
        (4, Closed(connection=DETAIL.connection, time=200, reset=True, detail=None)),
        (1, Closed(connection=DETAIL.connection, time=200, reset=False, detail=DETAIL)),
        (5, Closed(connection=DETAIL.connection, time=200, reset=True, detail=DETAIL)),
    ],
)
def test_closed(flags: int, expected: Closed) -> None:
    assert decode(header(4, flags)) == [expected]


@pytest.mark.parametrize("unseen", [0, 1, (1 << 62) - 1])
def test_bytes_nobody_saw_move(unseen: int) -> None:
    record = header(4, 1) + struct.pack("=Q", unseen)
    assert decode(record) == [
        Closed(connection=DETAIL.connection, time=200, reset=False, detail=DETAIL, unseen=unseen)
    ]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (mapped("192.168.1.2"), "192.168.1.2"),
        (socket.inet_pton(socket.AF_INET6, "2001:db8::1"), "2001:db8::1"),
        (socket.inet_pton(socket.AF_INET6, "::1"), "::1"),
        (bytes(16), "::"),
        (socket.inet_pton(socket.AF_INET6, "::1.2.3.4"), "::1.2.3.4"),
    ],
)
def test_addresses(raw: bytes, text: str) -> None:
    """v4-mapped is written as IPv4; v4-compatible is not."""
    (opened,) = decode(header(2) + ends(raw, REMOTE))
    assert opened.local == Address(host=text, port=40000)
    assert opened.remote == Address(host="10.0.0.2", port=80)


@pytest.mark.parametrize(
    ("flags", "role", "guess", "expected"),
    [
        (1, 1, None, (Role.CLIENT, False, DETAIL)),
        (1, 2, None, (Role.SERVER, False, DETAIL)),
        (2, 0, None, (None, True, None)),
        (2, 0, Role.SERVER, (Role.SERVER, True, None)),
        (0, 1, Role.SERVER, (Role.CLIENT, False, None)),
    ],
)
def test_opened(flags: int, role: int, guess: Role | None, expected: tuple[Any, ...]) -> None:
    """The listening ports are asked only where the kernel could not tell."""
    (opened,) = decode(header(2, flags) + ends(LOCAL, REMOTE, role), guess)
    assert (opened.role, opened.late, opened.detail) == expected
    assert (opened.connection, opened.time, opened.pid) == (DETAIL.connection, 150, 42)


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        (b"nginx", "nginx"),
        (b"fifteen-letters", "fifteen-letters"),
        (b"", ""),
        (b"a\0garbage", "a"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_process(comm: bytes, name: str) -> None:
    assert decode(header(1) + comm.ljust(16, b"\0")) == [Process(pid=42, name=name)]


UNKNOWN = (1 << 64) - 1
WAITING = 8


def plaintext(ciphertext: int) -> Plaintext:
    """Of DETAIL's fields."""
    names = ("connection", "sequence", "start", "end", "position", "size", "pid", "direction")
    return Plaintext(ciphertext=ciphertext, **{name: getattr(DETAIL, name) for name in names})


def plain(ciphertext: int = 700, flags: int = 0, captured: int = 0, detail: Detail = DETAIL) -> bytes:
    return header(5, flags, captured, detail) + struct.pack("=Q", ciphertext) + PAYLOAD[:captured]


def placed(serial: int, connection: int = 4, sequence: int = 10, known: int = 3, offset: int = 5) -> bytes:
    detail = DETAIL.replace(connection=connection, sequence=sequence)
    return header(6, detail=detail) + struct.pack("=QQQQQI4x", serial, 100, 200, offset, offset, known)


@pytest.mark.parametrize("captured", [0, 1, 70])
@pytest.mark.parametrize(
    ("told", "position"), [(700, 700), (0, 0), ((1 << 62) - 1, (1 << 62) - 1), (1 << 62, -1), (UNKNOWN, -1)]
)
def test_plaintext(captured: int, told: int, position: int) -> None:
    """Where its ciphertext ends is reckoned from what a process's memory says, so that it may be anything."""
    assert decode_all(plain(told, captured=captured)) == [(plaintext(position), PAYLOAD[:captured])]


def decode_all(*records: bytes, ring: int = 0, rings: int = 1, finish: bool = False) -> list[Any]:
    """By the compiled decoder too, where there is one."""
    memory = b"".join(records)
    places, at = [], 0
    for record in records:
        places.append((at, len(record)))
        at += len(record)
    results = []
    for made_by in (RecordDecoder, compiled.RecordDecoder if compiled is not None else RecordDecoder):
        recorder = Recorder()
        decoder = made_by(lambda pid, port: None, ring, rings)
        decoder.deliver_all(recorder, memory, places)
        if finish:
            decoder.finish(recorder)
        results.append(recorder.got)
    assert results[0] == results[1]
    return results[0]


WAITS = plain(30, WAITING, 70, DETAIL.replace(connection=9, sequence=1, position=2))


def test_plaintext_waits_until_its_connection_is_told() -> None:
    assert decode_all(WAITS) == []
    expected = plaintext(35).replace(connection=4, sequence=11, position=202)
    assert decode_all(WAITS, placed(9)) == [(expected, PAYLOAD)]
    assert decode_all(WAITS, placed(9, known=1)) == [(expected.replace(ciphertext=-1), PAYLOAD)]
    assert decode_all(WAITS, placed(8)) == []


def test_plaintext_that_waits_in_vain_is_lost_once() -> None:
    """It waits at each of two readers."""
    assert decode_all(WAITS, finish=True) == [Loss(records=1, cause="tls_unplaced")]
    assert decode_all(WAITS, ring=0, rings=2, finish=True) == [Loss(records=1, cause="tls_unplaced")]
    assert decode_all(WAITS, ring=1, rings=2, finish=True) == []


def test_the_reader_of_the_connection_delivers_what_waited() -> None:
    assert len(decode_all(WAITS, placed(9), ring=0, rings=2, finish=True)) == 1
    assert decode_all(WAITS, placed(9), ring=1, rings=2, finish=True) == []


MALFORMED = {
    "plaintext without its ciphertext's end": header(5),
    "more plaintext than moved": plain(captured=70)[:2]
    + b"\0\0"
    + bytes([71])
    + plain(captured=70)[5:]
    + b"x",
    "plaintext cut": plain(captured=70)[:-1],
    "an end of waiting cut": placed(9)[:-8],
    "an end of waiting beyond all positions": header(6) + struct.pack("=QQQQQI4x", 9, 1 << 62, 0, 0, 0, 3),
    "empty": b"",
    "half a header": header(3)[:32],
    "kind 0": header(0),
    "an unknown kind": header(9) + bytes(100),
    "payload cut": header(3, captured=70) + PAYLOAD[:69],
    "more payload than moved": header(3, captured=71) + bytes(71),
    "addresses cut": header(2) + ends(LOCAL, REMOTE)[:-4],
    "an unknown role": header(2) + ends(LOCAL, REMOTE, 3),
    "opened in 64 bits": header(2) + ends(LOCAL, REMOTE, time=1 << 62),
    "unseen in 64 bits": header(4) + struct.pack("=Q", 1 << 62),
    "name cut": header(1) + b"nginx",
    "direction 2": header(3, detail=DETAIL.replace(direction=2)),
    "a sequence number of 63 bits": header(3, detail=DETAIL.replace(sequence=1 << 62)),
    "a time of 64 bits": header(3)[:32] + struct.pack("=Q", 1 << 63) + header(3)[40:],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_cannot_be_read_is_skipped_and_counted(case: str) -> None:
    recorder = Recorder()
    decoder = RecordDecoder(lambda pid, port: None)
    record = MALFORMED[case]
    decoder.deliver(recorder, record, 0, len(record))
    assert recorder.got == [Loss(records=1, cause="malformed")]
    assert decoder.malformed == 1


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from([3, 5, 6]), rest=st.binary(max_size=200))
def test_the_compiled_decoder_reads_the_same(kind: int, rest: bytes) -> None:
    record = struct.pack("=H", kind) + rest
    decode_all(record, plain(captured=70), finish=True)


@settings(max_examples=200, deadline=None)
@given(kind=st.integers(0, 7), rest=st.binary(max_size=200), before=st.binary(max_size=9))
def test_any_bytes_are_a_record_or_a_loss(kind: int, rest: bytes, before: bytes) -> None:
    """One of them, exactly, unless it is of plaintext that waits; nothing raised, nothing read outside."""
    record = struct.pack("=H", kind) + rest
    got = decode(record, before=before)
    assert len(got) == 1 or (not got and kind in (5, 6))
    if not got or kind == 5:
        return
    if isinstance(got[0], tuple):
        detail, payload = got[0]
        assert len(payload) <= detail.size
        assert payload == record[64 : 64 + len(payload)]
