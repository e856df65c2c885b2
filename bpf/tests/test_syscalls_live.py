"""Each socket call, as the watched process makes it: name, bytes moved, payload, direction, position."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from rover import Address
from rover.values.records import SYSCALL_NAMES, Detail, Direction, Role

pytestmark = pytest.mark.live

Start = Callable[..., Any]

SENDS = {
    "write": ("os.write(s.fileno(), b'one two three')", b"one two three"),
    "writev": ("os.writev(s.fileno(), [b'one ', b'', b'two ', b'three'])", b"one two three"),
    "sendto": ("s.send(b'one two three')", b"one two three"),
    "sendmsg": ("s.sendmsg([b'one ', b'two ', b'', b'three'])", b"one two three"),
}
RECEIVES = {
    "read": "os.read(s.fileno(), 100)",
    "readv": "os.readv(s.fileno(), [bytearray(4), bytearray(0), bytearray(4), bytearray(100)])",
    "recvfrom": "s.recv(100)",
    "recvmsg": "s.recvmsg_into([bytearray(4), bytearray(4), bytearray(100)])",
}
MESSAGES = """
class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
class msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]
class mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", msghdr), ("length", ctypes.c_uint)]
def messages(*texts):
    "An mmsghdr array; each text is a list of segments."
    array = (mmsghdr * len(texts))()
    array.kept = []
    for each, segments in zip(array, texts):
        vector = (iovec * len(segments))()
        for slot, segment in zip(vector, segments):
            slot.base, slot.length = ctypes.addressof(segment), len(segment)
        each.hdr.iov, each.hdr.iovlen = vector, len(segments)
        array.kept += [vector, *segments]
    return array
def text(data):
    return (ctypes.c_char * len(data)).from_buffer(bytearray(data))
"""


def in_order(details: list[Detail]) -> None:
    """Sequence numbers from 0 without a gap, positions that follow from sizes, times that pass."""
    assert [detail.sequence for detail in details] == list(range(len(details)))
    for direction in Direction:
        position = 0
        for detail in details:
            if detail.direction == direction:
                assert detail.position == position
                position += detail.size
    assert all(detail.start <= detail.end for detail in details)


@pytest.mark.parametrize("call", SENDS)
def test_a_sending_call(call: str, watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    code, sent = SENDS[call]
    child = run(f"s = connect(int(sys.argv[1])); {code}; {code}; s.close()", port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.EGRESS) == [(call, len(sent), sent)] * 2
    assert {(d.pid, d.error) for d in seen.details} == {(child.pid, 0)}
    assert len({d.fd for d in seen.details}) == 1
    in_order(seen.details)


@pytest.mark.parametrize("call", RECEIVES)
def test_a_receiving_call(call: str, watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port, lambda peer: peer.sendall(b"one two three"))
    child = run(f"s = connect(int(sys.argv[1])); {RECEIVES[call]}; {RECEIVES[call]}; s.close()", port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.INGRESS) == [(call, 13, b"one two three"), (call, 0, b"")]
    in_order(seen.details)


def test_sendmmsg_and_recvmmsg(watch: Any, run: Start, listen: Start) -> None:
    """One record a call: the sum of its messages. Sockets tell of each message, and not which one it is."""
    port = watch.port()
    listen(port, lambda peer: (peer.recv(100), peer.sendall(b"one two three"), peer.recv(100))[0])
    child = run(
        MESSAGES
        + """
s = connect(int(sys.argv[1]))
array = messages([text(b"one "), text(b"two ")], [text(b"three")])
assert libc.sendmmsg(s.fileno(), array, 2, 0) == 2
s.recv(1, socket.MSG_PEEK)
array = messages([text(bytes(4))], [text(bytes(2)), text(bytes(2))], [text(bytes(100))])
assert libc.recvmmsg(s.fileno(), array, 3, 0x10000, None) == 3
s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    if watch.by_sockets:
        assert seen.moved(Direction.EGRESS) == [("sendmmsg", 8, b""), ("sendmmsg", 5, b"")]
        assert seen.moved(Direction.INGRESS) == [("recvmmsg", size, b"") for size in (4, 4, 5)]
    else:
        assert seen.moved(Direction.EGRESS) == [("sendmmsg", 13, b"one two three")]
        assert seen.moved(Direction.INGRESS) == [("recvmmsg", 13, b"one two three")]
    in_order(seen.details)


def test_sendfile_is_a_byte_count(watch: Any, run: Start, listen: Start, tmp_path: Any) -> None:
    port = watch.port()
    listen(port)
    file = tmp_path / "file"
    file.write_bytes(bytes(300_000))
    child = run(
        """
s = connect(int(sys.argv[1])); f = open(sys.argv[2], "rb")
s.send(b"head")
left = 300_000
while left: left -= os.sendfile(s.fileno(), f.fileno(), 300_000 - left, left)
s.send(b"tail"); s.close()
""",
        port,
        file,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    calls = seen.moved(Direction.EGRESS)
    assert {name for name, _, _ in calls} == {"sendto", "sendfile64"}
    assert sum(size for name, size, _ in calls if name == "sendfile64") == 300_000
    assert b"".join(payload for _, _, payload in calls) == b"headtail"
    in_order(seen.details)
    assert seen.calls[-1][0].position == 300_004


def test_splice_is_a_byte_count_either_way(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port, lambda peer: (peer.sendall(b"x" * 5000), peer.recv(9000))[1])
    child = run(
        """
s = connect(int(sys.argv[1])); r, w = os.pipe()
left = 5000
while left: left -= os.splice(s.fileno(), w, left)
left = 5000
while left: left -= os.splice(r, s.fileno(), left)
s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    for direction in Direction:
        calls = seen.moved(direction)
        assert {name for name, _, _ in calls} == {"splice"}
        assert sum(size for _, size, _ in calls) == 5000
        assert not any(payload for _, _, payload in calls)
    in_order(seen.details)


def test_many_segments_are_captured_in_order(watch: Any, run: Start, listen: Start) -> None:
    """As many as the kernel takes in one call (UIO_MAXIOV), also of a connection not yet recognised."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1]))
os.writev(s.fileno(), [b"%03d " % n for n in range(64)])
os.writev(s.fileno(), [b"GET / HTTP/1.1\\r\\n\\r\\n", *(b"%03d " % n for n in range(1000))])
s.sendmsg([b"%03d " % n for n in range(64)])
s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    text = b"".join(b"%03d " % n for n in range(1000))
    (_, size, first), (_, more, second), (_, last, third) = seen.moved(Direction.EGRESS)
    assert (size, first) == (256, text[:256])
    assert more == 4018
    assert second == b"GET / HTTP/1.1\r\n\r\n" + text
    assert (last, third) == (256, text[:256])
    in_order(seen.details)


@pytest.mark.parametrize("size", [1, 4095, 524_287, 524_288, 524_289, 900_000])
def test_payload_up_to_the_limit(size: int, watch: Any, run: Start, listen: Start) -> None:
    """524288 bytes by default; the call's size is told whatever was captured."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); size = int(sys.argv[2])
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
s.send(b"GET / HTTP/1.1\\r\\n\\r\\n")
s.sendall(bytes(n % 251 for n in range(size)))
half = size // 2
s.sendmsg([bytes(n % 251 for n in range(half)), bytes(n % 251 for n in range(half, size))])
s.close()
""",
        port,
        size,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    data = bytes(n % 251 for n in range(size))
    position = 0
    for detail, payload in seen.calls[1:]:
        begin = position % size
        assert payload == (data + data)[begin : begin + detail.size][:524_288]
        position += detail.size
    assert position == 2 * size
    in_order(seen.details)


def test_connect_and_close(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run("s = connect(int(sys.argv[1])); say(s.getsockname()); s.close()", port)
    name = child.hear()
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.opened.role is Role.CLIENT
    assert not seen.opened.late
    assert seen.opened.local == Address(host=name[0], port=name[1])
    assert seen.opened.remote == Address(host="127.0.0.1", port=port)
    assert seen.opened.pid == child.pid
    connect, close = seen.opened.detail, seen.closed[0].detail
    assert SYSCALL_NAMES[connect.syscall] == "connect"
    assert SYSCALL_NAMES[close.syscall] == "close"
    assert (connect.sequence, close.sequence) == (0, 1)
    assert connect.fd == close.fd
    assert not seen.closed[0].reset


@pytest.mark.parametrize("call", ["accept", "accept4"])
def test_accept(call: str, watch: Any, run: Start) -> None:
    port = watch.port()
    code = "libc.accept(l.fileno(), None, None)" if call == "accept" else "l.accept()[0].detach()"
    child = run(
        f"""
l = socket.create_server(("127.0.0.1", int(sys.argv[1]))); say(l.fileno())
s = {code}; os.write(s, b"hello"); os.close(s)
""",
        port,
    )
    listener = child.hear()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        name = peer.getsockname()
        assert peer.recv(10) == b"hello"
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.opened.role is Role.SERVER
    assert seen.opened.local == Address(host="127.0.0.1", port=port)
    assert seen.opened.remote == Address(host=name[0], port=name[1])
    assert not seen.opened.late
    if watch.by_sockets:
        assert seen.opened.detail is None
    else:
        assert SYSCALL_NAMES[seen.opened.detail.syscall] == call
        assert seen.opened.detail.fd == listener
    assert seen.moved(Direction.EGRESS) == [("write", 5, b"hello")]
    in_order(seen.details)


def test_a_non_blocking_connect_is_one_connection(watch: Any, run: Start, listen: Start) -> None:
    """Opened when it is under way; the second connect, which learns its outcome, is nothing new."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = socket.socket(); s.setblocking(False); to = ("127.0.0.1", int(sys.argv[1]))
assert s.connect_ex(to) in (0, 115)
select.select([], [s], [])
s.connect_ex(to)
s.send(b"hello"); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.opened.role is Role.CLIENT
    assert seen.moved(Direction.EGRESS) == [("sendto", 5, b"hello")]
    in_order(seen.details)


def test_a_refused_connect_is_no_connection(watch: Any, run: Start) -> None:
    port = watch.port()
    child = run("s = socket.socket(); assert s.connect_ex(('127.0.0.1', int(sys.argv[1]))) == 111", port)
    assert child.end() == 0
    watch.drain()
    assert watch.of_port(port) == []


def test_data_with_the_syn(watch: Any, run: Start, listen: Start) -> None:
    """TCP Fast Open: no connect call; the connection is found at its first send."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = socket.socket()
s.sendto(b"hello", socket.MSG_FASTOPEN, ("127.0.0.1", int(sys.argv[1])))
s.send(b"again"); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.opened.remote == Address(host="127.0.0.1", port=port)
    assert seen.moved(Direction.EGRESS) == [("sendto", 5, b"hello"), ("sendto", 5, b"again")]


@pytest.mark.parametrize("how", ["SHUT_WR", "SHUT_RDWR"])
def test_shutdown(how: str, watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run(f"s = connect(int(sys.argv[1])); s.send(b'hello'); s.shutdown(socket.{how}); s.close()", port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.EGRESS) == [("sendto", 5, b"hello"), ("shutdown", 0, b"")]
    assert seen.calls[-1][0].position == 5
    in_order(seen.details)


def test_shutting_down_the_reading_half_is_no_record(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run("s = connect(int(sys.argv[1])); s.shutdown(socket.SHUT_RD); s.send(b'x'); s.close()", port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.EGRESS) == [("sendto", 1, b"x")]


LOOKS = {
    "peek": ("s.recv(100, socket.MSG_PEEK)", []),
    "peek in a message": ("s.recvmsg(100, 0, socket.MSG_PEEK)", []),
    "error queue": (
        # A notification of a send without copying (SO_ZEROCOPY): it comes as a message of 0 bytes.
        """s.setsockopt(socket.SOL_SOCKET, 60, 1); s.send(b"x", 0x4000000)
poll = select.poll(); poll.register(s, 0); assert poll.poll(10_000)
data, control, flags, _ = s.recvmsg(100, 100, socket.MSG_ERRQUEUE); assert data == b"" and control""",
        [("sendto", 1, b"x")],
    ),
    "urgent": ("s.send(b'!', socket.MSG_OOB)", []),
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_no_data(look: str, watch: Any, run: Start, listen: Start) -> None:
    """Looks that take nothing, the error queue and urgent bytes."""
    port = watch.port()
    listen(port, lambda peer: (peer.sendall(b"one two three"), swallow(peer))[1])
    code, sent = LOOKS[look]
    child = run(
        f"""
s = connect(int(sys.argv[1])); select.select([s], [], [])
{code}
s.recv(100); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.INGRESS) == [("recvfrom", 13, b"one two three")]
    assert seen.moved(Direction.EGRESS) == sent


def swallow(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


def test_bytes_thrown_away_move_but_are_not_captured(watch: Any, run: Start, listen: Start) -> None:
    """MSG_TRUNC on TCP."""
    port = watch.port()
    listen(port, lambda peer: peer.sendall(b"one two three"))
    child = run(
        """
s = connect(int(sys.argv[1]))
buffer = ctypes.create_string_buffer(b"untouched")
assert libc.recv(s.fileno(), buffer, 8, socket.MSG_TRUNC | socket.MSG_WAITALL) == 8
assert buffer.value == b"untouched"
s.recv(100); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.moved(Direction.INGRESS) == [("recvfrom", 8, b""), ("recvfrom", 5, b"three")]
    in_order(seen.details)


def test_a_call_that_fails_or_asks_for_nothing_is_no_record(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port, lambda peer: (peer.recv(10), peer.sendall(b"x"), swallow(peer))[2])
    child = run(
        """
s = connect(int(sys.argv[1])); s.setblocking(False)
for again in range(3):
    try: s.recv(10)
    except BlockingIOError: pass
s.setblocking(True)
os.write(s.fileno(), b""); os.read(s.fileno(), 0)
s.send(b"go"); s.recv(10); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [name for name, _, _ in seen.moved(Direction.INGRESS)] == ["recvfrom"]
    assert seen.moved(Direction.EGRESS) == [("sendto", 2, b"go")]
    in_order(seen.details)


@pytest.mark.parametrize(
    ("listen_on", "connect_to", "told"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"),
    ],
    ids=["IPv4", "IPv6", "v4-mapped"],
)
def test_address_families(
    listen_on: str, connect_to: str, told: str, watch: Any, run: Start, listen: Start
) -> None:
    port = watch.port()
    try:
        listen(port, host=listen_on)
    except OSError as error:
        pytest.skip(f"cannot listen on {listen_on}: {error}")
    child = run(
        """
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family); s.connect((sys.argv[2], int(sys.argv[1]))); s.send(b"hello"); s.close()
""",
        port,
        connect_to,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.opened.remote == Address(host=told, port=port)
    assert seen.opened.local.host == told
    assert seen.moved(Direction.EGRESS) == [("sendto", 5, b"hello")]


def test_other_sockets_and_files_are_not_seen(watch: Any, run: Start) -> None:
    """UDP to a watched port, a listener's own calls, Unix sockets, files."""
    port = watch.port()
    child = run(
        """
port = int(sys.argv[1])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("127.0.0.1", port)); u.send(b"hello")
a, b = socket.socketpair(); a.send(b"hello"); b.recv(10)
l = socket.create_server(("127.0.0.1", port)); l.close()
f = os.open("/dev/zero", os.O_RDONLY); os.read(f, 10); os.close(f)
""",
        port,
    )
    assert child.end() == 0
    watch.drain()
    assert watch.of_port(port) == []
    assert child.pid not in watch.recorder.processes


def test_a_32_bit_call_is_not_taken_for_another(watch: Any, run: Start, listen: Start) -> None:
    """Number 20 is getpid by int 0x80, and writev otherwise; the registers say writev(socket, ...)."""
    port = watch.port()
    listen(port)
    child = run(
        """
import mmap
s = connect(int(sys.argv[1]))
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000 cd80 c3"))
call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)(
    ctypes.addressof(ctypes.c_char.from_buffer(page)))
s.send(b"before")
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(ctypes.create_string_buffer(b"x" * 100)), 100)
say(call(s.fileno(), ctypes.addressof(vector), 1))
s.send(b"after"); s.close()
""",
        port,
    )
    try:
        assert child.hear() == child.pid
    except AssertionError:
        pytest.skip("this kernel runs no 32-bit calls (CONFIG_IA32_EMULATION)")
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [payload for _, payload in seen.calls] == [b"before", b"after"]
    in_order(seen.details)


def test_nothing_was_lost_or_out_of_place(watch: Any) -> None:
    """Over everything above: told of every process first, no loss, exactly one end each."""
    watch.drain()
    assert watch.recorder.unannounced == set()
    assert watch.recorder.losses == {}
    counters = watch.source.counters()
    assert counters["records_lost"] == 0
    assert counters["unreadable"] == 0
    assert all(len(seen.closed) == 1 for seen in watch.recorder.connections.values())
