"""Time grows as the bytes do, and what is kept is bounded, whatever is sent, whole or in pieces."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from typing import NamedTuple

import pytest

from rover.contracts.protocol import NEED_MORE
from rover.http import Headers, HttpRequest, http_attributes
from rover.streams.buffer import StreamBuffer
from rover.streams.ledger import Ledger
from rover.testing import connection
from rover.values.connection import ProtocolBreak
from rover.values.records import Detail, Direction, Syscall
from rover_plugin_http1 import make
from rover_plugin_http1.sniff import sniff

UP, DOWN = Direction.EGRESS, Direction.INGRESS
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Sent(NamedTuple):
    """`unit`, as often as it takes, between what comes before and after it."""

    unit: bytes
    last: bytes = b""
    first: bytes = b""
    asks: bytes = GET
    """What the client sends before; nothing: the unit is the client's."""
    loss: bool = False
    """Whether a call of unknown content is lost just before the unit."""
    more: bytes = b""
    """What the other side sends after each piece."""

    def bytes(self, size: int) -> bytes:
        return self.first + self.unit * (size // (len(self.unit) or 1)) + self.last


SENT = {
    "status lines that are none, after a loss": Sent(b"HTTP/1.1 200 ", b"\rX\n", loss=True),
    "status lines that are none": Sent(b"HTTP/1.1 200 ", b"\rX\n", OK),
    "status lines that are none, from nobody known": Sent(b"HTTP/1.1 200 ", b"\rX\n", asks=b""),
    "request lines that are none": Sent(b"GET /a", b" HTTP/1.x\n", asks=b"", loss=True),
    "request lines that end too often": Sent(b"GET /a HTTP/1.1", b"\r\r\n", GET, asks=b""),
    "methods without end": Sent(b"GET", b"\n", GET, asks=b""),
    "a line without end": Sent(b"x", loss=True),
    "a head without end": Sent(b"a: b\r\n", first=b"HTTP/1.1 200 OK\r\n"),
    "a head of LF": Sent(b"a:\n", b"\n", b"GET / HTTP/1.1\n", asks=b""),
    "heads of LF": Sent(b"GET / HTTP/1.1\nHost: a\n\n", asks=b""),
    "heads without Host": Sent(b"GET / HTTP/1.1\r\n\r\n", asks=b""),
    "a value folded often": Sent(b"\r\n x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\na:"),
    "white space in a value": Sent(b" ", b"x\0\r\n\r\n", b"HTTP/1.1 200 OK\r\na: y"),
    "white space in a request line": Sent(b" ", b"/ HTTP/1.1\r\n\r\n", b"GET", asks=b""),
    "white space in a status line": Sent(b"\t", b"200\r\n\r\n", b"HTTP/1.1"),
    "nearly blank lines": Sent(b"\n\r\r\r", first=b"HTTP/1.1 200 OK\r\n"),
    "blank lines": Sent(b"\r\n", asks=b""),
    "many lengths": Sent(b"5,", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: "),
    "many codings": Sent(b"a,", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: "),
    "a chunk extension without end": Sent(b";a=b", first=CHUNKED + b"5"),
    "white space after a chunk's size": Sent(b" ", b"x\r\n", CHUNKED + b"5"),
    "small chunks": Sent(b"1\r\nx\r\n", first=CHUNKED),
    "trailers without end": Sent(b"a: b\r\n", first=CHUNKED + b"0\r\n"),
    "a doubtful head without end": Sent(b"x\r\n", first=b"GET /\r\n", asks=b""),
    "a doubtful head that is answered": Sent(
        b"x\r\n", first=b"GET / HTTP/1.\r\n", asks=b"", more=b"a: b\r\n"
    ),
    "a doubtful line": Sent(b" AB/1.1", b"\r\n", b"GET /", asks=b""),
    "content after HEAD": Sent(
        b"HTTP/1.1 ", first=b"HTTP/1.1 200 OK\r\n\r\n", asks=b"HEAD / HTTP/1.0\r\n\r\n"
    ),
    "content that was refused": Sent(b"a", first=EXPECTING, asks=b"", more=OK),
    "pipelined requests with large heads": Sent(GET[:-2] + b"x: " + b"y" * 1000 + b"\r\n\r\n", asks=b""),
    "pipelined requests with large targets": Sent(b"GET /\xf0\x9f\x98\x80" + b"y" * 2000 + GET[5:], asks=b""),
    "pipelined requests": Sent(GET, asks=b""),
    "large heads of LF": Sent(b"GET / HTTP/1.1\nHost: a\n" + b"a:\n" * 1000 + b"\n", asks=b""),
    "trailers of an early answer": Sent(
        b"a:\n", b"\n", CHUNKED + b"0\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    ),
}


class Connection:
    """Keeps nothing of what the decoder tells, as the core does."""

    def __init__(self) -> None:
        self.decoder = make(connection(None), {}, None)
        self.ledger = Ledger()
        self.buffers = {way: StreamBuffer(way, self.ledger) for way in Direction}
        self.calls = itertools.count()
        self.broken = False

    def send(self, way: Direction, data: bytes) -> None:
        if self.broken:
            return
        number, buffer = next(self.calls), self.buffers[way]
        call = Syscall.READ if way is DOWN else Syscall.WRITE
        detail = Detail(
            connection=1,
            sequence=number,
            start=number,
            end=number,
            position=buffer.end,
            size=len(data),
            pid=42,
            fd=3,
            syscall=call,
            direction=way,
            error=0,
        )
        buffer.append(detail, data)
        while not self.broken and (found := self.decoder.decode(way, buffer, number)) is not NEED_MORE:
            self.broken = isinstance(found, ProtocolBreak)
            if hasattr(found, "owner"):
                self.ledger.take(found.owner)
        self.ledger.take_free()

    def lose(self, way: Direction, size: int) -> None:
        self.buffers[way].append(
            Detail(
                connection=1,
                sequence=next(self.calls),
                start=1,
                end=1,
                position=self.buffers[way].end,
                size=size,
                pid=42,
                fd=3,
                syscall=Syscall.READ,
                direction=way,
                error=0,
            ),
            b"",
        )


def play(sent: Sent, size: int, piece: int) -> Connection:
    peer = Connection()
    way = DOWN if sent.asks else UP
    if sent.asks:
        peer.send(UP, sent.asks)
    if sent.loss:
        peer.lose(way, 1)
    if sent.more:
        peer.send(DOWN if way is UP else UP, b"HTTP/1.1 200 OK\r\n")
    data = sent.bytes(size)
    for at in range(0, len(data), piece):
        peer.send(way, data[at : at + piece])
        if sent.more:
            peer.send(DOWN if way is UP else UP, sent.more)
    return peer


def cost(sent: Sent, size: int, piece: int) -> float:
    """Processor seconds per byte; the least of some runs, which other load disturbs least."""
    costs = []
    for _ in range(3):
        begun = time.process_time()
        play(sent, size, piece)
        costs.append((time.process_time() - begun) / size)
    return min(costs)


FLOOR = 20e-9
"""Seconds per byte: below this, set-up and the clock are most of what is measured."""
GROWTH = 5
"""A scanner that goes through all there is again at each step costs 16 times as much per byte."""


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
@pytest.mark.parametrize(("piece", "size"), [(1 << 20, 1 << 16), (1000, 1 << 16), (1, 1 << 13)])
def test_time_grows_as_the_bytes_do(sent, piece, size):
    size = max(size, 16 * len(sent.unit))
    small = max(FLOOR, cost(sent, size // 16, piece))
    large = cost(sent, size, piece)
    if large > GROWTH * small:
        large = min(large, cost(sent, size, piece))
    assert large <= GROWTH * small, f"{small * 1e9:.0f} ns a byte, then {large * 1e9:.0f}"


def test_heads_of_lf_cost_what_other_heads_do():
    fields = b"Host: a\r\nUser-Agent: b\r\nAccept: c\r\n\r\n"
    usual = Sent(b"GET / HTTP/1.1\r\n" + fields, asks=b"")
    bare = Sent(usual.unit.replace(b"\r\n", b"\n"), asks=b"")
    size = 500 * len(usual.unit)  # more requests would not wait for an answer
    assert cost(bare, size, size) < 4 * cost(usual, size, size)


@pytest.mark.parametrize("name", ["status lines that are none, after a loss", "white space in a value"])
def test_half_a_megabyte_in_one_call_holds_nobody_up(name):
    begun = time.process_time()
    play(SENT[name], 500_000, 1 << 20)
    assert time.process_time() - begun < 2


HEAD = b"GET / HTTP/1.1\nHost: a\n" + b"a:\n" * 40_000 + b"\n"
EARLY = Sent(b"", CHUNKED + b"0\n" + b"a:\n" * 40_000 + b"\n", asks=EXPECTING)


@pytest.mark.parametrize("sent", [Sent(HEAD, asks=b""), EARLY], ids=["heads of LF", "trailers"])
def test_what_is_kept_of_many_fields_is_bounded(sent):
    test_what_a_connection_keeps_is_bounded(sent, 1 << 16)


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
@pytest.mark.parametrize("piece", [1 << 16, 1000])
def test_what_a_connection_keeps_is_bounded(sent, piece):
    play(sent, 1000, piece)
    gc.collect()
    tracemalloc.start()
    peer = play(sent, 300_000, piece)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del peer
    assert kept < 1 << 20


@pytest.mark.parametrize("unit", [GET, GET[:-2] + b"x: " + b"y" * 1000 + b"\r\n\r\n"])
def test_a_decoder_knows_about_how_much_it_keeps(unit):
    play(Sent(unit, asks=b""), len(unit), len(unit))
    gc.collect()
    tracemalloc.start()
    peer = play(Sent(unit, asks=b""), 100 * len(unit), len(unit))
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not peer.broken
    assert kept / 2 < peer.decoder.memory < kept * 3


@pytest.mark.parametrize(
    "value", ["sw8: 1-" + "-" * 100_000, "traceparent: 00-" + "a" * 100_000, "b3: " + "a-" * 50_000]
)
def test_attributes_of_large_fields_are_made_in_no_time(value):
    name, _, said = value.partition(": ")
    headers = Headers([(name, said), ("x-b3-traceid", said), ("host", said)])
    request = HttpRequest(
        method="GET",
        target="http://" + "/?" * 50_000,
        version="1.1",
        headers=headers,
        start=0,
        end=0,
        header_size=0,
        body_size=0,
    )
    begun = time.process_time()
    http_attributes(request, None)
    assert time.process_time() - begun < 0.1


def test_sniffing_ever_more_bytes_looks_at_a_bounded_part():
    begun = time.process_time()
    for opening in (b"\r\n", b"GET ", b"A ", b"A /HTTP/", b"GET / AB/1."):
        for size in range(1, 20_000, 97):
            sniff(opening * size)
    assert time.process_time() - begun < 1
