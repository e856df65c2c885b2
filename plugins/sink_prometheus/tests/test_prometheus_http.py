"""Clients, good and hostile: each is answered or dropped, in bounded time and memory."""

import contextlib
import http.client
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import RoverError
from rover_plugin_sink_prometheus import http_server
from rover_plugin_sink_prometheus.http_server import Request, Response, Server, listen, parsed

SECONDS = 20


def answer(request):
    if request.path == "/fails":
        raise ValueError("never well")
    if request.path == "/big":
        return Response(200, "text/plain", [b"x" * (1 << 20)] * 24)
    said = request.path.encode() + b"".join(
        b" %s=%s" % (k.encode(), v.encode()) for k, v in request.headers.items()
    )
    return Response(200, "text/plain", [b"path ", said], {"Vary": "Accept"})


@pytest.fixture
def server():
    listener = listen("127.0.0.1", 0)
    server = Server(listener, answer)
    server.start()
    yield server
    server.stop()
    assert not server._thread.is_alive()


@pytest.fixture
def port(server):
    return server._listener.getsockname()[1]


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        yield sock


def everything(sock):
    """What comes until the server closes; empty also when it resets."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(1 << 20):
            received += data
    return bytes(received)


def said(port, data):
    with connected(port) as sock:
        with contextlib.suppress(ConnectionError):  # it may have answered before all was sent
            sock.sendall(data)
        return everything(sock)


def status(response):
    return int(response.split(b" ", 2)[1])


def test_an_ordinary_request(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    client.request("GET", "/metrics?x=y", headers={"Accept": "text/plain"})
    response = client.getresponse()
    body = response.read()
    assert (response.status, response.getheader("Vary"), response.getheader("Connection")) == (
        200,
        "Accept",
        "close",
    )
    assert body.startswith(b"path /metrics host=127.0.0.1")
    assert body.endswith(b"accept=text/plain")
    assert response.getheader("Content-Length") == str(len(body))


def test_head(port):
    full = said(port, b"GET /m HTTP/1.1\r\n\r\n")
    head = said(port, b"HEAD /m HTTP/1.1\r\n\r\n")
    assert full.startswith(head)
    assert head.endswith(b"\r\n\r\n")
    assert full[len(head) :] == b"path /m"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\n\n", 200),
        (b"GET / HTTP/1.1\r\nA:\r\nb: c\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / FTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /fails HTTP/1.1\r\n\r\n", 500),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"a" * 100_000, 431),
    ],
)
def test_requests(port, request_, expected):
    response = said(port, request_)
    assert status(response) == expected
    assert response.count(b"HTTP/1.1 ") == 1
    assert status(said(port, b"GET /next HTTP/1.1\r\n\r\n")) == 200


def test_byte_by_byte(port):
    with connected(port) as sock:
        for byte in b"GET /slowly HTTP/1.1\r\nA: b\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert everything(sock).endswith(b"path /slowly a=b")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_an_answer(head):
    found = parsed(head)
    if isinstance(found, Response):
        assert found.status in (400, 405, 505)
    else:
        method, request = found
        assert method in ("GET", "HEAD")
        assert request.path.startswith("/")


def test_a_header_that_is_there_twice():
    _, request = parsed(b"GET / HTTP/1.1\r\nAccept: a\r\nACCEPT:  b ")
    assert request == Request("/", {"accept": "a, b"})


def test_a_client_that_never_asks_is_dropped(port, monkeypatch):
    monkeypatch.setattr(http_server, "READING", 0.2)
    begin = time.monotonic()
    with connected(port) as silent, connected(port) as dripping:
        dripping.sendall(b"GET / HTT")
        assert everything(silent) == everything(dripping) == b""
    assert time.monotonic() - begin < SECONDS / 2


def test_a_client_that_sends_a_byte_now_and_then_is_dropped_all_the_same(port, monkeypatch):
    monkeypatch.setattr(http_server, "READING", 0.3)
    with connected(port) as sock:
        begin = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012
            while time.monotonic() - begin < SECONDS:
                sock.sendall(b"a")
                time.sleep(0.02)
        assert time.monotonic() - begin < SECONDS / 2


def test_a_client_that_does_not_read_is_dropped(server, port, monkeypatch):
    monkeypatch.setattr(http_server, "SENDING", 0.3)
    with connected(port) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + SECONDS
        while not (begun := any(each.sending for each in list(server._connections.values()))):
            assert time.monotonic() < deadline
        while server._connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (begun, server._connections) == (True, {})
        # What the kernel holds comes, and no more.
        assert len(everything(sock)) < 24 << 20


def test_a_client_that_reads_slowly_gets_everything(port):
    with connected(port) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        received = 0
        while data := sock.recv(1 << 18):
            received += len(data)
        assert received > 24 << 20


def test_silent_clients_keep_no_other_out(port):
    """As many as there may be, and more: the oldest that has not asked yet makes room."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(port)) for _ in range(3 * http_server.MAX_CONNECTIONS)]
        assert status(said(port, b"GET / HTTP/1.1\r\n\r\n")) == 200
        assert everything(silent[0]) == b""


def test_clients_that_do_not_read_keep_no_other_out(port):
    """Each holds a page: there are only so many."""
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(connected(port)) for _ in range(3 * http_server.MAX_SENDING)]
        for sock in deaf:
            sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert status(said(port, b"GET / HTTP/1.1\r\n\r\n")) == 200
        assert len(everything(deaf[0])) < 24 << 20


def test_many_at_once(port):
    statuses = []

    def ask():
        statuses.append(status(said(port, b"GET / HTTP/1.1\r\n\r\n")))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert statuses == [200] * 20


def test_it_ends_while_clients_are_connected():
    listener = listen("127.0.0.1", 0)
    server = Server(listener, answer)
    server.start()
    port = listener.getsockname()[1]
    with connected(port) as silent, connected(port) as deaf:
        deaf.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < SECONDS / 2
        assert everything(silent) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_one_that_never_started_ends():
    listener = listen("127.0.0.1", 0)
    Server(listener, answer).stop()
    assert listener.fileno() == -1


def test_a_failure_is_told_once(port, caplog):
    for _ in range(3):
        assert status(said(port, b"GET /fails HTTP/1.1\r\n\r\n")) == 500
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "prometheus: ValueError: never well"
    ]


def test_a_port_that_is_taken_is_told():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RoverError) as caught:
            listen("127.0.0.1", port)
    where = f"127.0.0.1:{port}"
    fix = "choose another sink.prometheus.port"
    assert str(caught.value) == f"prometheus: cannot listen on {where}: Address already in use; {fix}"


@pytest.mark.parametrize("host", ["no such host", "256.0.0.1", "a" * 300, "\0"])
def test_a_host_that_is_none_is_told(host):
    with pytest.raises(RoverError, match="prometheus: cannot listen on"):
        listen(host, 9464)


@pytest.mark.parametrize(
    ("host", "peers"), [("::", ["127.0.0.1", "::1"]), ("0.0.0.0", ["127.0.0.1"]), ("::1", ["::1"])]
)
def test_where_it_listens(host, peers):
    listener = listen(host, 0)
    server = Server(listener, answer)
    server.start()
    try:
        for peer in peers:
            with socket.create_connection((peer, listener.getsockname()[1]), SECONDS) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert status(everything(sock)) == 200
    finally:
        server.stop()
