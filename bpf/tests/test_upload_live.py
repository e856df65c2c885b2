"""What the kernel uploads of a connection, and how user space changes it."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from typing import Any

import pytest

from rover.contracts.protocol import UPLOAD_ALL, UPLOAD_NONE
from rover.values.records import Direction

# By the tracepoints of sockets a connection is told of with its first bytes, and not before.
pytestmark = [pytest.mark.live, pytest.mark.parametrize("watch", ["calls"], indirect=True, scope="session")]

Start = Callable[..., Any]

OPENING = 4096
"""The default of source.ebpf.opening_bytes."""
HTTP1_REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HTTP2_REQUEST = bytes([0, 0, 5, 1, 5, 0, 0, 0, 1]) + b"\x82\x84\x86\x41\x00"

SENDER = """
s = connect(int(sys.argv[1])); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
while order := hear():
    size, head = order; data = bytes.fromhex(head)
    assert s.send(data + b"\\xff" * (size - len(data))) == size
    s.recv(1); say()
s.close()
"""


class Sender:
    """A watched client that sends what it is told, call by call."""

    def __init__(self, watch: Any, run: Start, listen: Start) -> None:
        self._watch = watch
        self.port = watch.port()
        self._sizes: queue.Queue[int] = queue.Queue()
        listen(self.port, self._answer)
        self._child = run(SENDER, self.port)
        watch.until(lambda: watch.of_port(self.port), "the connection")
        (self.seen,) = watch.of_port(self.port)
        self.connection = self.seen.opened.connection

    def _answer(self, peer: socket.socket) -> None:
        while left := self._sizes.get(timeout=30):
            while left > 0:
                left -= len(peer.recv(65536))
            peer.sendall(b"!")

    def send(self, size: int, head: bytes = b"") -> bytes:
        """One call; what was captured of it."""
        before = len(self.seen.calls)
        self._sizes.put(size)
        self._child.say([size, head.hex()])
        self._child.hear()
        self._watch.until(lambda: len(self.seen.calls) >= before + 2, "the call's record")
        detail, payload = self.seen.calls[before]
        assert (detail.direction, detail.size) == (Direction.EGRESS, size)
        return payload

    def end(self) -> None:
        self._child.say(None)
        self._sizes.put(0)
        assert self._child.end() == 0
        self._watch.ended(self.port)


@pytest.fixture
def sender(watch: Any, run: Start, listen: Start) -> Sender:
    return Sender(watch, run, listen)


def test_only_the_opening_bytes_of_what_nobody_recognises(sender: Sender) -> None:
    """Of each direction, over as many calls as it takes; then none."""
    assert len(sender.send(1000)) == 1000
    assert len(sender.send(100_000)) == OPENING - 1000
    assert sender.send(10) == b""
    assert sender.send(100_000) == b""
    answers = [payload for detail, payload in sender.seen.calls if detail.direction == Direction.INGRESS]
    assert answers == [b"!"] * 4
    sender.end()


@pytest.mark.parametrize("opening", [HTTP1_REQUEST, HTTP2_REQUEST], ids=["http1", "http2"])
def test_everything_once_it_is_recognised(opening: bytes, sender: Sender) -> None:
    """Also on a connection whose opening was something else, and whatever follows."""
    sender.send(OPENING)
    assert sender.send(9_000) == b""
    assert len(sender.send(9_000, opening)) == 9_000
    assert len(sender.send(20_000)) == 20_000
    assert len(sender.send(65_536)) == 65_536
    sender.end()


PROXY_V1 = b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 80\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
PROXY_LONG = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x08\0" + bytes(2048)
"""With TLVs: what follows lies after the window that is looked at."""


@pytest.mark.parametrize("opening", [HTTP1_REQUEST, HTTP2_REQUEST], ids=["http1", "http2"])
@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2, PROXY_LONG], ids=["v1", "v2", "long"])
def test_what_follows_a_proxy_header_in_its_call_is_recognised(
    header: bytes, opening: bytes, sender: Sender
) -> None:
    assert len(sender.send(50_000, header + opening)) == 50_000
    assert len(sender.send(50_000)) == 50_000
    sender.end()


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2, PROXY_LONG], ids=["v1", "v2", "long"])
def test_a_proxy_header_is_no_part_of_the_opening_bytes(header: bytes, sender: Sender) -> None:
    assert sender.send(len(header), header) == header
    assert len(sender.send(OPENING)) == OPENING
    assert len(sender.send(9_000, HTTP1_REQUEST)) == 9_000
    sender.end()


def test_a_proxy_header_is_one_at_the_beginning_only(sender: Sender) -> None:
    sender.send(OPENING)
    assert sender.send(9_000, PROXY_V1 + HTTP1_REQUEST) == b""
    sender.end()


def test_a_limit_and_none(watch: Any, sender: Sender) -> None:
    """The seed of the project: after a break no payload of the connection is uploaded any more."""
    sender.send(100, HTTP1_REQUEST)
    watch.source.set_upload(sender.connection, 10)
    assert len(sender.send(5_000, HTTP1_REQUEST)) == 10
    watch.source.set_upload(sender.connection, UPLOAD_ALL)
    assert len(sender.send(5_000)) == 5_000
    before = watch.source.uploaded(sender.connection)
    assert before == 100 + 10 + 5_000 + 3
    watch.source.set_upload(sender.connection, UPLOAD_NONE)
    total = watch.source.counters()["uploaded_bytes"]
    assert sender.send(5_000, HTTP1_REQUEST) == b""
    assert sender.send(5_000, HTTP2_REQUEST) == b""
    assert watch.source.uploaded(sender.connection) == before
    assert watch.source.counters()["uploaded_bytes"] == total
    assert [payload for _, payload in sender.seen.calls[-4:]] == [b""] * 4
    positions = [d.position for d, _ in sender.seen.calls if d.direction == Direction.EGRESS]
    assert positions == [0, 100, 5100, 10100, 15100]
    sender.end()


def test_what_is_unneeded_is_left_out_up_to_its_position(watch: Any, sender: Sender) -> None:
    """Of calls that end there or before; one that goes beyond comes whole. The limit stays."""
    sender.send(100, HTTP1_REQUEST)
    watch.source.set_unneeded(sender.connection, Direction.EGRESS, 100 + 9_000 + 9_000)
    assert sender.send(9_000) == b""
    assert sender.send(9_000) == b""
    assert len(sender.send(1)) == 1
    watch.source.set_unneeded(sender.connection, Direction.EGRESS, 18_101 + 500)
    assert len(sender.send(501)) == 501
    watch.source.set_upload(sender.connection, 10)
    watch.source.set_unneeded(sender.connection, Direction.EGRESS, 18_602 + 50)
    assert sender.send(50) == b""
    assert len(sender.send(5_000)) == 10
    watch.source.set_upload(sender.connection, UPLOAD_NONE)
    watch.source.set_unneeded(sender.connection, Direction.EGRESS, 0)
    assert sender.send(50) == b""
    answers = [payload for detail, payload in sender.seen.calls if detail.direction == Direction.INGRESS]
    assert answers == [b"!"] * 7 + [b""]  # the other direction is its own
    watch.source.set_unneeded(12345, Direction.EGRESS, 1 << 64 - 1)
    assert not watch.source.is_open(12345)
    sender.end()


def test_the_counters_are_what_was_delivered(watch: Any, sender: Sender) -> None:
    before = watch.source.counters()
    records, uploaded = before["records"], before["uploaded_bytes"]
    captured = len(sender.send(3_000)) + 1
    after = watch.source.counters()
    assert after["records"] - records == 2
    assert after["uploaded_bytes"] - uploaded == captured == 3_001
    sender.end()


def test_a_connection_that_is_gone_is_no_error(watch: Any, sender: Sender) -> None:
    """Nor is it kept in the map by being told of again."""
    assert watch.source.is_open(sender.connection)
    sender.end()
    assert not watch.source.is_open(sender.connection)
    watch.source.set_upload(sender.connection, UPLOAD_ALL)
    watch.source.set_upload(12345, UPLOAD_NONE)
    assert not watch.source.is_open(sender.connection)
    assert not watch.source.is_open(12345)
    assert watch.source.uploaded(sender.connection) == 0
