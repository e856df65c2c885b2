"""Bytes made to hurt: every one ends in a break or is passed over, and memory stays small."""

from __future__ import annotations

import contextlib
import gc
import itertools
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Direction
from rover.streams.buffer import MAX_SIZE
from rover.streams.ledger import DETAIL_MEMORY
from rover_plugin_http2 import side
from rover_plugin_http2.fields import MAX_VALUE, needed
from rover_plugin_http2.header_blocks import MAX_BLOCK, MAX_LIST
from rover_plugin_http2.sniff import sniff
from rover_plugin_http2.undecodable import Undecodable

new_blocks = side.new_blocks

UP, DOWN = Direction.EGRESS, Direction.INGRESS
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HOSTILE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MEGABYTE = 1_000_000
huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode

raw_frames = st.builds(
    lambda kind, flags, stream, payload, lie: (
        (len(payload) + lie).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    ),
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 0xC, 0x24, 0x2D]) | st.integers(0, 255),
    st.integers(0, 8) | st.integers(0, (1 << 32) - 1),
    st.binary(max_size=40) | st.sampled_from([b"\x82\x84\x86", b"\x88", b"\0\5\0\1\0\0", bytes(4), bytes(8)]),
    st.sampled_from([0, 0, 0, 0, 1, 30000]),
)
noise = st.one_of(
    st.binary(max_size=200),
    st.lists(raw_frames, max_size=10).map(b"".join),
    st.lists(raw_frames, max_size=10).map(lambda made: PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"".join(made)),
)


def check_memory(c):
    """The account of what is open is right."""
    streams = c.play.decoder._streams
    assert streams.memory == sum(stream.memory for stream in streams._open.values())


@HOSTILE
@given(st.lists(st.tuples(st.sampled_from([UP, DOWN]), noise), max_size=6), st.booleans())
def test_arbitrary_frames_never_raise(talk, sent, late):
    c = talk(late=late)
    for way, data in sent:
        c.play.send(way, data)
        c.play.expire(c.play.time)
        check_memory(c)
    c.check_details()
    check_memory(c)
    for stream in c.play.exchanges:
        assert stream.request.method
        assert stream.request.target


@HOSTILE
@given(st.lists(st.tuples(st.sampled_from([UP, DOWN]), noise), max_size=4), st.data())
def test_arbitrary_frames_whole_or_byte_by_byte_are_the_same(talk, sent, data):
    whole, pieces = talk(late=True), talk(late=True)
    for way, chunk in sent:
        whole.play.send(way, chunk)
        if pieces.play.protocol_break is None:
            pieces.play.send_all(way, [bytes([byte]) for byte in chunk])
    broke = [(p and (p.reason, p.position)) for p in (whole.play.protocol_break, pieces.play.protocol_break)]
    assert broke[0] == broke[1]
    assert whole.summary == pieces.summary


@HOSTILE
@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_a_conversation_with_one_byte_changed(talk, at, change, up):
    """Never an exception; whatever is logged has a method and a target."""
    c = talk(late=True)
    flows = {
        True: PREFACE + c.settings() + c.request(1, end=False, cut=(3,)) + c.data(1, b"abc") + c.request(3),
        False: c.settings() + c.response(1, end=False, pad=3) + c.data(1, b"x", pad=2) + c.response(3),
    }
    broken = bytearray(flows[up])
    broken[at % len(broken)] ^= change
    flows[up] = bytes(broken)
    c.up(flows[True])
    c.down(flows[False])
    c.check_details()
    for stream in c.play.exchanges:
        assert stream.request.method
        assert stream.request.target


def test_a_flood_of_empty_continuations(talk):
    c = talk()
    c.up(c.raw(1, 1))
    for _ in range(MAX_BLOCK // 9 + 1):
        c.up(c.raw(9, 1))
        assert c.play.buffers[UP].size < MAX_SIZE
        if c.play.protocol_break:
            break
    assert c.broke.reason == "hpack"


def test_a_flood_of_continuations_in_one_call_is_one_walk(talk):
    c = talk()
    c.up(c.raw(1, 1) + c.raw(9, 1) * (MAX_BLOCK // 9 - 2) + c.raw(9, 1, b"\x82\x84\x86", 4))
    assert c.play.protocol_break is None
    c.up(c.raw(1, 3) + c.raw(9, 3) * (MAX_BLOCK // 9))
    assert c.broke.reason == "hpack"


def test_a_header_block_that_says_it_is_longer_than_we_wait_for(talk):
    c = talk()
    c.down(c.settings({5: (1 << 24) - 1}))
    c.up(c.raw(1, 1, length=MAX_BLOCK, flags=4))
    assert c.broke.reason == "hpack"
    assert c.broke.detail.startswith("HEADERS of stream 1 at byte ")


def test_a_huge_header_list_is_decoded(talk):
    """Close to what the bounds allow, over many frames."""
    c = talk()
    fields = [(f"x-{i}", "v" * 900) for i in range(120)]
    c.up(
        c.request(
            1, [(":method", "GET"), (":path", "/"), *fields], huffman=False, cut=range(0, MAX_BLOCK, 16000)
        )
    )
    c.down(c.response(1))
    assert list(c.stream.request.headers) == fields


def test_a_header_list_larger_than_the_bound(talk):
    c = talk()
    entry = c.encode(UP, [("x", "v" * 4000)], huffman=False)
    c.up(c.raw(1, 1, b"\x82\x84\x86" + entry + b"\xbe" * (MAX_LIST // 4000), 5))
    assert c.broke.reason == "hpack"
    assert "header list of more than" in c.broke.detail


def length_of(string, flag=0):
    """A string literal's length (RFC 7541 section 5.2)."""
    encoded = bytearray(encode_integer(len(string), 7))
    encoded[0] |= flag
    return bytes(encoded)


def test_the_time_of_the_worst_header_block_is_bounded(talk):
    """As many of the smallest fields as fit, then Huffman; a naive decoder is quadratic here."""
    c = talk()
    c.down(c.settings({5: (1 << 24) - 1}))
    eight = huffman(b"a" * 8)
    coded = eight * (100_000 // len(eight))
    blocks = [
        b"\0\1a\0" * 7000 + b"\0\1a" + length_of(b"v" * 16_000) + b"v" * 16_000,
        b"\0\1a" + length_of(coded, 0x80) + coded,
    ]
    started = time.process_time()
    for number, block in enumerate(blocks):
        c.up(c.raw(1, 2 * number + 1, b"\x82\x84\x86" + block, 4))
    assert time.process_time() - started < 1.0
    assert c.play.protocol_break is None


# -- memory ----------------------------------------------------------------------------------------


def tiny_streams(c):
    """As many streams as there can be."""
    for n in itertools.count(1, 2):
        c.up(c.raw(1, n, b"\x82\x84\x86", 4))
        yield


def big_streams(c):
    """Few streams with large fields."""
    for n in itertools.count(1, 2):
        c.up(c.raw(1, n, b"\x82\x84\x86" + b"\0\1x\x7f\xa1\x4e" + b"v" * 10_144, 4))
        yield


def tables_then_streams(c):
    """Both tables full of the smallest entries, then streams."""
    c.up(c.settings({1: 1 << 20}))
    c.down(c.settings({1: 1 << 20}))
    smallest = b"".join(b"\x40\2" + bytes([97 + i % 26, 97 + i // 26 % 26]) + b"\0" for i in range(2100))
    grown = b"\x3f\xe1\xff\x3f"  # to 2**20
    c.up(c.raw(1, 1, grown + b"\x82\x84\x86" + smallest, 5))
    yield
    c.down(c.raw(1, 1, grown + b"\x88" + smallest, 5))
    yield
    for n in itertools.count(3, 2):
        c.up(c.raw(1, n, b"\x82\x84\x86", 4))
        yield


def answered_streams(c):
    """Both messages of every stream, none ended."""
    for n in itertools.count(1, 2):
        c.up(c.raw(1, n, b"\x82\x84\x86" + b"\0\1x\x14" + b"v" * 20, 4))
        c.down(c.raw(1, n, b"\x88" + b"\0\1y\x14" + b"w" * 20, 4), c.raw(0, n, bytes(1000)))
        yield


def responses_without_requests(c):
    """Streams that only wait for a request to be recorded."""
    for n in itertools.count(1, 2):
        c.down(c.raw(1, n, b"\x88", 4))
        yield


def resets_without_requests(c):
    for n in itertools.count(1, 2):
        c.down(c.reset(n, 8))
        yield


def promises(c):
    c.up(c.request(1, end=False))
    for n in itertools.count(2, 2):
        c.down(c.raw(5, 1, n.to_bytes(4, "big") + b"\x82\x84\x86", 4))
        yield


@pytest.mark.parametrize("ready", [False, True], ids=["", "with blocks under way"])
@pytest.mark.parametrize(
    "attack",
    [
        tiny_streams,
        big_streams,
        tables_then_streams,
        answered_streams,
        responses_without_requests,
        resets_without_requests,
        promises,
    ],
)
def test_one_hostile_connection_takes_less_than_a_megabyte(talk, attack, ready):
    """Streams, tables, and header blocks under way in both directions; between two calls."""
    talk().check_details()  # whatever is made once per process
    steps = 0

    def attack_until_the_break(c):
        nonlocal steps
        running = attack(c)
        steps = 0
        while c.play.protocol_break is None:
            next(running)
            steps += 1
            forget(c)
            yield
            assert steps < 20_000

    c = talk()
    for _ in attack_until_the_break(c):
        pass
    assert c.broke.reason == "overflow", c.broke
    total = steps
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        c = talk()
        for _ in itertools.islice(attack_until_the_break(c), total - 1):
            pass
        if ready:
            for way in (UP, DOWN):
                c.play.send(way, c.raw(1, 99_999))
                for _ in range(14):
                    c.play.send(way, c.raw(9, 99_999) * 1_000)
        assert c.play.protocol_break is None
        forget(c)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 100_000 < taken < MEGABYTE + details(c)


def amplified(large):
    """A block that names an entry as large as the table thousands of times; each field copies the name."""
    entry = b"\x40" + length_of(large) + large + b"\0"
    return entry + b"\x0f\x2f\0" * ((MAX_BLOCK - len(entry) - 100) // 3)


BLOCKS = {
    "references to a large entry": b"\x40\1x" + length_of(b"v" * 60_000) + b"v" * 60_000 + b"\xbe" * 60_000,
    "a large name, copied": amplified(b"n" * 40_000),
    "the smallest fields": b"\0\0\0" * 40_000,
    "the smallest entries": b"\x40\0\0" * 40_000,
    "cookies": b"\x60\0" * 60_000,
    "table sizes": b"\x20\x3f\xe1\xff\x03" * 25_000 + b"\x82\x84\x86",
    "Huffman": b"\0\1a" + length_of(b"\x1c\x64" * 50_000, 0x80) + b"\x1c\x64" * 50_000,
    "Huffman of many codes": b"\0\1a" + length_of(bytes(range(250)) * 400, 0x80) + bytes(range(250)) * 400,
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("case", BLOCKS)
def test_one_header_block_never_takes_more_than_a_few_times_its_size(talk, case, late):
    """Also while it is decoded; late: the sizes of tables and frames that were announced are not known."""

    def send(c):
        if not late:
            c.down(c.settings({1: 1 << 20, 5: (1 << 24) - 1}))
        start = b"\x82\x84\x86" if "sizes" not in case else b""
        grown = b"" if "sizes" in case else b"\x3f\xe1\xff\x03"
        block = grown + start + BLOCKS[case]
        pieces = [block[i : i + 16_384] for i in range(0, len(block), 16_384)]
        frames = [c.raw(1, 1, pieces[0])] + [c.raw(9, 1, piece) for piece in pieces[1:]]
        frames[-1] = frames[-1][:4] + b"\4" + frames[-1][5:]
        c.up(b"".join(frames))
        forget(c)

    send(talk(late=late))  # whatever is made once per process
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        c = talk(late=late)
        send(c)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < MEGABYTE
    assert peak - before < 2 * MEGABYTE


RESIDENT = """
import sys
sys.path[:0] = {path!r}
import resource
from {tests} import Conversation
import {hostile} as hostile

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def connect(attack):
    c = Conversation()
    for _ in attack(c):
        hostile.forget(c)
        if c.play.decoder.memory > 600_000 or c.play.protocol_break is not None:
            break
    for way in (hostile.UP, hostile.DOWN):
        if c.play.protocol_break is None:
            c.play.send(way, c.raw(1, 99_999))
            for _ in range(14):
                c.play.send(way, c.raw(9, 99_999) * 1_000)
    hostile.forget(c)
    return c

attack = getattr(hostile, {attack!r})
first = connect(attack)
before = resident()
kept = [connect(attack) for _ in range(20)]
print((resident() - before) // 20 - hostile.details(first))
"""


@pytest.mark.parametrize("attack", ["tiny_streams", "big_streams", "tables_then_streams", "answered_streams"])
def test_resident_memory_of_hostile_connections(attack):
    """What the operating system says, which counts what tracemalloc cannot see: compiled objects, and what
    the allocator keeps."""
    here = str(Path(__file__).parent)
    code = RESIDENT.format(path=[here], tests="conftest", hostile=Path(__file__).stem, attack=attack)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 100_000 < int(done.stdout) < MEGABYTE


def details(c):
    """Bytes of the details that wait for their streams, which the core keeps, and bounds."""
    return c.play.waiting * DETAIL_MEMORY


def forget(c):
    """What the player keeps for the test's sake."""
    for kept in (c.play.calls, c.play.alone, c.play.taken, c.play.exchanges):
        kept.clear()


def test_the_memory_of_a_connection_is_a_setting(talk):
    opened = []
    for memory in (64, 640):
        c = talk(memory=memory)
        for n in itertools.count(1, 2):
            c.up(c.request(n))
            if c.play.protocol_break is not None:
                break
        assert c.broke.reason == "overflow"
        opened.append(n // 2)
    assert opened[0] > 60
    assert 9 < opened[1] / opened[0] < 11


def test_header_tables_count(talk):
    """What the tables take is not there for streams."""
    opened = []
    for attack in (tiny_streams, tables_then_streams):
        c = talk(memory=300)
        steps = attack(c)
        opened.append(0)
        while c.play.protocol_break is None:
            next(steps)
            opened[-1] += 1
    assert opened[1] < opened[0] / 4


def test_streams_that_end_are_forgotten(talk):
    """Ten thousand exchanges, one after another and overlapping, take what two take."""
    c = talk(memory=64)
    for n in range(1, 20_001, 2):
        c.up(c.request(n))
        if n > 1:
            c.down(c.response(n - 2))
    assert len(c.streams) == 9_999
    assert c.play.decoder._streams.memory < 2_000


# -- fields that are large ---------------------------------------------------------------------------

LARGE = {
    "one large field": [("x-large", "v" * 8_000)],
    "many small fields": [(f"x-{i}", "v" * 30) for i in range(200)],
    "cookies": [("cookie", f"crumb-{i}=" + "v" * 30) for i in range(200)],
    "a large user agent": [("user-agent", "v" * 8_000)],
    "a large token, used again": [("authorization", "t" * 3_000), ("x-large", "v" * 5_000)],
}
TRACED = [
    ("user-agent", "client/1"),
    ("content-type", "application/grpc"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]


@pytest.mark.parametrize("case", LARGE)
def test_many_open_streams_with_large_fields_are_logged_every_one(talk, case):
    """As h2load and gRPC clients send them: 100 at once, 8 kB each, three times."""
    c = talk()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a.example")]
    for turn in range(3):
        numbers = range(200 * turn + 1, 200 * turn + 201, 2)
        for n in numbers:
            fields = LARGE[case] if case == "a large user agent" else [*TRACED, *LARGE[case]]
            c.up(c.request(n, [*head, (":path", f"/svc/{n}"), *fields], end=False, huffman=False))
        for n in numbers:
            c.down(c.response(n, [(":status", "200"), *LARGE[case]], end=False, huffman=False))
        for n in numbers:
            c.up(c.data(n, b"123"))
            c.down(c.response(n, [("grpc-status", "5"), *LARGE[case]], huffman=False))
    assert [s.owner for s in c.streams] == list(range(1, 601, 2))
    assert {s.outcome.value for s in c.streams} == {"complete"}
    for s in c.streams:
        assert s.request.target == f"/svc/{s.owner}"
        if case != "a large user agent":
            assert [(n, v) for n, v in s.request.headers if n in dict(TRACED)] == TRACED
        assert s.response.trailers.get("grpc-status") == "5"
        check_sizes(s)
    c.check_details()


def check_sizes(stream):
    """What is left out is counted all the same."""
    assert stream.request.body_size == 3
    assert stream.request.header_size > 3


def test_fields_are_whole_while_there_is_room(talk):
    """Few open streams: hooks see every field, however large."""
    c = talk()
    fields = [*TRACED, *LARGE["many small fields"]]
    get = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
    for n in range(1, 41, 2):
        c.up(c.request(n, [*get, *fields]))
    for n in range(1, 41, 2):
        c.down(c.response(n))
    assert len(c.streams) == 20
    assert all(list(s.request.headers) == fields for s in c.streams)


def test_fields_are_whole_again_when_there_is_room_again(talk):
    c = talk(memory=64)
    get = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
    for n in range(1, 41, 2):
        c.up(c.request(n, [*get, *LARGE["one large field"]]))
    for n in range(1, 41, 2):
        c.down(c.response(n))
    assert None in {s.request.headers.get("x-large") for s in c.streams}
    c.up(c.request(41), c.request(43, [*get, ("x-small", "1")]))
    c.down(c.response(41), c.response(43))
    assert c.streams[-1].request.headers.get("x-small") == "1"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"user-agent\0" + b"v" * 3_000, b"user-agent\0" + b"v" * MAX_VALUE),
        (b":path\0/" + b"v" * 3_000, b":path\0/" + b"v" * (MAX_VALUE - 1)),
        (b"host\0" + "\u20ac".encode() * 1_000, b"host\0" + "\u20ac".encode() * (MAX_VALUE // 3)),
        (b"host\0" + b"\x80" * 3_000, b"host\0" + b"\x80" * (MAX_VALUE - 3)),
        (b"host\0", b"host\0"),
        (b"x-other\0v", b""),
        (b"\0v", b""),
    ],
)
def test_what_a_log_needs(line, kept):
    packed = b"\n" + line
    assert needed(packed) == (kept and b"\n" + kept)
    assert needed(packed + packed) == (kept and b"\n" + kept)
    assert needed(needed(packed)) == needed(packed)


# -- time --------------------------------------------------------------------------------------------


def spent(run):
    """Seconds of processor time, the least of some runs: what else the machine does only adds to it."""
    times = []
    for _ in range(3):
        gc.collect()
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def trickles(kind, flags):
    """A header block, or SETTINGS, that comes a byte at a time."""

    def attack(c, size):
        payload = bytes(size) if kind == 4 else b"\0\1a\1b" * (size // 5)
        c.play.send_all(UP, [bytes([byte]) for byte in c.raw(kind, kind & 1, payload, flags)])

    return attack


def continuations_trickle(c, size):
    c.up(c.raw(1, 1))
    for _ in range(size // 9):
        c.up(c.raw(9, 1))


def answers_without_requests(c, size):
    """Thousands of streams wait for their requests; others are asked for in between."""
    for n in range(size // 40):
        c.down(c.raw(1, 10_001 + 2 * n, b"\x88", 4))
        c.up(c.raw(1, 2 * n + 1, b"\x82\x84\x86", 5))
        c.down(c.raw(1, 2 * n + 1, b"\x88", 5))


TRICKLES = {
    "HEADERS a byte at a time": trickles(1, 4),
    "SETTINGS a byte at a time": trickles(4, 0),
    "CONTINUATION frames, empty, one by one": continuations_trickle,
    "answers without requests": answers_without_requests,
}


@pytest.mark.parametrize("case", TRICKLES)
def test_work_grows_as_the_bytes_do(talk, case):
    """Eight times the bytes take about eight times as long; what looks at everything again takes 64."""
    small = 740
    quick, long = (
        spent(lambda size=size: TRICKLES[case](talk(memory=4096), size)) for size in (small, 8 * small)
    )
    assert long < 24 * quick


def loses(c, way):
    c.play.lose(way, 17)
    c.play.send(way, c.ping())


FRAMES = {
    "GOAWAY": lambda c, n: c.down(c.goaway((1 << 30) - n, 0)),
    "GOAWAY of the client": lambda c, n: c.up(c.goaway((1 << 30) - n, 0)),
    "a gap between frames": lambda c, _: loses(c, DOWN),
    "a gap between requests": lambda c, _: loses(c, UP),
    "RST_STREAM of an unknown stream": lambda c, _: c.down(c.reset(2, 8)),
    "DATA of an unknown stream": lambda c, _: c.up(c.data(1, b"x", end=False)),
    "SETTINGS": lambda c, _: c.down(c.settings()),
}


@pytest.mark.parametrize("case", FRAMES)
def test_what_a_frame_costs_does_not_depend_on_how_many_streams_are_open(talk, case):
    def open_streams(count):
        c = talk(memory=4096)
        c.up(c.request(1), c.reset(1, 8))
        for n in range(3, 2 * count + 3, 2):
            c.up(c.request(n, end=False))
        return c

    def send(c):
        for n in range(300):
            FRAMES[case](c, n)

    few, many = open_streams(2), open_streams(2_000)
    quick, long = (spent(lambda c=c: send(c)) for c in (few, many))
    assert few.play.protocol_break is many.play.protocol_break is None
    assert long < 3 * quick + 0.001


@pytest.mark.parametrize("case", BLOCKS)
def test_decoding_a_block_grows_as_its_bytes_do(case):
    """Read in eighths, whole tables of hostile entries included."""

    def decode(size):
        with contextlib.suppress(Undecodable):
            block = b"\x3f\xe1\xff\x03" + BLOCKS[case][:size]
            new_blocks().fields(block, 0, len(block), None)

    sizes = (MAX_BLOCK // 16, MAX_BLOCK // 2)
    quick, long = (spent(lambda size=size: [decode(size) for _ in range(20)]) for size in sizes)
    assert long < 24 * quick + 0.01


SNIFFED = {
    "table sizes": b"\x20" * 16_000,
    "a table size without end": b"\x3f" + b"\x80" * 16_000,
}


@pytest.mark.parametrize("case", SNIFFED)
def test_recognition_of_what_trickles_looks_at_a_few_bytes_each_time(case):
    class Counted(bytes):
        looked = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            Counted.looked += len(found) if isinstance(key, slice) else 1
            return found

    frame = len(SNIFFED[case]).to_bytes(3, "big") + b"\1\4\0\0\0\1" + SNIFFED[case]
    for end in range(0, len(frame), 100):
        Counted.looked = 0
        sniff(Counted(frame[:end]))
        assert Counted.looked < 200
