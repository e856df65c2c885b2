"""Every link type and every header between the link and IP leads to the same bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_source_pcap.link import LINK_TYPES

MAC = bytes(12)
IPV4, IPV6 = b"\x08\0", b"\x86\xdd"
LLC = b"\xaa\xaa\x03\0\0\0"
NFLOG_HEADER = b"\x02\0\0\0"


def nflog(order: str) -> bytes:
    """A prefix of one byte (padded), then the packet's own header."""
    return NFLOG_HEADER + struct.pack(order + "HHBxxxHH", 5, 10, 0, 4 + 40 + 4, 9)


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
    assert recorded.opens[0].local == ("10.0.0.1", 40000)


@pytest.mark.parametrize(("link_type", "header"), FRAMES6.values(), ids=FRAMES6)
def test_ipv6_on_every_link(build: Any, read: Any, link_type: int, header: bytes) -> None:
    packet = header + build.ipv6(build.tcp(b"hello"))
    recorded = read([packet], link_type=link_type)
    assert recorded.egress.data == b"hello"
    assert recorded.opens[0].local == ("2001:db8::1", 40000)


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
    # Nothing lies behind the end of a frame: what is delivered was in it.
    assert set(recorded.egress.data) <= set(b"hello")


@pytest.mark.parametrize("link_type", LINK_TYPES)
@settings(max_examples=60)
@given(frame=st.binary(max_size=80), before=st.integers(0, 20), behind=st.binary(max_size=80))
def test_no_link_looks_outside_its_frame(link_type: int, frame: bytes, before: int, behind: bytes) -> None:
    """Whatever lies behind it, and wherever the frame lies."""
    decode = LINK_TYPES[link_type]
    alone = decode(frame, 0, len(frame))
    kind, offset = decode(bytes(before) + frame + behind, before, before + len(frame))
    assert kind == alone[0]
    assert kind == 0 or offset == alone[1] + before
