"""Captures that nobody here made, from the directory that ROVER_CAPTURES names: cut again, thinned out,
cut short, damaged. What they hold is not known; what must not change is."""

from __future__ import annotations

import ipaddress
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from captures import (
    Ends,
    Replayed,
    Replayer,
    Segment,
    random_sizes,
    read_segments,
    recut,
    thin,
    write_capture,
)
from rover.contracts.protocol import Verdict
from rover_plugin_http1.sniff import sniff as sniff_http1
from rover_plugin_http2.sniff import sniff as sniff_http2

DIRECTORY = os.environ.get("ROVER_CAPTURES", "")
SMALL = 50_000
"""Bytes of payload up to which a capture is also cut byte by byte: each takes some 20 us."""
LARGEST = 64 << 20
SEEDS = range(int(os.environ.get("ROVER_CAPTURES_SEEDS", "4")))
"""How many times each capture is thinned out."""

pytestmark = [
    pytest.mark.skipif(not DIRECTORY, reason="ROVER_CAPTURES names no directory of captures"),
    pytest.mark.timeout(600),
]


def files() -> list[Path]:
    found = Path(DIRECTORY).rglob("*") if DIRECTORY else []
    wanted = (path for path in found if ".pcap" in path.name or ".cap" in path.name or ".trace" in path.name)
    return sorted(path for path in wanted if path.is_file() and path.stat().st_size <= LARGEST)


@pytest.fixture(scope="module")
def replayer() -> Replayer:
    return Replayer()


@pytest.fixture(params=files() or [None], ids=lambda path: path.name if path else "none")
def capture(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.fail(f"no captures in {DIRECTORY}")
    path: Path = request.param
    return path


@pytest.fixture
def segments(capture: Path) -> list[Segment]:
    return read_segments(capture)


def ends_of(segment: Segment) -> Ends:
    ends = []
    for end in segment.line:
        address = ipaddress.ip_address(end[:-2])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        ends.append((str(mapped or address), int.from_bytes(end[-2:], "big")))
    return frozenset(ends)


def begins_otherwise(segments: list[Segment]) -> set[Ends]:
    """Connections that open with something else (SOCKS, a banner): how far recognition goes into them
    is counted in calls, of which a capture that is cut again has more."""
    seen: set[bytes] = set()
    found: set[Ends] = set()
    for segment in segments:
        if segment.payload and segment.key not in seen:
            seen.add(segment.key)
            if all(sniff(segment.payload) is Verdict.NO for sniff in (sniff_http1, sniff_http2)):
                found.add(ends_of(segment))
    return found


def count(replayed: Replayed, without: set[Ends]) -> Counter[object]:
    return Counter(row for row in replayed.rows if row[0] not in without)


def test_written_anew_it_is_the_same(capture, segments, replayer, tmp_path):
    assert replayer(write_capture(tmp_path / "x", segments)).rows == replayer(capture).rows


def test_cut_anew_it_is_the_same(segments, replayer, tmp_path):
    whole = replayer(write_capture(tmp_path / "x", segments))
    ways = [random_sizes(1, 300), random_sizes(2, 20)]
    if sum(segment.size for segment in segments) <= SMALL:
        ways.append(lambda: 1)
    other = begins_otherwise(segments)
    for sizes in ways:
        cut = replayer(write_capture(tmp_path / "x", recut(segments, sizes)))
        assert count(cut, other) == count(whole, other)
        assert cut.broken - other == whole.broken - other


@pytest.mark.parametrize("seed", SEEDS)
def test_thinned_out_it_holds_nothing_new(segments, replayer, tmp_path, seed):
    """And it holds what was complete before the first loss, and every connection without one."""
    whole = replayer(write_capture(tmp_path / "x", segments))
    generator = random.Random(seed)
    share = (0.01, 0.05, 0.2, 0.5)[seed % 4]
    kept, dropped = thin(segments, lambda _: generator.random() < share)
    replayed = replayer(write_capture(tmp_path / "x", kept))
    # After a break there is another protocol, or a tunnel with HTTP in it: whoever misses what led
    # there reads on.
    known = Counter((ends, row[:3]) for ends, row in whole.rows)
    found = Counter(
        (ends, row[:3])
        for ends, row in replayed.rows
        if row.outcome != "aborted" and not row.assumed and ends not in whole.broken
    )
    assert not found - known
    first = segments.index(dropped[0]) if dropped else len(segments)
    before = replayer(write_capture(tmp_path / "x", segments[:first]))
    complete = Counter((ends, row[:3]) for ends, row in before.rows if row.outcome == "complete")
    assert not complete - Counter((ends, row[:3]) for ends, row in replayed.rows)
    hit = {ends_of(segment) for segment in dropped} | begins_otherwise(segments)
    assert count(replayed, hit) == count(whole, hit)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cut_short_it_holds_the_same_up_to_there(segments, replayer, tmp_path, share):
    """The end of a capture is the end of its connections: what was complete by then is the same."""
    whole = replayer(write_capture(tmp_path / "x", segments))
    replayed = replayer(write_capture(tmp_path / "x", segments[: int(len(segments) * share)]))
    known = Counter((ends, row[:3]) for ends, row in whole.rows)
    found = Counter((ends, row[:3]) for ends, row in replayed.rows if row.outcome == "complete")
    assert not found - known


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_it_ends_with_an_error_at_worst(capture, replayer, tmp_path, seed):
    data = bytearray(capture.read_bytes()[: 1 << 20])
    generator = random.Random(seed)
    for _ in range(1 + len(data) // 500):
        data[generator.randrange(len(data))] = generator.randrange(256)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(data)
    replayer(damaged)
