"""The law: whatever is appended and consumed, bytes keep their positions, gaps are explicit,
and every call's detail leaves exactly once, with the first owner that took any of its bytes."""

from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Detail, Direction, StreamBuffer, Syscall
from rover.streams.buffer import MAX_PIECES
from rover.streams.ledger import MAX_WAITING, Ledger

IN_ORDER = attrgetter("sequence")
"""Of details."""


def call(position: int, size: int, sequence: int = 0) -> Detail:
    return Detail(
        connection=1,
        sequence=sequence,
        start=100,
        end=200,
        position=position,
        size=size,
        pid=7,
        fd=3,
        syscall=Syscall.READ,
        direction=Direction.INGRESS,
        error=0,
    )


def buffer() -> tuple[StreamBuffer, Ledger]:
    ledger = Ledger()
    return StreamBuffer(Direction.INGRESS, ledger), ledger


def test_one_call_is_not_copied():
    stream, _ = buffer()
    payload = b"GET / HTTP/1.1\r\n\r\n"
    stream.append(call(0, len(payload)), payload)
    assert stream.data is payload
    assert stream.offset == 0


def test_calls_that_follow_each_other_are_contiguous():
    stream, _ = buffer()
    stream.append(call(0, 3), b"abc")
    stream.consume(1)
    stream.append(call(3, 2), b"de")
    assert bytes(stream.data[stream.offset :]) == b"bcde"
    assert (stream.position, stream.end, len(stream)) == (1, 5, 4)


def test_uncaptured_tail_is_a_gap():
    stream, _ = buffer()
    stream.append(call(0, 10), b"abc")
    stream.append(call(10, 2), b"xy")
    assert (len(stream), stream.gap) == (3, 7)
    assert stream.skip(9) == 9
    assert stream.at_gap
    assert stream.skip(100) == 3
    assert stream.position == stream.end == 12


def test_lost_record_is_a_gap_of_known_size():
    stream, _ = buffer()
    stream.append(call(0, 2), b"ab")
    stream.append(call(50, 2), b"cd")
    assert stream.gap == 48
    stream.skip(50)
    assert bytes(stream.data[stream.offset :]) == b"cd"


class TestBeforeWhichCallAGapHadMoved:
    """What was sent after the lost bytes had moved cannot be answered by them."""

    def test_by_the_last_number_missing_which_may_be_well_before(self):
        stream, ledger = buffer()
        stream.append(call(0, 2, 0), b"ab")
        ledger.miss(1, 3)  # 1 and 2; then 3 was of the other direction
        stream.append(call(50, 2, 4), b"cd")
        assert (stream.gap, stream.gap_moved, stream.gap_records) == (48, 2, 2)

    def test_by_the_call_itself_whose_end_was_not_captured(self):
        stream, _ = buffer()
        stream.append(call(0, 10, 7), b"ab")
        assert (stream.gap, stream.gap_moved, stream.gap_records) == (8, 7, 1)

    def test_both(self):
        stream, ledger = buffer()
        stream.append(call(0, 10, 0), b"ab")
        ledger.miss(1, 2)
        stream.append(call(50, 2, 2), b"cd")
        assert (stream.gap, stream.gap_moved, stream.gap_records) == (48, 1, 2)

    def test_by_the_call_that_shows_it_where_no_number_is_missing(self):
        stream, ledger = buffer()
        ledger.miss(1, 2)
        stream.append(call(0, 2, 2), b"ab")
        stream.append(call(50, 2, 9), b"cd")
        assert (stream.gap_moved, stream.gap_records) == (9, 0)

    def test_by_the_call_that_shows_it_where_calls_overlap(self):
        stream, ledger = buffer()
        ledger.overlapping = True
        stream.append(call(0, 2, 0), b"ab")
        ledger.miss(1, 3)
        stream.append(call(50, 2, 4), b"cd")
        assert (stream.gap_moved, stream.gap_records) == (4, 2)

    def test_each_gap_has_its_own(self):
        stream, ledger = buffer()
        stream.append(call(0, 4, 0), b"ab")
        stream.append(call(4, 2, 1), b"cd")
        ledger.miss(2, 3)
        stream.append(call(10, 2, 3), b"ef")
        assert (stream.gap, stream.gap_moved, stream.gap_records) == (2, 0, 1)
        stream.skip(4)
        assert bytes(stream.data[stream.offset :]) == b"cd"
        assert (stream.gap, stream.gap_moved, stream.gap_records) == (4, 2, 1)

    def test_of_the_call_that_moved_the_next_byte(self):
        stream, _ = buffer()
        assert stream.sequence == 0
        stream.append(call(0, 2, 5), b"ab")
        stream.append(call(2, 2, 6), b"cd")
        assert stream.sequence == 5
        stream.consume(2)
        assert stream.sequence == 6

    def test_records_lost_since_the_newest_call(self):
        stream, ledger = buffer()
        stream.append(call(0, 2, 0), b"ab")
        assert stream.missed == 0
        ledger.miss(1, 4)
        assert (stream.missed, stream.missing) == (3, 3)
        stream.append(call(2, 2, 4), b"cd")
        assert stream.missed == 0


def test_what_was_passed_over_before_any_decoder_is_remembered():
    stream, ledger = buffer()
    ledger.miss(0, 2)
    stream.append(call(5, 3, 2), b"abc")
    assert stream.hide(stream.gap) == 5
    assert (stream.hidden, stream.hidden_moved, stream.hidden_records) == (5, 1, 2)
    assert bytes(stream.data) == b"abc"
    assert stream.hide(100) == 3
    assert (stream.hidden, stream.unread) == (5, 0)


def test_bytes_passed_already_are_dropped_and_their_call_goes_alone():
    stream, ledger = buffer()
    stream.append(call(0, 4), b"abcd")
    late = call(2, 2, sequence=1)
    assert not stream.append(late, b"zz")
    assert ledger.take_free() == (late,)
    assert bytes(stream.data) == b"abcd"


def test_consuming_more_than_there_is_is_refused():
    stream, _ = buffer()
    stream.append(call(0, 2), b"ab")
    with pytest.raises(ValueError, match="cannot consume 3 of 2"):
        stream.consume(3)


def test_since_is_the_return_of_a_read_and_the_entry_of_a_write():
    read, _ = buffer()
    read.append(call(0, 1), b"a")
    assert read.since == 200
    write = StreamBuffer(Direction.EGRESS, Ledger())
    write.append(call(0, 1).replace(direction=Direction.EGRESS), b"a")
    assert write.since == 100
    write.consume(1)
    assert write.since == 0


def test_a_call_belongs_to_the_first_owner_of_its_bytes():
    stream, ledger = buffer()
    shared = call(0, 4)
    stream.append(shared, b"abcd")
    stream.consume(1)
    stream.consume(1, 7)
    assert ledger.take(7) == (shared,)
    stream.consume(2, 8)
    assert ledger.take(8) == ()
    assert ledger.drain() == ()


def test_a_call_all_of_whose_bytes_belong_to_nobody_goes_alone():
    stream, ledger = buffer()
    settings_frame = call(0, 3)
    stream.append(settings_frame, b"abc")
    stream.consume(2)
    assert ledger.take_free() == ()
    stream.consume(1)
    assert ledger.take_free() == (settings_frame,)


def test_a_skip_over_many_calls_gives_them_all_to_the_owner():
    stream, ledger = buffer()
    calls = [call(i * 10, 10, i) for i in range(5)]
    for each in calls:
        stream.append(each, b"")
    stream.skip(50, 3)
    assert ledger.take(3) == tuple(calls)


def test_calls_beyond_the_bound_go_alone_and_never_vanish():
    stream, ledger = buffer()
    calls = [call(i, 1, i) for i in range(3 * MAX_WAITING)]
    for each in calls:
        stream.append(each, b"x")
    freed = ledger.take_free()
    stream.consume(len(stream), 1)
    assert sorted((*freed, *ledger.take(1), *ledger.take_free()), key=IN_ORDER) == calls


@pytest.mark.parametrize("size", [1, 3])
def test_pieces_between_gaps_are_bounded_and_positions_stay(size):
    stream, ledger = buffer()
    number = 3 * MAX_PIECES
    calls = [call(i * 5, size, i) for i in range(number)]  # each after a gap, except for the first
    for each in calls:
        stream.append(each, b"x" * size)
    assert stream.size == (MAX_PIECES + 1) * size  # the first one lies before its gap
    assert stream.unread == (number - 1) * 5 + size
    seen = 0
    while stream.unread:
        assert stream.position % 5 == 0 or not len(stream)
        seen += len(stream)
        stream.skip(len(stream) or stream.gap)
    assert seen == (MAX_PIECES + 1) * size
    assert (stream.size, stream.position) == (0, stream.end)
    assert sorted(ledger.take_free(), key=IN_ORDER) == calls


def test_an_owner_that_never_ends_is_bounded():
    ledger = Ledger()
    calls = [call(i, 1, i) for i in range(5 * MAX_WAITING)]
    released = []
    for each in calls:
        ledger.assign(1, each)
        released += ledger.take_free()
    kept = ledger.take(1)
    assert len(kept) <= MAX_WAITING
    assert sorted((*released, *kept), key=IN_ORDER) == calls


@pytest.mark.skipif(not hasattr(StreamBuffer, "lend"), reason="compiled, a call of C: test_compiled.py")
def test_of_lent_bytes_only_what_is_left_is_kept():
    stream, _ = buffer()
    stream.lend(call(0, 9), b"abcdef-ghi", 6)
    assert (len(stream), stream.gap, stream.data) == (6, 3, b"")
    stream.consume(4)
    stream.keep()
    assert (stream.data, stream.offset, stream.position) == (b"ef", 0, 4)
    assert stream.skip(9) == 5
    stream.lend(call(9, 2), b"xy", 2)
    stream.consume(2)
    stream.keep()
    assert (stream.data, stream.size, stream.position) == (b"", 0, 11)


@st.composite
def histories(draw):
    """Appends and consumptions in any order, with losses and uncaptured tails."""
    steps, position = [], 0
    for _ in range(draw(st.integers(1, 25))):
        if draw(st.booleans()):
            position += draw(st.sampled_from([0, 0, 0, 3]))
            payload = draw(st.binary(max_size=6))
            size = len(payload) + draw(st.sampled_from([0, 0, 4]))
            if size:
                steps.append(("append", position, size, payload))
                position += size
        else:
            kind = draw(st.sampled_from(["consume", "skip"]))
            steps.append((kind, draw(st.integers(0, 12)), draw(st.sampled_from([None, 1, 2]))))
    return steps


def appended_to(stream, detail, payload):
    return stream.append(detail, payload)


def lent_to(stream, detail, payload):
    """As a source does that has it in memory of its own, which is lent while nobody reads."""
    taken = stream.lend(detail, payload + b"what is next in that memory", len(payload))
    stream.keep()
    return taken


LENDS = pytest.param(
    lent_to,
    marks=pytest.mark.skipif(
        not hasattr(StreamBuffer, "lend"), reason="compiled, a call of C: test_compiled.py"
    ),
)


@pytest.mark.parametrize("put", [appended_to, LENDS])
@settings(max_examples=400, deadline=None)
@given(history=histories())
def test_it_agrees_with_a_plain_model(put, history):
    stream, ledger = buffer()
    model: dict[int, int] = {}
    appended, taken = [], []
    for step in history:
        if step[0] == "append":
            _, position, size, payload = step
            detail = call(position, size, len(appended))
            appended.append(detail)
            assert put(stream, detail, payload)
            model.update({position + i: byte for i, byte in enumerate(payload)})
        else:
            kind, size, owner = step
            if kind == "consume":
                size = min(size, len(stream))
                stream.consume(size, owner)
            else:
                before = stream.position
                assert stream.skip(size, owner) == stream.position - before <= size
        here = bytes(stream.data[stream.offset :])
        expected = bytearray()
        at = stream.position
        while at in model:
            expected.append(model[at])
            at += 1
        assert here == expected
        if at < stream.end:
            next_known = min((p for p in model if p >= at), default=stream.end)
            assert stream.gap == next_known - at
        else:
            assert stream.gap == 0
        assert stream.size == sum(1 for p in model if p >= stream.position)
        taken += ledger.take_free()
    stream.clear()
    for owner in (1, 2):
        taken += ledger.take(owner)
    taken += ledger.drain()
    assert sorted(taken, key=IN_ORDER) == appended
    assert stream.size == 0
