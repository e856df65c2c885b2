"""Connections that are made to hurt whoever watches them: `python tests/hostile.py KIND COUNT RATE` opens
so many, so many a second at most.

Each sends what its kind is, to a server that reads everything and never answers, and stays open until
standard input ends. The process prints its server's port first, and "sent" when everything was taken.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

PIECE = 1 << 20
HEAD = 120_000
"""Bytes of a head, just below the largest that is read."""


def status_lines() -> bytes:
    """Status lines in one line: a search that starts again at each of them takes their number squared."""
    return b"HTTP/1.1 200 " * 38_000 + b"\rX\n"


def unfinished_head() -> bytes:
    """A request's head that goes on for as long as one is waited for."""
    field = b"X-Padding: %s\r\n" % (b"y" * 80)
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + field * (HEAD // len(field))


def bare_line_feeds() -> bytes:
    """Pipelined requests without carriage returns, and many short fields in each."""
    head = b"GET /%07d HTTP/1.1\nHost: a\n" + b"a: b\n" * 80 + b"\n"
    return b"".join(head % number for number in range(2 * HEAD // len(head)))


def pipelined() -> bytes:
    """Ordinary requests that nobody answers, more of them than are waited for."""
    head = b"GET /%07d HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 900 + b"\r\n\r\n"
    return b"".join(head % number for number in range(2 * HEAD // len(head)))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
REQUEST = b"\x82\x84\x86"
"""`:method` GET, `:path` /, `:scheme` http, from HPACK's static table."""


def literal(value: bytes) -> bytes:
    """HPACK: field `x`, added to the dynamic table, not Huffman coded (RFC 7541 section 6.2.1)."""
    size = len(value) - 127
    length = b"\x7f" + bytes([size & 0x7F | 0x80, size >> 7])
    return b"\x40\x01x" + length + value


def header_block() -> bytes:
    """130 kB of references to an entry of 4 kB: half a gigabyte, decoded."""
    frames = [frame(1, 1, 1, REQUEST + literal(b"v" * 4000))]
    frames += [frame(9, 0, 1, b"\xbe" * 16_000) for _ in range(7)]
    return PREFACE + b"".join(frames) + frame(9, 4, 1, b"\xbe" * 8_000)


def large_streams() -> bytes:
    """A hundred open streams with 8 kB of fields each, which is more than ordinary, but not much."""
    field = literal(b"v" * 4000)
    return PREFACE + b"".join(frame(1, 4, 2 * n + 1, REQUEST + field * 2) for n in range(100))


KINDS: dict[str, Callable[[], bytes]] = {
    "status-lines": status_lines,
    "unfinished-head": unfinished_head,
    "bare-line-feeds": bare_line_feeds,
    "pipelined": pipelined,
    "header-block": header_block,
    "large-streams": large_streams,
}


def read_everything(listener: socket.socket) -> None:
    """Accepts and discards, for ever."""
    room = bytearray(PIECE)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    accepted, _ = listener.accept()
                    selector.register(accepted, selectors.EVENT_READ)
                    continue
                taken = key.fileobj
                assert isinstance(taken, socket.socket)
                with contextlib.suppress(ConnectionError):
                    if taken.recv_into(room):
                        continue
                selector.unregister(taken)
                taken.close()


def main(kind: str, count: int, rate: float) -> None:
    content = KINDS[kind]()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    print(port, flush=True)
    threading.Thread(target=read_everything, args=(listener,), daemon=True).start()
    sys.stdin.readline()  # whoever started this watches the port by now
    connections: list[socket.socket] = []
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        connections.append(socket.create_connection(("127.0.0.1", port)))
        connections[-1].sendall(content)
    print("sent", flush=True)
    sys.stdin.read()
    os._exit(0)  # the kernel closes them


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
