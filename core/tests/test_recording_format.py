"""The file: what goes in comes out, and damage is told after everything in front of it."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Address, Closed, Detail, Loss, Opened, Plaintext, Process, Role, RoverError, Syscall
from rover.recording import format as form
from rover.recording import framing
from rover.recording.reader import Recording
from rover.recording.writer import Writer
from rover.values.records import MAX_NUMBER

EPOCH = 1_700_000_000_000_000_000


class Told:
    """A handler that keeps what it is told; ticks are ("clock", time, gone)."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def process(self, process: Process) -> None:
        self.records.append(process)

    def opened(self, opened: Opened) -> None:
        self.records.append(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        self.records.append((detail, payload))

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        self.records.append((plaintext, payload))

    def closed(self, closed: Closed) -> None:
        self.records.append(closed)

    def lost(self, loss: Loss) -> None:
        self.records.append(loss)


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


def take(writer: Writer, record: Any) -> None:
    """Any record, a call as (detail, payload) or (plaintext, payload), a tick as ("clock", time, gone)."""
    match record:
        case Process():
            writer.process(record)
        case Opened():
            writer.opened(record)
        case Closed():
            writer.closed(record)
        case Loss():
            writer.lost(record)
        case ("clock", time, gone):
            writer.clock(time, gone)
        case (Plaintext() as plaintext, payload):
            writer.plaintext(plaintext, payload)
        case (detail, payload):
            writer.data(detail, payload)


def write(path: Path, records: Iterable[Any], *, flush_each: bool = False, end: int | None = 0) -> None:
    """A recording of these; without an `end` time it is left as by a recorder that was killed."""
    writer = Writer(str(path), replace=True)
    writer.begin(EPOCH, 5)
    for record in records:
        take(writer, record)
        if flush_each:
            writer.flush()
    if end is None:
        writer.flush()
    else:
        writer.end(end)
    assert writer.failure == ""


def read(path: Path) -> tuple[list[Any], str]:
    """What a recording delivers, with its clock where that moves, and the error it ends with."""
    told = Told()
    recording = Recording(str(path))
    try:
        recording.start()
        clock = recording.now()
        while recording.poll(told, 0):
            if recording.now() != clock:
                clock = recording.now()
                told.records.append(("clock", clock, [c for c in range(9) if not recording.is_open(c)]))
    except RoverError as error:
        message = str(error)
    else:
        return told.records, ""
    finally:
        recording.close()
    assert message.startswith(f"{path}, byte ") or message == f"{path} is empty"
    assert "\n" not in message
    return told.records, message


DETAIL = Detail(
    connection=7,
    sequence=1,
    start=100,
    end=110,
    position=0,
    size=5,
    pid=42,
    fd=3,
    syscall=9,
    direction=0,
    error=0,
)
PLAINTEXT = Plaintext(
    connection=7,
    sequence=2,
    start=99,
    end=112,
    position=20,
    size=8,
    ciphertext=54,
    pid=42,
    direction=1,
    ciphertext_start=24,
)
RECORDS: list[Any] = [
    Process(pid=42, name="app"),
    Opened(
        connection=7,
        time=90,
        local=Address(host="10.0.0.1", port=80),
        remote=Address(host="::1", port=4000),
        role=Role.SERVER,
        pid=42,
        late=False,
        detail=DETAIL,
    ),
    (DETAIL, b"hello"),
    ("clock", 1_000_000_000, [3]),
    Loss(records=12, cause="ring_full"),
    (DETAIL.replace(sequence=3, direction=1, size=9), b"w"),
    (PLAINTEXT, b"secret"),
    Closed(connection=7, time=130, reset=True, detail=None),
    Closed(connection=8, time=140, reset=False, detail=DETAIL.replace(connection=8), unseen=4096),
    Process(pid=42, name="app", attributes={"a": 3}),
]

# -- round trip ----------------------------------------------------------------------------------

u64 = st.integers(0, 2**64 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
u62 = st.integers(0, MAX_NUMBER)
i62 = st.integers(-MAX_NUMBER, MAX_NUMBER)
names = st.text(st.characters(codec=None), max_size=20)  # also lone surrogates: they need be no UTF-8
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=45)
addresses = st.builds(Address, host=words, port=st.integers(0, 65535))
details = st.builds(
    Detail,
    connection=u64,
    sequence=u62,
    start=i62,
    end=i62,
    position=u62,
    size=u62,
    pid=i32,
    fd=i32,
    syscall=st.integers(0, 65535),
    direction=st.integers(0, 1),
    error=i32,
)
plaintexts = st.builds(
    Plaintext,
    connection=u64,
    sequence=u62,
    start=i62,
    end=i62,
    position=u62,
    size=u62,
    ciphertext=st.integers(-1, MAX_NUMBER),
    pid=i32,
    direction=st.integers(0, 1),
    ciphertext_start=st.integers(-1, MAX_NUMBER),
)
calls = st.tuples(details | plaintexts, st.binary(max_size=50)).map(
    lambda call: (call[0].replace(size=max(call[0].size, len(call[1]))), call[1])
)
records = st.one_of(
    st.builds(
        Process,
        pid=i32,
        name=names,
        attributes=st.dictionaries(names, names | st.booleans() | i62, max_size=2),
    ),
    st.builds(
        Opened,
        connection=u64,
        time=i62,
        local=addresses,
        remote=addresses,
        role=st.sampled_from([None, *Role]),
        pid=i32,
        late=st.booleans(),
        detail=st.none() | details,
    ),
    st.builds(Closed, connection=u64, time=i62, reset=st.booleans(), detail=st.none() | details, unseen=u62),
    st.builds(Loss, records=u64, cause=words),
    calls,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(records), st.booleans())
def test_what_goes_in_comes_out(content, flush_each):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x")
        write(path, content, flush_each=flush_each)
        assert read(path) == (content, "")


def test_epoch_clocks_and_end(tmp_path):
    path = tmp_path / "x"
    content = [
        ("clock", 10, [1, 4]),
        RECORDS[0],
        ("clock", MAX_NUMBER - 2, []),
        ("clock", MAX_NUMBER - 1, [8]),
    ]
    write(path, content, end=MAX_NUMBER)
    recording = Recording(str(path))
    recording.start()
    assert (recording.epoch, recording.now()) == (EPOCH, 5)
    recording.close()
    assert read(path) == (content, "")


def test_the_clock_stands_still_between_ticks_and_ends_where_it_did(tmp_path):
    write(tmp_path / "x", RECORDS, end=77)
    recording = Recording(str(tmp_path / "x"))
    recording.start()
    assert recording.poll(Told(), 0)
    assert (recording.now(), recording.is_open(3), recording.is_open(7)) == (1_000_000_000, False, True)
    assert not recording.poll(Told(), 0)
    assert recording.now() == 77
    recording.close()


@pytest.mark.parametrize("cut", [True, False])
def test_what_is_given_up_early_ends_with_its_last_record(tmp_path, cut):
    """Not at the last tick, which was earlier: nothing may end before it began."""
    write(tmp_path / "x", [(DETAIL, b"hello")], flush_each=True, end=None if cut else 1000)
    recording = Recording(str(tmp_path / "x"))
    recording.start()
    assert recording.poll(Told(), 0)
    if cut:
        with pytest.raises(RoverError, match="no end"):
            recording.poll(Told(), 0)
    recording.stop(Told())
    assert recording.now() == DETAIL.end
    recording.close()


def test_blocks_end_with_their_size(tmp_path):
    path = tmp_path / "x"
    call = (DETAIL.replace(size=100_000), b"x" * 100_000)
    write(path, [call] * 30)
    data, at, sizes = path.read_bytes(), framing.HEADER_SIZE, []
    while at < len(data):
        size, _ = struct.unpack_from("<II", data, at)
        sizes.append(size)
        at += 8 + size
    assert at == len(data)
    assert all(framing.BLOCK_SIZE <= size < framing.BLOCK_SIZE + 100_100 for size in sizes[:-1])
    assert read(path) == ([call] * 30, "")


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "x"
    write(path, [(DETAIL.replace(size=10_000), b"x" * 10_000)] * 2000)

    class Count(Told):
        calls = 0

        def data(self, detail: Detail, payload: bytes) -> None:
            self.calls += 1

    counted = Count()
    recording = Recording(str(path))
    tracemalloc.start()
    recording.start()
    while recording.poll(counted, 0):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    recording.close()
    assert counted.calls == 2000
    assert peak < 4 * framing.BLOCK_SIZE


# -- damage --------------------------------------------------------------------------------------


def spans(data: bytes) -> list[tuple[int, int]]:
    """Where each block begins and ends."""
    found, at = [], framing.HEADER_SIZE
    while at < len(data):
        end = at + 8 + struct.unpack_from("<I", data, at)[0]
        found.append((at, end))
        at = end
    return found


@pytest.fixture
def small(tmp_path):
    """A recording with a record to each block: its path, its bytes, where its blocks end."""
    path = tmp_path / "small"
    write(path, RECORDS, flush_each=True)
    data = path.read_bytes()
    ends = [end for _, end in spans(data)]
    assert len(ends) == len(RECORDS) + 1
    return path, data, ends


def test_cut_off_at_every_byte(small):
    path, data, ends = small
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        delivered, error = read(path)
        whole = sum(end <= size for end in ends)
        assert delivered == RECORDS[:whole], size
        assert error, size
        start = max(
            [0, framing.HEADER_SIZE if size >= framing.HEADER_SIZE else 0, *[e for e in ends if e <= size]]
        )
        assert f", byte {start}: " in error


def test_a_recording_that_gzip_packed(small):
    path, data, _ = small
    path.write_bytes(gzip.compress(data))
    assert read(path) == (RECORDS, "")


def test_packed_and_cut_off_at_every_byte(small):
    path, data, _ = small
    packed = gzip.compress(data)
    for size in range(2, len(packed)):
        path.write_bytes(packed[:size])
        delivered, error = read(path)
        assert RECORDS[: len(delivered)] == delivered
        assert error.endswith("the compressed file is cut off"), size


def test_every_bit_flipped(small):
    path, data, ends = small
    for position in range(len(data)):
        before = sum(end <= position for end in ends)
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            delivered, error = read(path)
            assert delivered == RECORDS[:before], (position, bit)
            assert error, (position, bit)


def test_blocks_lost_at_the_end_are_noticed(small):
    """A recorder that was killed leaves whole blocks and no end."""
    path, data, ends = small
    path.write_bytes(data[: ends[-2]])
    delivered, error = read(path)
    assert delivered == RECORDS
    assert f"byte {ends[-2]}: no end" in error


@pytest.mark.parametrize("more", [b"x", b"\0" * 100])
def test_nothing_follows_the_end(small, more):
    path, data, _ = small
    path.write_bytes(data + more)
    delivered, error = read(path)
    assert delivered == RECORDS
    assert f"byte {len(data)}: more bytes after the end" in error


def test_two_recordings_are_not_one(small):
    path, data, _ = small
    path.write_bytes(data + data)
    assert read(path)[1]


def entry(kind: int, content: bytes) -> bytes:
    return struct.pack("<BI", kind, len(content)) + content


def call(detail: Detail, size: int, payload: bytes = b"") -> bytes:
    return entry(form.DATA, struct.pack("<QQqqQQiiHBiI", *numbers(detail), size) + payload)


def tls_call(plaintext: Plaintext, size: int, payload: bytes = b"") -> bytes:
    names = ("connection", "sequence", "start", "end", "position", "size")
    names += ("ciphertext_start", "ciphertext", "pid", "direction")
    fields = [getattr(plaintext, name) for name in names]
    return entry(form.PLAINTEXT, struct.pack("<QQqqQQqqiBI", *fields, size) + payload)


def block(entries: bytes, size: int | None = None) -> bytes:
    length = struct.pack("<I", len(entries) if size is None else size)
    return length + struct.pack("<I", zlib.crc32(length + entries)) + entries


def header(major: int = framing.MAJOR, minor: int = framing.MINOR, magic: bytes = framing.MAGIC) -> bytes:
    data = struct.pack("<8sHHqq", magic, major, minor, EPOCH, 5)
    return data + struct.pack("<I", zlib.crc32(data))


def loss(text: bytes, size: int | None = None) -> bytes:
    return entry(form.LOSS, struct.pack("<QB", 3, len(text) if size is None else size) + text)


def said(text: bytes, size: int | None = None) -> bytes:
    process = struct.pack("<iB", 3, 1) + b"a"
    return entry(form.PROCESS, process + struct.pack("<I", len(text) if size is None else size) + text)


LOSS = loss(b"ring")
END = entry(form.END, struct.pack("<q", 9))
TOLD = [Loss(records=3, cause="ring")]
SAID = [Process(pid=3, name="a", attributes={"a": 1})]
ENDS = (b"\x03::1" + bytes(2)) * 2
TIME = "a time of more than 62 bits"


@pytest.mark.parametrize(
    ("data", "delivered", "error"),
    [
        (header() + block(LOSS + END), TOLD, ""),
        (header() + block(LOSS + entry(200, b"") + entry(99, b"what?") + END), TOLD, ""),
        (header() + block(LOSS + entry(form.END, struct.pack("<q", 9) + b"more")), TOLD, ""),
        (header() + block(loss(b"ring+++", 4) + END), TOLD, ""),
        (header(minor=9) + block(LOSS + END), TOLD, ""),
        (header(major=2) + block(LOSS + END), [], "byte 0: its format is 2.2 and only 1.x can be read"),
        (header(major=0), [], "byte 0: its format is 0.2"),
        (header(magic=b"\x89ROVER\n\n"), [], "no recording"),
        (b"", [], "is empty"),
        (framing.MAGIC, [], "cut off within the header"),
        (header(), [], "byte 32: no end"),
        (header() + block(LOSS + END + LOSS), TOLD, f"byte {40 + len(LOSS + END)}: more bytes"),
        (header() + block(b""), [], "byte 32: a block of 0 bytes"),
        (header() + block(b"", 2**32 - 1), [], "a block of 4294967295 bytes"),
        (header() + block(LOSS, framing.MAX_BLOCK), [], "cut off within a block"),
        (header() + block(LOSS + b"\x05\0"), TOLD, f"byte {40 + len(LOSS)}: an entry cut off"),
        (header() + block(LOSS + struct.pack("<BI", 5, 2**32 - 1)), TOLD, "an entry of 4294967295 bytes"),
        (header() + block(LOSS + entry(form.DATA, b"")), TOLD, "type 3 that is too short"),
        (header() + block(LOSS + entry(form.OPENED, b"")), TOLD, "type 2 that is too short"),
        (header() + block(loss(b"rin", 4)), [], "a text of 4 bytes"),
        (header() + block(loss(b"\x1b[2J")), [], "not printable ASCII"),
        (header() + block(loss("\u200b".encode())), [], "not printable ASCII"),
        (header() + block(entry(form.PROCESS, struct.pack("<iB", 3, 1) + b"\xff")), [], "not UTF-8"),
        (header() + block(said(b'{"a":1}') + END), SAID, ""),
        (header() + block(said(b'{"a":1}more', 7) + END), SAID, ""),
        (header() + block(said(b"{}") + END), [Process(pid=3, name="a")], ""),
        (header() + block(said(b'{"a":1}', 8)), [], "a description of 8 bytes"),
        (header() + block(said(b" " * 65_537)), [], "a description of 65537 bytes"),
        (header() + block(entry(form.PROCESS, struct.pack("<iB", 3, 0) + b"abc")), [], "type 1 that is too"),
        (header() + block(said(b'{"a":1')), [], "not attributes by name"),
        (header() + block(said(b"\xff")), [], "not attributes by name"),
        (header() + block(said(b"[" * 65_536)), [], "not attributes by name"),
        (header() + block(said(b"[]")), [], "not attributes by name"),
        (header() + block(said(b'{"a":null}')), [], "not attributes by name"),
        (header() + block(said(b'{"a":1.5}')), [], "not attributes by name"),
        (header() + block(said(b'{"a":NaN}')), [], "not attributes by name"),
        (header() + block(said(b'{"a":' + b"9" * 5000 + b"}")), [], "not attributes by name"),
        (header() + block(said(b'{"a":"' + b"x" * 5000 + b'"}')), [], "not attributes by name"),
        (header() + block(entry(form.OPENED, bytes(22) + b"\1\n" + bytes(9))), [], "not printable ASCII"),
        (header() + block(entry(form.CLOCK, struct.pack("<qI", 3, 2**31))), [], "2147483648 connections"),
        (header() + block(entry(form.OPENED, bytes(20) + b"\3" + bytes(9))), [], "role 3"),
        (
            header() + block(call(DETAIL.replace(direction=2), 0)),
            [],
            "direction 2",
        ),
        (
            header() + block(call(DETAIL.replace(size=1 << 62), 0)),
            [],
            "a number of more than 62 bits",
        ),
        (header() + block(entry(form.OPENED, struct.pack("<QqiBB", 7, 1 << 62, 1, 1, 0) + ENDS)), [], TIME),
        (header() + block(entry(form.CLOSED, struct.pack("<QqB", 7, -(1 << 62), 0))), [], TIME),
        (header() + block(entry(form.CLOCK, struct.pack("<qI", 1 << 62, 0))), [], TIME),
        (header() + block(entry(form.END, struct.pack("<q", 1 << 62))), [], TIME),
        (framing.pack_header(framing.Header(1 << 62, 0)), [], TIME),
        (framing.pack_header(framing.Header(0, -(1 << 62))), [], TIME),
        (
            header() + block(call(DETAIL, 6, b"longer")),
            [],
            "6 bytes of payload in a call of 5",
        ),
        (
            header() + block(call(DETAIL, 5, b"shor")),
            [],
            "5 bytes of payload",
        ),
        (
            header() + block(tls_call(PLAINTEXT, 9, b"123456789")),
            [],
            "9 bytes of payload in a call of 8",
        ),
        (header() + block(tls_call(PLAINTEXT, 7, b"123456")), [], "7 bytes of payload"),
        (header() + block(tls_call(PLAINTEXT.replace(direction=2), 0)), [], "direction 2"),
        (header() + block(tls_call(PLAINTEXT.replace(ciphertext=1 << 62), 0)), [], "more than 62 bits"),
        (header() + block(tls_call(PLAINTEXT.replace(ciphertext=-2), 0)), [], "ciphertext from 24 to -2"),
        (header() + block(tls_call(PLAINTEXT.replace(ciphertext_start=-2), 0)), [], "from -2 to 54"),
        (header() + block(LOSS + entry(form.PLAINTEXT, b"")), TOLD, "type 8 that is too short"),
    ],
)
def test_made_files(tmp_path, data, delivered, error):
    path = tmp_path / "x"
    path.write_bytes(data)
    told, message = read(path)
    assert told == delivered
    assert error in message
    assert bool(error) == bool(message)


def pack_with_payload(record: tuple[Any, bytes]) -> bytes:
    """A call, of either kind."""
    value, payload = record
    pack = form.pack_plaintext if type(value) is Plaintext else form.pack_call
    return pack(value, payload) + payload


contents = st.one_of(
    st.binary(max_size=100),
    records.map(
        lambda record: {
            Process: form.pack_process,
            Opened: form.pack_opened,
            Closed: form.pack_closed,
            Loss: form.pack_loss,
            tuple: pack_with_payload,
        }[type(record)](record)
    ),
    st.builds(entry, st.integers(0, 255), st.binary(max_size=100)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(contents, min_size=1, max_size=5).map(b"".join).filter(len).map(block), max_size=5))
def test_checksums_prove_nothing(blocks):
    """Whoever makes a file makes its checksums, too: the entries themselves are not trusted."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x")
        path.write_bytes(header() + b"".join(blocks))
        for record in read(path)[0]:
            if type(record) is tuple and record[0] != "clock":
                detail, payload = record
                assert detail.direction in (0, 1)
                assert len(payload) <= detail.size


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x")
        for content in (data, header() + data):
            path.write_bytes(content)
            delivered, error = read(path)
            assert delivered == []
            assert error


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/x", "cannot open /nowhere/x for writing: No such file or directory"),
        ("/", "cannot open / for writing: Is a directory"),
        ("/dev/full", "cannot write to /dev/full: No space left on device"),
    ],
)
def test_a_file_that_cannot_be_written(path, message):
    writer = Writer(path)
    with pytest.raises(RoverError) as raised:
        writer.begin(EPOCH, 0)
    assert str(raised.value) == message
    writer.end(0)


WRITE = f"""
import sys
sys.path[:0] = {sys.path!r}
from rover import Detail
from rover.recording.writer import Writer
writer = Writer("-")
writer.begin({EPOCH}, 5)
detail = {DETAIL!r}
for number in range(40):
    writer.data(detail.replace(sequence=number, size=50_000), bytes([number]) * 50_000)
writer.end(0)
print(writer.failure, file=sys.stderr)
"""


def test_standard_output_may_take_little_at_a_time(tmp_path):
    """A pipe that never blocks takes what it has room for."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with subprocess.Popen([sys.executable, "-c", WRITE], stdout=theirs, stderr=subprocess.PIPE) as program:
        os.close(theirs)
        path = tmp_path / "x"
        with open(ours, "rb") as pipe:
            path.write_bytes(pipe.read())
        assert program.communicate()[1] == b"\n"
    delivered, error = read(path)
    assert error == ""
    assert [(d.sequence, payload[:1]) for d, payload in delivered] == [(n, bytes([n])) for n in range(40)]


def test_standard_output_whose_reader_leaves():
    ours, theirs = os.pipe()
    with subprocess.Popen([sys.executable, "-c", WRITE], stdout=theirs, stderr=subprocess.PIPE) as program:
        os.close(theirs)
        os.read(ours, 10)
        os.close(ours)
        assert program.communicate()[1] == b"standard output was closed by its reader\n"


def test_causes_of_loss_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "x"
    losses = [Loss(records=1, cause=str(number)) for number in range(100)]
    write(path, losses)
    delivered, error = read(path)
    assert delivered == losses[: form.MAX_CAUSES]
    assert "more than 64 causes of loss" in error


@pytest.mark.parametrize(
    "record",
    [
        (DETAIL.replace(fd=2**31), b""),
        (PLAINTEXT.replace(ciphertext=2**63 - 1, pid=2**31), b""),
        Process(pid=2**31, name=""),
        Process(pid=1, name="x" * 256),
        Loss(records=1, cause="one\nand another"),
        RECORDS[1].replace(local=Address(host="\x1b[2J", port=80)),
        RECORDS[1].replace(remote=Address(host="::1", port=65536)),
    ],
)
def test_a_value_that_does_not_fit_stops_the_recording(tmp_path, record):
    """It is told once; what was written before can be read."""
    path = tmp_path / "x"
    writer = Writer(str(path))
    writer.begin(EPOCH, 0)
    writer.lost(Loss(records=1, cause="ring_full"))
    take(writer, record)
    failure = writer.failure
    writer.lost(Loss(records=2, cause="ring_full"))
    writer.process(Process(pid=2**31, name=""))
    writer.end(0)
    name = type(record[0] if type(record) is tuple else record).__name__
    assert failure.startswith(f"a recording cannot hold {name}(")
    assert writer.failure == failure
    assert writer.records == 1
    delivered, error = read(path)
    assert delivered == [Loss(records=1, cause="ring_full")]
    assert "no end" in error


def test_the_reader_of_the_documentation(tmp_path):
    """It reads what is written, and the sizes in the text are those of the code."""
    text = (Path(__file__).parent.parent.parent / "docs/recording-format.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    write(tmp_path / "x", RECORDS)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"7 1 {EPOCH + 100} b'hello'\n7 3 {EPOCH + 100} b'w'\n"
    assert f"Format {framing.MAJOR}.{framing.MINOR}." in text
    assert f"1 to {framing.MAX_BLOCK:,} bytes" in text
    assert f"at most {form.MAX_PAYLOAD:,} bytes" in text
    for number, name in enumerate(
        ("PROCESS", "OPENED", "DATA", "CLOSED", "LOSS", "CLOCK", "END", "PLAINTEXT"), 1
    ):
        assert getattr(form, name) == number
        assert f"| {number} | {name} |" in text
    for call in Syscall:
        assert f" {call.value} {call.name.lower()}" in text
