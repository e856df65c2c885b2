"""Every link type and every header between the link and IP leads to the same bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Address
from rover_source_pcap.link_types import LINK_TYPES, describe

MAC = bytes(12)
IPV4, IPV6 = b"\x08\0", b"\x86\xdd"
LLC = b"\xaa\xaa\x03\0\0\0"
NFLOG_HEADER = b"\x02\0\0\0"


def nflog(order: str) -> bytes:
    """A prefix of one byte (padded), then the packet's own header."""
    return NFLOG_HEADER + struct.pack(order + "HHBxxxHH", 5, 10, 0, 4 + 40 + 4, 9)


def wlan(kind: int = 0x08, flags: int = 0, rest: bytes = b"", fragment: int = 0) -> bytes:
    """The header of a wireless frame, with what follows its 24 bytes."""
    return bytes([kind, flags]) + bytes(20) + bytes([fragment, 0]) + rest


def radiotap(present: int, fields: bytes, more: bytes = b"") -> bytes:
    return struct.pack("<BxHI", 0, 8 + len(more) + len(fields), present) + more + fields


def ppi(link_type: int) -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + 6, link_type) + bytes(6)


AVS = struct.pack(">II", 0x80211001, 64) + bytes(56)
SNAP4 = LLC + IPV4

FRAMES = {
    "ethernet": (1, MAC + IPV4),
    "802.3 with SNAP": (1, MAC + b"\0\x40" + LLC + IPV4),
    "VLAN": (1, MAC + b"\x81\0\0\x07" + IPV4),
    "QinQ": (1, MAC + b"\x88\xa8\0\x07\x81\0\0\x08" + IPV4),
    "QinQ before 802.1ad": (1, MAC + b"\x91\0\0\x07\x91\0\0\x08" + IPV4),
    "VN-Tag": (1, MAC + b"\x89\x26\0\0\0\0" + IPV4),
    "MPLS": (1, MAC + b"\x88\x47" + b"\0\x01\x01\x40"),
    "MPLS, three labels": (1, MAC + b"\x88\x47" + b"\0\x01\0\x40" * 2 + b"\0\x01\x01\x40"),
    "MPLS multicast": (1, MAC + b"\x88\x48" + b"\0\x01\x01\x40"),
    "VLAN and MPLS": (1, MAC + b"\x81\0\0\x07\x88\x47\0\x01\x01\x40"),
    "MPLS pseudowire": (1, MAC + b"\x88\x47\0\x01\x01\x40" + bytes(4) + MAC + IPV4),
    "PPPoE": (1, MAC + b"\x88\x64\x11\0\0\x01\0\x40" + b"\0\x21"),
    "PPPoE in a VLAN": (1, MAC + b"\x81\0\0\x07\x88\x64\x11\0\0\x01\0\x40" + b"\0\x21"),
    "PPPoE, compressed protocol": (1, MAC + b"\x88\x64\x11\0\0\x01\0\x40" + b"\x21"),
    "PPP": (9, b"\0\x21"),
    "PPP with address and control": (9, b"\xff\x03\0\x21"),
    "PPP, MPLS": (9, b"\x02\x81\0\x01\x01\x40"),
    "PPP, bridged": (9, b"\0\x31\0\x01" + MAC + IPV4),
    "PPP in HDLC": (50, b"\xff\x03\0\x21"),
    "PPP link that is Cisco's HDLC": (50, b"\x0f\0" + IPV4),
    "PPPoE without Ethernet": (51, b"\x11\0\0\x01\0\x40" + b"\0\x21"),
    "Cisco HDLC": (104, b"\x0f\0" + IPV4),
    "Cisco HDLC, MPLS": (104, b"\x0f\0\x88\x47\0\x01\x01\x40"),
    "cooked": (113, b"\0\0\0\x01\0\x06" + bytes(8) + IPV4),
    "cooked, VLAN": (113, b"\0\0\0\x01\0\x06" + bytes(8) + b"\x81\0\0\x07" + IPV4),
    "cooked v2": (276, IPV4 + bytes(18)),
    "cooked v2, MPLS": (276, b"\x88\x47" + bytes(18) + b"\0\x01\x01\x40"),
    "raw": (101, b""),
    "raw, number of most systems": (12, b""),
    "raw, number of OpenBSD": (14, b""),
    "raw IPv4": (228, b""),
    "loopback, little endian": (0, b"\x02\0\0\0"),
    "loopback, big endian": (0, b"\0\0\0\x02"),
    "loopback of OpenBSD": (108, b"\0\0\0\x02"),
    "netfilter log": (239, nflog("<")),
    "netfilter log, big endian": (239, nflog(">")),
    "MPLS alone": (219, b"\0\x01\x01\x40"),
    "wireless": (105, wlan() + SNAP4),
    "wireless, to the access point": (105, wlan(flags=0x01) + SNAP4),
    "wireless, sent again": (105, wlan(flags=0x0A) + SNAP4),
    "wireless, between access points": (105, wlan(flags=0x03, rest=bytes(6)) + SNAP4),
    "wireless, QoS": (105, wlan(0x88, rest=bytes(2)) + SNAP4),
    "wireless, QoS and HT control": (105, wlan(0x88, 0x80, rest=bytes(6)) + SNAP4),
    "radiotap": (127, radiotap(0, b"") + wlan() + SNAP4),
    "radiotap, time and flags": (127, radiotap(3, bytes(8) + b"\x10") + wlan(0x88, rest=bytes(2)) + SNAP4),
    "radiotap, more words, padded": (
        127,
        radiotap(0x8000_0003, bytes(4 + 8) + b"\x20", bytes(4)) + wlan(0x88, rest=bytes(4)) + SNAP4,
    ),
    "AVS": (163, AVS + wlan() + SNAP4),
    "Prism": (119, bytes(144) + wlan() + SNAP4),
    "Prism that is AVS": (119, AVS + wlan() + SNAP4),
    "PPI, wireless": (192, ppi(105) + wlan() + SNAP4),
    "PPI, Ethernet": (192, ppi(1) + MAC + IPV4),
}
FRAMES6 = {
    "ethernet": (1, MAC + IPV6),
    "VLAN": (1, MAC + b"\x81\0\0\x07" + IPV6),
    "MPLS": (1, MAC + b"\x88\x47" + b"\0\x01\x01\x40"),
    "PPP": (9, b"\0\x57"),
    "PPP, compressed protocol": (9, b"\x57"),
    "Cisco HDLC": (104, b"\x8f\0" + IPV6),
    "cooked": (113, bytes(14) + IPV6),
    "cooked v2": (276, IPV6 + bytes(18)),
    "raw": (101, b""),
    "raw IPv6": (229, b""),
    "netfilter log": (239, nflog("<")),
    **{f"loopback, family {n}": (0, struct.pack("<I", n)) for n in (10, 24, 28, 30)},
    **{f"loopback, family {n}, big endian": (0, struct.pack(">I", n)) for n in (10, 24, 28, 30)},
}


@pytest.mark.parametrize(("link_type", "header"), FRAMES.values(), ids=FRAMES)
def test_ipv4_on_every_link(build: Any, read: Any, link_type: int, header: bytes) -> None:
    packet = header + build.ipv4(build.tcp(b"hello"))
    recorded = read([packet], link_type=link_type)
    assert recorded.egress.data == b"hello"
    assert recorded.opens[0].local == Address(host="10.0.0.1", port=40000)


@pytest.mark.parametrize(("link_type", "header"), FRAMES6.values(), ids=FRAMES6)
def test_ipv6_on_every_link(build: Any, read: Any, link_type: int, header: bytes) -> None:
    packet = header + build.ipv6(build.tcp(b"hello"))
    recorded = read([packet], link_type=link_type)
    assert recorded.egress.data == b"hello"
    assert recorded.opens[0].local == Address(host="2001:db8::1", port=40000)


NOT_IP = {
    "ARP": (1, MAC + b"\x08\x06"),
    "802.3 without SNAP": (1, MAC + b"\0\x40\x42\x42\x03"),
    "SNAP of another organisation": (1, MAC + b"\0\x40\xaa\xaa\x03\0\0\x0c" + IPV4),
    "PPPoE, discovery": (1, MAC + b"\x88\x63\x11\x09\0\0\0\x04"),
    "PPP, link control": (9, b"\xc0\x21"),
    "tags without end": (1, MAC + b"\x81\0\0\x07" * 40 + IPV4),
    "MPLS, neither IP nor Ethernet": (1, MAC + b"\x88\x47\0\x01\x01\x40\x20"),
    "loopback, other family": (0, b"\x10\0\0\0"),
    "netfilter log without a packet": (239, NFLOG_HEADER + struct.pack("<HHI", 8, 1, 0)),
    "netfilter log that goes nowhere": (239, NFLOG_HEADER + bytes(8)),
    "wireless, management": (105, wlan(0x80) + SNAP4),
    "wireless, no data": (105, wlan(0x48) + SNAP4),
    "wireless, encrypted": (105, wlan(flags=0x40) + SNAP4),
    "wireless, a first fragment": (105, wlan(flags=0x04) + SNAP4),
    "wireless, a last fragment": (105, wlan(fragment=1) + SNAP4),
    "wireless, several packets": (105, wlan(0x88, rest=b"\x80\0") + SNAP4),
    "radiotap that tells no length": (127, bytes(8) + wlan() + SNAP4),
    "radiotap, present without end": (127, radiotap(0x8000_0000, b"\xff" * 40) + wlan() + SNAP4),
    "PPI in PPI": (192, ppi(192) + ppi(1) + MAC + IPV4),
}


@pytest.mark.parametrize(("link_type", "header"), NOT_IP.values(), ids=NOT_IP)
def test_what_is_not_ip_is_counted(build: Any, read: Any, link_type: int, header: bytes) -> None:
    recorded = read([header + bytes(60)], link_type=link_type)
    assert not recorded.opens
    assert recorded.counters["not_ip"] == 1


@pytest.mark.parametrize(("link_type", "header"), FRAMES.values(), ids=FRAMES)
def test_frames_cut_anywhere_are_no_error(build: Any, read: Any, link_type: int, header: bytes) -> None:
    packet = header + build.ipv4(build.tcp(b"hello"))
    recorded = read([packet[:size] for size in range(len(packet))], link_type=link_type)
    assert recorded.error == ""
    # Nothing lies after the end of a frame: what is delivered was in it.
    assert set(recorded.egress.data) <= set(b"hello")


@pytest.mark.parametrize(
    ("link_type", "expected"),
    [(1, "1 (ETHERNET)"), (127, "127 (IEEE802_11_RADIOTAP)"), (276, "276 (LINUX_SLL2)"), (11, "11")],
)
def test_a_link_type_has_a_name(link_type: int, expected: str) -> None:
    assert describe(link_type) == expected


def test_what_is_read_has_a_name() -> None:
    """But those numbers of RAW that only some systems have."""
    assert {n for n in LINK_TYPES if describe(n) == str(n)} == {12, 14}


@pytest.mark.parametrize("link_type", LINK_TYPES)
@settings(max_examples=60)
@given(frame=st.binary(max_size=80), before=st.integers(0, 20), behind=st.binary(max_size=80))
def test_no_link_looks_outside_its_frame(link_type: int, frame: bytes, before: int, behind: bytes) -> None:
    """Whatever lies after it, and wherever the frame lies."""
    decode = LINK_TYPES[link_type]
    alone = decode(frame, 0, len(frame))
    kind, offset = decode(bytes(before) + frame + behind, before, before + len(frame))
    assert kind == alone[0]
    assert kind == 0 or offset == alone[1] + before
