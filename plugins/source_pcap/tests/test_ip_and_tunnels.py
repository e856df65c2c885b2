"""IPv4 and IPv6 headers, fragments, and tunnels of every kind, down to the same TCP bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_source_pcap import fragments
from rover_source_pcap.fragments import Fragments
from rover_source_pcap.ip import MAX_NESTING, Network

MAC = bytes(12)


class Segments:
    """Takes what `Network` finds, as a list of (key, segment, cut)."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes, int]] = []

    def segment(self, time: int, key: bytes, data: bytes, offset: int, end: int, cut: int) -> None:
        assert 0 <= offset <= end <= len(data)
        self.found.append((key, data[offset:end], cut))


def segments_of(*packets: bytes, cut: int = 0) -> tuple[list[tuple[bytes, bytes, int]], dict[str, int]]:
    """(segments, skipped) of packets that begin with an IP header."""
    segments = Segments()
    network = Network(segments)
    for packet in packets:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        # Other packets lie before and after it, as in a chunk of a file.
        network.packet(0, kind, b"\xff" * 7 + packet + b"\xee" * 40, 7, 7 + len(packet), cut)
    network.give_up()
    skipped = dict(network.skipped)
    if network.fragments_lost:
        skipped["fragment_lost"] = network.fragments_lost
    return segments.found, skipped


KEY4 = b"\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\0\x50"
KEY6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x20\x01\x0d\xb8" + bytes(11) + b"\x02\x9c\x40\0\x50"


def test_ipv4(build: Any) -> None:
    tcp = build.tcp(b"hello")
    assert segments_of(build.ipv4(tcp)) == ([(KEY4, tcp, 0)], {})


def test_ipv4_options(build: Any) -> None:
    tcp = build.tcp(b"hello")
    assert segments_of(build.ipv4(tcp, options=b"\x01" * 40)) == ([(KEY4, tcp, 0)], {})


def test_padding_behind_the_packet_is_not_data(build: Any) -> None:
    tcp = build.tcp()
    assert segments_of(build.ipv4(tcp) + bytes(6)) == ([(KEY4, tcp, 0)], {})
    assert segments_of(build.ipv6(tcp) + bytes(6)) == ([(KEY6, tcp, 0)], {})


def test_a_length_of_zero_is_what_was_captured(build: Any) -> None:
    """Segments that a network card is to cut up carry no length yet."""
    tcp = build.tcp(bytes(100_000))
    assert segments_of(build.ipv4(tcp, total=0)) == ([(KEY4, tcp, 0)], {})
    assert segments_of(build.ipv6(tcp, length=0)) == ([(KEY6, tcp, 0)], {})


@pytest.mark.parametrize("ip", ["ipv4", "ipv6"])
def test_bytes_not_captured_are_known_by_number(build: Any, ip: str) -> None:
    tcp = build.tcp(b"hello world")
    packet = getattr(build, ip)(tcp)
    found, _ = segments_of(packet[:-6], cut=6)
    assert found[0][1:] == (tcp[:-6], 6)
    # What the snap length took may have been padding.
    found, _ = segments_of(packet[:-6], cut=8)
    assert found[0][1:] == (tcp[:-6], 6)
    # A length beyond what was on the wire is a lie.
    found, _ = segments_of(packet[:-6], cut=0)
    assert found[0][1:] == (tcp[:-6], 0)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda p: p[:19], "bad_ip"),
        (lambda p: b"\x44" + p[1:], "bad_ip"),
        (lambda p: b"\x4f" + p[1:39], "bad_ip"),
        (lambda p: b"\x55" + p[1:], "bad_ip"),
        (lambda p: p[:2] + b"\0\x13" + p[4:], "bad_ip"),
        (lambda p: p[:9] + b"\x01" + p[10:], "not_tcp"),
        (lambda p: p[:9] + b"\x32" + p[10:], "not_tcp"),
    ],
    ids=["short", "header of 16", "header cut", "version 5", "length 19", "ICMP", "ESP"],
)
def test_what_is_no_tcp_in_ipv4(build: Any, change: Callable[[bytes], bytes], cause: str) -> None:
    segments = Segments()
    network = Network(segments)
    packet = change(build.ipv4(build.tcp(b"hello")))
    network.packet(0, 0x0800, packet, 0, len(packet), 0)
    assert not segments.found
    assert dict(network.skipped) == {cause: 1}


EXTENSIONS = {
    "hop by hop": [(0, bytes(6))],
    "hop by hop, long": [(0, b"\x02" + bytes(21))],
    "routing": [(43, bytes(6))],
    "destination": [(60, bytes(6))],
    "fragment of one": [(44, bytes(6))],
    "authentication": [(51, b"\x04" + bytes(22))],
    "mobility": [(135, bytes(6))],
    "the whole set": [(0, bytes(6)), (60, bytes(6)), (43, bytes(6)), (44, bytes(6)), (60, bytes(6))],
}


@pytest.mark.parametrize("headers", EXTENSIONS.values(), ids=EXTENSIONS)
def test_ipv6_extension_headers(build: Any, headers: list[tuple[int, bytes]]) -> None:
    """Each is (number, what follows its next-header byte); the first of that is mostly its length."""
    tcp = build.tcp(b"hello")
    payload, protocol = tcp, 6
    for number, content in reversed(headers):
        length = content if number == 51 else bytes([(len(content) + 2) // 8 - 1]) + content[1:] + b"\0"
        if number == 44:
            length = bytes(7)
        payload = bytes([protocol]) + length + payload
        protocol = number
    assert segments_of(build.ipv6(payload, protocol=protocol)) == ([(KEY6, tcp, 0)], {})


def test_extension_headers_without_end(build: Any) -> None:
    payload = b"\0" * 8 * 100 + build.tcp(b"hello")
    assert segments_of(build.ipv6(payload, protocol=0)) == ([], {"not_tcp": 1})


# -- fragments -----------------------------------------------------------------------------------


def cut4(build: Any, tcp: bytes, size: int, identification: int = 7) -> list[bytes]:
    """A datagram in fragments of `size` bytes, a multiple of 8."""
    return [
        build.ipv4(
            tcp[at : at + size],
            identification=identification,
            fragment=at // 8 | (0x2000 if at + size < len(tcp) else 0),
        )
        for at in range(0, len(tcp), size)
    ]


def cut6(build: Any, tcp: bytes, size: int, identification: int = 7) -> list[bytes]:
    return [
        build.ipv6(
            struct.pack(">BBHI", 6, 0, at | (at + size < len(tcp)), identification) + tcp[at : at + size],
            protocol=44,
        )
        for at in range(0, len(tcp), size)
    ]


@pytest.mark.parametrize("cut", [cut4, cut6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "twice"])
def test_fragments_in_any_order(build: Any, cut: Any, order: str) -> None:
    tcp = build.tcp(bytes(range(200)))
    pieces = cut(build, tcp, 24)
    if order == "backward":
        pieces.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(pieces)
    elif order == "twice":
        pieces = [piece for piece in pieces for _ in range(2)][:-1]
    found, skipped = segments_of(*pieces)
    assert [(segment, cut) for _, segment, cut in found] == [(tcp, 0)]
    assert found[0][0] in (KEY4, KEY6)
    assert not skipped


def test_fragments_of_two_datagrams_do_not_mix(build: Any) -> None:
    one, two = build.tcp(b"1" * 50), build.tcp(b"2" * 50)
    pieces = [*zip(cut4(build, one, 24, 1), cut4(build, two, 24, 2), strict=True)]
    found, _ = segments_of(*(piece for pair in pieces for piece in pair))
    assert [segment for _, segment, _ in found] == [one, two]


def test_overlapping_fragments_the_first_wins(build: Any) -> None:
    tcp = build.tcp(b"a" * 60)
    first, second, third, fourth = cut4(build, tcp, 24)
    forged = first[:20] + first[20:].replace(b"a", b"b") + b"b" * 24
    forged = build.ipv4(forged[20:], identification=7, fragment=0x2000)
    found, _ = segments_of(first, forged, third, fourth)
    assert found[0][1][20:] == b"a" * 4 + b"b" * 24 + b"a" * 32
    found, _ = segments_of(second, first, forged, third, fourth)
    assert found[0][1] == tcp


def test_a_fragment_that_never_comes_is_a_datagram_lost(build: Any) -> None:
    pieces = cut4(build, build.tcp(bytes(100)), 24)
    for index in range(len(pieces)):
        found, skipped = segments_of(*pieces[:index], *pieces[index + 1 :])
        assert (found, skipped) == ([], {"fragment_lost": 1})


def test_a_fragment_not_wholly_captured_is_none(build: Any) -> None:
    first, *_ = cut4(build, build.tcp(bytes(100)), 48)
    assert segments_of(first[:-10], cut=10) == ([], {"fragment_cut": 1})


def test_fragments_behind_the_end_are_not_believed() -> None:
    held = Fragments()
    assert held.add(0, b"k", 65_528, bytes(8), True) is None
    assert held.add(0, b"k", 8, b"tail", False) is None  # the end, before what was seen
    assert held.add(0, b"j", 8, b"tail", False) is None
    assert held.add(0, b"j", 8, b"tail and more", False) is None
    assert held.add(0, b"j", 0, b"thefirst", True) == b"thefirsttail"


def test_fragments_are_not_waited_for_in_vain() -> None:
    held = Fragments()
    assert held.add(0, b"k", 8, b"tail", False) is None
    late = fragments.MAX_AGE + 1
    assert held.add(late, b"k", 0, b"thefirst", True) is None
    assert held.lost == 1
    assert held.add(late, b"k", 8, b"last", False) == b"thefirstlast"


def test_incomplete_datagrams_are_bounded() -> None:
    """In number, and in bytes; the oldest go."""
    held = Fragments()
    for number in range(3000):
        held.add(0, struct.pack(">I", number), 8, b"tail", False)
    assert held.lost == 3000 - fragments.MAX_DATAGRAMS
    assert held.add(0, struct.pack(">I", 2999), 0, b"thefirst", True) == b"thefirsttail"
    assert held.add(0, struct.pack(">I", 0), 0, b"thefirst", True) is None
    held = Fragments()
    for number in range(600):
        held.add(0, struct.pack(">I", number), 8, bytes(60_000), True)
    held.give_up()
    assert held.lost == 600
    assert fragments.MAX_COST // 60_000 < 600


@settings(max_examples=150)
@given(
    content=st.binary(min_size=1, max_size=200),
    cuts=st.lists(st.tuples(st.integers(0, 24), st.integers(1, 25)), max_size=12),
    seed=st.randoms(use_true_random=False),
)
def test_fragments_cut_and_overlapping_anyhow_give_the_same_bytes(
    content: bytes, cuts: list[tuple[int, int]], seed: random.Random
) -> None:
    pieces = [(at * 8, (at + units) * 8) for at, units in cuts if at * 8 < len(content)]
    pieces += [(at, at + 8) for at in range(0, len(content), 8)]
    seed.shuffle(pieces)
    held = Fragments()
    wholes = [held.add(0, b"k", begin, content[begin:end], end < len(content)) for begin, end in pieces]
    assert next(whole for whole in wholes if whole is not None) == content


# -- tunnels -------------------------------------------------------------------------------------


def gre(flags: int, kind: int, fields: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, kind) + fields


VXLAN = b"\x08\0\0\0\0\0\x2a\0"
ETHERNET4 = MAC + b"\x08\0"
GTP = struct.pack(">BBHI", 0x30, 255, 60, 1)

IN_IP = {
    "4in4": (4, b""),
    "GRE": (47, gre(0, 0x0800)),
    "GRE, checksum": (47, gre(0x8000, 0x0800, bytes(4))),
    "GRE, key": (47, gre(0x2000, 0x0800, bytes(4))),
    "GRE, sequence": (47, gre(0x1000, 0x0800, bytes(4))),
    "GRE, all three": (47, gre(0xB000, 0x0800, bytes(12))),
    "GRE, Ethernet": (47, gre(0x2000, 0x6558, bytes(4)) + ETHERNET4),
    "GRE, Ethernet, VLAN": (47, gre(0, 0x6558) + MAC + b"\x81\0\0\x07\x08\0"),
    "GRE, MPLS": (47, gre(0, 0x8847) + b"\0\x01\x01\x40"),
    "GRE of PPTP": (47, gre(0x3081, 0x880B, bytes(12)) + b"\xff\x03\0\x21"),
    "GRE of PPTP, without acknowledgement": (47, gre(0x3001, 0x880B, bytes(8)) + b"\0\x21"),
    "ERSPAN I": (47, gre(0, 0x88BE) + ETHERNET4),
    "ERSPAN II": (47, gre(0x1000, 0x88BE, bytes(4)) + bytes(8) + ETHERNET4),
    "ERSPAN III": (47, gre(0x1000, 0x22EB, bytes(4)) + bytes(12) + ETHERNET4),
    "ERSPAN III, platform": (47, gre(0x1000, 0x22EB, bytes(4)) + bytes(11) + b"\x01" + bytes(8) + ETHERNET4),
}
IN_UDP = {
    "VXLAN": (4789, VXLAN + ETHERNET4),
    "VXLAN on Linux's old port": (8472, VXLAN + ETHERNET4),
    "VXLAN, VLAN": (4789, VXLAN + MAC + b"\x81\0\0\x07\x08\0"),
    "VXLAN-GPE, IPv4": (4790, b"\x0c\0\0\x01\0\0\x2a\0"),
    "VXLAN-GPE, Ethernet": (4790, b"\x0c\0\0\x03\0\0\x2a\0" + ETHERNET4),
    "Geneve": (6081, b"\0\0\x65\x58\0\0\x2a\0" + ETHERNET4),
    "Geneve, options": (6081, b"\x02\0\x65\x58\0\0\x2a\0" + bytes(8) + ETHERNET4),
    "Geneve, IPv4": (6081, b"\0\0\x08\0\0\0\x2a\0"),
    "AYIYA": (5072, b"\x42\x52\x11\x04" + bytes(4 + 16 + 20)),
    "GRE in UDP": (4754, gre(0x2000, 0x0800, bytes(4))),
    "L2TP": (1701, b"\0\x02\0\x07\0\x08\xff\x03\0\x21"),
    "L2TP, length and sequence": (1701, b"\x48\x02" + bytes(2 + 4 + 4) + b"\xff\x03\0\x21"),
    "L2TP, offset": (1701, b"\x02\x02" + bytes(4) + b"\0\x03" + bytes(3) + b"\0\x21"),
    "GTP": (2152, GTP),
    "GTP, sequence": (2152, b"\x32" + GTP[1:] + bytes(4)),
    "GTP, extensions": (2152, b"\x34" + GTP[1:] + bytes(3) + b"\x85" + b"\x01\0\0\xc0" + b"\x02" + bytes(7)),
}


@pytest.mark.parametrize(("protocol", "header"), IN_IP.values(), ids=IN_IP)
@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
def test_tunnels_in_ip(build: Any, outer: str, protocol: int, header: bytes) -> None:
    tcp = build.tcp(b"hello")
    packet = getattr(build, outer)(header + build.ipv4(tcp), protocol=protocol)
    assert segments_of(packet) == ([(KEY4, tcp, 0)], {})


@pytest.mark.parametrize(("port", "header"), IN_UDP.values(), ids=IN_UDP)
@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
@pytest.mark.parametrize("end", ["source", "destination"])
def test_tunnels_in_udp(build: Any, outer: str, end: str, port: int, header: bytes) -> None:
    tcp = build.tcp(b"hello")
    ports = (port, 50000) if end == "source" else (50000, port)
    packet = getattr(build, outer)(build.udp(header + build.ipv4(tcp), ports=ports), protocol=17)
    assert segments_of(packet) == ([(KEY4, tcp, 0)], {})


@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
def test_ipv6_in_ip(build: Any, outer: str) -> None:
    tcp = build.tcp(b"hello")
    packet = getattr(build, outer)(build.ipv6(tcp), protocol=41)
    assert segments_of(packet) == ([(KEY6, tcp, 0)], {})


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\0\0" + bytes(6),
        b"\0\1\0\0" + bytes(9),
        b"\0\1\x04\x03" + bytes(7) + bytes(9) + b"\0\0" + bytes(6),
    ],
    ids=["plain", "origin", "authentication", "both"],
)
def test_teredo(build: Any, header: bytes) -> None:
    tcp = build.tcp(b"hello")
    packet = build.ipv4(build.udp(header + build.ipv6(tcp), ports=(3544, 4000)), protocol=17)
    assert segments_of(packet) == ([(KEY6, tcp, 0)], {})


def test_tunnels_in_fragments(build: Any) -> None:
    tcp = build.tcp(b"hello" * 20)
    udp = build.udp(VXLAN + ETHERNET4 + build.ipv4(tcp))
    pieces = [
        build.ipv4(udp[at : at + 64], protocol=17, fragment=at // 8 | (0x2000 if at + 64 < len(udp) else 0))
        for at in range(0, len(udp), 64)
    ]
    assert segments_of(*pieces) == ([(KEY4, tcp, 0)], {})


def test_the_snap_length_counts_inside_tunnels_too(build: Any) -> None:
    tcp = build.tcp(b"hello world")
    packet = build.ipv4(build.udp(VXLAN + ETHERNET4 + build.ipv4(tcp)), protocol=17)
    assert segments_of(packet[:-6], cut=6) == ([(KEY4, tcp[:-6], 6)], {})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(8) + ETHERNET4,
        b"\x0c\0\0\x07" + bytes(4),
        b"\x08\0\0\0\0\0\x2a",
    ],
    ids=["nothing", "no network number", "unknown inside", "cut"],
)
def test_what_is_no_vxlan(build: Any, payload: bytes) -> None:
    assert segments_of(build.ipv4(build.udp(payload), protocol=17)) == ([], {"not_tcp": 1})


def test_tunnels_in_tunnels_have_an_end(build: Any) -> None:
    def nested(depth: int) -> bytes:
        packet: bytes = build.ipv4(build.tcp(b"hello"))
        for _ in range(depth):
            packet = build.ipv4(packet, protocol=4)
        return packet

    found, skipped = segments_of(nested(MAX_NESTING))
    assert len(found) == 1
    found, skipped = segments_of(nested(MAX_NESTING + 1))
    assert (found, skipped) == ([], {"nested_too_deep": 1})
    found, skipped = segments_of(nested(3000))
    assert (found, skipped) == ([], {"nested_too_deep": 1})


def test_fragments_in_fragments_have_an_end(build: Any) -> None:
    """Each reassembled datagram holds the last fragment of the next."""
    inner = build.tcp(b"hello")
    packets = []
    for identification in range(40):
        head, tail = inner[:8], inner[8:]
        first = struct.pack(">BBHI", 6 if identification == 0 else 44, 0, 1, identification) + head
        packets.append(build.ipv6(first, protocol=44))
        inner = struct.pack(">BBHI", 6 if identification == 0 else 44, 0, 8, identification) + tail
    found, skipped = segments_of(*packets, build.ipv6(inner, protocol=44))
    assert found == []
    assert skipped["nested_too_deep"] == 1


OUTER = [
    *({(p, h) for p, h in IN_IP.values()}),
    *((17, struct.pack(">HHHH", 9, p, 0, 0) + h) for p, h in IN_UDP.values()),
]


@settings(max_examples=300)
@given(
    tunnel=st.sampled_from(sorted(OUTER)),
    keep=st.integers(0, 80),
    noise=st.binary(max_size=80),
    six=st.booleans(),
    cut=st.integers(0, 20),
)
def test_noise_in_any_tunnel_is_no_error(
    build: Any, tunnel: tuple[int, bytes], keep: int, noise: bytes, six: bool, cut: int
) -> None:
    protocol, header = tunnel
    payload = (header + build.ipv4(build.tcp(b"hello")))[:keep] + noise
    packet = build.ipv6(payload, protocol=protocol) if six else build.ipv4(payload, protocol=protocol)
    segments_of(packet, cut=cut)


@settings(max_examples=300)
@given(packet=st.binary(min_size=1, max_size=120), version=st.sampled_from([0x40, 0x60]))
def test_noise_as_ip_is_no_error(packet: bytes, version: int) -> None:
    segments_of(bytes([version | packet[0] & 0x0F]) + packet[1:])
