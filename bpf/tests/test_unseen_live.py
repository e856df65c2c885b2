"""Calls the source does not see, by the kernel's own count of what they moved: told at the close."""

from __future__ import annotations

import socket
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import Selection
from rover.values.records import SYSCALL_NAMES, Direction

pytestmark = pytest.mark.live

Start = Callable[..., Any]

DISABLED = Path("/proc/sys/kernel/io_uring_disabled")

IO_URING = """
import mmap
class Ring:
    '''One operation at a time (include/uapi/linux/io_uring.h).'''
    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(425, 4, params)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())
        words = struct.unpack("=30I", params.raw)
        self.sq, self.cq = words[10:17], words[20:27]
        size = max(self.sq[6] + 4 * words[0], self.cq[5] + 16 * words[1])
        self.sqr = mmap.mmap(self.fd, size, offset=0)
        self.cqr = mmap.mmap(self.fd, size, offset=0x8000000)
        self.entries = mmap.mmap(self.fd, 64 * words[0], offset=0x10000000)
    def run(self, operation, fd, buffer, size):
        address = ctypes.addressof(buffer)
        self.entries[:64] = struct.pack("=BBHiQQIIQ24x", operation, 0, 0, fd, 0, address, size, 0, 1)
        (tail,) = struct.unpack_from("=I", self.sqr, self.sq[1])
        (mask,) = struct.unpack_from("=I", self.sqr, self.sq[2])
        struct.pack_into("=I", self.sqr, self.sq[6] + 4 * (tail & mask), 0)
        struct.pack_into("=I", self.sqr, self.sq[1], tail + 1)
        assert libc.syscall(426, self.fd, 1, 1, 1, None, 0) == 1
        (head,) = struct.unpack_from("=I", self.cqr, self.cq[0])
        (mask,) = struct.unpack_from("=I", self.cqr, self.cq[2])
        result = struct.unpack_from("=Qi", self.cqr, self.cq[5] + 16 * (head & mask))[1]
        struct.pack_into("=I", self.cqr, self.cq[0], head + 1)
        return result
    def send(self, sock, data):
        buffer = ctypes.create_string_buffer(data, len(data))
        assert self.run(26, sock.fileno(), buffer, len(data)) == len(data)
    def recv(self, sock, size):
        got = 0
        while got < size:
            moved = self.run(27, sock.fileno(), ctypes.create_string_buffer(65536), min(65536, size - got))
            assert moved > 0, moved
            got += moved
    def end(self, sock):
        assert self.run(27, sock.fileno(), ctypes.create_string_buffer(1), 1) == 0
"""


def echo(peer: socket.socket) -> None:
    while data := peer.recv(65536):
        peer.sendall(data)


@pytest.fixture
def uring() -> str:
    if not DISABLED.exists() or DISABLED.read_text().strip() != "0":
        pytest.skip("io_uring is switched off here")
    return IO_URING


CALLS = {
    "all of them": ("ring.send(s, b'q' * 100); ring.recv(s, 100)", 200),
    "reads": ("s.sendall(b'q' * 100); ring.recv(s, 100)", 100),
    "writes": ("ring.send(s, b'q' * 100); exactly(s, 100)", 100),
    "among others": (
        "\nfor _ in range(5): s.sendall(b'q'); exactly(s, 1); ring.send(s, b'qq'); ring.recv(s, 2)",
        20,
    ),
    "large ones": ("\nfor _ in range(64): ring.send(s, b'q' * 65536); ring.recv(s, 65536)", 2 * 64 * 65536),
}
ENDS = {
    "close": "s.close()",
    "half-closed, read to the end": "s.shutdown(socket.SHUT_WR); assert s.recv(1) == b''; s.close()",
    "half-closed, read to the end unseen": "s.shutdown(socket.SHUT_WR); ring.end(s); s.close()",
}


@pytest.mark.parametrize("calls", CALLS)
def test_io_uring(watch: Any, run: Start, listen: Start, uring: str, calls: str) -> None:
    code, unseen = CALLS[calls]
    port = watch.port()
    listen(port, echo)
    child = run(uring + f"ring = Ring(); s = connect(int(sys.argv[1])); {code}\ns.close(); hear()", port)
    (seen,) = watch.ended(port)
    child.say()
    assert child.end() == 0
    assert [closed.unseen for closed in seen.closed] == [unseen]


@pytest.mark.parametrize("end", ENDS)
def test_whatever_the_end(watch: Any, run: Start, listen: Start, uring: str, end: str) -> None:
    """A FIN takes a sequence number, but is no byte."""
    assert unseen_until(ENDS[end], watch, run, listen, uring) == [18]


# By the tracepoints of sockets nothing is told of a connection of which no call was seen, nor its close.
@pytest.mark.parametrize("watch", ["calls"], indirect=True, scope="session")
def test_the_end_of_its_process(watch: Any, run: Start, listen: Start, uring: str) -> None:
    assert unseen_until("os._exit(0)", watch, run, listen, uring) == [18]


def unseen_until(end: str, watch: Any, run: Start, listen: Start, uring: str) -> list[int]:
    """What the end of a connection says that no call has told of; 18 bytes go by io_uring."""
    port = watch.port()
    listen(port, echo)
    run(
        uring
        + "ring = Ring(); s = connect(int(sys.argv[1])); ring.send(s, b'q' * 9); ring.recv(s, 9)\n"
        + end,
        port,
    )
    (seen,) = watch.ended(port)
    return [closed.unseen for closed in seen.closed]


def test_a_server_that_answers_by_io_uring(watch: Any, run: Start, uring: str) -> None:
    port = watch.port()
    child = run(
        uring
        + "ring = Ring(); l = socket.create_server(('127.0.0.1', int(sys.argv[1]))); say()\n"
        + "s, _ = l.accept(); exactly(s, 50); ring.send(s, b'a' * 3000); s.close()",
        port,
    )
    child.hear()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(b"q" * 50)
        while peer.recv(65536):
            pass
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [closed.unseen for closed in seen.closed] == [3000]


def test_only_what_was_moved_since_it_was_first_seen(
    watch: Any, start_watch: Start, run: Start, listen: Start, uring: str
) -> None:
    """Of a connection joined late, what was moved before does not count."""
    port = watch.port()
    listen(port, echo)
    child = run(
        uring
        + "ring = Ring(); s = connect(int(sys.argv[1])); ring.send(s, b'q' * 77); ring.recv(s, 77)\n"
        + "s.sendall(b'q' * 70); exactly(s, 70); say(); hear()\n"
        + "s.sendall(b'q' * 10); exactly(s, 10); ring.send(s, b'q' * 5); ring.recv(s, 5); s.close()",
        port,
    )
    child.hear()
    late = start_watch(Selection(ports=(port,)))
    child.say()
    assert child.end() == 0
    (seen,) = late.ended(port)
    assert seen.opened.late
    assert [closed.unseen for closed in seen.closed] == [10]


ORDINARY = {
    "a conversation": """
        for _ in range(20): s.sendall(b'q' * 999); exactly(s, 999)
    """,
    "nothing": "",
    "closed by the peer first": "s.sendall(b'!'); exactly(s, 1); assert s.recv(9) == b''",
    "half-closed": "s.sendall(b'q'); s.shutdown(1); exactly(s, 1); assert s.recv(9) == b''",
    "unread": "s.sendall(b'q' * 9999); s.recv(1); s.recv(1, socket.MSG_PEEK)",
    "reset": """
        s.sendall(b'q' * 99); exactly(s, 99)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    """,
    "connected without waiting": """
        s = socket.socket(); s.setblocking(False); s.connect_ex(('127.0.0.1', P)); select.select([], [s], [])
        s.setblocking(True); s.sendall(b'q' * 99); exactly(s, 99)
    """,
    "connected without waiting, then nothing": """
        s = socket.socket(); s.setblocking(False); s.connect_ex(('127.0.0.1', P)); select.select([], [s], [])
    """,
    "connected with the first bytes": """
        s = socket.socket(); s.setsockopt(6, 30, 1)  # TCP_FASTOPEN_CONNECT
        s.connect(('127.0.0.1', P)); s.sendall(b'q' * 99); exactly(s, 99)
    """,
    "over and over": """
        for _ in range(3):
            s.sendall(b'q' * 99); exactly(s, 99)
            assert libc.connect(s.fileno(), struct.pack('H14x', socket.AF_UNSPEC), 16) == 0
            s.connect(('127.0.0.1', P))
    """,
    "no close": "s.sendall(b'q' * 99); exactly(s, 99); os._exit(0)",
    "vectors and messages": """
        s.sendmsg([b'q' * 5, b'r' * 6]); s.recvmsg(11); os.writev(s.fileno(), [b'q', b'r']); exactly(s, 2)
    """,
    "a file and a pipe": """
        with open('/proc/self/exe', 'rb') as f: os.sendfile(s.fileno(), f.fileno(), 0, 50)
        exactly(s, 50); r, w = os.pipe(); s.sendall(b'q' * 8)
        moved = os.splice(s.fileno(), w, 8); os.splice(r, s.fileno(), moved); exactly(s, 8)
    """,
    "thrown away and looked at": """
        s.sendall(b'thrown away'); s.recv(11, socket.MSG_TRUNC | socket.MSG_WAITALL)
        s.sendall(b'x'); s.recv(1, socket.MSG_PEEK); exactly(s, 1)
    """,
    "much": """
        reader = threading.Thread(target=exactly, args=(s, 30 << 20)); reader.start()
        for _ in range(30): s.sendall(bytes(1 << 20))
        s.shutdown(1); reader.join()
    """,
}


def echo_until_told(peer: socket.socket) -> None:
    while data := peer.recv(65536):
        peer.sendall(data)
        if data == b"!":
            return


@pytest.mark.parametrize("case", ORDINARY)
def test_nothing_is_unseen_of_calls_that_are_seen(watch: Any, run: Start, listen: Start, case: str) -> None:
    port = watch.port()
    listen(port, echo_until_told)
    own = "socket.socket()" in ORDINARY[case]
    begin = "P = int(sys.argv[1])\n" + ("" if own else "s = connect(P)\n")
    child = run(begin + textwrap.dedent(ORDINARY[case]) + "\ns.close()", port)
    assert child.end() == 0
    seen = watch.ended(port, 4 if case == "over and over" else 1)
    assert [closed.unseen for each in seen for closed in each.closed] == [0] * len(seen)


def test_nothing_is_unseen_of_servers_that_are_watched(watch: Any, run: Start) -> None:
    """Many at a time, whose acknowledgements, bytes and ends cross their closing."""
    port = watch.port()
    child = run(
        "l = socket.create_server(('127.0.0.1', int(sys.argv[1])), backlog=200); say()\n"
        "def serve(s):\n"
        "    while data := s.recv(65536): s.sendall(data * 20)\n"
        "    s.close()\n"
        "while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()",
        port,
    )
    child.hear()

    def ask(number: int) -> None:
        for turn in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
                peer.sendall(b"q" * 100)
                if (number + turn) % 3:
                    peer.recv(2000, socket.MSG_WAITALL)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seen = watch.ended(port, 200)
    assert {closed.unseen for each in seen for closed in each.closed} == {0}


PREADV2 = """
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def vectors(*parts):
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    return buffers, (Vector * len(parts))(*(Vector(ctypes.addressof(b), len(b)) for b in buffers))
def call(name, s, *parts):
    buffers, vector = vectors(*parts)
    return getattr(libc, name)(s.fileno(), vector, len(parts), ctypes.c_long(-1), 0)
s = connect(int(sys.argv[1]))
assert call("pwritev2", s, b"abc", b"defg") == 7
assert call("preadv2", s, b"12345", b"67890") == 7
s.close()
"""


def test_preadv2_and_pwritev2_are_seen(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port, echo)
    child = run(PREADV2, port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.EGRESS) == [("pwritev2", 7, b"abcdefg")]
    assert seen.moved(Direction.INGRESS) == [("preadv2", 7, b"abcdefg")]
    assert [SYSCALL_NAMES[d.syscall] for d in seen.details] == ["connect", "pwritev2", "preadv2", "close"]
    assert [closed.unseen for closed in seen.closed] == [0]
