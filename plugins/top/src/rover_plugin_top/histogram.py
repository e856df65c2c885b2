"""Log-linear histograms: durations counted in buckets that are at most 3.2 % wide, at any magnitude.

Each power of two has 32 buckets, so the middle of a bucket is at most 1.6 % from any duration in it
(HdrHistogram, Gil Tene, is laid out like this). A histogram is a dict from bucket to count: durations are
mostly of two or three magnitudes, which is few of the 1,900 buckets that 64 bits can need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rover_plugin_top.counting import middle


def quantiles(histogram: Mapping[int, int], wanted: Sequence[float]) -> list[int]:
    """The durations (ns) of these ranks, which are shares of all, from 0 to 1, and ascend. It is the nearest
    rank, that of a duration that was counted; 0 where nothing was."""
    total = sum(histogram.values())
    if not total:
        return [0] * len(wanted)
    found: list[int] = []
    below = 0
    buckets = iter(sorted(histogram))
    bucket = 0
    for share in wanted:
        rank = max(-(-total * share // 1), 1)
        while below < rank:
            bucket = next(buckets)
            below += histogram[bucket]
        found.append(middle(bucket))
    return found
