"""HPACK: RFC 7541's own examples, the hpack package as an oracle, and what no encoder sends."""

from __future__ import annotations

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_plugin_http2 import huffman
from rover_plugin_http2.header_blocks import MAX_LIST, MAX_TABLE, HeaderBlocks, opening
from rover_plugin_http2.undecodable import Undecodable

GET = b":method\0GET"
# RFC 7541 appendix C.3 to C.6: (blocks, limit, field lines of each)
REQUESTS = [
    [GET, b":scheme\0http", b":path\0/", b":authority\0www.example.com"],
    [GET, b":scheme\0http", b":path\0/", b":authority\0www.example.com", b"cache-control\0no-cache"],
    [
        GET,
        b":scheme\0https",
        b":path\0/index.html",
        b":authority\0www.example.com",
        b"custom-key\0custom-value",
    ],
]
DATE = b"date\0Mon, 21 Oct 2013 20:13:21 GMT"
LATER = b"date\0Mon, 21 Oct 2013 20:13:22 GMT"
PLACE = b"location\0https://www.example.com"
RESPONSES = [
    [b":status\x00302", b"cache-control\0private", DATE, PLACE],
    [b":status\x00307", b"cache-control\0private", DATE, PLACE],
    [
        b":status\x00200",
        b"cache-control\0private",
        LATER,
        PLACE,
        b"content-encoding\0gzip",
        b"set-cookie\0foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
]
EXAMPLES = {
    "C.3 requests without Huffman": (
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        4096,
        REQUESTS,
    ),
    "C.4 requests with Huffman": (
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        4096,
        REQUESTS,
    ),
    "C.5 responses without Huffman, evicting": (
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f"
            "3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076"
            "657273696f6e3d31",
        ],
        256,
        RESPONSES,
    ),
    "C.6 responses with Huffman, evicting": (
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8"
            "e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b"
            "3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        256,
        RESPONSES,
    ),
}


def size_update(size):
    """A dynamic table size update (section 6.3)."""
    update = bytearray(hpack.hpack.encode_integer(size, 5))
    update[0] |= 0x20
    return bytes(update)


@pytest.mark.parametrize("case", EXAMPLES)
def test_examples_of_rfc_7541(case):
    blocks, table, lines = EXAMPLES[case]
    state = HeaderBlocks()
    # The examples presume a table of this size; on the wire an update says so.
    assert state.decode(size_update(table), 4096) == []
    assert [state.decode(bytes.fromhex(block), 4096) for block in blocks] == lines


names = st.one_of(
    st.sampled_from([b":path", b":status", b"accept", b"cookie", b"x-a", b"x-b"]),
    st.binary(min_size=1, max_size=8).filter(lambda name: 0 not in name),
)
values = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"GET", b"/", b"200", b"v" * 100, b"w" * 2000, b"x" * 5000])
)
lists = st.lists(st.tuples(names, values, st.booleans()), max_size=12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(lists, st.sampled_from([None, None, 0, 100, 4096, 9000]), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_what_the_hpack_package_encodes_is_decoded(blocks):
    """Fields, sensitive ones, table sizes up and down, plain and Huffman."""
    encoder, state = hpack.Encoder(), HeaderBlocks()
    for fields, size, coded in blocks:
        if size is not None:
            encoder.header_table_size = size
        encoded = encoder.encode(fields, huffman=coded)
        assert state.decode(encoded, 9000) == [name + b"\0" + value for name, value, _ in fields]


def outcome_of(decode):
    """What a decoder says of a block: its field lines, or None where it refuses."""
    try:
        return decode()
    except (Undecodable, hpack.HPACKError):
        return None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=3)), max_size=4))
def test_of_arbitrary_bytes_it_says_what_the_hpack_package_says(blocks):
    theirs, ours = hpack.Decoder(max_header_list_size=MAX_LIST), HeaderBlocks()
    for block in blocks:
        fields = outcome_of(lambda block=block: list(theirs.decode(block, raw=True)))
        lines = outcome_of(lambda block=block: ours.decode(block, 4096))
        if fields is None or any(0 in name for name, _ in fields):
            assert lines is None
            return
        assert lines == [bytes(name) + b"\0" + bytes(value) for name, value in fields]


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 127 + 128 * 128, 16_384, 100_000])
def test_lengths_and_indices_of_every_form(size):
    """Integers within their prefix, and of one to three bytes more (section 5.1)."""
    fields = [(b"x", b"v" * size), (b"y" * max(size, 1), b"")]
    block = hpack.Encoder().encode(fields, huffman=False)
    assert HeaderBlocks().decode(block, 4096) == [b"x\0" + b"v" * size, b"y" * max(size, 1) + b"\0"]


@pytest.mark.parametrize(("announced", "fits"), [(None, True), ((1 << 32) - 1, True), ((1 << 32) - 2, False)])
def test_the_largest_table_there_can_be(announced, fits):
    block = size_update((1 << 32) - 1) + b"\x82"
    if fits:
        assert HeaderBlocks().decode(block, announced) == [GET]
    else:
        with pytest.raises(Undecodable, match="were announced"):
            HeaderBlocks().decode(block, announced)


@given(st.binary(max_size=60))
def test_huffman_decodes_what_was_encoded(plain):
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    assert huffman.decode(encoder.encode(plain)) == plain


@pytest.mark.parametrize(
    ("coded", "why"),
    [
        (b"\xff\xff\xff\xff", "end-of-string"),
        (b"\x1f\xff", "ends inside"),  # 'a' and eleven bits of padding
        (b"\x18", "ends inside"),  # 'a' and three bits of padding that are not 1
    ],
)
def test_huffman_padding(coded, why):
    with pytest.raises(Undecodable, match=why):
        huffman.decode(coded)


UNDECODABLE = {
    "index 0": "80",
    "an index in an empty table": "be",
    "a name's index in an empty table": "7e0161",
    "an index that ends": "ff",
    "an index without end": "ff8080808080808001",
    "an index of 2**35": "ffffffffff7f",
    "a literal that ends": "40",
    "a name that ends": "400561",
    "a value that ends": "400161056162",
    "a length that ends": "4001617f",
    "a table larger than announced": "3fe21f",
    "a table size after a field": "8220",
    "Huffman that ends inside a code": "4081ff0161",
    "NUL in a name": "4003610062" + "0161",
}


@pytest.mark.parametrize("case", UNDECODABLE)
def test_what_no_encoder_sends(case):
    with pytest.raises(Undecodable) as raised:
        HeaderBlocks().decode(bytes.fromhex(UNDECODABLE[case]), 4096)
    assert raised.value.reason == "hpack"


def test_a_list_larger_than_the_limit():
    """One byte stands for an entry of 4 kB."""
    state = HeaderBlocks()
    state.decode(hpack.Encoder().encode([(b"x", b"v" * 4000)], huffman=False), 4096)
    entry = len(b"x\0") + 4000 + 31
    fits = MAX_LIST // entry
    assert len(state.decode(b"\xbe" * fits, 4096)) == fits
    with pytest.raises(Undecodable, match="header list of more than"):
        state.decode(b"\xbe" * (fits + 1), 4096)


def test_a_table_larger_than_we_keep_is_right_as_far_as_it_goes():
    """Four times what we keep: the newest entries are found, the older ones are missed."""
    encoder, state = hpack.Encoder(), HeaderBlocks()
    encoder.header_table_size = 4 * MAX_TABLE
    fields = [(f"x-{i}".encode(), b"v" * 1000) for i in range(200)]
    lines = [name + b"\0" + value for name, value in fields]
    assert state.decode(encoder.encode(fields), None) == lines
    assert state.memory <= 2 * MAX_TABLE
    assert state.decode(encoder.encode(fields[150:]), None) == lines[150:]
    with pytest.raises(Undecodable, match="was never seen added"):
        state.decode(encoder.encode(fields[:10]), None)


def test_an_entry_larger_than_the_table_empties_it():
    state = HeaderBlocks()
    state.decode(hpack.Encoder().encode([(b"a", b"b")]), 4096)
    state.decode(b"\x40\x01x" + b"\x7f\x81\x20" + b"v" * 4224, 4096)
    assert state.memory == 0
    with pytest.raises(Undecodable):
        state.decode(b"\xbe", 4096)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("82", "request"),  # :method GET
        ("84", "request"),
        ("41", "request"),  # :authority with a literal value
        ("04", "request"),
        ("14", "request"),
        ("88", "response"),  # :status 200
        ("48", "response"),
        ("8e", "response"),
        ("2082", "request"),  # after a table size update
        ("3fe11f88", "response"),
        ("3fe11f2082", "request"),
        ("8f", ""),  # accept-charset
        ("be", ""),  # a dynamic entry
        ("ff", ""),
        ("7f", ""),
        ("0f", ""),
        ("40", ""),  # a literal name
        ("00", ""),
        ("80", ""),
        ("", None),
        ("20", None),
        ("3fe1", None),
    ],
)
def test_opening(block, expected):
    block = bytes.fromhex(block)
    assert opening(b"xx" + block + b"\x82", 2, 2 + len(block)) == expected


def test_time_grows_with_the_block_not_with_its_square():
    """Of 128 kB of empty fields only as many are decoded as the list may hold."""
    with pytest.raises(Undecodable, match="header list of more than"):
        HeaderBlocks().decode(b"\0\x01a\0" * 32_768, 4096)
