"""Traffic no two messages of which are alike, as the kernel would hand it over."""

from __future__ import annotations

import dataclasses
import random
import struct

from rover import Direction, Syscall
from rover_source_ebpf.record import ENDS, FLAG_DETAIL, HEADER, KIND_CLOSED, KIND_DATA, KIND_OPENED

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
