"""Blocks and packets, byte by byte."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import Address
from rover_plugin_export import pcapng
from rover_plugin_export.segments import ACK, FIN, MAX_SEGMENT, SYN, Route

FOUR = Address(host="10.0.0.1", port=1000), Address(host="10.0.0.2", port=80)
SIX = Address(host="2001:db8::1", port=1000), Address(host="2001:db8::2", port=80)


def summed(data: bytes) -> int:
    """The Internet checksum as RFC 1071 writes it, word by word."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data if len(data) % 2 == 0 else data[:-1]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(payload=st.binary(max_size=99), ends=st.sampled_from([FOUR, SIX]), isn=st.integers(0, 2**32 - 1))
def test_checksums(payload, ends, isn):
    captured, length = Route(*ends, isn, from_client=True).segment(7, 3, ACK, len(payload), payload)
    assert length == len(captured)
    if ends is FOUR:
        assert summed(captured[14:34]) == 0xFFFF
        pseudo, tcp = captured[26:34], captured[34:]
    else:
        pseudo, tcp = captured[22:54], captured[54:]
    assert summed(pseudo + struct.pack(">HH", 6, len(tcp)) + tcp) == 0xFFFF


@pytest.mark.parametrize(
    ("position", "known", "flags", "seq", "ack"),
    [
        (0, 0, SYN, 1000, 0),
        (0, 0, SYN | ACK, 1000, 1001),
        (0, 0, ACK, 1001, 1001),
        (5, 7, ACK | FIN, 1006, 1008),
        (2**32 - 1001, 2**40, ACK, 0, 1001),
    ],
)
def test_numbers(position, known, flags, seq, ack):
    captured, _ = Route(*FOUR, 1000, from_client=True).segment(position, known, flags, 0, b"")
    assert struct.unpack_from(">II", captured, 38) == (seq, ack)
    assert captured[47] == flags


@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_the_largest_packet(ends):
    """Its length fits 16 bits, and of it no more is there than was captured."""
    captured, length = Route(*ends, 0, from_client=True).segment(0, 0, ACK, MAX_SEGMENT, b"abc")
    at = 16 if ends is FOUR else 18
    assert struct.unpack_from(">H", captured, at)[0] == MAX_SEGMENT + (40 if ends is FOUR else 20)
    assert captured.endswith(b"abc")
    assert length - len(captured) == MAX_SEGMENT - 3
    assert length < pcapng.SNAP_LENGTH


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (("10.0.0.1", "2001:db8::2"), ("::ffff:10.0.0.1", "2001:db8::2")),
        (("fe80::1%eth0", "fe80::2"), ("fe80::1", "fe80::2")),
        (("", "?"), ("0.0.0.0", "0.0.0.0")),
    ],
)
def test_odd_addresses(hosts, found):
    source, destination = (Address(host=host, port=70_000) for host in hosts)
    captured, _ = Route(source, destination, 0, from_client=True).segment(0, 0, ACK, 0, b"")
    at, size = (22, 16) if ":" in found[0] else (26, 4)
    packed = captured[at : at + 2 * size]
    assert [ipaddress.ip_address(packed[:size]), ipaddress.ip_address(packed[size:])] == [
        ipaddress.ip_address(each) for each in found
    ]


def test_blocks():
    """draft-ietf-opsawg-pcapng, figures 3, 10 and 11."""
    section = pcapng.section("rover")
    assert section[:4] == b"\x0a\x0d\x0d\x0a"
    assert section[8:12] == b"\x4d\x3c\x2b\x1a"
    packet = pcapng.packet(3, (5 << 32) + 7, b"abcde", 9, "é")
    assert packet == (
        struct.pack("<II", 6, 52)
        + struct.pack("<IIIII", 3, 5, 7, 5, 9)
        + b"abcde\0\0\0"
        + struct.pack("<HH", 1, 2)
        + "é".encode()
        + b"\0\0"
        + bytes(4)
        + struct.pack("<I", 52)
    )


@given(st.text(max_size=2000), st.binary(max_size=40))
def test_every_block_is_whole(text, captured):
    """Its length stands at both ends, and is a multiple of four; what is no text does not break it."""
    for block in (
        pcapng.section(text),
        pcapng.interface(text, text),
        pcapng.packet(0, 1, captured, 1 << 20, text + "\udcff"),
    ):
        assert len(block) % 4 == 0
        assert struct.unpack_from("<I", block, 4) == struct.unpack("<I", block[-4:]) == (len(block),)
