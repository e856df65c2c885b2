"""The ring buffer's reader over memory laid out like the kernel's, written by a model of its writer."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from rover_source_ebpf.ring import BUSY, DISCARD, PAGE, Ring

SIZE = 4 * PAGE
WINDOW = 2 * PAGE
"""Of the data, mapped at a time: the records here are shorter than a page."""


class Writer:
    """kernel/bpf/ringbuf.c, the producer's side: reserve, then commit or discard."""

    def __init__(self) -> None:
        self.consumer = bytearray(PAGE)
        self.memory = bytearray(PAGE + 2 * SIZE)
        self.produced = 0

    @property
    def consumed(self) -> int:
        return int(struct.unpack_from("=Q", self.consumer)[0])

    def reserve(self, payload: bytes) -> int | None:
        """Where the record begins; None when the ring is full."""
        total = (len(payload) + 8 + 7) & ~7
        if self.produced + total - self.consumed > SIZE - 1:
            return None
        at = self.produced
        record = struct.pack("=II", len(payload) | BUSY, 0) + payload
        for index, byte in enumerate(record):
            offset = (at + index) % SIZE
            self.memory[PAGE + offset] = self.memory[PAGE + SIZE + offset] = byte
        self.produced += total
        struct.pack_into("=Q", self.memory, 0, self.produced)
        return at

    def finish(self, at: int, length: int, discard: bool = False) -> None:
        for copy in (0, SIZE):
            struct.pack_into("=I", self.memory, PAGE + copy + at % SIZE, length | (DISCARD if discard else 0))

    def write(self, payload: bytes, discard: bool = False) -> bool:
        at = self.reserve(payload)
        if at is not None:
            self.finish(at, len(payload), discard)
        return at is not None

    def ring(self, window: int = WINDOW) -> Ring:
        def window_at(offset: int) -> memoryview:
            assert offset % PAGE == 0
            assert 0 <= offset < SIZE
            return memoryview(self.memory)[PAGE + offset :][:window]

        return Ring(self.consumer, self.memory, window_at, SIZE, window)


def read(ring: Ring, limit: int = 1000) -> list[bytes]:
    """Takes, copies, and gives all the space back."""
    taken = ring.take(limit)
    records = [bytes(ring.memory[at : at + length]) for at, length in taken]
    ring.settle()
    return records


def test_records_in_order_with_their_own_length() -> None:
    writer = Writer()
    ring = writer.ring()
    sent = [b"one", b"", b"twelve bytes", bytes(100)]
    assert all(writer.write(payload) for payload in sent)
    assert read(ring) == sent
    assert read(ring) == []
    assert writer.consumed == writer.produced


def test_a_busy_record_stops_the_reader() -> None:
    """What follows it is complete already, but not its turn."""
    writer = Writer()
    ring = writer.ring()
    writer.write(b"first")
    at = writer.reserve(b"busy")
    writer.write(b"last")
    assert read(ring) == [b"first"]
    assert read(ring) == []
    assert at is not None
    writer.finish(at, 4)
    assert read(ring) == [b"busy", b"last"]


def test_a_discarded_record_is_skipped_and_its_space_given_back() -> None:
    writer = Writer()
    ring = writer.ring()
    writer.write(b"given up", discard=True)
    assert read(ring) == []
    assert writer.consumed == writer.produced
    writer.write(b"kept")
    assert read(ring) == [b"kept"]


def test_a_batch_is_bounded_and_the_space_is_kept_until_release() -> None:
    writer = Writer()
    ring = writer.ring()
    for n in range(10):
        writer.write(b"%d" % n)
    assert len(ring.take(4)) == 4
    assert writer.consumed == 0
    ring.settle()
    assert writer.consumed == 4 * 16
    assert read(ring, 4) == [b"4", b"5", b"6", b"7"]
    assert read(ring, 4) == [b"8", b"9"]


def test_a_reader_that_is_not_woken_lags_one_record_behind() -> None:
    """The kernel wakes a reader whose position is that of the record it has just written."""
    writer = Writer()
    ring = writer.ring()
    for n in range(3):
        writer.write(b"%d" % n)
    ring.take(10)
    ring.release()
    assert writer.consumed == 2 * 16
    assert ring.take(10) == []
    ring.release()
    assert writer.consumed == 2 * 16
    writer.write(b"3")
    assert writer.consumed < writer.produced - 16
    assert len(ring.take(10)) == 1
    ring.release()
    assert writer.consumed == 3 * 16
    ring.settle()
    assert writer.consumed == writer.produced == 4 * 16


def test_a_reader_goes_on_where_the_last_one_was() -> None:
    writer = Writer()
    writer.write(b"read before")
    read(writer.ring())
    writer.write(b"new")
    assert read(writer.ring()) == [b"new"]


Step = tuple[str, bytes, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "discard", "busy", "finish", "read"]),
        st.builds(bytes.__mul__, st.binary(min_size=1, max_size=300), st.integers(0, 10)),
        st.integers(1, 5),
    ),
    max_size=120,
)


def test_a_record_as_long_as_the_ring_is_read_in_any_place() -> None:
    """A window of the ring and a page more holds it, wherever in a page it begins."""
    for before in (0, 1, 500, PAGE - 16, PAGE, SIZE - 100):
        writer = Writer()
        ring = writer.ring(SIZE + PAGE)
        assert writer.write(bytes(before))
        read(ring)
        longest = bytes(range(256)) * ((SIZE - 16) // 256)
        assert writer.write(longest)
        assert read(ring) == [longest]


def test_what_does_not_fit_into_the_window_waits_for_the_next_batch() -> None:
    """What was taken before stays where it was until then."""
    writer = Writer()
    ring = writer.ring()
    sent = [bytes([n]) * 3000 for n in range(5)]
    assert all(writer.write(payload) for payload in sent)
    got = []
    while taken := read(ring):
        got.append(taken)
    assert [len(batch) for batch in got] == [2, 2, 1]
    assert [payload for batch in got for payload in batch] == sent


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([WINDOW, 3 * PAGE, SIZE + PAGE]))
def test_nothing_is_lost_doubled_or_out_of_order(steps: list[Step], window: int) -> None:
    """Whatever way writing, finishing and reading alternate, and across the ring's and the window's end."""
    writer = Writer()
    ring = writer.ring(window)
    expected: list[bytes] = []
    got: list[bytes] = []
    busy: list[tuple[int, int]] = []
    for step, payload, number in steps:
        if step == "read":
            got += read(ring, number)
        elif step == "finish" and busy:
            writer.finish(*busy.pop(0))
        elif step == "busy":
            if (at := writer.reserve(payload)) is not None:
                busy.append((at, len(payload)))
                expected.append(payload)
        elif step in ("write", "discard") and writer.write(payload, step == "discard") and step == "write":
            expected.append(payload)
        assert got == expected[: len(got)]
    for left in busy:
        writer.finish(*left)
    while writer.consumed < writer.produced:
        got += read(ring)
    assert got == expected
    assert writer.consumed == writer.produced


def test_a_length_that_no_window_holds_ends_the_reading() -> None:
    """The kernel writes none; whatever does, the reader neither leaves its memory nor goes round for ever."""
    for before in (0, PAGE - 24, PAGE - 16, PAGE):
        writer = Writer()
        ring = writer.ring()
        assert writer.write(bytes(before))
        read(ring)
        at = writer.reserve(bytes(2 * PAGE))
        assert at is not None
        writer.finish(at, 2 * PAGE)
        assert read(ring) == []
        assert read(ring) == []
