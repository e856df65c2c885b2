"""pcap and pcapng: the same packets in every clothing, and what damage leaves of them."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.files import byte_stream
from rover.values.records import MAX_NUMBER
from rover_source_pcap.capture_file import is_ours, reader_for
from rover_source_pcap.capture_reader import CaptureReader, Damage

NS = 1_000_000_000
TIME = 1_700_000_000_123_456_789


def packets_of(capture: bytes, pieces: int = 0) -> list[tuple[int, int, bytes, int]]:
    """(time, link type, packet, cut), fed whole or in chunks of `pieces` bytes."""
    reader = reader_for(capture)
    assert reader is not None
    step = pieces or len(capture)
    found = []
    for start in range(0, len(capture), step):
        for time, link_type, data, begin, end, cut in reader.feed(capture[start : start + step]):
            found.append((time, link_type, data[begin:end], cut))
    reader.end()
    return found


def end_of(reader: CaptureReader) -> Damage | None:
    try:
        reader.end()
    except Damage as damage:
        return damage
    return None


def damage_of(capture: bytes) -> tuple[int, Damage | None]:
    """(packets that precede it, damage)."""
    reader = reader_for(capture)
    assert reader is not None
    count = 0
    try:
        for _ in reader.feed(capture):
            count += 1
    except Damage as damage:
        return count, damage
    return count, end_of(reader)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nanoseconds", "expected"), [(False, TIME - 789), (True, TIME)])
def test_pcap_in_both_byte_orders_and_resolutions(
    build: Any, order: str, nanoseconds: bool, expected: int
) -> None:
    capture = build.pcap(
        [b"first", b"second one"],
        order=order,
        nanoseconds=nanoseconds,
        link_type=113,
        times=[TIME, TIME],
        snap=6,
    )
    assert packets_of(capture) == [(expected, 113, b"first", 0), (expected, 113, b"second", 4)]


def test_pcap_link_type_is_the_lower_half_of_its_field(build: Any) -> None:
    """The upper bits tell the length of the frame check sequence."""
    assert packets_of(build.pcap([b"x"], link_type=0x14000001))[0][1] == 1


def pcapng(build: Any, order: str = "<", options: bytes = b"", ticks: int = 0) -> bytes:
    """One packet of one interface."""
    section, interface = build.section(order), build.interface(options=options, order=order)
    return bytes(section + interface + build.enhanced(b"packet", ticks=ticks, order=order))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_both_byte_orders(build: Any, order: str) -> None:
    assert packets_of(pcapng(build, order, ticks=TIME // 1000)) == [(TIME - 789, 1, b"packet", 0)]


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (6, 1_500_000, 1_500_000_000),
        (9, TIME, TIME),
        (3, 1500, 1_500_000_000),
        (0, 2, 2 * NS),
        (12, 1_500_000_999, 1_500_000),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80, 2, 2 * NS),
        (0x80 | 32, 3 << 31, 1_500_000_000),
        (127, 5, 0),
        (255, 5, 0),
    ],
)
def test_pcapng_time_resolution(build: Any, resolution: int, ticks: int, expected: int) -> None:
    options = build.option(9, bytes([resolution])) + build.option(0, b"")
    assert packets_of(pcapng(build, options=options, ticks=ticks))[0][0] == expected


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_time_offset_is_signed_seconds(build: Any, order: str) -> None:
    options = build.option(14, struct.pack(order + "q", -10), order)
    assert packets_of(pcapng(build, order, options, ticks=12_000_000))[0][0] == 2 * NS


@pytest.mark.parametrize("seconds", [5_000_000_000, -5_000_000_000, 2**63 - 1])
def test_pcapng_times_beyond_what_records_hold_are_the_largest(build: Any, seconds: int) -> None:
    capture = pcapng(build, options=build.option(14, struct.pack("<q", seconds)))
    assert {abs(packet[0]) for packet in packets_of(capture)} == {MAX_NUMBER}
    assert damage_of(capture)[1] is None


def test_pcapng_sections_have_their_own_order_and_interfaces(build: Any) -> None:
    capture = (
        build.section("<")
        + build.interface(link_type=1)
        + build.interface(link_type=113, options=build.option(9, b"\x09"))
        + build.enhanced(b"a", interface=1, ticks=7)
        + build.enhanced(b"b", interface=0, ticks=8)
        + build.section(">")
        + build.interface(link_type=101, order=">")
        + build.enhanced(b"c", ticks=9, order=">")
    )
    assert packets_of(capture) == [(7, 113, b"a", 0), (8000, 1, b"b", 0), (9000, 101, b"c", 0)]


def test_pcapng_unknown_blocks_are_passed_over_whatever_their_length(build: Any) -> None:
    capture = (
        build.section()
        + build.block(0x0BAD, b"local")
        + build.interface()
        + build.block(4, bytes(2_000_000))
        + build.enhanced(b"packet")
        + build.block(5, b"statistics..")
    )
    assert packets_of(capture) == packets_of(capture, 1000) == [(0, 1, b"packet", 0)]


def test_pcapng_simple_packets_have_the_time_of_the_one_before(build: Any) -> None:
    capture = (
        build.section()
        + build.interface(snap=4)
        + build.enhanced(b"a", ticks=5)
        + build.block(3, struct.pack("<I", 3) + b"abc")
        + build.block(3, struct.pack("<I", 9) + b"abcd")
    )
    assert packets_of(capture)[1:] == [(5000, 1, b"abc", 0), (5000, 1, b"abcd", 5)]


def test_pcapng_obsolete_packets(build: Any) -> None:
    body = struct.pack("<HHIIII", 0, 0xFFFF, 0, 5, 3, 8) + b"abc\0" + build.option(1, b"comment")
    assert packets_of(build.section() + build.interface() + build.block(2, body)) == [(5000, 1, b"abc", 5)]


def test_pcapng_length_without_its_padding(build: Any) -> None:
    """As some old writers did."""
    block = bytearray(build.block(6, struct.pack("<IIIII", 0, 0, 5, 3, 3) + b"abc"))
    block[4:8] = block[-4:] = struct.pack("<I", len(block) - 1)
    capture = build.section() + build.interface() + bytes(block) + build.enhanced(b"next", ticks=6)
    assert packets_of(capture) == [(5000, 1, b"abc", 0), (6000, 1, b"next", 0)]


def captures(build: Any) -> list[bytes]:
    """The same three packets, once in each format."""
    packets = [b"a", b"bb" * 30, b"ccc"]
    blocks = [build.enhanced(packet, ticks=n) for n, packet in enumerate(packets)]
    return [
        build.pcap(packets),
        build.section() + build.interface() + build.block(4, b"names") + b"".join(blocks),
    ]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 64])
def test_fed_whole_or_in_pieces_is_the_same(build: Any, kind: int, pieces: int) -> None:
    capture = captures(build)[kind]
    whole = packets_of(capture)
    assert len(whole) == 3
    assert packets_of(capture, pieces) == whole


@pytest.mark.parametrize("kind", [0, 1])
def test_cut_off_anywhere_yields_the_whole_packets_before(build: Any, kind: int) -> None:
    capture = captures(build)[kind]
    whole = packets_of(capture)
    seen = set()
    for size in range(4, len(capture)):
        reader = reader_for(capture[:size])
        assert reader is not None
        found = list(reader.feed(capture[:size]))
        seen.add(len(found))
        assert [(p[0], p[2][p[3] : p[4]]) for p in found] == [(p[0], p[2]) for p in whole[: len(found)]]
        # A file may end between two records, and is then just shorter.
        damage = end_of(reader)
        assert damage is None or ("ends inside" in damage.what and damage.offset <= size)
    assert seen == {0, 1, 2}


def test_a_file_of_a_header_alone_is_an_empty_capture(build: Any) -> None:
    assert packets_of(build.pcap([])) == []
    assert packets_of(build.section()) == []


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (struct.pack("<II", 6, 11), "a block of 11 bytes"),
        (struct.pack("<II", 0x0BAD, 3), "a block of 3 bytes"),
        (struct.pack("<II", 6, 0x7FFFFFFC), "a block of 2147483644 bytes"),
        (struct.pack("<III", 6, 12, 13), "a block of 12 bytes that ends as one of 13"),
        (struct.pack("<III", 6, 12, 12), "a packet block too short"),
        (struct.pack("<III", 1, 12, 12), "an interface block too short"),
        (struct.pack("<III", 3, 12, 12), "a packet block too short"),
        (struct.pack("<8I", 6, 32, 0, 0, 0, 1, 1, 32), "a packet of 1 bytes in a block of 0"),
        (struct.pack("<8I", 6, 32, 7, 0, 0, 0, 0, 32), "a packet of interface 7, which was not described"),
        (struct.pack("<IIII", 0x0A0D0D0A, 28, 1, 2), "a section without byte order"),
    ],
)
def test_a_broken_block_is_damage_behind_what_precedes_it(build: Any, tail: bytes, what: str) -> None:
    capture = build.section() + build.interface() + build.enhanced(b"whole")
    count, damage = damage_of(capture + tail + bytes(64))
    assert count == 1
    assert damage is not None
    assert (damage.offset, damage.what) == (len(capture), what)


def test_packets_longer_than_any_capture_takes_are_damage(build: Any) -> None:
    assert len(packets_of(build.pcap([bytes(262_144)]))) == 1
    for size in (262_145, 0xFFFFFFFF):
        good = build.pcap([b"whole"])
        count, damage = damage_of(good + struct.pack("<IIII", 0, 0, size, size))
        assert count == 1
        assert damage is not None
        assert (damage.offset, damage.what) == (len(good), f"a packet of {size} bytes")


def test_interfaces_without_number_are_damage(build: Any) -> None:
    count, damage = damage_of(build.section() + build.interface() * 65_537 + build.enhanced(b"x"))
    assert count == 0
    assert damage is not None
    assert damage.what == "more than 65536 interfaces"
    assert damage_of(build.section() + build.interface() * 65_536 + build.enhanced(b"x")) == (1, None)


@pytest.mark.parametrize("magic", [0, 1])
@settings(max_examples=150)
@given(noise=st.binary(max_size=400), at=st.integers(0, 300), pieces=st.integers(1, 100))
def test_noise_ends_in_damage_or_in_packets(
    build: Any, magic: int, noise: bytes, at: int, pieces: int
) -> None:
    """Never another exception, never more bytes than there are, the same however it is cut."""
    capture = captures(build)[magic]
    capture = capture[: max(4, at)] + noise + capture[max(4, at) + len(noise) :]

    def outcome(step: int) -> tuple[list[Any], tuple[int, str] | None]:
        reader = reader_for(capture)
        assert reader is not None
        found = []
        try:
            for start in range(0, len(capture), step):
                for time, link_type, data, begin, end, cut in reader.feed(capture[start : start + step]):
                    assert 0 <= begin <= end <= len(data)
                    assert cut >= 0
                    found.append((time, link_type, data[begin:end], cut))
            reader.end()
        except Damage as damage:
            return found, (damage.offset, damage.what)
        return found, None

    assert outcome(len(capture)) == outcome(pieces)


# -- compressed ------------------------------------------------------------------------------


def unpacked(path: Any) -> tuple[bytes, str]:
    """What a stream gives, and the damage it ends with."""
    stream = byte_stream.ByteStream(str(path))
    out = b""
    try:
        while chunk := stream.read(0):
            assert len(chunk) <= byte_stream.CHUNK
            out += chunk
        return out, ""
    except byte_stream.UnpackError as damage:
        return out, damage.what
    finally:
        assert stream.offset == len(out)
        stream.close()


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"plain bytes", b"plain bytes"),
        (b"", b""),
        (b"x", b"x"),
        (gzip.compress(b"packed"), b"packed"),
        (gzip.compress(b""), b""),
        (gzip.compress(b"two ") + gzip.compress(b"members"), b"two members"),
        (gzip.compress(b"padded") + bytes(1000), b"padded"),
        (gzip.compress(bytes(10_000_000)), bytes(10_000_000)),
    ],
    ids=["plain", "empty", "one byte", "gzip", "nothing packed", "members", "padding", "bomb"],
)
def test_what_a_file_holds(tmp_path: Any, packed: bytes, expected: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed)
    assert unpacked(path) == (expected, "")


def test_compressed_and_cut_off_anywhere_gives_what_precedes(tmp_path: Any) -> None:
    content = bytes(range(256)) * 3
    packed = gzip.compress(content)
    path = tmp_path / "file.gz"
    reached = []
    for size in range(2, len(packed)):
        path.write_bytes(packed[:size])
        found, damage = unpacked(path)
        assert content.startswith(found)
        assert damage == "the compressed file is cut off"
        raw = zlib.decompressobj(31)
        assert found == raw.decompress(packed[:size])
        reached.append(len(found))
    assert reached[-1] == len(content)


def test_damaged_compression_gives_what_precedes(tmp_path: Any) -> None:
    """To the byte: the second stored block says two different lengths (RFC 1951 section 3.2.4)."""
    content = bytes(range(256)) * 1000
    packed = bytearray(gzip.compress(content, 0))
    (first,) = struct.unpack_from("<H", packed, 11)
    packed[10 + 5 + first + 3] ^= 1
    path = tmp_path / "file.gz"
    path.write_bytes(packed)
    assert unpacked(path) == (content[:first], "what follows cannot be unpacked")


@pytest.mark.parametrize("place", ["checksum", "behind"])
def test_damage_behind_the_last_byte_loses_none(tmp_path: Any, place: str) -> None:
    content = bytes(range(256)) * 1000
    packed = bytearray(gzip.compress(content))
    if place == "checksum":
        packed[-8] ^= 1
    else:
        packed += b"no member"
    path = tmp_path / "file.gz"
    path.write_bytes(packed)
    assert unpacked(path) == (content, "what follows cannot be unpacked")


@pytest.mark.parametrize(
    ("opening", "expected"),
    [
        (b"\xa1\xb2\xc3\xd4", True),
        (b"\xd4\xc3\xb2\xa1 and more", True),
        (b"\xa1\xb2\x3c\x4d", True),
        (b"\x4d\x3c\xb2\xa1", True),
        (b"\x0a\x0d\x0d\x0a", True),
        (gzip.compress(b"\xd4\xc3\xb2\xa1" + bytes(100)), True),
        (gzip.compress(b"\x0a\x0d\x0d\x0a" + bytes(9000))[:32], True),
        (gzip.compress(b"text, only text"), False),
        (b"\x1f\x8b\x08\0", False),
        (b"\x1f\x8b no gzip at all", False),
        (b"GET / HTTP/1.1\r\n", False),
        (b"\xa1\xb2\xc3", False),
        (b"", False),
        (b"\x28\xb5\x2f\xfd\x04", True),
        (b"snoop\0\0\0\0\0\0\2", True),
        (gzip.compress(bytes(257) + b"ustar" + bytes(250)), True),
    ],
)
def test_a_capture_is_known_by_its_first_bytes(opening: bytes, expected: bool) -> None:
    assert is_ours(opening) is expected
