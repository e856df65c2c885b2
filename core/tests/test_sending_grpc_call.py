"""One gRPC call as bytes: what a server is sent, and what its answers mean."""

from __future__ import annotations

import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.sending.call import TAKEN_EARLY, Status
from rover.sending.grpc_call import MAX_ANSWER, MAX_FRAME, ROUND, ClientCall
from rover.values.grpc import STATUS_CODES


class Server:
    """The other end, in memory."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.headers = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                self.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.ended = True

    def answer(self, **trailers: str) -> None:
        self.h2.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        self.h2.send_data(1, b"\0\0\0\0\0")
        named = [(name.replace("_", "-"), value) for name, value in trailers.items()]
        self.h2.send_headers(1, named, end_stream=True)

    def send(self) -> bytes:
        return self.h2.data_to_send()


def call(messages: list[bytes] | None = None, **changes: object) -> ClientCall:
    values: dict[str, object] = {
        "authority": "server:11800",
        "secure": False,
        "timeout": 20.0,
        "metadata": (),
    }
    return ClientCall("/x/collect", messages or [b"hello"], **(values | changes))  # type: ignore[arg-type]


def exchange(client: ClientCall, server: Server, steps: int = 100_000) -> None:
    """Everything each has to say, until both are silent."""
    for _ in range(steps):
        out, back = client.output(), server.send()
        server.receive(out)
        if back:
            client.input(back)
        if not out and not back:
            return
    raise AssertionError("they never stop")


def split(body: bytes) -> list[bytes]:
    messages = []
    while body:
        compressed, length = struct.unpack_from(">BI", body)
        assert compressed == 0
        messages.append(body[5 : 5 + length])
        body = body[5 + length :]
    return messages


def test_the_request_is_grpcs() -> None:
    client, server = call(metadata=(("authentication", "token"),)), Server()
    exchange(client, server)
    assert server.headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/x/collect",
        ":authority": "server:11800",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "rover",
        "grpc-timeout": "20000m",
        "authentication": "token",
    }
    assert split(server.body) == [b"hello"]
    assert server.ended
    assert client.status is None


def test_tls_is_told() -> None:
    client, server = call(secure=True), Server()
    exchange(client, server)
    assert server.headers[":scheme"] == "https"


@settings(max_examples=50, deadline=None)
@given(messages=st.lists(st.binary(max_size=50_000), min_size=1, max_size=20))
def test_messages_arrive_whatever_the_windows_and_frames(messages: list[bytes]) -> None:
    client, server = call(messages), Server()
    exchange(client, server)
    assert split(server.body) == messages
    assert server.ended


def test_a_full_window_blocks_until_it_opens() -> None:
    client = call([b"x" * 200_000])
    server = Server()
    out = client.output()
    assert client.output() == b""
    server.receive(out)
    client.input(server.send())
    assert client.output()


def test_a_round_is_bounded() -> None:
    client, server = call([b"x" * (3 * ROUND)]), Server()
    server.h2.increment_flow_control_window(1 << 24)
    server.receive(client.output())
    server.h2.increment_flow_control_window(1 << 24, 1)
    client.input(server.send())
    assert ROUND <= len(client.output()) < ROUND + 10_000
    assert client.output()


@pytest.mark.parametrize(("number", "code"), [(str(n), code) for n, code in enumerate(STATUS_CODES)])
def test_statuses(number: str, code: str) -> None:
    client, server = call(), Server()
    exchange(client, server)
    server.answer(grpc_status=number, grpc_message="a%20b")
    client.input(server.send())
    assert client.status == Status(code, "a b")


@pytest.mark.parametrize("number", ["17", "99", "-1", "x", "", "1" * 9999, "²"])
def test_a_status_that_is_none(number: str) -> None:
    client, server = call(), Server()
    exchange(client, server)
    server.answer(grpc_status=number)
    client.input(server.send())
    assert client.status == Status("UNKNOWN", "")


def test_a_refusal_before_the_end_stops_the_sending() -> None:
    client, server = call([b"x" * 1_000_000]), Server()
    server.receive(client.output())
    refusal = [(":status", "200"), ("grpc-status", "16"), ("grpc-message", "who?")]
    server.h2.send_headers(1, refusal, end_stream=True)
    client.input(server.send())
    assert client.status == Status("UNAUTHENTICATED", "who?")
    assert len(client.output()) < 1000


HTTP = [
    ("400", "INTERNAL"),
    ("401", "UNAUTHENTICATED"),
    ("403", "PERMISSION_DENIED"),
    ("404", "UNIMPLEMENTED"),
    ("429", "UNAVAILABLE"),
    ("503", "UNAVAILABLE"),
    ("200", "UNKNOWN"),
]


@pytest.mark.parametrize(("status", "code"), HTTP)
def test_an_answer_that_is_not_grpcs(status: str, code: str) -> None:
    client, server = call(), Server()
    exchange(client, server)
    server.h2.send_headers(1, [(":status", status)], end_stream=True)
    client.input(server.send())
    assert client.status is not None
    assert client.status.code == code


RESETS = [
    (ErrorCodes.REFUSED_STREAM, "UNAVAILABLE"),
    (ErrorCodes.CANCEL, "CANCELLED"),
    (ErrorCodes.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"),
    (ErrorCodes.INADEQUATE_SECURITY, "PERMISSION_DENIED"),
    (ErrorCodes.PROTOCOL_ERROR, "INTERNAL"),
    (0xFFFF, "INTERNAL"),
]


@pytest.mark.parametrize(("error", "code"), RESETS)
def test_a_reset_stream(error: int, code: str) -> None:
    client, server = call([b"x" * 1_000_000]), Server()
    server.receive(client.output())
    server.h2.reset_stream(1, error)
    client.input(server.send())
    assert client.status is not None
    assert client.status.code == code
    client.output()


def test_a_server_that_goes_away_before_it_took_the_call() -> None:
    client, server = call(), Server()
    server.h2.close_connection(last_stream_id=0)
    client.input(server.send())
    assert client.status == Status("UNAVAILABLE", "the server goes away", unprocessed=True)


@pytest.mark.parametrize(
    ("secure", "begun", "said"),
    [
        (False, False, "want TLS?"),
        (True, False, "want a client certificate?"),
        (False, True, "closed before the answer"),
    ],
)
def test_a_closed_connection(secure: bool, begun: bool, said: str) -> None:
    client = call(secure=secure)
    client.output()
    if begun:
        client.input(Server().send())
    client.input(b"")
    assert client.status is not None
    assert client.status.code == "UNAVAILABLE"
    assert said in client.status.message


def test_an_http1_server() -> None:
    client = call()
    client.output()
    client.input(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert client.status is not None
    assert "speaks no HTTP/2" in client.status.message


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=200))
def test_an_answer_in_any_pieces_is_the_same(sizes: list[int]) -> None:
    client, server = call(), Server()
    exchange(client, server)
    server.answer(grpc_status="14", grpc_message="no")
    answer = server.send()
    position = 0
    for size in [*sizes, len(answer)]:
        if piece := answer[position : position + size]:
            client.input(piece)
        position += size
    assert client.status == Status("UNAVAILABLE", "no")


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=300), prefix=st.integers(0, 60))
def test_no_answer_is_too_much(junk: bytes, prefix: int) -> None:
    client, server = call(), Server()
    server.receive(client.output())
    server.answer(grpc_status="0")
    client.input(server.send()[:prefix] + junk + b"\0")
    client.output()


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.binary(max_size=64) | st.integers(0, 2**31 - 1).map(lambda n: struct.pack(">I", n)),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 2**31 - 1, 2**32 - 1]),
)


@settings(max_examples=500, deadline=None)
@given(frames=st.lists(FRAMES, max_size=20), size=st.integers(1, 100), whole=st.binary(max_size=200_000))
def test_whatever_frames_come_nothing_is_raised(frames: list[bytes], size: int, whole: bytes) -> None:
    client = call([whole])
    answer = frame(4, b"") + b"".join(frames)
    for at in range(0, len(answer), size):
        client.output()
        client.input(answer[at : at + size])
    client.output()
    client.input(b"")
    assert client.status is not None
    assert client.status.code != "OK" or len(whole) < 65_000


GOAWAYS = [
    pytest.param([2**31 - 1, 1], "OK", id="grace"),
    pytest.param([1], "OK", id="at-once"),
    pytest.param([2**31 - 1, 0], "UNAVAILABLE", id="grace-not-for-this-one"),
    pytest.param([0], "UNAVAILABLE", id="not-for-this-one"),
]


@pytest.mark.parametrize(("named", "code"), GOAWAYS)
@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_server_that_goes_away_in_the_middle(named: list[int], code: str, sent: int) -> None:
    """RFC 9113 section 6.8: streams up to the one it names are still served."""
    messages = [bytes([n]) * 90_000 for n in range(5)]
    client, server = call(messages), Server()
    for _ in range(sent):
        server.receive(client.output())
        client.input(server.send())
    for last in named:
        client.input((server.send() or frame(4, b"")) + frame(7, struct.pack(">II", last, 0) + b"bye"))
    if code == "OK":
        exchange(client, server)
        assert split(server.body) == messages
        server.answer(grpc_status="0")
        client.input(server.send())
    assert client.status is not None
    assert (client.status.code, client.status.unprocessed) == (code, code != "OK")


def test_an_ok_before_the_whole_batch_is_none() -> None:
    client, server = call([b"x" * 1_000_000]), Server()
    server.receive(client.output())
    server.answer(grpc_status="0")
    client.input(server.send())
    assert client.status == TAKEN_EARLY


def test_a_frame_longer_than_was_allowed_is_not_waited_for() -> None:
    client = call()
    client.output()
    client.input(frame(4, b"") + b"\xff\xff\xff\0\0\0\0\0\1")
    assert client.status is not None
    assert "a frame of 16777215 bytes" in client.status.message


def test_what_an_endless_half_frame_takes_is_bounded() -> None:
    client = call()
    client.output()
    client.input(frame(4, b"") + struct.pack(">I", MAX_FRAME)[1:])
    for _ in range(1000):
        client.input(b"\0" * 15)
    assert len(client._received) <= MAX_FRAME + 9


# -- what else there is to a call ----------------------------------------------------------------


def test_messages_that_are_compressed_are_said_to_be() -> None:
    client, server = call([b"packed"], encoding="gzip"), Server()
    exchange(client, server)
    assert server.headers["grpc-encoding"] == "gzip"
    assert server.body == b"\1\0\0\0\6packed"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"\0\0\0\0\3abc", b"abc"),
        (b"\0\0\0\0\0", b""),
        (b"\0\0\0\0\4abc", b""),  # cut off
        (b"\1\0\0\0\3abc", b""),  # compressed, which nobody asked for
        (b"\0\0\0", b""),
        (struct.pack(">BI", 0, MAX_ANSWER) + bytes(MAX_ANSWER), b""),
    ],
)
def test_the_answer_is_kept(sent: bytes, kept: bytes) -> None:
    client, server = call(), Server()
    exchange(client, server)
    server.h2.send_headers(1, [(":status", "200")])
    for start in range(0, len(sent), 1 << 14):
        if server.h2.local_flow_control_window(1) < 1 << 14:
            exchange(client, server)
        server.h2.send_data(1, sent[start : start + (1 << 14)])
    server.h2.send_headers(1, [("grpc-status", "0")], end_stream=True)
    exchange(client, server)
    assert client.status == Status("OK")
    assert client.answer == kept
