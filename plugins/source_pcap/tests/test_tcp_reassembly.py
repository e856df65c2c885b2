"""What one end sent, as the other end read it, whatever the capture made of the segments."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rover import Address
from rover.values.records import Closed, Detail, Direction, Opened, Role
from rover_source_pcap import tcp

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
SECOND = 1_000_000_000
TIME = 1_700_000_000_000_000_000
CLIENT, SERVER = Address(host="10.0.0.1", port=40000), Address(host="10.0.0.2", port=80)


# -- connections ---------------------------------------------------------------------------------


def test_a_conversation(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request").server(b"respo").server(b"nse").close()
    recorded = read(conversation.packets)
    (opened,) = recorded.opens
    assert opened == Opened(
        connection=1, time=TIME, local=CLIENT, remote=SERVER, role=Role.CLIENT, pid=0, late=False, detail=None
    )
    assert recorded.order == ["opened", "egress", "ingress", "ingress", "egress", "ingress", "closed"]
    assert recorded.egress.pieces == [(0, 7, b"request"), (7, 0, b"")]
    assert recorded.ingress.pieces == [(0, 5, b"respo"), (5, 3, b"nse"), (8, 0, b"")]
    first = recorded.details[0]
    assert first == Detail(
        connection=1,
        sequence=0,
        start=TIME + 3_000_000,
        end=TIME + 3_000_000,
        position=0,
        size=7,
        pid=0,
        fd=-1,
        syscall=0,
        direction=Direction.EGRESS,
        error=0,
    )
    (closed,) = recorded.closes
    assert closed == Closed(connection=1, time=TIME + 7_000_000, reset=False, detail=None)


def test_a_connection_that_carried_nothing_is_not_reported(talk: Any, read: Any) -> None:
    conversation = talk().open()
    conversation.segment("client", flags=RST)
    assert read(conversation.packets).order == []


def test_a_connection_without_a_byte_that_ended_in_order_is(talk: Any, read: Any) -> None:
    assert read(talk().open().close().packets).order == ["opened", "egress", "ingress", "closed"]


def test_the_same_capture_gives_the_same_records(talk: Any, read: Any) -> None:
    packets = talk().open().client(b"a").close().packets + talk(ports=(2, 3)).open().server(b"b").packets
    assert read(packets).everything() == read(packets).everything()


@pytest.mark.parametrize(
    ("ports", "first", "local"),
    [((40000, 80), "client", 40000), ((40000, 80), "server", 40000), ((80, 40000), "client", 40000)],
)
def test_joined_late_the_higher_port_is_taken_for_the_client(
    talk: Any, read: Any, ports: tuple[int, int], first: str, local: int
) -> None:
    conversation = talk(ports=ports)
    conversation.segment(first, b"xy")
    (opened,) = read(conversation.packets).opens
    assert opened.local.port == local
    assert opened.role is None
    assert opened.late


def test_joined_late_on_equal_ports_whoever_spoke_first_is_local(talk: Any, read: Any) -> None:
    (opened,) = read(talk(ports=(7, 7)).server(b"x").packets).opens
    assert opened.local.host == "10.0.0.2"


@pytest.mark.parametrize("ports", [(40000, 80), (80, 40000)])
@pytest.mark.parametrize("missing", ["SYN", "answer"])
def test_either_half_of_a_handshake_tells_the_client(
    talk: Any, read: Any, ports: tuple[int, int], missing: str
) -> None:
    conversation = talk(ports=ports).open().client(b"request").server(b"response")
    del conversation.packets[0 if missing == "SYN" else 1]
    recorded = read(conversation.packets)
    (opened,) = recorded.opens
    assert (opened.local.host, opened.role, opened.late) == ("10.0.0.1", Role.CLIENT, False)
    assert recorded.egress.pieces == [(0, 7, b"request")]
    assert recorded.ingress.pieces == [(0, 8, b"response")]


def test_a_handshake_out_of_order(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request").server(b"response")
    packets = conversation.packets
    for order in ([1, 0, 2, 3, 4], [2, 1, 0, 3, 4], [3, 0, 1, 2, 4], [3, 4, 0, 1, 2]):
        recorded = read([packets[index] for index in order])
        assert len(recorded.opens) == 1, order
        assert recorded.opens[0].local == CLIENT
        assert recorded.egress.data == b"request"
        assert recorded.ingress.data == b"response"
        assert not recorded.egress.gaps + recorded.ingress.gaps


def test_data_with_the_syn(talk: Any, read: Any) -> None:
    """RFC 7413."""
    conversation = talk()
    conversation.segment("client", b"request", flags=SYN)
    conversation.segment("server", flags=SYN | ACK)
    conversation.server(b"response")
    recorded = read(conversation.packets)
    assert recorded.egress.pieces == [(0, 7, b"request")]
    assert recorded.ingress.pieces == [(0, 8, b"response")]


def test_a_syn_sent_again_changes_nothing(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request").server(b"response")
    packets = conversation.packets
    recorded = read([packets[0], packets[0], packets[1], *packets, packets[0], packets[1]])
    assert len(recorded.opens) == 1
    assert recorded.egress.pieces == [(0, 7, b"request")]


@pytest.mark.parametrize("joined_late", [False, True])
@pytest.mark.parametrize(
    ("ended", "begin"),
    [("open", 500_000), ("FIN", 500_000), ("RST", 500_000), ("FIN", 1000), ("RST", 1000)],
)
def test_ports_used_again(talk: Any, read: Any, joined_late: bool, ended: str, begin: int) -> None:
    """Once it has ended, even the same SYN opens another connection."""
    first = talk().open().client(b"old").server(b"old")
    if ended == "FIN":
        first.close()
    elif ended == "RST":
        first.segment("server", flags=RST)
    second = talk(client=begin, server=begin * 7).open().client(b"new").server(b"new")
    recorded = read(first.packets[3 if joined_late else 0 :] + second.packets)
    assert [opened.connection for opened in recorded.opens] == [1, 2]
    assert [closed.connection for closed in recorded.closes] == [1, 2]
    assert recorded.order.index("closed") < recorded.order.index("opened", 1)
    assert recorded.stream(Direction.EGRESS, 2).data == b"new"
    assert recorded.stream(Direction.INGRESS, 2).data == b"new"
    assert recorded.stream(Direction.EGRESS, 1).data == b"old"


def test_ports_used_again_without_the_syn(talk: Any, read: Any) -> None:
    first = talk().open().client(b"old").server(b"old")
    second = talk(client=600_000, server=700_000).open().client(b"new").server(b"new")
    recorded = read(first.packets + second.packets[1:])
    assert len(recorded.opens) == 2
    assert recorded.stream(Direction.EGRESS, 2).pieces == [(0, 3, b"new")]
    assert not recorded.opens[1].late


def test_a_forged_answer_to_the_syn_changes_nothing(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request").server(b"res")
    conversation.segment("server", b"evil", flags=SYN | ACK, seq=5, ack=1001)
    conversation.server(b"ponse")
    recorded = read(conversation.packets)
    assert len(recorded.opens) == 1
    assert recorded.ingress.data == b"response"
    assert recorded.counters["bogus_syn"] == 1


def test_a_second_answer_before_any_data_replaces_the_first(talk: Any, read: Any) -> None:
    conversation = talk()
    conversation.segment("client", flags=SYN)
    conversation.segment("server", flags=SYN | ACK, seq=77, ack=1001)
    conversation.segment("server", flags=SYN | ACK)
    recorded = read(conversation.client(b"request").server(b"response").packets)
    assert len(recorded.opens) == 1
    assert recorded.ingress.pieces == [(0, 8, b"response")]


def test_addresses_that_differ_in_anything_are_other_connections(build: Any, read: Any) -> None:
    packets = [
        build.ipv4(build.tcp(b"1!")),
        build.ipv4(build.tcp(b"2!"), source="10.0.0.3"),
        build.ipv4(build.tcp(b"3!"), destination="10.0.0.3"),
        build.ipv4(build.tcp(b"4!", ports=(40001, 80))),
        build.ipv4(build.tcp(b"5!", ports=(40000, 81))),
        build.ipv6(build.tcp(b"6!")),
    ]
    recorded = read(packets, link_type=101)
    assert [recorded.stream(Direction.EGRESS, n).data for n in range(1, 7)] == [
        b"%d!" % n for n in range(1, 7)
    ]


def test_one_packet_seen_in_several_places_is_one(build: Any, read: Any) -> None:
    """A capture of many interfaces sees a packet with and without its tags and tunnels."""
    inner = build.ipv4(build.tcp(b"request"))
    tunnel = build.udp(b"\x08\0\0\0\0\0\x2a\0" + build.ethernet(inner))
    packets = [
        build.ethernet(build.ipv4(tunnel, protocol=17, source="192.0.2.1")),
        build.ethernet(b"\0\x07\x08\0" + inner, kind=0x8100),
        build.ethernet(inner),
    ]
    recorded = read(packets)
    assert recorded.egress.pieces == [(0, 7, b"request")]
    assert len(recorded.opens) == 1


def test_ipv4_mapped_addresses_are_ipv4(build: Any, read: Any) -> None:
    packet = build.ipv6(build.tcp(b"xy"), source="::ffff:192.0.2.1", destination="::ffff:192.0.2.2")
    (opened,) = read([packet], link_type=101).opens
    assert opened.local == Address(host="192.0.2.1", port=40000)


def test_a_connection_with_itself(build: Any, read: Any) -> None:
    """Same address and port at both ends: which end sent is not to be told, nothing else fails."""
    packets = [
        build.ipv4(
            build.tcp(b"ab", seq=100 + 2 * n, ports=(9, 9)), source="127.0.0.1", destination="127.0.0.1"
        )
        for n in range(3)
    ]
    recorded = read(packets, link_type=101)
    assert recorded.egress.data == b"ababab"
    assert recorded.order[-1] == "closed"


# -- order ---------------------------------------------------------------------------------------


def test_segments_out_of_order(talk: Any, read: Any) -> None:
    conversation = talk().open()
    for payload in (b"aa", b"bb", b"cc", b"dd"):
        conversation.client(payload)
    first, second, third, fourth = conversation.packets[3:]
    recorded = read([*conversation.packets[:3], first, fourth, third, second])
    assert recorded.egress.pieces == [(0, 2, b"aa"), (2, 2, b"bb"), (4, 2, b"cc"), (6, 2, b"dd")]
    # They could be read when the second had come, and not before.
    assert [detail.end - TIME for detail in recorded.details] == [3_000_000, *[6_000_000] * 3]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([(0, b"abc"), (0, b"abc")], b"abc"),
        ([(0, b"abc"), (0, b"XYZd")], b"abcd"),
        ([(0, b"abc"), (2, b"Xde")], b"abcde"),
        ([(0, b"abc"), (1, b"X")], b"abc"),
        ([(2, b"cd"), (0, b"abXX")], b"abcd"),
        ([(2, b"cd"), (0, b"abXXef")], b"abcdef"),
        ([(2, b"cd"), (3, b"Xe"), (0, b"ab")], b"abcde"),
        ([(1, b"b"), (3, b"d"), (5, b"f"), (0, b"aXcXeXg")], b"abcdefg"),
        ([(4, b"e"), (2, b"cdX"), (1, b"bX"), (0, b"aX")], b"abcde"),
        ([(2, b"c"), (2, b"Xd"), (0, b"ab")], b"abcd"),
    ],
)
def test_overlaps_what_was_first_stays(
    talk: Any, read: Any, segments: list[tuple[int, bytes]], expected: bytes
) -> None:
    conversation = talk().open()
    for offset, payload in segments:
        conversation.segment("client", payload, seq=1001 + offset)
    recorded = read(conversation.packets)
    assert recorded.egress.data == expected
    assert not recorded.egress.gaps


@pytest.mark.parametrize("begin", [0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFB, 0x7FFFFFFE])
def test_sequence_numbers_wrap_around(talk: Any, read: Any, begin: int) -> None:
    conversation = talk(client=begin, server=begin).open()
    conversation.client(b"aaa").client(b"bbb").client(b"ccc")
    packets = conversation.server(b"AAA").server(b"BBB").server(b"CCC").close().packets
    for order in ([3, 4, 5, 6, 7, 8], [5, 4, 3, 8, 7, 6]):
        recorded = read(packets[:3] + [packets[index] for index in order] + packets[9:])
        assert recorded.egress.data == b"aaabbbccc"
        assert recorded.ingress.data == b"AAABBBCCC"
        assert recorded.egress.ended
        assert recorded.ingress.ended


def test_keep_alives_and_window_probes(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"abc")
    conversation.segment("client", seq=1003)  # a keep-alive without data
    conversation.segment("client", b"\0", seq=1003)  # and with (RFC 9293 section 3.8.4)
    conversation.segment("client", b"d", seq=1004)  # a probe of a closed window
    conversation.segment("client", b"de", seq=1004)
    assert read(conversation.packets).egress.data == b"abcde"


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\n", b"G"])
@pytest.mark.parametrize("answered", [True, False])
def test_a_keep_alive_first_of_all_is_no_beginning(
    talk: Any, read: Any, garbage: bytes, answered: bool
) -> None:
    conversation = talk()
    conversation.segment("client", garbage, seq=999)
    if answered:
        conversation.segment("server", ack=1000)
    recorded = read(conversation.client(b"request").packets)
    assert recorded.egress.pieces == [(0, 7, b"request")]


def test_a_byte_that_was_pushed_is_no_keep_alive(talk: Any, read: Any) -> None:
    recorded = read(talk().client(b"r").client(b"equest").packets)
    assert recorded.egress.data == b"request"


def test_a_keep_alive_behind_bytes_that_were_not_captured(talk: Any, read: Any) -> None:
    """Its byte repeats one the server has, and may hold anything: the gap stays whole."""
    conversation = talk().open().client(b"abc").client(b"def")
    conversation.segment("server")
    conversation.segment("client", b"\0", seq=1006)
    conversation.segment("server")
    conversation.client(b"ghi")
    recorded = read([p for n, p in enumerate(conversation.packets) if n != 4])
    assert recorded.egress.pieces == [(0, 3, b"abc"), (6, 3, b"ghi")]
    assert recorded.counters["keep_alive"] == 1


def test_urgent_data_are_data(talk: Any, read: Any) -> None:
    conversation = talk().open()
    conversation.segment("client", b"abc", flags=ACK | 0x20)
    assert read(conversation.packets).egress.data == b"abc"


def test_segments_from_elsewhere_are_not_believed(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"abc")
    conversation.segment("client", b"evil", seq=1004 + (1 << 30) + 1)
    conversation.segment("client", b"evil", seq=1004 - (1 << 30) - 1)
    recorded = read(conversation.client(b"def").packets)
    assert recorded.egress.data == b"abcdef"
    assert recorded.counters["out_of_window"] == 2


# -- gaps ----------------------------------------------------------------------------------------


def test_a_hole_the_other_end_acknowledged_is_a_gap_at_once(talk: Any, read: Any) -> None:
    """So the next response does not come before the request it answers."""
    conversation = talk().open().client(b"a" * 10).client(b"b" * 10).client(b"c" * 10)
    conversation.server(b"response")
    del conversation.packets[4]
    recorded = read(conversation.packets)
    assert recorded.egress.pieces == [(0, 10, b"a" * 10), (20, 10, b"c" * 10)]
    assert recorded.order == ["opened", "egress", "egress", "ingress", "closed"]
    assert recorded.counters["gaps"] == 1
    assert recorded.counters["gap_bytes"] == 10


def test_a_hole_acknowledged_in_part_is_waited_for(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"a" * 10)
    conversation.segment("client", b"c" * 10, seq=1021)
    conversation.segment("server", ack=1016)
    conversation.segment("client", b"b" * 10, seq=1011)
    recorded = read(conversation.packets)
    assert recorded.egress.data == b"a" * 10 + b"b" * 10 + b"c" * 10
    assert not recorded.egress.gaps


def test_an_acknowledgement_seen_before_the_data_is_no_gap(talk: Any, read: Any) -> None:
    conversation = talk().open()
    conversation.segment("server", ack=1011)
    assert not read(conversation.client(b"a" * 10).packets).egress.gaps


def test_bytes_never_captured_before_the_next_are_a_gap(talk: Any, read: Any) -> None:
    """The acknowledgement came first, then data far ahead."""
    conversation = talk().open()
    conversation.segment("server", ack=1501)
    conversation.segment("client", b"later", seq=1501)
    assert read(conversation.packets).egress.pieces == [(500, 5, b"later")]


@pytest.mark.parametrize("end", ["RST", "SYN", "end of file"])
def test_at_the_end_what_waits_is_delivered_behind_its_gap(talk: Any, read: Any, end: str) -> None:
    conversation = talk().open().client(b"a" * 10)
    conversation.segment("client", b"c" * 10, seq=1021)
    if end == "RST":
        conversation.segment("server", flags=RST)
    elif end == "SYN":
        conversation.segment("client", flags=SYN, seq=500_000)
    recorded = read(conversation.packets)
    assert recorded.egress.pieces == [(0, 10, b"a" * 10), (20, 10, b"c" * 10)]
    assert [closed.reset for closed in recorded.closes] == [end == "RST"]


def test_bytes_missing_before_a_fin_are_told(talk: Any, read: Any) -> None:
    """No data follow to show the gap by their position, so its bytes are a detail without payload."""
    conversation = talk().open().client(b"request").server(b"a" * 10).server(b"b" * 10).close()
    del conversation.packets[5]
    recorded = read(conversation.packets)
    assert recorded.ingress.pieces == [(0, 10, b"a" * 10), (10, 10, b""), (20, 0, b"")]
    assert recorded.ingress.gaps == [(10, 10)]


def test_a_fin_waits_for_what_precedes_it(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"a" * 10).client(b"b" * 10)
    conversation.segment("client", flags=FIN | ACK)
    packets = conversation.packets
    recorded = read([*packets[:4], packets[5], packets[4]])
    assert recorded.egress.pieces == [(0, 10, b"a" * 10), (10, 10, b"b" * 10), (20, 0, b"")]


def test_a_hole_is_not_waited_for_longer_than_a_minute(talk: Any, read: Any) -> None:
    conversation = talk().open()
    conversation.segment("client", b"b", seq=1002)
    conversation.segment("client", b"c", seq=1003)
    conversation.segment("client", b"d", seq=1004)
    times = [TIME] * 4 + [TIME + 59 * SECOND, TIME + 61 * SECOND]
    recorded = read(conversation.packets, times=times)
    assert recorded.egress.pieces == [(1, 1, b"b"), (2, 1, b"c"), (3, 1, b"d")]
    assert [detail.end - TIME for detail in recorded.details] == [61 * SECOND] * 3


def test_a_hole_that_moves_is_waited_for_anew(talk: Any, read: Any) -> None:
    """A segment far ahead, perhaps forged, must not make a gap of a stream that flows."""
    conversation = talk().open()
    conversation.segment("client", b"far", seq=9000)
    for _ in range(5):
        conversation.client(b"x")
    times = [TIME] * 4 + [TIME + 40 * SECOND * n for n in range(1, 6)]
    recorded = read(conversation.packets, times=times)
    assert [detail.end - TIME for detail in recorded.details[:5]] == [40 * SECOND * n for n in range(1, 6)]
    assert recorded.egress.data == b"xxxxxfar"


def test_what_waits_behind_a_hole_is_bounded(talk: Any, read: Any) -> None:
    conversation = talk().open()
    size = 60_000
    for index in range(30):
        conversation.segment("client", bytes(size), seq=2001 + index * size)
    recorded = read(conversation.packets)
    assert recorded.egress.gaps == [(0, 1000)]
    waited = (recorded.details[0].end - TIME) // 1_000_000 - 3
    assert waited == tcp.MAX_HELD // size
    assert len(recorded.egress.data) == 30 * size


def test_what_waits_in_all_connections_is_bounded(
    talk: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "MAX_HELD_TOTAL", 200_000)
    packets = []
    for port in range(10):
        conversation = talk(ports=(40000 + port, 80)).open()
        conversation.segment("client", bytes(60_000), seq=2000)
        packets += conversation.packets
    recorded = read(packets)
    # Three fit; each that comes after gives up its own hole, at once.
    assert [opened.connection for opened in recorded.opens][:7] == [1, 2, 3, 4, 5, 6, 7]
    at_once = [detail for detail in recorded.details if detail.end < TIME + 39 * 1_000_000]
    assert len(at_once) == 6


def test_segments_cut_by_the_snap_length_are_gaps(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"a" * 100).client(b"b" * 100).close()
    recorded = read(conversation.packets, snap=14 + 40 + 30)
    assert recorded.egress.pieces == [(0, 100, b"a" * 30), (100, 100, b"b" * 30), (200, 0, b"")]
    recorded = read(conversation.packets, snap=14 + 40)
    assert recorded.egress.pieces == [(0, 100, b""), (100, 100, b""), (200, 0, b"")]


def test_cut_segments_out_of_order(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"a" * 100).client(b"b" * 100)
    packets = conversation.packets
    recorded = read([*packets[:3], packets[4], packets[3]], snap=14 + 40 + 30)
    assert recorded.egress.pieces == [(0, 100, b"a" * 30), (100, 100, b"b" * 30)]


def test_options_that_were_not_captured_are_still_counted(build: Any, read: Any) -> None:
    packet = build.ipv4(build.tcp(b"hello", options=bytes(40)))
    recorded = read([packet], link_type=101, snap=50)
    assert recorded.egress.pieces == [(0, 5, b"")]


# -- by when lost bytes had moved: what the sequence numbers leave out -------------------------------


def numbered(recorded: Any) -> list[tuple[str, int, int]]:
    """(direction, sequence, position) of every record."""
    return [("egress" if d.direction else "ingress", d.sequence, d.position) for d in recorded.details]


def test_a_whole_capture_leaves_no_number_out(talk: Any, read: Any) -> None:
    conversation = talk().open()
    for _ in range(3):
        conversation.client(b"request").server(b"respo").server(b"nse")
        conversation.segment("client")
    recorded = read(conversation.close().packets)
    assert [d.sequence for d in recorded.details] == list(range(len(recorded.details)))


@pytest.mark.parametrize("joined_late", [False, True])
@pytest.mark.parametrize("acknowledged_alone", [False, True])
def test_the_request_that_acknowledges_a_lost_response_was_sent_after_it(
    talk: Any, read: Any, joined_late: bool, acknowledged_alone: bool
) -> None:
    conversation = talk().open().client(b"r1").server(b"s1s1")
    lost = conversation.packets[-1]
    if acknowledged_alone:
        conversation.segment("client")
    conversation.client(b"r2").server(b"s2s2")
    packets = conversation.packets[3 if joined_late else 0 :]
    packets.remove(lost)
    assert numbered(read(packets)) == [("egress", 0, 0), ("egress", 2, 2), ("ingress", 3, 4)]


def test_a_request_that_does_not_acknowledge_the_lost_response_was_sent_before_it(
    talk: Any, read: Any
) -> None:
    conversation = talk().open().client(b"r1").client(b"r2").server(b"s1").server(b"s2").client(b"r3")
    del conversation.packets[5]
    # Nothing but the second response shows the gap, and the number is its.
    assert numbered(read(conversation.packets)) == [
        ("egress", 0, 0),
        ("egress", 1, 2),
        ("ingress", 3, 2),
        ("egress", 4, 4),
    ]


def test_each_loss_that_is_acknowledged_leaves_a_number_out(talk: Any, read: Any) -> None:
    conversation = talk().open()
    for _ in range(3):
        conversation.client(b"r").server(b"s")
    conversation.client(b"r").server(b"s")
    packets = [p for n, p in enumerate(conversation.packets) if n not in (4, 6, 8)]
    assert numbered(read(packets)) == [
        ("egress", 0, 0),
        ("egress", 2, 1),
        ("egress", 4, 2),
        ("egress", 6, 3),
        ("ingress", 7, 3),
    ]


def test_lost_beyond_what_was_acknowledged(talk: Any, read: Any) -> None:
    """Two responses are missing, one of them after the request that acknowledges the first."""
    conversation = talk().open().client(b"r1").server(b"s1").client(b"r2").server(b"s2").server(b"s3")
    packets = [p for n, p in enumerate(conversation.packets) if n not in (4, 6)]
    recorded = read([*packets, conversation.segment("client")])
    assert numbered(recorded) == [("egress", 0, 0), ("egress", 2, 2), ("ingress", 4, 4)]


def test_segments_out_of_order_prove_nothing_of_each_other(talk: Any, read: Any) -> None:
    """The later of two requests acknowledges the lost response, and comes first; the other does not."""
    conversation = talk().open().client(b"r1").client(b"r2").server(b"s1").client(b"r3")
    packets = conversation.packets
    recorded = read([*packets[:4], packets[6], packets[4]])
    assert numbered(recorded) == [("egress", 0, 0), ("egress", 1, 2), ("egress", 3, 4)]


def test_what_comes_later_than_what_acknowledges_it_overlaps_with_it(talk: Any, read: Any) -> None:
    """The file is then not in the order of things, and the order of its records proves nothing."""
    conversation = talk().open().client(b"r1").client(b"r2").server(b"s1").server(b"s2").client(b"r3")
    packets = conversation.packets
    recorded = read([*packets[:4], packets[5], packets[4], *packets[6:]])
    assert recorded.egress.data == b"r1r2r3"
    overlapping = [now.start < before.end for before, now in itertools.pairwise(recorded.details)]
    assert overlapping == [False, True, False, False]
    assert numbered(recorded)[1:3] == [("ingress", 2, 0), ("egress", 3, 2)]


def test_the_end_of_a_stream_is_no_byte_of_it(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"r1").server(b"s1")
    conversation.segment("server", flags=FIN | ACK)
    conversation.client(b"r2")
    assert [d.sequence for d in read(conversation.packets).details] == [0, 1, 2, 3]


def test_in_one_direction_each_acknowledgement_of_more_leaves_a_number_out(talk: Any, read: Any) -> None:
    conversation = talk().open()
    for _ in range(3):
        conversation.client(b"r").server(b"s")
    sequences = [d.sequence for d in read([conversation.packets[0], *conversation.packets[3::2]]).details]
    assert sequences == [0, 2, 4]


# -- one direction, no beginning -----------------------------------------------------------------


@pytest.mark.parametrize("seen", ["client", "server"])
@pytest.mark.parametrize("skip", [0, 3])
def test_one_direction_only(talk: Any, read: Any, seen: str, skip: int) -> None:
    conversation = talk().open()
    for n in range(4):
        conversation.client(b"request%d" % n).server(b"response%d" % n)
    conversation.close()
    source = 26  # of the address in an Ethernet frame
    address = bytes([10, 0, 0, 1 if seen == "client" else 2])
    packets = [p for p in conversation.packets[skip:] if p[source : source + 4] == address]
    recorded = read(packets)
    stream, other = (
        (recorded.egress, recorded.ingress) if seen == "client" else (recorded.ingress, recorded.egress)
    )
    word = b"request" if seen == "client" else b"response"
    assert stream.data == b"".join(word + b"%d" % n for n in range(4))
    assert not stream.gaps
    assert stream.ended
    assert not other.pieces
    assert recorded.opens[0].local == CLIENT


def test_joined_late_the_stream_begins_with_what_is_seen_first(talk: Any, read: Any) -> None:
    recorded = read(talk().client(b"request").server(b"response").packets)
    assert recorded.egress.pieces == [(0, 7, b"request")]
    assert recorded.opens[0].late


def test_joined_late_the_stream_begins_with_what_is_acknowledged_first(talk: Any, read: Any) -> None:
    """What lies between that and the first data moved in our time, or was under way: a gap, no beginning."""
    conversation = talk()
    conversation.segment("server", ack=1000)
    conversation.next["client"] += 5000
    recorded = read(conversation.client(b"request").server(b"response").packets)
    assert recorded.egress.pieces == [(5000, 7, b"request")]
    assert recorded.ingress.pieces == [(0, 8, b"response")]
    assert recorded.opens[0].late


def test_joined_late_what_was_acknowledged_before_is_old(talk: Any, read: Any) -> None:
    conversation = talk()
    conversation.segment("server", ack=1000)
    conversation.segment("client", b"request before our time", seq=1000 - 23)
    conversation.segment("client", b"\0", seq=999)
    recorded = read(conversation.client(b"request").packets)
    assert recorded.egress.pieces == [(0, 7, b"request")]


def test_joined_late_segments_out_of_order_are_put_in_order(talk: Any, read: Any) -> None:
    """The acknowledgement seen before them tells where they begin."""
    conversation = talk().client(b"request").server(b"one").server(b"two")
    request, one, two = conversation.packets
    recorded = read([request, two, one])
    assert recorded.ingress.pieces == [(0, 3, b"one"), (3, 3, b"two")]


def test_an_acknowledgement_that_cannot_be_right_is_no_beginning(talk: Any, read: Any) -> None:
    conversation = talk()
    conversation.client(b"request", ack=9000 - (1 << 30) - 1)
    recorded = read(conversation.server(b"response").packets)
    assert recorded.ingress.pieces == [(0, 8, b"response")]


# -- ends ----------------------------------------------------------------------------------------


def test_half_closed_the_other_half_goes_on(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request")
    conversation.segment("client", flags=FIN | ACK)
    conversation.server(b"respo").server(b"nse")
    recorded = read(conversation.packets)
    assert recorded.egress.ended
    assert recorded.ingress.data == b"response"
    conversation.segment("server", flags=FIN | ACK)
    assert read(conversation.packets).closes[0].time == TIME + 7_000_000


def test_data_with_the_fin(talk: Any, read: Any) -> None:
    conversation = talk().open()
    conversation.segment("client", b"request", flags=FIN | ACK | PSH)
    assert read(conversation.packets).egress.pieces == [(0, 7, b"request"), (7, 0, b"")]


def test_a_fin_sent_again_changes_nothing(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request").server(b"response").close()
    packets = conversation.packets
    recorded = read([*packets, packets[-3], packets[-2], packets[-1]])
    assert recorded.order == ["opened", "egress", "ingress", "egress", "ingress", "closed"]


def test_nothing_follows_a_fin(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request")
    conversation.segment("client", flags=FIN | ACK)
    recorded = read(conversation.client(b"more").packets)
    assert recorded.egress.data == b"request"


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_reset(talk: Any, read: Any, end: str) -> None:
    conversation = talk().open().client(b"request").server(b"resp")
    conversation.segment(end, flags=RST | ACK)
    recorded = read(conversation.server(b"onse").packets)
    assert recorded.closes == [Closed(connection=1, time=TIME + 5_000_000, reset=True, detail=None)]
    assert recorded.ingress.data == b"resp"
    assert not recorded.ingress.ended


def test_a_reset_from_elsewhere_is_not_believed(talk: Any, read: Any) -> None:
    conversation = talk().open().client(b"request")
    conversation.segment("server", flags=RST, seq=123_456_789)
    recorded = read(conversation.server(b"response").packets)
    assert recorded.ingress.data == b"response"
    assert recorded.counters["bogus_rst"] == 1


def test_a_reset_where_the_stream_is_not_known_is_believed(talk: Any, read: Any) -> None:
    conversation = talk().client(b"request", ack=9000)
    conversation.segment("server", flags=RST, seq=9000 + (1 << 22))  # much was under way
    assert read(conversation.packets).closes[0].reset


def test_a_reset_of_nothing_begins_nothing(talk: Any, read: Any) -> None:
    conversation = talk()
    conversation.segment("client", flags=RST)
    assert read(conversation.packets).order == []


def test_what_lingers_after_the_end_belongs_to_it(talk: Any, read: Any) -> None:
    """For a minute; then the ports may be another connection's."""
    conversation = talk().open().client(b"request").server(b"response").close()
    packets = conversation.packets
    late = [packets[3], packets[4]]
    times = [TIME] * len(packets) + [TIME + 50 * SECOND] * 2
    assert len(read(packets + late, times=times).opens) == 1


def test_silence_ends_a_connection(build: Any, talk: Any) -> None:
    """After an hour, and the memory of one that ended after a minute."""
    assembler = tcp.Assembler()
    from_source: list[Any] = []

    class Handler:
        def opened(self, opened: Any) -> None:
            from_source.append("opened")

        def data(self, detail: Any, payload: bytes) -> None:
            from_source.append("data")

        def closed(self, closed: Any) -> None:
            from_source.append(closed.time)

    assembler.handler = Handler()  # type: ignore[assignment]
    segment = build.tcp(b"xy")
    assembler.segment(0, b"abcdefgh\x9c\x40\0\x50", segment, 0, len(segment), 0)
    assembler.age(tcp.MAX_IDLE, 10)
    assert from_source == ["opened", "data"]
    assembler.age(tcp.MAX_IDLE + tcp.AGE_INTERVAL, 10)
    assert from_source == ["opened", "data", tcp.MAX_IDLE + tcp.AGE_INTERVAL]
    assembler.finish(0)
    assert len(from_source) == 3


def test_connections_are_bounded_and_the_silent_ones_go(
    talk: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 8)
    packets = []
    busy = talk(ports=(1, 2)).open()
    packets += busy.packets
    for port in range(100):
        packets += talk(ports=(40000 + port, 80)).open().client(b"x").packets
        before = len(busy.packets)
        packets += busy.client(b"y").packets[before:]
    recorded = read(packets)
    assert len(recorded.opens) == 101
    assert recorded.counters["connections_evicted"] >= 90
    # The one that always has something to say is never among them.
    connection = next(o.connection for o in recorded.opens if o.remote.port == 2)
    assert recorded.stream(Direction.EGRESS, connection).data == b"y" * 100


# -- what is no TCP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "segment",
    [b"", bytes(19), bytes(12) + b"\x40" + bytes(30), bytes(12) + b"\xf0" + bytes(7)],
    ids=["nothing", "short", "header of 16", "header beyond the packet"],
)
def test_malformed_headers_are_counted(build: Any, read: Any, segment: bytes) -> None:
    recorded = read([build.ipv4(segment)], link_type=101)
    assert recorded.order == []
    assert recorded.counters["bad_tcp"] == 1
