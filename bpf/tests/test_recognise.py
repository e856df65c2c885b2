"""c/recognise.h, compiled for the host: the very lines the kernel runs."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.pipeline.proxy_header import ProxyHeader, read_header
from rover_source_ebpf.programs import C

WINDOW = 2048
"""RECOGNISE_WINDOW: the buffer is always that large, its rest is what earlier calls left there."""
NOTHING = (None, None)
PROTOCOLS = {0: None, 1: "http1", 2: "http2"}
KINDS = {0: None, 0x10: "request", 0x20: "response"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20

Recognise = Callable[..., tuple[str | None, str | None]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (Debian: gcc)")
    directory = tmp_path_factory.mktemp("recognise")
    source, library = directory / "recognise.c", directory / "recognise.so"
    source.write_text(
        '#include "recognise.h"\n'
        "unsigned answer(const unsigned char *data, unsigned size) { return recognise(data, size); }\n"
        "unsigned header(const unsigned char *data, unsigned size) { return proxy_header(data, size); }\n"
    )
    strict = ["-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover"]
    build = [compiler, "-O1", "-shared", "-fPIC", *strict, f"-I{C}", str(source), "-o", str(library)]
    subprocess.run(build, check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def recognise(library: ctypes.CDLL) -> Recognise:
    function = library.answer

    def answer(data: bytes, rest: bytes = b"\x82") -> tuple[str | None, str | None]:
        found = function((data + rest * WINDOW)[:WINDOW], min(len(data), 0xFFFF_FFFF))
        return PROTOCOLS[found & 0x0F], KINDS[found & 0xF0]

    return answer


@pytest.fixture(scope="module")
def proxy_header(library: ctypes.CDLL) -> Callable[..., int]:
    def answer(data: bytes, rest: bytes = b"\n") -> int:
        return int(library.header((data + rest * WINDOW)[:WINDOW], len(data)))

    return answer


def frame(
    kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1, length: int | None = None
) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(block: bytes, flags: int = END_HEADERS, stream: int = 1) -> bytes:
    return frame(1, block, flags, stream)


SETTINGS = frame(4, bytes(6), stream=0)

HTTP1 = {
    "GET": (b"GET / HTTP/1.1\r\n", ("http1", "request")),
    "POST": (b"POST / HTTP/1.1\r\n", ("http1", "request")),
    "PUT": (b"PUT / HTTP/1.1\r\n", ("http1", "request")),
    "DELETE": (b"DELETE / HTTP/1.1\r\n", ("http1", "request")),
    "HEAD": (b"HEAD / HTTP/1.0\r\n", ("http1", "request")),
    "PATCH": (b"PATCH / HTTP/1.1\r\n", ("http1", "request")),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\n", ("http1", "request")),
    "TRACE": (b"TRACE / HTTP/1.1\r\n", ("http1", "request")),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n", ("http1", "request")),
    "response 1.1": (b"HTTP/1.1 200 OK\r\n\r\n", ("http1", "response")),
    "response 1.0": (b"HTTP/1.0 404 \r\n\r\n", ("http1", "response")),
    "15 bytes": (b"GET / HTTP/1.1\r", NOTHING),
    "15 bytes of a response": (b"HTTP/1.1 200 OK", NOTHING),
    "no bytes": (b"", NOTHING),
    "no space after the method": (b"GETTING / HTTP/1.1\r\n", NOTHING),
    "a method of another case": (b"get / HTTP/1.1\r\n", NOTHING),
    "another method": (b"PROPFIND / HTTP/1.1\r\n", NOTHING),
    "HTTP without a version": (b"HTTP is a protocol of", NOTHING),
    "a response of HTTP/2 text": (b"HTTP/2.0 200 OK\r\n\r\n", NOTHING),
    "a method inside": (b"\r\nGET / HTTP/1.1\r\n", NOTHING),
}

HTTP2 = {
    ":authority": (headers(b"\x81"), ("http2", "request")),
    ":method GET": (headers(b"\x82"), ("http2", "request")),
    ":method POST": (headers(b"\x83"), ("http2", "request")),
    ":path /": (headers(b"\x84"), ("http2", "request")),
    ":path /index.html": (headers(b"\x85"), ("http2", "request")),
    ":scheme is the first that is no request": (headers(b"\x86"), ("http2", "response")),
    ":status 200": (headers(b"\x88"), ("http2", "response")),
    ":status 500": (headers(b"\x8e"), ("http2", "response")),
    "the last static entry": (headers(b"\xbd"), ("http2", "response")),
    "a dynamic entry": (headers(b"\xbe"), NOTHING),
    "index 0": (headers(b"\x80"), NOTHING),
    "literal with indexing, :path": (headers(b"\x44\x01/"), ("http2", "request")),
    "literal with indexing, :status": (headers(b"\x48\x03418"), ("http2", "response")),
    "literal with indexing, new name": (headers(b"\x40\x01a\x01b"), NOTHING),
    "literal without indexing, :path": (headers(b"\x04\x01/"), ("http2", "request")),
    "literal never indexed, :status": (headers(b"\x18\x03418"), ("http2", "response")),
    "literal without indexing, new name": (headers(b"\x00\x01a\x01b"), NOTHING),
    "an index in two bytes": (headers(b"\x0f\x02\x01x"), ("http2", "response")),
    "an index in two bytes, above the table": (headers(b"\x0f\x7f\x01x"), NOTHING),
    "an index in three bytes": (headers(b"\x0f\x81\x01x"), NOTHING),
    "table size update first": (headers(b"\x20\x82"), ("http2", "request")),
    "two table size updates first": (headers(b"\x20\x3f\xe1\x1f\x88"), ("http2", "response")),
    "three table size updates": (headers(b"\x20\x20\x20\x88"), NOTHING),
    "END_STREAM": (headers(b"\x82", END_HEADERS | END_STREAM), ("http2", "request")),
    "PADDED: one byte later": (headers(b"\x01\x82\x00", END_HEADERS | PADDED), ("http2", "request")),
    "PADDED is not tested with PRIORITY's bit": (
        headers(b"\x00\x88", END_HEADERS | PADDED),
        ("http2", "response"),
    ),
    "PRIORITY: five bytes later": (
        headers(b"\x00\x00\x00\x00\x10\x83", END_HEADERS | PRIORITY),
        ("http2", "request"),
    ),
    "PADDED and PRIORITY: six bytes later": (
        headers(b"\x00\x00\x00\x00\x00\x10\x88", END_HEADERS | PADDED | PRIORITY),
        ("http2", "response"),
    ),
    "flag 0x02": (headers(b"\x82", END_HEADERS | 0x02), NOTHING),
    "flag 0x10": (headers(b"\x82", END_HEADERS | 0x10), NOTHING),
    "flag 0x40": (headers(b"\x82", END_HEADERS | 0x40), NOTHING),
    "flag 0x80": (headers(b"\x82", END_HEADERS | 0x80), NOTHING),
    "reserved bit": (headers(b"\x82", stream=0x8000_0001), NOTHING),
    "HEADERS of 16384 bytes": (frame(1, b"\x82", END_HEADERS, length=16384), ("http2", "request")),
    "HEADERS of 16385 bytes": (frame(1, b"\x82", END_HEADERS, length=16385), NOTHING),
    "stream 0": (headers(b"\x82", stream=0), NOTHING),
    "the largest stream": (headers(b"\x82", stream=0x7FFF_FFFF), ("http2", "request")),
    "stream 256": (headers(b"\x82", stream=256), ("http2", "request")),
    "the header block begins after what was captured": (headers(b"\x82")[:9], NOTHING),
    "cut frame header": (headers(b"\x82")[:8], NOTHING),
    "type 0x09 is skipped": (frame(9, b"x") + headers(b"\x82"), ("http2", "request")),
    "type 0x0a": (frame(10, b"x") + headers(b"\x82"), NOTHING),
    "type 0xff": (frame(255, b"x") + headers(b"\x82"), NOTHING),
    "HEADERS as the fifth frame": (SETTINGS * 4 + headers(b"\x82"), ("http2", "request")),
    "HEADERS as the sixth frame": (SETTINGS * 5 + headers(b"\x82"), NOTHING),
    "preface, SETTINGS, HEADERS": (PREFACE + SETTINGS + headers(b"\x82"), ("http2", "request")),
    "preface and five frames": (PREFACE + SETTINGS * 4 + headers(b"\x83"), ("http2", "request")),
    "preface and nothing else": (PREFACE, ("http2", "request")),
    "preface and no HEADERS": (PREFACE + SETTINGS, ("http2", "request")),
    "preface and another type": (PREFACE + frame(10) + headers(b"\x82"), NOTHING),
    "request line of a preface": (PREFACE[:14], ("http2", "request")),
    "too little of a preface": (PREFACE[:13], NOTHING),
    "part of a preface": (PREFACE[:20] + headers(b"\x82"), NOTHING),
    "server's SETTINGS, then a response": (
        SETTINGS + frame(4, flags=1, stream=0) + headers(b"\x88"),
        ("http2", "response"),
    ),
    "a frame that goes on in the next call": (frame(4, b"", length=5000), NOTHING),
    "a frame of the largest length": (frame(0, b"", length=0xFFFFFF) + headers(b"\x82"), NOTHING),
    "HEADERS at the end of the window": (
        frame(0, bytes(WINDOW - 9 - 10)) + headers(b"\x82"),
        ("http2", "request"),
    ),
    "HEADERS beyond the window": (frame(0, bytes(WINDOW - 9 - 9)) + headers(b"\x82"), NOTHING),
}

OTHERS = {
    "TLS ClientHello of 256 bytes": bytes.fromhex("1603010100010000fc0303") + bytes(64),
    "TLS ClientHello": bytes.fromhex("1603010200010001fc0303") + bytes(64),
    "TLS application data": bytes.fromhex("1703030100") + bytes(range(200)),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "Redis": b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
    "MySQL greeting": bytes.fromhex("4a0000000a382e302e333300") + bytes(64),
    "PostgreSQL startup": bytes.fromhex("0000002300030000") + b"user\0postgres\0database\0postgres\0\0",
    "MongoDB": bytes.fromhex("3f0000000100000000000000dd0700000000000000") + bytes(42),
    "Kafka": bytes.fromhex("000000230012000400000001") + b"consumer-1" + bytes(20),
    "DNS over TCP": bytes.fromhex("001d1a2b01000001000000000000") + b"\x07example\x03com\0\0\1\0\1",
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "text": b"the quick brown fox jumps over the lazy dog\n",
}


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 80\r\n"
V1_LONGEST = b"PROXY UNKNOWN ".ljust(105, b"f") + b"\r\n"
V2 = SIGNATURE + b"\x21\x11\0\x0c" + bytes(12)

PROXY_HEADERS = {
    "v1": (V1, 39),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", 15),
    "v1 of 107 bytes": (V1_LONGEST, 107),
    "v1, then a request": (V1 + b"GET / HTTP/1.1\r\n\r\n", 39),
    "v1 of 108 bytes": (V1_LONGEST.replace(b"ff", b"fff", 1), 0),
    "v1 that ends with a bare LF": (V1.replace(b"\r", b"x"), 0),
    "v1 without its LF": (V1[:-1], 0),
    "v1 cut": (V1[:20], 0),
    "v1 in lower case": (V1.lower(), 0),
    "v2": (V2, 28),
    "v2 LOCAL": (SIGNATURE + b"\x20\0\0\0", 16),
    "v2 with TLVs": (SIGNATURE + b"\x21\x11\1\2" + bytes(0x102), 16 + 0x102),
    "v2, then a request": (V2 + b"GET / HTTP/1.1\r\n\r\n", 28),
    "v2 that goes on in the next call": (SIGNATURE + b"\x21\x11\xff\xff", 16 + 0xFFFF),
    "v2 without its length": (V2[:15], 0),
    "version 1 in the form of version 2": (SIGNATURE + b"\x11\x11\0\x0c" + bytes(12), 0),
    "version 3": (SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), 0),
    "an unknown command": (SIGNATURE + b"\x22\x11\0\x0c" + bytes(12), 0),
    "another signature": (b"\r\n\r\n\0\r\nQUIT\r" + V2[12:], 0),
    "a request": (b"POST / HTTP/1.1\r\n\r\n", 0),
    "no bytes": (b"", 0),
}


@pytest.mark.parametrize("case", PROXY_HEADERS)
@pytest.mark.parametrize("rest", [b"\n", b"\0", b"\r\n"])
def test_proxy_headers(case: str, rest: bytes, proxy_header: Callable[..., int]) -> None:
    data, size = PROXY_HEADERS[case]
    assert proxy_header(data, rest) == size


@pytest.mark.parametrize("case", PROXY_HEADERS)
def test_a_proxy_header_alone_is_no_protocol(case: str, recognise: Recognise) -> None:
    data, size = PROXY_HEADERS[case]
    if size:
        assert recognise(data) == NOTHING


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from([b"PROXY ", SIGNATURE, b""]).flatmap(
        lambda b: st.binary(max_size=130).map(b.__add__)
    )
)
def test_the_kernel_takes_for_a_header_what_user_space_does(
    proxy_header: Callable[..., int], data: bytes
) -> None:
    """It may take more, for it looks at no addresses."""
    if isinstance(header := read_header(data), ProxyHeader) and len(data) >= 16:
        assert proxy_header(data) == header.size


@pytest.mark.parametrize("case", HTTP1)
def test_http1(case: str, recognise: Recognise) -> None:
    data, expected = HTTP1[case]
    assert recognise(data) == expected


@pytest.mark.parametrize("case", HTTP2)
def test_http2(case: str, recognise: Recognise) -> None:
    data, expected = HTTP2[case]
    assert recognise(data) == expected


@pytest.mark.parametrize("case", OTHERS)
def test_other_protocols(case: str, recognise: Recognise) -> None:
    assert recognise(OTHERS[case]) == NOTHING


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=120), rests=st.tuples(st.binary(min_size=1), st.binary(min_size=1)))
def test_what_lies_behind_the_call_has_no_say(
    recognise: Recognise, data: bytes, rests: tuple[bytes, bytes]
) -> None:
    """The buffer keeps what earlier calls left there."""
    assert recognise(data, rests[0]) == recognise(data, rests[1])


@settings(max_examples=100, deadline=None)
@given(
    which=st.sampled_from(sorted({**HTTP1, **HTTP2})),
    cut=st.integers(0, 100),
    rests=st.tuples(st.binary(min_size=1), st.binary(min_size=1)),
)
def test_a_cut_message_has_no_say_beyond_its_end(
    recognise: Recognise, which: str, cut: int, rests: tuple[bytes, bytes]
) -> None:
    data = {**HTTP1, **HTTP2}[which][0][:cut]
    assert recognise(data, rests[0]) == recognise(data, rests[1])


def test_false_alarms_on_random_bytes(recognise: Recognise, capsys: pytest.CaptureFixture[str]) -> None:
    """By the rules one in some ten million calls: 1/256 for HEADERS, 1/16 for its flags, 1/2 for the
    reserved bit, 1/1024 for its length, about a half for the first field."""
    generator = random.Random(9113)
    calls = 300_000
    alarms = {"http1": 0, "http2": 0}
    for _ in range(calls):
        protocol, _ = recognise(generator.randbytes(64))
        if protocol is not None:
            alarms[protocol] += 1
    with capsys.disabled():
        print(f"\nfalse alarms in {calls} calls of random bytes: {alarms}")
    assert sum(alarms.values()) <= 1


def test_false_alarms_on_random_frames(recognise: Recognise, capsys: pytest.CaptureFixture[str]) -> None:
    """Random bytes after a plausible length: the rules on type, flags and first field alone."""
    generator = random.Random(7541)
    calls, alarms = 100_000, 0
    for _ in range(calls):
        alarms += recognise(bytes([0, 0, 40]) + generator.randbytes(46)) != NOTHING
    with capsys.disabled():
        print(f"\nfalse alarms in {calls} frames of random bytes: {alarms}")
    assert 0 < alarms <= calls / 5_000


def test_the_headers_are_part_of_the_package() -> None:
    files = {path.name for path in Path(C).rglob("*") if path.is_file()}
    assert {"recognise.h", "wire.h", "kernel.h", "maps.c", "syscalls.c", "types.h", "version.h"} <= files
