"""The PROXY protocol in front of a protocol: which bytes are a header, and what follows one."""

import dataclasses
import itertools
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Address, Direction, Opened, Role, Syscall, Verdict
from rover.pipeline.proxy_header import (
    INCOMPLETE,
    V1_LONGEST,
    V2_SIGNATURE,
    Incomplete,
    ProxyHeader,
    read_header,
)


def v2(command: int, family: int, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return V2_SIGNATURE + struct.pack(">BBH", command, family, size) + content


IPV4 = bytes([1, 2, 3, 4, 5, 6, 7, 8]) + struct.pack(">HH", 1111, 80)
IPV6 = bytes.fromhex("20010db8" + "0" * 22 + "01") + bytes(16) + struct.pack(">HH", 65535, 443)
MAPPED = bytes(10) + b"\xff\xff\1\2\3\4" + bytes(10) + b"\xff\xff\5\6\7\x08" + struct.pack(">HH", 1, 2)
CLIENT = Address(host="1.2.3.4", port=1111)

HEADERS = {
    "v1 TCP4": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\n", CLIENT),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 ::1 65535 443\r\n", Address(host="2001:db8::1", port=65535)),
    "v1 TCP6, written long": (
        b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::1 0 0\r\n",
        Address(host="2001:db8::1", port=0),
    ),
    "v1 TCP6, v4-mapped": (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1111 1\r\n", CLIENT),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN, with whatever": (b"PROXY UNKNOWN ffff:f...f:ffff 65535 x\r\n", None),
    "v1 of 107 bytes": (b"PROXY UNKNOWN ".ljust(V1_LONGEST - 2, b"f") + b"\r\n", None),
    "v1 of nobody": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", None),
    "v2 TCP4": (v2(0x21, 0x11, IPV4), CLIENT),
    "v2 TCP6": (v2(0x21, 0x21, IPV6), Address(host="2001:db8::1", port=65535)),
    "v2 TCP6, v4-mapped": (v2(0x21, 0x21, MAPPED), Address(host="1.2.3.4", port=1)),
    "v2 with TLVs": (v2(0x21, 0x11, IPV4 + b"\x04\x00\x03abc"), CLIENT),
    "v2 as long as can be": (v2(0x21, 0x11, IPV4.ljust(65535, b"\x04")), CLIENT),
    "v2 UDP4": (v2(0x21, 0x12, IPV4), None),
    "v2 UNIX": (v2(0x21, 0x31, bytes(216)), None),
    "v2 UNSPEC": (v2(0x21, 0x00, b"abc"), None),
    "v2 of a family to come": (v2(0x21, 0x41, b"abc"), None),
    "v2 LOCAL": (v2(0x20, 0x00, b""), None),
    "v2 LOCAL, with addresses": (v2(0x20, 0x11, IPV4), None),
    "v2 of nobody": (v2(0x21, 0x11, bytes(12)), None),
}

OTHERS = {
    "v1, a space more": b"PROXY TCP4  1.2.3.4 5.6.7.8 1111 80\r\n",
    "v1, a word more": b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80 x\r\n",
    "v1, a word less": b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n",
    "v1, a bare LF": b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\n",
    "v1, another family": b"PROXY UDP4 1.2.3.4 5.6.7.8 1111 80\r\n",
    "v1, no family": b"PROXY \r\n",
    "v1, lower case": b"proxy TCP4 1.2.3.4 5.6.7.8 1111 80\r\n",
    "v1, IPv6 as IPv4": b"PROXY TCP4 ::1 ::1 1111 80\r\n",
    "v1, IPv4 as IPv6": b"PROXY TCP6 1.2.3.4 5.6.7.8 1111 80\r\n",
    "v1, an address out of range": b"PROXY TCP4 1.2.3.256 5.6.7.8 1111 80\r\n",
    "v1, an address of three": b"PROXY TCP4 1.2.3 5.6.7.8 1111 80\r\n",
    "v1, a scope": b"PROXY TCP6 fe80::1%lo ::1 1111 80\r\n",
    "v1, a null character": b"PROXY TCP4 1.2.3.4\0 5.6.7.8 1111 80\r\n",
    "v1, the other end absurd": b"PROXY TCP4 1.2.3.4 absurd 1111 80\r\n",
    "v1, a port out of range": b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n",
    "v1, a port with a sign": b"PROXY TCP4 1.2.3.4 5.6.7.8 +111 80\r\n",
    "v1, a port with a zero ahead": b"PROXY TCP4 1.2.3.4 5.6.7.8 0111 80\r\n",
    "v1, a port with an underscore": b"PROXY TCP4 1.2.3.4 5.6.7.8 1_1 80\r\n",
    "v1, a port of other digits": "PROXY TCP4 1.2.3.4 5.6.7.8 \u0661\u0661 80\r\n".encode(),
    "v1, an address of other digits": "PROXY TCP4 \u0661.2.3.4 5.6.7.8 1 80\r\n".encode(),
    "v1, a port of thousands of digits": b"PROXY TCP4 1.2.3.4 5.6.7.8 " + b"1" * 5000 + b" 80\r\n",
    "v1 of 108 bytes": b"PROXY UNKNOWN ".ljust(V1_LONGEST - 1, b"f") + b"\r\n",
    "v1 without an end": b"PROXY UNKNOWN ".ljust(V1_LONGEST, b"f"),
    "v2 of version 1": v2(0x11, 0x11, IPV4),
    "v2 of version 3": v2(0x31, 0x11, IPV4),
    "v2 of another command": v2(0x22, 0x11, IPV4),
    "v2, too short for its addresses": v2(0x21, 0x11, IPV4[:11]),
    "v2, too short for IPv6": v2(0x21, 0x21, IPV4),
    "v2, too short for UNIX": v2(0x21, 0x31, bytes(215)),
    "v2, another signature": b"\r\n\r\n\0\r\nQUIT\r" + v2(0x21, 0x11, IPV4)[12:],
    "a request": b"POST / HTTP/1.1\r\n\r\n",
    "PRI": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "blank lines before a request": b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "no bytes": b"",
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("rest", [b"", b"?a\n"])
def test_headers(case, rest):
    data, client = HEADERS[case]
    assert read_header(data + rest) == ProxyHeader(len(data), client)


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_cut_anywhere_is_incomplete_until_it_names_the_client(case):
    data, client = HEADERS[case]
    answers = [read_header(data[:size]) for size in range(1, min(len(data), 300))]
    told = [answer for answer in answers if answer is not INCOMPLETE]
    assert answers[0] is INCOMPLETE
    assert all(answer == ProxyHeader(len(data), client) for answer in told)


@pytest.mark.parametrize("case", OTHERS)
def test_what_breaks_a_rule_is_no_header(case):
    assert read_header(OTHERS[case]) is None


PIECES = st.sampled_from(
    [b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"80", b" ", b"\r\n", V2_SIGNATURE]
) | st.binary(max_size=20)


@settings(max_examples=300, deadline=None)
@given(data=st.lists(PIECES, max_size=12).map(b"".join), cut=st.integers(0, 200))
def test_more_bytes_never_change_an_answer(data, cut):
    """Nor does anything raise, and nothing is a header that could not be one by its length."""
    part, whole = read_header(data[:cut]), read_header(data)
    if not isinstance(part, Incomplete) and data[:cut]:
        assert part == whole
    if isinstance(whole, ProxyHeader):
        assert 8 <= whole.size <= 16 + 65535


# -- through the pipeline ------------------------------------------------------------------------


def pieces(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def assert_once(bench):
    bench.check_each_once()


@pytest.mark.parametrize("step", [1, 5, 100_000])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with the request"])
@pytest.mark.parametrize("role", [Role.SERVER, Role.CLIENT])
@pytest.mark.parametrize("case", HEADERS)
def test_what_follows_a_header_is_recognised(bench, case, role, alone, step):
    """At both ends, as if it were the beginning; the header's bytes belong to nobody."""
    data, client = HEADERS[case]
    bench.open(role=role)
    ask, answer = (bench.read, bench.write) if role is Role.SERVER else (bench.write, bench.read)
    for piece in [*pieces(data, step), b"?a\n"] if alone else pieces(data + b"?a\n", step):
        ask(piece)
    answer(b"!a\n")
    ask(b"?b\n")
    answer(b"!b\n")
    bench.close()
    assert [log.attributes["request"] for log in bench.exchanges] == ["?a", "?b"]
    for log in bench.exchanges:
        socket_end = log.connection.remote if role is Role.SERVER else log.connection.local
        assert log.connection.client == (client or socket_end)
        assert log.connection.proxied == client
    assert_once(bench)


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_header_hides_no_later_call(bench, case):
    bench.open()
    bench.read(OTHERS[case])
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert [log.attributes["request"] for log in bench.exchanges] == ["?a"]
    assert bench.exchanges[0].connection.proxied is None
    assert_once(bench)


def test_only_the_first_bytes_are_a_header(bench):
    header = HEADERS["v1 TCP4"][0]
    bench.open()
    bench.read(b"\x00")
    bench.read(header)
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    bench.open(2)
    bench.read(header, 2)
    bench.read(HEADERS["v1 TCP6"][0], 2)
    bench.read(b"?a\n", 2)
    bench.write(b"!a\n", 2)
    assert [log.connection.proxied for log in bench.exchanges] == [None, CLIENT]


def test_answers_have_no_header(bench):
    bench.open()
    bench.write(HEADERS["v1 TCP4"][0])
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert [log.connection.proxied for log in bench.exchanges] == [None]


def test_a_connection_joined_late_has_no_header(bench):
    bench.open(late=True)
    bench.read(HEADERS["v1 TCP4"][0])
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert [log.connection.proxied for log in bench.exchanges] == [None]


def test_a_header_precedes_a_pinned_protocol_too(make_bench, lines):
    bench = make_bench(
        protocols=[dataclasses.replace(lines, sniff=lambda data: Verdict.NO)], ports={"80": "lines"}
    )
    for identity, step in ((1, 100), (2, 1)):
        bench.open(identity)
        assert (identity, lines.upload) in bench.uploads
        for piece in pieces(HEADERS["v2 TCP4"][0] + b"?a\n", step):
            bench.read(piece, identity)
        bench.write(b"!a\n", identity)
    assert [log.connection.client for log in bench.exchanges] == [CLIENT, CLIENT]
    bench.open(3)
    bench.close(3)
    bench.close(2)
    bench.close(1)
    assert_once(bench)


def test_the_end_of_a_header_that_was_not_captured(bench):
    """Its addresses are there: the rest is only passed over."""
    data, client = HEADERS["v2 as long as can be"]
    bench.open()
    bench.read(data[:4096], size=len(data))
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert [log.connection.client for log in bench.exchanges] == [client]
    assert_once(bench)


def test_a_header_cut_by_the_end_goes_alone(bench):
    for identity, size in ((1, 3), (2, 16), (3, 20), (4, 28)):
        bench.open(identity)
        bench.read(HEADERS["v2 TCP4"][0][:size], identity)
        bench.eof(identity)
        bench.close(identity)
    assert bench.exchanges == []
    assert_once(bench)


def test_a_decoder_that_finds_the_roles_swapped_knows_no_client_of_the_header(bench):
    bench.open(role=Role.CLIENT)
    bench.write(HEADERS["v1 TCP4"][0])
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    (log,) = bench.exchanges
    assert (log.connection.role, log.connection.client) == (Role.SERVER, log.connection.remote)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # a factory
)
@given(
    case=st.sampled_from(sorted(HEADERS)),
    edits=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
def test_hostile_headers_break_nothing(make_bench, case, edits, cuts):
    """Whatever it says and however it comes: no break, every call once, and the next message seen."""
    data = bytearray(HEADERS[case][0][:120])
    for at, value in edits:
        if at < len(data) and value != ord("#"):  # with which a line has the bench's own decoder do wrong
            data[at] = value
    bench = make_bench()
    bench.open()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        bench.read(bytes(data[start:end]))
    bench.close()
    assert [p.reason for p in bench.breaks if p.reason == "plugin"] == []
    assert_once(bench)


def test_two_ends_of_the_address_are_the_sockets_own(bench):
    """What was found by the socket stays; the header adds to it."""
    detail = bench.detail(1, Syscall.ACCEPT4, Direction.EGRESS)
    ends = Address(host="10.0.0.1", port=80), Address(host="10.0.0.9", port=5)
    bench.pipeline.opened(
        Opened(
            connection=1,
            time=bench.clock,
            local=ends[0],
            remote=ends[1],
            role=Role.SERVER,
            pid=42,
            late=False,
            detail=detail,
        )
    )
    bench.read(HEADERS["v2 TCP6"][0] + b"?a\n")
    bench.write(b"!a\n")
    connection = bench.exchanges[0].connection
    assert (connection.local, connection.remote) == ends
    assert (connection.server, connection.client) == (ends[0], Address(host="2001:db8::1", port=65535))
