"""When the reader looks into its ring again, by what came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_source_ebpf.pace import FASTEST, FEW, FULL, LONGEST, MANY, SHORTEST, Pace

MIB = 1 << 20
RING = 32 * MIB


def came(pace: Pace, records: int, gathered: int = 0, left: int = 0, *, all_taken: bool = True) -> Pace:
    pace.came(records, gathered, left, all_taken=all_taken)
    return pace


def test_it_begins_with_a_wait_for_the_kernel() -> None:
    pace = Pace(RING)
    assert (pace.few, pace.left, pace.pause) == (True, False, LONGEST)


@pytest.mark.parametrize(
    ("steps", "few"),
    [
        ([0], True),
        ([FEW - 1], True),
        # Bursts, with more than a pause between them: each is waited for.
        ([2 * LONGEST, FEW], True),
        ([2 * LONGEST, MANY, LONGEST, MANY], True),
        # Records come all the time.
        ([LONGEST / 2, FEW], False),
        ([2 * LONGEST, FEW, 0.0, FEW, MANY, FEW], False),
        # Until a pause brings little, however that began.
        ([0.0, FEW, FEW - 1], True),
        ([0.0, FEW, 0, 2 * LONGEST, MANY], True),
        ([0.0, FEW, 0, 0.0, MANY], False),
        # What came with the first record does not tell what a pause brings.
        ([0.0, FEW - 1], False),
        ([0.0, FEW - 1, FEW - 1], True),
    ],
)
def test_the_kernel_wakes_where_few_come_or_bursts(steps: list[float | int], few: bool) -> None:
    """How many seconds a wait took, or how many records a look found."""
    pace = Pace(RING)
    for step in steps:
        if isinstance(step, int):
            came(pace, step)
        else:
            pace.waited(step)
    assert pace.few == few


@pytest.mark.parametrize(
    ("counts", "pause"),
    [
        ([0], LONGEST),
        ([MANY - 1], LONGEST),
        ([MANY], LONGEST / 2),
        ([MANY, MANY], LONGEST / 4),
        ([MANY] * 10, SHORTEST),
        # It stays where half as many come, and does not swing.
        ([MANY, MANY // 2, MANY // 2], LONGEST / 2),
        ([MANY, MANY, MANY // 4 - 1], LONGEST / 2),
        ([MANY, MANY, 0, 0, 0], LONGEST),
    ],
)
def test_many_are_taken_more_often(counts: list[int], pause: float) -> None:
    pace = Pace(RING)
    for count in counts:
        came(pace, count)
    assert pace.pause == pause


def test_a_pause_that_brought_much_of_the_ring_is_followed_by_the_shortest() -> None:
    assert came(Pace(RING), 10, RING // FULL).pause == LONGEST
    assert came(Pace(RING), 10, RING // FULL + 1).pause == SHORTEST


@pytest.mark.parametrize(
    ("left", "all_taken", "at_once"),
    [(0, True, False), (RING // FULL, True, False), (RING // FULL + 1, True, True), (0, False, True)],
)
def test_no_pause_while_more_is_there_than_one_look_took(left: int, all_taken: bool, at_once: bool) -> None:
    assert came(Pace(RING), 100, 0, left, all_taken=all_taken).left == at_once


@given(
    st.sampled_from([1, 2, 8, 32, 1024]),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1024 * MIB), st.integers(0, MIB), st.booleans())),
)
def test_no_pause_is_longer_than_the_ring_has_room_for(
    mebibytes: int, looks: list[tuple[int, int, int, bool]]
) -> None:
    size = mebibytes * MIB
    pace = Pace(size)
    for records, gathered, left, all_taken in looks:
        came(pace, records, gathered, left, all_taken=all_taken)
        assert SHORTEST <= pace.pause <= LONGEST
        assert pace.pause == SHORTEST or pace.pause * FASTEST <= size
