"""A connection is the kernel's socket: whatever descriptor, whoever uses it, however it ends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rover import Address
from rover.contracts.source import Selection
from rover.values.records import SYSCALL_NAMES, Direction, Role

pytestmark = pytest.mark.live

Start = Callable[..., Any]

LINGER_ZERO = struct.pack("ii", 1, 0)
"""Close sends a RST."""


def until_open(watch: Any, port: int, number: int = 1) -> None:
    watch.until(lambda: len(watch.of_port(port)) >= number, f"{number} connections of port {port}")


# -- one connection, several descriptors ------------------------------------------------------


def test_a_duplicated_descriptor_is_the_same_connection(watch: Any, run: Start, listen: Start) -> None:
    """Ended by the close of the last one; the others' closes are nothing."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); d = os.dup(s.fileno()); s.send(b"one"); s.close()
os.write(d, b"two"); e = os.dup(d); os.close(d); os.write(e, b"three"); say([d, e]); os.close(e)
""",
        port,
    )
    first, last = child.hear()
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [payload for _, payload in seen.calls] == [b"one", b"two", b"three"]
    assert [detail.position for detail, _ in seen.calls] == [0, 3, 6]
    assert [detail.fd for detail, _ in seen.calls][1:] == [first, last]
    assert seen.closed[0].detail.fd == last
    assert [detail.sequence for detail in seen.details] == [0, 1, 2, 3, 4]


def test_a_forked_child_uses_the_same_connection(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); s.send(b"parent")
pid = os.fork()
if pid == 0:
    s.send(b"child"); s.close(); os._exit(0)
os.waitpid(pid, 0)
s.send(b"again"); say(pid); s.close()
""",
        port,
    )
    grandchild = child.hear()
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [(d.pid, payload) for d, payload in seen.calls] == [
        (child.pid, b"parent"),
        (grandchild, b"child"),
        (child.pid, b"again"),
    ]
    assert [detail.position for detail, _ in seen.calls] == [0, 6, 11]
    assert seen.closed[0].detail.pid == child.pid


def test_a_passed_descriptor_is_the_same_connection(watch: Any, run: Start, listen: Start) -> None:
    """SCM_RIGHTS; the sender closes its own before the receiver uses it."""
    port = watch.port()
    listen(port)
    child = run(
        """
a, b = socket.socketpair()
pid = os.fork()
if pid == 0:
    a.close()
    _, fds, _, _ = socket.recv_fds(b, 1, 1)
    b.recv(1); os.write(fds[0], b"receiver"); os.close(fds[0]); os._exit(0)
b.close()
s = connect(int(sys.argv[1])); s.send(b"sender")
socket.send_fds(a, [b"x"], [s.fileno()]); s.close(); a.send(b"!")
os.waitpid(pid, 0); say(pid)
""",
        port,
    )
    receiver = child.hear()
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert [(d.pid, payload) for d, payload in seen.calls] == [
        (child.pid, b"sender"),
        (receiver, b"receiver"),
    ]
    assert seen.closed[0].detail.pid == receiver


def test_a_socket_connected_anew_is_another_connection(watch: Any, run: Start, listen: Start) -> None:
    """connect to AF_UNSPEC dissolves the association (connect(2))."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); s.send(b"one")
assert libc.connect(s.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) == 0
s.connect(("127.0.0.1", int(sys.argv[1]))); s.send(b"two"); s.close()
""",
        port,
    )
    assert child.end() == 0
    first, second = watch.ended(port, 2)
    assert [payload for _, payload in first.calls] == [b"one"]
    assert [payload for _, payload in second.calls] == [b"two"]
    assert second.opened.detail.sequence == 0
    assert second.calls[0][0].position == 0


def test_a_reused_descriptor_is_another_connection(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); n = s.fileno(); s.send(b"one"); s.close()
s = connect(int(sys.argv[1])); assert s.fileno() == n; s.send(b"two"); s.close()
""",
        port,
    )
    assert child.end() == 0
    first, second = watch.ended(port, 2)
    assert [payload for _, payload in first.calls] == [b"one"]
    assert [payload for _, payload in second.calls] == [b"two"]
    assert first.opened.connection != second.opened.connection


def test_a_descriptor_closed_by_dup2_ends_without_a_call(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run("s = connect(int(sys.argv[1])); s.send(b'x'); os.dup2(1, s.fileno())", port)
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.closed[0].detail is None


# -- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_ends_without_close(end: str, watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run(f"s = connect(int(sys.argv[1])); s.send(b'x'); {end}", port)
    child.end()
    (seen,) = watch.ended(port)
    assert [payload for _, payload in seen.calls] == [b"x"]
    assert [closed.detail for closed in seen.closed] == [None]


def test_a_program_that_replaces_itself(watch: Any, run: Start, listen: Start) -> None:
    """Sockets closed on exec end without a call; the inherited one goes on under the new name."""
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); t = connect(int(sys.argv[1])); s.send(b"before"); t.send(b"closed on exec")
os.set_inheritable(s.fileno(), True)
os.execv("/bin/sh", ["sh", "-c", f"echo after >&{s.fileno()}"])
""",
        port,
    )
    assert child.end() == 0
    kept, closed = watch.ended(port, 2)
    assert [payload for _, payload in kept.calls] == [b"before", b"after\n"]
    assert [payload for _, payload in closed.calls] == [b"closed on exec"]
    names = watch.recorder.processes[child.pid]
    assert names[0].startswith("python")
    assert names[-1] == "sh"


def test_a_reset_by_the_peer(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()

    def reset(peer: socket.socket) -> None:
        peer.recv(10)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)

    listen(port, reset)
    child = run(
        """
s = connect(int(sys.argv[1])); s.send(b"x")
try: s.recv(10)
except ConnectionResetError: pass
else: raise SystemExit("no reset")
s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.closed[0].reset
    if watch.by_sockets:  # it was over before it was closed
        assert seen.closed[0].detail is None
    else:
        assert SYSCALL_NAMES[seen.closed[0].detail.syscall] == "close"
    assert seen.moved(Direction.INGRESS) == []


def test_a_reset_of_its_own(watch: Any, run: Start, listen: Start) -> None:
    port = watch.port()
    listen(port)
    child = run(
        """
s = connect(int(sys.argv[1])); s.send(b"x")
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.closed[0].reset
    assert seen.closed[0].detail is not None


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("exactly(s, 1)", False),
        ("exactly(s, 1); linger(5)", False),
        ("exactly(s, 1); linger(0)", True),
        ("select.select([s], [], [])", True),  # the byte is there and is not read
        ("exactly(s, 1); s.shutdown(socket.SHUT_WR)", False),
        ("exactly(s, 1); s.send(b'end'); exactly(s, 3); assert s.recv(1) == b''", False),
        ("exactly(s, 1); s.send(b'end'); exactly(s, 3); assert s.recv(1) == b''; linger(0)", True),
    ],
)
def test_a_close_that_resets(watch: Any, run: Start, listen: Start, before: str, expected: bool) -> None:
    """tcp(7), and the kernel's tcp_close(): what was never read, and no time to linger, end in a reset."""
    port = watch.port()

    def answer(peer: socket.socket) -> None:
        while (data := peer.recv(3)) and data != b"end":
            peer.sendall(data)
        if data == b"end":
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            peer.recv(1)

    listen(port, answer)
    child = run(
        f"""
def linger(seconds):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
s = connect(int(sys.argv[1])); s.send(b"x"); {before}; s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert seen.closed[0].reset == expected
    # By the tracepoints of sockets it may be over by the peer's FIN, before it is closed.
    assert watch.by_sockets or seen.closed[0].detail is not None


def test_a_close_while_another_thread_reads(watch: Any, run: Start, listen: Start) -> None:
    """The reader keeps the socket; it ends, once, when the reader lets go."""
    port = watch.port()

    def answer(peer: socket.socket) -> None:
        peer.recv(10)
        peer.sendall(b"late")

    listen(port, answer)
    child = run(
        """
s = connect(int(sys.argv[1])); n = s.fileno(); got = []
reader = threading.Thread(target=lambda: got.append(os.read(n, 10))); reader.start()
d = os.dup(n)
while open(f"/proc/self/task/{reader.native_id}/wchan").read() in ("0", ""):
    time.sleep(0.001)
os.close(s.detach()); os.write(d, b"go"); reader.join(); os.close(d); say(got[0].decode())
""",
        port,
    )
    assert child.hear() == "late"
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert len(seen.closed) == 1
    assert [payload for _, payload in seen.calls] == [b"go", b"late"]


def test_a_thread_reads_while_another_writes(watch: Any, run: Start, listen: Start) -> None:
    """No number twice or missing; each direction's bytes in their order."""
    port = watch.port()

    def echo(peer: socket.socket) -> None:
        while data := peer.recv(100):
            peer.sendall(data)

    listen(port, echo)
    child = run(
        """
s = connect(int(sys.argv[1]))
reader = threading.Thread(target=lambda: exactly(s, 4000)); reader.start()
for n in range(800): s.send(b"%05d" % n)
reader.join(); s.close()
""",
        port,
    )
    assert child.end() == 0
    (seen,) = watch.ended(port)
    assert sorted(detail.sequence for detail in seen.details) == list(range(len(seen.details)))
    text = b"".join(b"%05d" % n for n in range(800))  # no more than is captured of the unknown
    for direction in Direction:
        calls = [(detail, payload) for detail, payload in seen.calls if detail.direction == direction]
        assert b"".join(payload for _, payload in calls) == text
        position = 0
        for detail, _ in calls:
            assert detail.position == position
            position += detail.size


def test_thousands_of_short_connections(watch: Any, run: Start) -> None:
    """Exactly one beginning and one end for each of both ends, nothing left behind."""
    port, number = watch.port(), 2000
    child = run(
        """
port, number = int(sys.argv[1]), int(sys.argv[2])
l = socket.create_server(("127.0.0.1", port), backlog=512)
def serve():
    for _ in range(number):
        c, _ = l.accept()
        c.sendall(exactly(c, 4)[::-1]); c.close()
pid = os.fork()
if pid == 0:
    serve(); os._exit(0)
for n in range(number):
    s = connect(port); s.sendall(b"ping"); assert exactly(s, 4) == b"gnip"; s.close()
os.waitpid(pid, 0)
""",
        port,
        number,
    )
    found = watch.ended(port, 2 * number)
    assert child.end() == 0
    watch.drain()
    assert len(found) == len(watch.of_port(port)) == 2 * number
    for seen in found:
        assert len(seen.closed) == 1
        assert seen.closed[0].detail is not None
        assert sum(payload in (b"ping", b"gnip") for _, payload in seen.calls) == 2
        details = seen.details
        assert [detail.sequence for detail in details] == list(range(len(details)))
    roles = [seen.opened.role for seen in found]
    assert roles.count(Role.CLIENT) == roles.count(Role.SERVER) == number
    assert watch.recorder.losses == {}
    known = {seen.opened.connection for seen in found}
    assert not any(watch.source.is_open(connection) for connection in known)


# -- connections that were there before -----------------------------------------------------------


def test_a_connection_from_before_the_start(
    start_watch: Start, ports: Callable[[int], list[int]], run: Start, listen: Start
) -> None:
    """Found at its next call: addresses, a server's role by its listening port, positions from 0."""
    port, other = ports(2)
    listen(port, lambda peer: [peer.sendall(peer.recv(100)) for _ in range(3)] and None)
    server = run(
        """
l = socket.create_server(("127.0.0.1", int(sys.argv[1]))); say()
c, _ = l.accept(); c.send(exactly(c, 4)); say(); c.send(exactly(c, 4)); hear(); c.close()
""",
        other,
    )
    server.hear()
    with socket.create_connection(("127.0.0.1", other)) as peer:
        peer.sendall(b"old!")
        assert peer.recv(10) == b"old!"
        server.hear()
        client = run(
            """
s = connect(int(sys.argv[1])); s.send(b'old'); s.recv(9); say()
hear(); s.send(b'new'); s.recv(9)
""",
            port,
        )
        client.hear()
        watch = start_watch(Selection(ports=(port, other)))
        client.say()
        assert client.end() == 0
        peer.sendall(b"new!")
        assert peer.recv(10) == b"new!"
        name = peer.getsockname()
        (as_client,) = watch.ended(port)
        until_open(watch, other)
        server.say()
        assert server.end() == 0
        (as_server,) = watch.ended(other)
    assert as_client.opened.late
    assert as_client.opened.detail is None
    assert as_client.opened.role is None
    assert as_client.opened.remote == Address(host="127.0.0.1", port=port)
    assert as_client.opened.local.port not in (0, port)
    assert [(d.sequence, d.position, payload) for d, payload in as_client.calls] == [
        (0, 0, b"new"),
        (1, 0, b"new"),
    ]
    assert as_server.opened.late
    assert as_server.opened.role is Role.SERVER
    assert as_server.opened.local == Address(host="127.0.0.1", port=other)
    assert as_server.opened.remote == Address(host=name[0], port=name[1])
    assert as_server.calls[-1][1] == b"new!"


def test_calls_under_way_at_the_start(
    start_watch: Start, ports: Callable[[int], list[int]], run: Start
) -> None:
    """A read and an accept that waited since before: the first request is not missed."""
    (port,) = ports(1)
    server = run(
        """
l = socket.create_server(("127.0.0.1", int(sys.argv[1])))
c, _ = l.accept(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def accept():
    d, _ = l.accept(); d.send(d.recv(100)); d.close()
t = threading.Thread(target=accept); t.start(); say([threading.get_native_id(), t.native_id])
c.sendmsg([c.recvmsg_into([bytearray(2), bytearray(100)])[0].to_bytes(1, "little")]); c.close(); t.join()
""",
        port,
    )
    while not listening(port):
        threading.Event().wait(0.01)
    with socket.create_connection(("127.0.0.1", port)) as old:
        for thread in server.hear():
            while not waiting(server.pid, thread):
                threading.Event().wait(0.01)
        watch = start_watch(Selection(ports=(port,)))
        old.sendall(b"waited for")
        assert old.recv(10) == bytes([10])
        with socket.create_connection(("127.0.0.1", port)) as new:
            new.sendall(b"accepted")
            assert new.recv(10) == b"accepted"
        assert server.end() == 0
    first, second = watch.ended(port, 2)
    assert first.opened.late
    assert first.moved(Direction.INGRESS) == [("recvmsg", 10, b"waited for")]
    assert first.moved(Direction.EGRESS) == [("sendmsg", 1, bytes([10]))]
    assert not second.opened.late
    assert second.opened.role is Role.SERVER
    assert SYSCALL_NAMES[second.opened.detail.syscall] == "accept4"
    assert second.opened.detail.start < second.opened.detail.end
    assert second.moved(Direction.INGRESS)[0] == ("recvfrom", 8, b"accepted")
    for seen in (first, second):
        assert [detail.sequence for detail in seen.details] == list(range(len(seen.details)))


def listening(port: int) -> bool:
    with open("/proc/net/tcp") as table:
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)


def waiting(pid: int, thread: int) -> bool:
    """In a call on a socket: recvmsg or accept4."""
    with open(f"/proc/{pid}/task/{thread}/syscall") as file:
        return file.read().split()[0] in ("47", "288")


def test_the_kernel_keeps_nothing_of_connections_that_ended(watch: Any) -> None:
    """After everything above: the maps hold what is open still, and nothing else."""
    watch.drain()
    program = watch.source._program
    still_open = {c for c, seen in watch.recorder.connections.items() if not seen.closed}
    assert {int.from_bytes(key, "little") for key in program.keys("uploads", 8)} == still_open
    assert len(list(program.keys("conns", 8))) == len(still_open)
    assert watch.source.counters()["records_lost"] == 0
