"""A packet whose time is not like its neighbours' costs nothing but its time."""

from __future__ import annotations

import logging
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.values.records import MAX_NUMBER
from rover_source_pcap.packet_times import PacketTimes

SECOND = 1_000_000_000
NOW = 1_700_000_000
DAY = 86_400
YEAR_2116 = MAX_NUMBER // SECOND


def judged(seconds: list[int]) -> tuple[list[int], int]:
    """The times that are taken, in seconds since NOW, and how many were not believed."""
    times, taken, now = PacketTimes(), list[tuple[int, ...]](), 0
    for number, time in enumerate(seconds):
        for packet in times.judge(((NOW + time) * SECOND, 1, b"", number, 0, 0), now):
            taken.append(packet)
            now = packet[0]
    taken += times.flush(now)
    assert [packet[3] for packet in taken] == list(range(len(seconds))), "each once, in order"
    return [packet[0] // SECOND - NOW for packet in taken], times.absurd


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([5], [5]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, DAY, 1], [0, 0, 1]),
        ([0, -DAY, 1], [0, 0, 1]),
        ([0, -NOW, 1], [0, 0, 1]),
        ([0, YEAR_2116 - NOW, 1], [0, 0, 1]),
        ([0, DAY, -DAY, 1], [0, 0, 0, 1]),
        # A pause, and captures put together, the older one last.
        ([0, DAY, DAY + 1], [0, DAY, DAY + 1]),
        ([0, DAY, 2 * DAY, 3 * DAY], [0, DAY, 2 * DAY, 3 * DAY]),
        ([0, -DAY, 1 - DAY], [0, -DAY, 1 - DAY]),
        # The first packet's, if it cannot be right and the second's can.
        ([-NOW, 0, 1], [0, 0, 1]),
        ([YEAR_2116 - NOW, 0, 1], [0, 0, 1]),
        # Times that count from the start of the capture are like each other.
        ([-NOW, 1 - NOW, 2 - NOW], [-NOW, 1 - NOW, 2 - NOW]),
        ([-NOW, 60 - NOW, 120 - NOW], [-NOW, 60 - NOW, 120 - NOW]),
        # The last packet's.
        ([0, DAY], [0, DAY]),
        ([0, -DAY], [0, 0]),
        ([0, YEAR_2116 - NOW], [0, 0]),
    ],
)
def test_a_time_far_from_its_neighbours(times: list[int], expected: list[int]) -> None:
    taken, absurd = judged(times)
    assert taken == expected
    assert absurd == sum(a != b for a, b in zip(times, expected, strict=True))


@given(st.lists(st.integers(-NOW, YEAR_2116 - NOW)))
def test_whatever_the_times_every_packet_is_taken(times: list[int]) -> None:
    judged(times)


@given(st.lists(st.integers(0, 10), min_size=1).map(sorted), st.data())
def test_one_absurd_time_changes_no_other(times: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(times) - 1))
    absurd = data.draw(st.sampled_from([-NOW, YEAR_2116 - NOW]))
    taken, _ = judged([*times[:at], absurd, *times[at:]])
    assert taken[:at] + taken[at + 1 :] == times


@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("time", [0, 4_294_967_295 * SECOND, 1_000 * SECOND])
def test_a_conversation_with_one_absurd_time(
    talk: Any, build: Any, replay: Any, caplog: pytest.LogCaptureFixture, at: int, time: int
) -> None:
    conversation = talk().open().client(b"request").server(b"response").client(b"more").close()
    times = [NOW * SECOND + n * 1_000_000 for n in range(len(conversation.packets))]
    whole = replay(build.pcap(conversation.packets, times=times))
    times[at] = time
    recorded = replay(build.pcap(conversation.packets, times=times))
    assert recorded.order == whole.order
    assert recorded.egress.data == whole.egress.data
    if 0 < at < len(times) - 1:
        assert recorded.counters["absurd_time"] == 1
    if "absurd_time" in recorded.counters:
        (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert said.endswith("1 of 9 packets have a time far from their neighbours'; that before it counts")
        assert abs(recorded.details[-1].end - NOW * SECOND) < SECOND


def test_a_fraction_of_more_than_a_second(talk: Any, build: Any, replay: Any) -> None:
    conversation = talk().open().client(b"request").server(b"response").close()
    capture = bytearray(build.pcap(conversation.packets))
    at = 24 + 4
    for _ in range(3):
        at += 16 + struct.unpack_from("<I", capture, at + 4)[0]
    struct.pack_into("<I", capture, at, 0xFFFF_FFFF)
    recorded = replay(bytes(capture))
    assert recorded.egress.data == b"request"
    assert recorded.ingress.data == b"response"
    assert recorded.counters["absurd_time"] == 1


def test_the_year_2500(talk: Any, build: Any, replay: Any) -> None:
    """pcapng counts that far; records do not."""
    ticks = [NOW * 1_000_000 + n for n in range(8)]
    ticks[4] = (NOW + 476 * 365 * DAY) * 1_000_000
    packets = talk().open().client(b"request").server(b"response").close().packets
    capture = build.section() + build.interface()
    for packet, time in zip(packets, ticks, strict=True):
        capture += build.enhanced(packet, ticks=time)
    recorded = replay(capture)
    assert recorded.error == ""
    assert recorded.order == ["opened", "egress", "ingress", "egress", "ingress", "closed"]
    assert {detail.end // SECOND for detail in recorded.details} == {NOW}
    assert recorded.counters["absurd_time"] == 1


def test_times_beyond_all_records_throughout(talk: Any, build: Any, replay: Any) -> None:
    packets = talk().open().client(b"request").server(b"response").close().packets
    capture = build.section() + build.interface()
    for n, packet in enumerate(packets):
        capture += build.enhanced(packet, ticks=0xFFFF_FFFF_FFFF_FFFF - n)
    recorded = replay(capture)
    assert recorded.ingress.data == b"response"
