"""Traffic no two messages of which are alike, as the kernel would hand it over."""

from __future__ import annotations

import dataclasses
import random
import struct

import hpack

from rover import Direction, Syscall
from rover_source_ebpf.record import (
    CIPHERTEXT,
    ENDS,
    FLAG_DETAIL,
    HEADER,
    KIND_CLOSED,
    KIND_DATA,
    KIND_OPENED,
    KIND_PLAINTEXT,
)

WORDS = ["api", "v1", "users", "orders", "static", "img", "search", "cart", "login", "health", "items"]
AGENTS = ["curl/8.1", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0", "okhttp/4.12", "wrk"]


@dataclasses.dataclass(frozen=True)
class Messages:
    """One exchange on the wire."""

    request: bytes
    response: bytes


def hexadecimal(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def http1(rng: random.Random) -> Messages:
    """A request and its response: 200 bytes to 20 kB, most of them small."""
    path = "/".join(rng.choices(WORDS, k=rng.randint(1, 4)))
    method = rng.choice(["GET", "GET", "GET", "POST"])
    lines = [
        f"{method} /{path}/{rng.getrandbits(40)}?q={rng.getrandbits(24)} HTTP/1.1",
        f"Host: {rng.choice(WORDS)}-{rng.randrange(1000)}.example.com",
        f"User-Agent: {rng.choice(AGENTS)}",
        "Accept: */*",
        f"Cookie: session={hexadecimal(rng, 32)}; seen={rng.getrandbits(30)}",
    ]
    if rng.random() < 0.5:
        lines.append(f"traceparent: 00-{hexadecimal(rng, 32)}-{hexadecimal(rng, 16)}-01")
    if rng.random() < 0.5:
        lines += ["Accept-Encoding: gzip, br", f"X-Request-Id: {hexadecimal(rng, 24)}"]
    body = b""
    if method == "POST":
        body = rng.randbytes(rng.randint(10, 400))
        lines.append(f"Content-Length: {len(body)}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    size = rng.choice([0, 120, 300, 600, 600, 2_000, 20_000])
    response = (
        f"HTTP/1.1 {rng.choice([200, 200, 200, 201, 404, 500])} Reason\r\n"
        f"Date: Sun, 22 Nov 2026 {rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02} GMT\r\n"
        f"Server: nginx/1.22.1\r\nContent-Type: text/html\r\nContent-Length: {size}\r\n"
        f'ETag: "{hexadecimal(rng, 16)}"\r\nSet-Cookie: id={hexadecimal(rng, 24)}; Path=/\r\n\r\n'
    ).encode() + rng.randbytes(size)
    return Messages(request, response)


class Kernel:
    """Makes the records of made-up connections, byte for byte as the ring buffer holds them."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self._clock = 1_000_000_000
        self._next = 1
        self._sequences: dict[int, int] = {}
        self._positions: dict[tuple[int, int], int] = {}

    def open(self) -> int:
        """A connection accepted by a server."""
        identity = self._next * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        self._next += 1
        self._sequences[identity] = 0
        head = self._header(KIND_OPENED, FLAG_DETAIL, identity, Syscall.ACCEPT4, Direction.EGRESS, 0, 0)
        v4 = bytes(10) + b"\xff\xff"
        ends = ENDS.pack(
            self._clock, v4 + bytes([10, 0, 0, 1]), v4 + struct.pack(">I", self._next), 80, 40000, 2
        )
        self.records.append(head + ends)
        return identity

    def data(self, identity: int, syscall: Syscall, direction: Direction, payload: bytes) -> None:
        """One call that moved `payload`, captured whole."""
        size = len(payload)
        self.records.append(self._header(KIND_DATA, 0, identity, syscall, direction, size, size) + payload)

    def close(self, identity: int) -> None:
        """The server closes."""
        self.records.append(
            self._header(KIND_CLOSED, FLAG_DETAIL, identity, Syscall.CLOSE, Direction.EGRESS, 0, 0)
        )
        del self._sequences[identity]
        for direction in Direction:
            self._positions.pop((identity, direction), None)

    def _header(
        self, kind: int, flags: int, identity: int, syscall: int, direction: int, size: int, captured: int
    ) -> bytes:
        self._clock += 20_000
        sequence = self._sequences[identity]
        self._sequences[identity] = sequence + 1
        position = self._positions.get((identity, direction), 0)
        self._positions[identity, direction] = position + size
        return HEADER.pack(
            *(kind, flags, captured, identity, sequence, self._clock - 5_000, self._clock),
            *(position, size, 4242, 7, syscall, direction, 0),
        )


def http1_records(exchanges: list[Messages], connections: int, per_connection: int) -> list[bytes]:
    """The exchanges over so many connections at a time, each closed after `per_connection`."""
    kernel = Kernel()
    open_: list[int] = []
    used: dict[int, int] = {}
    for number, exchange in enumerate(exchanges):
        if len(open_) < connections:
            open_.append(kernel.open())
            used[open_[-1]] = 0
        identity = open_[number % len(open_)]
        kernel.data(identity, Syscall.RECVFROM, Direction.INGRESS, exchange.request)
        kernel.data(identity, Syscall.WRITEV, Direction.EGRESS, exchange.response)
        used[identity] += 1
        if used[identity] >= per_connection:
            kernel.close(identity)
            open_.remove(identity)
    for identity in open_:
        kernel.close(identity)
    return kernel.records


RECORD = 16384
"""Bytes of plaintext in a TLS record (RFC 8446 section 5.1), and in a call of a library."""
OVERHEAD = 22
"""Bytes that a record has besides: of TLS 1.3 with a tag of 16."""


def hello(kind: int, extensions: bytes) -> bytes:
    """A handshake record with a ClientHello (1) or a ServerHello (2), which has a suite of those offered."""
    suite = b"\0\2\x13\1\1\0" if kind == 1 else b"\x13\1\0"
    body = b"\3\3" + bytes(range(32)) + b"\0" + suite + struct.pack(">H", len(extensions)) + extensions
    message = bytes([kind]) + struct.pack(">I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack(">H", len(message)) + message


CLIENT_HELLO = hello(1, b"\0\0\0\x10\0\x0e\0\0\x0bexample.com")
SERVER_HELLO = hello(2, b"\0\x2b\0\2\3\4")


class TlsKernel(Kernel):
    """The same of a server that does TLS. Once a connection is known to, its ciphertext is not captured."""

    def __init__(self, *, in_memory: bool) -> None:
        """`in_memory`: its socket calls are made before a read of the library, and after a write."""
        super().__init__()
        self._in_memory = in_memory
        self._plain_sequences: dict[int, int] = {}
        self._plain_positions: dict[tuple[int, int], int] = {}

    def open(self) -> int:
        """A connection whose handshake is over."""
        identity = super().open()
        self._plain_sequences[identity] = 0
        self._plain_positions[identity, Direction.INGRESS] = 0
        self._plain_positions[identity, Direction.EGRESS] = 0
        self.data(identity, Syscall.READ, Direction.INGRESS, CLIENT_HELLO)
        self.data(identity, Syscall.WRITE, Direction.EGRESS, SERVER_HELLO)
        self._sealed(identity, Syscall.WRITE, Direction.EGRESS, 1200)
        self._sealed(identity, Syscall.READ, Direction.INGRESS, 80)
        return identity

    def read(self, identity: int, message: bytes) -> None:
        """The server reads it: with each call one record of TLS, which takes one socket call."""
        for first in range(0, len(message), RECORD):
            piece = message[first : first + RECORD]
            self._sealed(identity, Syscall.READ, Direction.INGRESS, len(piece) + OVERHEAD)
            self._plaintext(identity, Direction.INGRESS, piece, 0)

    def write(self, identity: int, message: bytes) -> None:
        """The same of a write."""
        for first in range(0, len(message), RECORD):
            piece = message[first : first + RECORD]
            size = len(piece) + OVERHEAD
            if self._in_memory:
                self._plaintext(identity, Direction.EGRESS, piece, size)
                self._sealed(identity, Syscall.WRITE, Direction.EGRESS, size)
            else:
                self._sealed(identity, Syscall.WRITE, Direction.EGRESS, size)
                self._plaintext(identity, Direction.EGRESS, piece, 0)

    def _sealed(self, identity: int, syscall: Syscall, direction: Direction, size: int) -> None:
        self.records.append(self._header(KIND_DATA, 0, identity, syscall, direction, size, 0))

    def _plaintext(self, identity: int, direction: Direction, payload: bytes, ahead: int) -> None:
        """`ahead`: bytes of its ciphertext that the socket has not moved."""
        self._clock += 20_000
        size, position = len(payload), self._plain_positions[identity, direction]
        start = self._clock - (5_000 if self._in_memory else 30_000)
        head = HEADER.pack(
            *(KIND_PLAINTEXT, 0, size, identity, self._plain_sequences[identity], start, self._clock),
            *(position, size, 4242, -1, 0, direction, 0),
        )
        self._plain_sequences[identity] += 1
        self._plain_positions[identity, direction] = position + size
        ciphertext = CIPHERTEXT.pack(self._positions[identity, direction] + ahead)
        self.records.append(head + ciphertext + payload)


def tls_records(exchanges: list[Messages], connections: int, *, in_memory: bool) -> list[bytes]:
    """The exchanges over so many connections with TLS."""
    kernel = TlsKernel(in_memory=in_memory)
    open_ = [kernel.open() for _ in range(connections)]
    for number, exchange in enumerate(exchanges):
        identity = open_[number % connections]
        kernel.read(identity, exchange.request)
        kernel.write(identity, exchange.response)
    for identity in open_:
        kernel.close(identity)
    return kernel.records


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_DATA, HTTP2_HEADERS, HTTP2_SETTINGS, HTTP2_WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS = 1, 4
TIMEOUTS = ["1S", "30S", "250m", "4999m", "10S"]
GRPC_AGENTS = ["grpc-go/1.64.0", "grpc-python/1.62.1 grpc-c/39.0.0 (linux; chttp2)", "grpc-java-netty/1.60.0"]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Grpc:
    """One gRPC connection, and its calls as client and server put them on the wire."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._client = hpack.Encoder()
        self._server = hpack.Encoder()
        self._next = 1
        self._authority = f"{rng.choice(WORDS)}-{rng.randrange(1000)}.example.com:443"
        self._agent = rng.choice(GRPC_AGENTS)

    def opening(self) -> Messages:
        """What each side sends before all else."""
        announced = struct.pack(
            ">HIHI", 3, self._rng.randint(100, 1000), 4, self._rng.randint(65_535, 1 << 20)
        )
        settings = frame(HTTP2_SETTINGS, 0, 0, announced)
        return Messages(PREFACE + settings + self._window(0), settings + frame(HTTP2_SETTINGS, 1, 0, b""))

    def _window(self, stream: int) -> bytes:
        return frame(HTTP2_WINDOW_UPDATE, 0, stream, struct.pack(">I", self._rng.randint(1, 1 << 20)))

    def _message(self) -> bytes:
        body = self._rng.randbytes(self._rng.choice([0, 20, 60, 120, 300, 600, 2_000]))
        return struct.pack(">BI", 0, len(body)) + body

    def call(self) -> tuple[int, bytes]:
        """The next call's stream, and its request: head and one message."""
        rng, stream = self._rng, self._next
        self._next += 2
        service = f"{rng.choice(WORDS)}.{rng.choice(WORDS)}.{rng.choice(WORDS).title()}Service"
        head = self._client.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", f"/{service}/{rng.choice(['Get', 'List', 'Put'])}{rng.choice(WORDS).title()}"),
                (":authority", self._authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", self._agent),
                ("grpc-timeout", rng.choice(TIMEOUTS)),
                ("x-request-id", hexadecimal(rng, 32)),
                ("traceparent", f"00-{hexadecimal(rng, 32)}-{hexadecimal(rng, 16)}-01"),
            ]
        )
        frames = frame(HTTP2_HEADERS, END_HEADERS, stream, head)
        frames += frame(HTTP2_DATA, END_STREAM, stream, self._message())
        return stream, frames

    def answer(self, stream: int) -> bytes:
        """The response to a call: head, one message, trailers; windows are updated now and then."""
        rng = self._rng
        head = self._server.encode(
            [
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-accept-encoding", "identity,deflate,gzip"),
                ("x-served-in", f"{rng.getrandbits(20)}us"),
            ]
        )
        trailers = [("grpc-status", rng.choice(["0", "0", "0", "5", "14"]))]
        if trailers[0][1] != "0":
            trailers.append(("grpc-message", f"no {rng.choice(WORDS)} {rng.getrandbits(24)}"))
        frames = self._window(0) if rng.random() < 0.2 else b""
        frames += frame(HTTP2_HEADERS, END_HEADERS, stream, head)
        frames += frame(HTTP2_DATA, 0, stream, self._message())
        return frames + frame(HTTP2_HEADERS, END_HEADERS | END_STREAM, stream, self._server.encode(trailers))


def grpc_records(rng: random.Random, calls: int, connections: int) -> list[bytes]:
    """So many calls over so many connections, interleaved, with one to four open on each at a time."""
    kernel = Kernel()
    lanes: list[tuple[int, Grpc]] = []
    for _ in range(connections):
        identity, grpc = kernel.open(), Grpc(rng)
        lanes.append((identity, grpc))
        opening = grpc.opening()
        kernel.data(identity, Syscall.RECVMSG, Direction.INGRESS, opening.request)
        kernel.data(identity, Syscall.SENDMSG, Direction.EGRESS, opening.response)
    open_: dict[int, list[int]] = {identity: [] for identity, _ in lanes}

    def answer(identity: int, grpc: Grpc) -> None:
        streams = open_[identity]
        rng.shuffle(streams)
        for stream in streams:
            kernel.data(identity, Syscall.SENDMSG, Direction.EGRESS, grpc.answer(stream))
        streams.clear()

    for number in range(calls):
        identity, grpc = lanes[number % connections]
        stream, request = grpc.call()
        kernel.data(identity, Syscall.RECVMSG, Direction.INGRESS, request)
        open_[identity].append(stream)
        if len(open_[identity]) == 4 or rng.random() < 0.4:
            answer(identity, grpc)
    for identity, grpc in lanes:
        answer(identity, grpc)
        kernel.close(identity)
    return kernel.records
