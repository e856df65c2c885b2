"""Quantiles are within 3 % of those of the durations themselves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from rover_plugin_top.counting import bucket_of, middle
from rover_plugin_top.histogram import quantiles

DURATIONS = st.integers(0, (1 << 62) - 1) | st.integers(0, 10_000_000)
WITHIN = 0.016
"""Half of a bucket, as a share of a duration in it."""


def nearest_rank(durations: list[int], share: float) -> int:
    """By its definition: the smallest that this share of all does not exceed."""
    ordered = sorted(durations)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@given(DURATIONS)
def test_the_middle_of_a_bucket_is_near_everything_in_it(duration):
    assert abs(middle(bucket_of(duration)) - duration) <= WITHIN * duration


@given(DURATIONS, DURATIONS)
def test_longer_durations_have_later_buckets(one, other):
    shorter, longer = sorted((one, other))
    assert bucket_of(shorter) <= bucket_of(longer)


@given(DURATIONS)
def test_a_bucket_is_that_of_its_middle(duration):
    bucket = bucket_of(duration)
    assert bucket_of(middle(bucket)) == bucket


def test_a_clock_that_goes_backwards_is_no_time():
    assert bucket_of(-5) == bucket_of(0) == 0


@given(st.lists(DURATIONS, min_size=1, max_size=200))
def test_quantiles_are_those_of_the_durations(durations):
    histogram: dict[int, int] = {}
    for duration in durations:
        bucket = bucket_of(duration)
        histogram[bucket] = histogram.get(bucket, 0) + 1
    shares = (0.0, 0.5, 0.95, 0.99, 1.0)
    for share, found in zip(shares, quantiles(histogram, shares), strict=True):
        expected = nearest_rank(durations, share)
        assert abs(found - expected) <= WITHIN * expected


def test_of_nothing_they_are_nothing():
    assert quantiles({}, (0.5, 0.99)) == [0, 0]
