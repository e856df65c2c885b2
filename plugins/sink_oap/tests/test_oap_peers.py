"""Servers that go away, refuse, stall, or are none: real gRPC servers, and sockets that say anything."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.settings import SettingCodes

from rover.sending.address import split
from rover.sending.backend import BackendError
from rover_plugin_sink_oap.backend import METHOD, Backend
from rover_plugin_sink_oap.messages import EBPFAccessLogMessage
from rover_plugin_sink_oap.receiver.grpc_quiet import grpc
from rover_plugin_sink_oap.settings import configure

Wait = Callable[[Callable[[], object]], None]
Handler = Callable[[Iterator[bytes], Any], bytes]

TIMEOUT = 20.0
"""Seconds of a call whose end by time is not what a test is about."""
SHORT = 0.5
"""Of one that ends by it."""
LARGE = [os.urandom(1000) for _ in range(3000)]
"""Far beyond the windows a server begins with: it cannot have been sent when the first message is there."""


def backend(*addresses: str, timeout: float = TIMEOUT) -> Backend:
    return Backend(configure({"address": list(addresses), "timeout": timeout}))


def failure(called: Backend, messages: list[bytes] = LARGE) -> BackendError:
    with pytest.raises(BackendError) as caught:
        called.send(messages)
    return caught.value


# -- real servers ----------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Any, str]]]:
    """Starts a gRPC server: serve(handler, option=value...) -> (server, address)."""
    servers: list[Any] = []
    pool = futures.ThreadPoolExecutor(8)

    def start(handler: Handler, *, limit: int | None = None, **options: Any) -> tuple[Any, str]:
        # Without probing: the windows stay as they begin.
        options = {"http2__bdp_probe": 0, **options}
        named = [("grpc." + name.replace("__", "."), value) for name, value in options.items()]
        server = grpc.server(pool, options=named, maximum_concurrent_rpcs=limit)
        _, service, method = METHOD.split("/")
        handlers = {method: grpc.stream_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return server, f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()
    pool.shutdown()


class Taken:
    """A handler that takes every call, as soon as it is let."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, requests: Iterator[bytes], context: Any) -> bytes:
        first = next(requests)
        self.begun.set()
        assert self.go_on.wait(60)
        self.calls.append([first, *requests])
        return b""


def in_background(action: Callable[[], object]) -> futures.Future[object]:
    pool = futures.ThreadPoolExecutor(1)
    future = pool.submit(action)
    pool.shutdown(wait=False)
    return future


def test_a_server_that_stops_with_grace_answers_the_call_under_way(serve: Any) -> None:
    taken = Taken()
    server, address = serve(taken)
    call = in_background(lambda: backend(address).send(LARGE))
    assert taken.begun.wait(60)
    stopped = server.stop(60)
    with contextlib.suppress(OSError):  # its port closes as it says that it goes away
        while True:
            socket.create_connection(split(address), 1).close()
            time.sleep(0.01)
    taken.go_on.set()
    call.result(60)
    assert taken.calls == [LARGE]
    stopped.wait(60)


def test_a_connection_that_is_aged_out_answers_the_call_under_way(serve: Any) -> None:
    taken = Taken()
    _, address = serve(taken, max_connection_age_ms=100, max_connection_age_grace_ms=60_000)
    call = in_background(lambda: backend(address).send(LARGE))
    assert taken.begun.wait(60)
    # Ten times the age: it is said with a jitter of a tenth.
    assert not call.done()
    time.sleep(1.0)
    taken.go_on.set()
    call.result(60)
    assert taken.calls == [LARGE]


def test_a_connection_aged_out_without_grace_is_a_failed_attempt(serve: Any) -> None:
    taken = Taken()
    _, address = serve(taken, max_connection_age_ms=100, max_connection_age_grace_ms=100)
    assert failure(backend(address)).code in ("UNAVAILABLE", "CANCELLED", "INTERNAL")
    taken.go_on.set()


def test_a_server_that_is_stopped_at_once_is_a_failed_attempt(serve: Any) -> None:
    taken = Taken()
    server, address = serve(taken)
    call = in_background(lambda: failure(backend(address)))
    assert taken.begun.wait(60)
    stopped = server.stop(None)
    error = call.result(60)
    taken.go_on.set()
    stopped.wait(60)
    assert isinstance(error, BackendError)
    assert error.code in ("UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN")


REFUSALS = [
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "INVALID_ARGUMENT",
    "INTERNAL",
    "DATA_LOSS",
]


@pytest.mark.parametrize("messages", [LARGE[:1], LARGE], ids=["small", "large"])
@pytest.mark.parametrize("late", [False, True], ids=["trailers-only", "after-one"])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_arrives_though_the_server_reads_no_more(
    serve: Any, code: str, late: bool, messages: list[bytes]
) -> None:
    def refuse(requests: Iterator[bytes], context: Any) -> bytes:
        if late:
            next(requests)
        context.abort(grpc.StatusCode[code], "because")
        return b""

    _, address = serve(refuse)
    error = failure(backend(address), messages)
    assert (error.code, str(error)) == (code, "because")


def test_a_service_that_is_not_there(serve: Any) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert failure(backend(f"127.0.0.1:{port}")).code == "UNIMPLEMENTED"
    server.stop(None).wait()


def test_an_ok_before_the_end_is_a_failed_attempt(serve: Any) -> None:
    _, address = serve(lambda requests, _: bytes(len(next(requests)) // 10**9))
    error = failure(backend(address))
    assert (error.code, "before it had the whole" in str(error)) == ("UNKNOWN", True)


def test_a_server_that_is_busy_with_others(serve: Any) -> None:
    taken = Taken()
    _, address = serve(taken, limit=1)
    call = in_background(lambda: backend(address).send(LARGE))
    assert taken.begun.wait(60)
    assert failure(backend(address)).code == "RESOURCE_EXHAUSTED"
    taken.go_on.set()
    call.result(60)


def test_a_server_that_never_answers_is_left_at_the_deadline(serve: Any) -> None:
    taken = Taken()
    _, address = serve(taken)
    began = time.monotonic()
    assert failure(backend(address, timeout=SHORT)).code == "DEADLINE_EXCEEDED"
    assert SHORT * 0.9 < time.monotonic() - began < 30
    taken.go_on.set()


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrent_streams": 1},
        {"http2__max_frame_size": 16384},
        {"http2__lookahead_bytes": 1024, "http2__bdp_probe": 0},
        {"max_metadata_size": 1024},
        {"http2__min_recv_ping_interval_without_data_ms": 10_000},
    ],
    ids=str,
)
def test_servers_with_small_limits(serve: Any, options: dict[str, int]) -> None:
    taken = Taken()
    taken.go_on.set()
    _, address = serve(taken, **options)
    for _ in range(3):
        backend(address).send(LARGE)
    assert taken.calls == [LARGE] * 3


def test_a_restart_with_grace_sends_nothing_twice_and_says_nothing(
    serve: Any, make_sink: Any, traffic: Any, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """The next server listens before the one before it goes, as behind a load balancer."""
    taken: list[str] = []
    stopped: list[threading.Event] = []

    def take(requests: Iterator[bytes], _: object) -> bytes:
        messages = [EBPFAccessLogMessage.FromString(each) for each in requests]
        if len(taken) >= 100 and not stopped:
            # In the middle of a call. Between two, a connection that the server has not accepted yet is
            # reset by its kernel, which is a failure.
            relay.target = next_address
            stopped.append(first.stop(60))
        taken.extend(each.protocolLog.http.request.path for each in messages)
        return b""

    first, address = serve(take)
    _, next_address = serve(take)
    connection = traffic.connection()
    with caplog.at_level(logging.WARNING, "rover.oap"), Relay(address) as relay:
        sink = make_sink(relay.address, flush_max_count=10)
        sink.write([traffic.exchange(connection, f"/{n}") for n in range(500)])
        wait_until(lambda: sink.counters().get("sent_exchanges") == 500)
        assert stopped[0].wait(60)
        assert sink.close() == 0
    assert taken == [f"/{n}" for n in range(500)]
    assert not any(name.startswith("failed_") for name in sink.counters())
    assert not caplog.records


# -- sockets that say anything ---------------------------------------------------------------


def settings(**values: int) -> bytes:
    payload = b"".join(struct.pack(">HI", SettingCodes[name], value) for name, value in values.items())
    return frame(4, payload)


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


SETTINGS = frame(4)
PING, RST, GOAWAY, DATA, HEADERS = 6, 3, 7, 0, 1
OK_HEADERS = b"\x88"
"""`:status` 200, of the static table."""


def say(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Reads what there is, says that, and hangs up."""

    def script(connection: socket.socket) -> None:
        for piece in pieces:
            connection.recv(1 << 20)
            connection.sendall(piece)

    return script


def stall(*pieces: bytes) -> Callable[[socket.socket], None]:
    """The same, but it stays."""

    def script(connection: socket.socket) -> None:
        say(*pieces)(connection)
        while connection.recv(1 << 20):
            pass

    return script


def flood(piece: bytes) -> Callable[[socket.socket], None]:
    """Says one thing for ever, and never reads."""

    def script(connection: socket.socket) -> None:
        connection.sendall(SETTINGS)
        while True:
            connection.sendall(piece)

    return script


def trickle(piece: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        for byte in piece:
            connection.sendall(bytes((byte,)))
        stall()(connection)

    return script


def hard(script: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """Hangs up with a reset."""

    def then_reset(connection: socket.socket) -> None:
        script(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return then_reset


JUNK = random.Random(1).randbytes(100_000)
HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n"
TRAILERS_ONLY = frame(HEADERS, OK_HEADERS + b"\x40\x0bgrpc-status\x0216", 5, 1)
GOES_AWAY = frame(GOAWAY, struct.pack(">II", 0, 0))

SCRIPTS: dict[str, tuple[Callable[[socket.socket], None], set[str]]] = {
    "hangs up at once": (say(), {"UNAVAILABLE"}),
    "resets at once": (hard(say()), {"UNAVAILABLE"}),
    "hangs up after SETTINGS": (say(SETTINGS), {"UNAVAILABLE"}),
    "resets after SETTINGS": (hard(say(SETTINGS)), {"UNAVAILABLE"}),
    "hangs up later": (say(SETTINGS, SETTINGS, SETTINGS), {"UNAVAILABLE"}),
    "resets later": (hard(say(SETTINGS, SETTINGS, SETTINGS)), {"UNAVAILABLE"}),
    "answers half": (say(SETTINGS, frame(HEADERS, OK_HEADERS, 4, 1)), {"UNAVAILABLE"}),
    "half a frame": (say(SETTINGS[:5]), {"UNAVAILABLE"}),
    "half a frame, and stays": (stall(SETTINGS[:5]), {"DEADLINE_EXCEEDED"}),
    "half a long frame": (say(SETTINGS, b"\x00\x40\x00\x00"), {"UNAVAILABLE"}),
    "a huge frame": (stall(SETTINGS, b"\xff\xff\xff\x00\0\0\0\0\1"), {"UNAVAILABLE"}),
    "a huge SETTINGS": (stall(b"\xff\xff\xff\x04\0\0\0\0\0"), {"UNAVAILABLE"}),
    "HTTP/1.1": (say(HTTP1), {"UNAVAILABLE"}),
    "HTTP/1.1, and stays": (stall(HTTP1), {"UNAVAILABLE"}),
    "SSH": (stall(b"SSH-2.0-OpenSSH_9.2\r\n"), {"UNAVAILABLE"}),
    "a TLS alert": (say(b"\x15\x03\x03\x00\x02\x02\x0a"), {"UNAVAILABLE"}),
    "junk": (say(JUNK), {"UNAVAILABLE"}),
    "junk after SETTINGS": (stall(SETTINGS + JUNK), {"UNAVAILABLE", "DEADLINE_EXCEEDED"}),
    "silence": (stall(), {"DEADLINE_EXCEEDED"}),
    "a window that never opens": (stall(SETTINGS), {"DEADLINE_EXCEEDED"}),
    "a window of nothing": (stall(settings(INITIAL_WINDOW_SIZE=0)), {"DEADLINE_EXCEEDED"}),
    "a window beyond all": (stall(settings(INITIAL_WINDOW_SIZE=2**32 - 1)), {"UNAVAILABLE"}),
    "a frame size that is none": (stall(settings(MAX_FRAME_SIZE=1)), {"UNAVAILABLE"}),
    "a refusal in few bytes": (trickle(SETTINGS + TRAILERS_ONLY), {"UNAUTHENTICATED"}),
    "a refusal without reading": (
        lambda s: s.sendall(SETTINGS + TRAILERS_ONLY),
        {"UNAUTHENTICATED", "UNAVAILABLE"},
    ),
    "a refusal, and stays": (stall(SETTINGS + TRAILERS_ONLY), {"UNAUTHENTICATED"}),
    "a stream reset": (stall(SETTINGS + frame(RST, struct.pack(">I", 2), 0, 1)), {"INTERNAL"}),
    "a stream refused": (stall(SETTINGS + frame(RST, struct.pack(">I", 7), 0, 1)), {"UNAVAILABLE"}),
    "goes away": (stall(SETTINGS + GOES_AWAY), {"UNAVAILABLE"}),
    "goes away without a number": (stall(SETTINGS + frame(GOAWAY, b"\0")), {"UNAVAILABLE"}),
    "goes away, later, and hangs up": (
        say(SETTINGS, frame(GOAWAY, struct.pack(">II", 2**31 - 1, 0) + b"bye")),
        {"UNAVAILABLE"},
    ),
    "pushes": (stall(SETTINGS + frame(5, struct.pack(">I", 2) + OK_HEADERS, 4, 1)), {"UNAVAILABLE"}),
    "fields that are none": (stall(SETTINGS + frame(HEADERS, b"\xff" * 50, 5, 1)), {"UNAVAILABLE"}),
    "an answer of the web": (stall(SETTINGS + frame(HEADERS, OK_HEADERS, 5, 1)), {"UNKNOWN"}),
    "a flood of PINGs": (flood(frame(PING, b"12345678") * 1000), {"DEADLINE_EXCEEDED"}),
    "a flood of SETTINGS": (flood(SETTINGS * 1000), {"DEADLINE_EXCEEDED"}),
    "a flood of frames of an unknown kind": (flood(frame(99, b"x" * 10_000)), {"DEADLINE_EXCEEDED"}),
    "a flood of content": (flood(frame(DATA, b"x" * 10_000, 0, 1)), {"UNAVAILABLE"}),
}
"""What a server does once it is connected, and as what the call may fail."""


class Peer:
    """Each connection is met with the script, in a thread of its own."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.met = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                # Else a reset takes along what was said, but waits to be sent with more.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.met += 1
                self._open.append(connection)
                threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._script(connection)
        connection.close()


class Relay(Peer):
    """Passes connections on to a server, which may become another one."""

    def __init__(self, target: str) -> None:
        self.target = target
        super().__init__(self.pass_on)

    def pass_on(self, connection: socket.socket) -> None:
        with socket.create_connection(split(self.target)) as server:
            back = threading.Thread(target=_pump, args=(server, connection), daemon=True)
            back.start()
            _pump(connection, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("name", SCRIPTS)
def test_whatever_a_server_does_is_a_failed_attempt(name: str) -> None:
    script, codes = SCRIPTS[name]
    with Peer(script) as peer:
        began = time.monotonic()
        error = failure(backend(peer.address, timeout=SHORT))
        assert error.code in codes, str(error)
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "name", [name for name, (_, codes) in SCRIPTS.items() if "DEADLINE_EXCEEDED" not in codes]
)
def test_after_it_the_batch_is_sent_whole_and_once(
    listen: Any, make_sink: Any, traffic: Any, name: str
) -> None:
    listener = listen()
    connection = traffic.connection()
    with Peer(SCRIPTS[name][0]) as peer:
        sink = make_sink([peer.address, listener.address], flush_max_count=500, spool=False)
        sink.write([traffic.exchange(connection, f"/{n}" + "x" * 1000) for n in range(500)])
        listener.expect([f"/{n}" + "x" * 1000 for n in range(500)])
        assert sink.close() == 0


@pytest.mark.parametrize("goes", [GOES_AWAY, frame(RST, struct.pack(">I", 7), 0, 1)], ids=["away", "refused"])
def test_a_call_that_was_not_looked_at_is_made_again_without_a_word(
    listen: Any, make_sink: Any, traffic: Any, goes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen()
    relay = Relay(listener.address)

    def once(connection: socket.socket) -> None:
        # The first connection is the sink's look whether somebody listens.
        (say(SETTINGS + goes) if peer.met == 2 else relay.pass_on)(connection)

    with Peer(once) as peer, relay, caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(peer.address)
        sink.write([traffic.exchange(traffic.connection(), "/0")])
        listener.expect(["/0"])
        assert sink.close() == 0
        assert peer.met == 3
    assert not caplog.records


class Server:
    """HTTP/2 over a socket, by h2, that takes the call with whatever windows it begins with."""

    def __init__(self, settings: dict[SettingCodes, int], patience: float = 0.0) -> None:
        self.body = b""
        self._settings = settings
        self._patience = patience

    def __call__(self, connection: socket.socket) -> None:
        h2 = H2Connection(H2Configuration(client_side=False))
        body = bytearray()
        time.sleep(self._patience)
        h2.initiate_connection()
        h2.update_settings(self._settings)
        connection.sendall(h2.data_to_send())
        # In little pieces: h2 looks at a new limit of its own only between two of them.
        while data := connection.recv(100):
            for event in h2.receive_data(data):
                if isinstance(event, DataReceived):
                    body += event.data
                    h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    self.body = bytes(body)
                    h2.send_headers(1, [(":status", "200"), ("grpc-status", "0")], end_stream=True)
            connection.sendall(h2.data_to_send())


@pytest.mark.parametrize(
    ("settings", "patience"),
    [
        ({SettingCodes.INITIAL_WINDOW_SIZE: 1}, 0.0),
        ({SettingCodes.INITIAL_WINDOW_SIZE: 1000}, 0.0),
        ({SettingCodes.MAX_FRAME_SIZE: (1 << 24) - 1}, 0.0),
        ({SettingCodes.HEADER_TABLE_SIZE: 0}, 0.0),
        ({SettingCodes.MAX_CONCURRENT_STREAMS: 0}, 0.0),
        ({}, 0.3),
    ],
    ids=str,
)
def test_any_windows_and_late_settings(settings: dict[SettingCodes, int], patience: float) -> None:
    messages = LARGE[:200] if settings.get(SettingCodes.INITIAL_WINDOW_SIZE) != 1 else LARGE[:67]
    server = Server(settings, patience)
    with Peer(server) as peer:
        backend(peer.address).send(messages)
    assert server.body == b"".join(struct.pack(">BI", 0, len(each)) + each for each in messages)
