"""Whoever answers in a receiver's place, and TLS to it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover import RoverError
from rover.sending.backend import BackendError, Failure
from rover_plugin_sink_otlp.backend import Backend
from rover_plugin_sink_otlp.receiver.server import Certificate
from rover_plugin_sink_otlp.settings import configure

Behaviour = Callable[[socket.socket], None]
both = pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
LARGE = [os.urandom(1000) * 20_000]
"""More than the buffers of a connection hold: only who reads it can have it."""


class Peer:
    """Accepts connections, and does to each what it is told."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.calls = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.calls += 1
            connection.settimeout(5)
            with contextlib.suppress(OSError), connection:
                self._behaviour(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Peer]]:
    peers: list[Peer] = []

    def start(behaviour: Behaviour) -> Peer:
        peers.append(Peer(behaviour))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


def sends(data: bytes, *, again: bool = False) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)
        while again:
            connection.sendall(data)

    return behave


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def waits(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def silent(connection: socket.socket) -> None:
    time.sleep(0.6)


SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PEERS: dict[str, Behaviour] = {
    "closes": lambda connection: None,
    "resets": resets,
    "waits": waits,
    "reads nothing": silent,
    "speaks SSH": sends(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "speaks without an end": sends(b"\0" * (1 << 16), again=True),
    "sends HTTP/2 pings without an end": sends(SETTINGS + b"\0\0\x08\6\0\0\0\0\0" + bytes(8), again=True),
    "sends a head without an end": sends(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 8000, again=True),
    "sends a body without an end": sends(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"4\r\nabcd\r\n" * 1000, again=True
    ),
    "continues without an end": sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, again=True),
    "says yes at once": sends(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "has a huge frame": sends(SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1"),
}


@both
@pytest.mark.parametrize("name", PEERS)
def test_whoever_answers_the_call_ends_in_time(serve: Any, protocol: str, name: str) -> None:
    """As a failure of which the batch is kept, with bounded memory."""
    peer = serve(PEERS[name])
    backend = Backend(configure({"protocol": protocol, "endpoint": peer.url, "timeout": 0.4}), "traces")
    began = time.monotonic()
    with pytest.raises(BackendError) as raised:
        backend.send(LARGE)
    assert time.monotonic() - began < 5
    assert raised.value.failure in (Failure.AWAY, Failure.FAULT)


@both
def test_a_call_is_cancelled(serve: Any, protocol: str) -> None:
    peer = serve(waits)
    backend = Backend(configure({"protocol": protocol, "endpoint": peer.url, "timeout": 60}), "traces")
    threading.Timer(0.2, backend.cancel).start()
    began = time.monotonic()
    with pytest.raises(BackendError) as raised:
        backend.send(LARGE)
    assert time.monotonic() - began < 10
    assert raised.value.code == "CANCELLED"


def test_http_refuses_a_request_before_it_has_it_all(serve: Any) -> None:
    """Its answer counts, though the connection breaks under the rest."""
    answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    peer = serve(sends(answer))
    backend = Backend(configure({"endpoint": peer.url, "timeout": 5}), "traces")
    with pytest.raises(BackendError) as raised:
        backend.send(LARGE)
    # A reset may overtake the answer (RFC 9112 section 9.6): then nobody can know it.
    assert raised.value.code in ("HTTP_413", "UNAVAILABLE")


# -- TLS -----------------------------------------------------------------------------------------------


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A made CA, and what it signs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.cert = directory / "ca.pem"
        self._key = directory / "ca.key"
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
        self._new = new
        openssl("req", "-x509", *new, self._key, "-out", self.cert, "-subj", "/CN=ca", "-days", "2")

    def sign(self, name: str, alternative: str) -> tuple[Path, Path]:
        """(certificate, key)"""
        key, cert, request, extension = (
            self._directory / f"{name}.{e}" for e in ("key", "pem", "csr", "ext")
        )
        openssl("req", *self._new, key, "-out", request, "-subj", f"/CN={name}")
        extension.write_text(f"subjectAltName={alternative}\n")
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", cert, "-days", "2", "-extfile", extension),
        )
        return cert, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def secured(listener: Any, protocol: str, **settings: Any) -> dict[str, Any]:
    settings = {**listener.settings(protocol), **settings}
    return {**settings, "endpoint": settings["endpoint"].replace("http:", "https:")}


@both
def test_tls_with_certificates_of_both_ends(
    listen: Any, make_sink: Any, traffic: Any, protocol: str, authority: Authority
) -> None:
    server = Certificate(*authority.sign("here", "IP:127.0.0.1"), authority.cert)
    listener = listen(certificate=server)
    cert, key = map(str, authority.sign("agent", "DNS:agent"))
    ours = {"tls_ca": str(authority.cert), "tls_cert": cert, "tls_key": key}
    sink = make_sink(**secured(listener, protocol, **ours))
    sink.write([traffic.exchange(traffic.connection(), f"/{n}-{'x' * 2000}") for n in range(1000)])
    listener.wait(lambda: len(listener.paths) == 1000)


@both
def test_a_name_of_its_own(
    listen: Any, make_sink: Any, traffic: Any, protocol: str, authority: Authority
) -> None:
    listener = listen(certificate=Certificate(*authority.sign("named", "DNS:otlp.example")))
    ours = {"tls_ca": str(authority.cert), "tls_server_name": "otlp.example"}
    make_sink(**secured(listener, protocol, **ours)).write([traffic.exchange(traffic.connection())])
    listener.wait(lambda: listener.paths)


@both
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "certificate not accepted"),
        ({"tls_ca": "CA", "tls_server_name": "other.example"}, "certificate not accepted"),
    ],
)
def test_who_is_not_believed(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    protocol: str,
    authority: Authority,
    settings: dict[str, str],
    words: str,
    wait_until: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = listen(certificate=Certificate(*authority.sign("here", "IP:127.0.0.1")))
    given = {name: str(authority.cert) if value == "CA" else value for name, value in settings.items()}
    with caplog.at_level(logging.WARNING, "rover.otlp"):
        make_sink(**secured(listener, protocol, **given)).write([traffic.exchange(traffic.connection())])
        wait_until(lambda: words in caplog.text)
    assert not listener.paths


def test_certificates_that_are_none(tmp_path: Path) -> None:
    given = {"endpoint": "https://c", "tls_ca": str(tmp_path / "none")}
    with pytest.raises(RoverError, match=r"sink\.otlp\.tls_ca"):
        Backend(configure(given), "traces")
    with pytest.raises(RoverError, match=r"sink\.otlp\.tls_cert"):
        Backend(configure({"endpoint": "https://c", "tls_cert": "/x"}), "traces")
