"""TLS to the server: who is believed, and what is said when nobody is."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover import RoverError
from rover.sending.backend import BackendError
from rover_plugin_sink_oap.backend import Backend
from rover_plugin_sink_oap.receiver.grpc_quiet import grpc
from rover_plugin_sink_oap.settings import configure

Wait = Callable[[Callable[[], object]], None]


class Authority:
    """A made CA and what it signs, as files."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.name = name
        self.key, self.cert = directory / f"{name}.key", directory / f"{name}.pem"
        self._run(
            "req", "-x509", *self._new_key(self.key), "-out", self.cert, "-subj", f"/CN={name}", "-days", "2"
        )

    def sign(self, name: str, alternative: str = "") -> tuple[Path, Path]:
        """(certificate, key)"""
        key, cert, request, extension = (
            self._directory / f"{self.name}-{name}.{ending}" for ending in ("key", "pem", "csr", "ext")
        )
        self._run("req", *self._new_key(key), "-out", request, "-subj", f"/CN={name}")
        extension.write_text(f"subjectAltName={alternative or f'DNS:{name}'}\n")
        self._run(
            *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial"),
            *("-out", cert, "-days", "2", "-extfile", extension),
        )
        return cert, key

    @staticmethod
    def _new_key(path: Path) -> tuple[object, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    @staticmethod
    def _run(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def credentials(pair: tuple[Path, Path], client_ca: Path | None = None) -> Any:
    cert, key = pair
    roots = client_ca.read_bytes() if client_ca else None
    return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], roots, roots is not None)


def send_one(sink: Any, traffic: Any) -> None:
    sink.write([traffic.exchange(traffic.connection(), "/0")])


def test_a_server_of_the_ca(listen: Any, make_sink: Any, traffic: Any, authority: Authority) -> None:
    listener = listen(credentials=credentials(authority.sign("here", "IP:127.0.0.1")))
    send_one(make_sink(listener.address, tls=True, tls_ca=str(authority.cert)), traffic)
    listener.expect(["/0"])


def test_a_large_batch_through_tls(listen: Any, make_sink: Any, traffic: Any, authority: Authority) -> None:
    listener = listen(credentials=credentials(authority.sign("here", "IP:127.0.0.1")))
    sink = make_sink(listener.address, tls=True, tls_ca=str(authority.cert), flush_max_count=1000)
    connection = traffic.connection()
    paths = [f"/{n}-" + "x" * 2000 for n in range(1000)]
    sink.write([traffic.exchange(connection, path) for path in paths])
    listener.expect(paths)


def test_a_server_name_of_its_own(listen: Any, make_sink: Any, traffic: Any, authority: Authority) -> None:
    listener = listen(credentials=credentials(authority.sign("oap.example")))
    settings = {"tls": True, "tls_ca": str(authority.cert), "tls_server_name": "oap.example"}
    send_one(make_sink(listener.address, **settings), traffic)
    listener.expect(["/0"])


def test_client_certificates(listen: Any, make_sink: Any, traffic: Any, authority: Authority) -> None:
    server = credentials(authority.sign("here", "IP:127.0.0.1"), authority.cert)
    listener = listen(credentials=server)
    cert, key = authority.sign("agent")
    settings = {"tls": True, "tls_ca": str(authority.cert), "tls_cert": str(cert), "tls_key": str(key)}
    send_one(make_sink(listener.address, **settings), traffic)
    listener.expect(["/0"])


def refused(listener: Any, make_sink: Any, traffic: Any, wait: Wait, caplog: Any, **settings: Any) -> str:
    with caplog.at_level(logging.WARNING, "rover.oap"):
        send_one(make_sink(listener.address, tls=True, **settings), traffic)
        wait(lambda: "takes no access logs" in caplog.text)
    assert not listener.paths
    return str(caplog.text)


def test_a_server_of_another_ca_is_not_believed(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    authority: Authority,
    stranger: Authority,
    wait_until: Wait,
    caplog: Any,
) -> None:
    listener = listen(credentials=credentials(stranger.sign("here", "IP:127.0.0.1")))
    said = refused(listener, make_sink, traffic, wait_until, caplog, tls_ca=str(authority.cert))
    assert "certificate not accepted" in said


def test_a_server_of_another_name_is_not_believed(
    listen: Any, make_sink: Any, traffic: Any, authority: Authority, wait_until: Wait, caplog: Any
) -> None:
    listener = listen(credentials=credentials(authority.sign("elsewhere")))
    said = refused(listener, make_sink, traffic, wait_until, caplog, tls_ca=str(authority.cert))
    assert "certificate not accepted" in said


def test_without_a_client_certificate_where_one_is_due(
    listen: Any, make_sink: Any, traffic: Any, authority: Authority, wait_until: Wait, caplog: Any
) -> None:
    listener = listen(credentials=credentials(authority.sign("here", "IP:127.0.0.1"), authority.cert))
    refused(listener, make_sink, traffic, wait_until, caplog, tls_ca=str(authority.cert))


def test_a_server_without_tls(
    listen: Any, make_sink: Any, traffic: Any, authority: Authority, wait_until: Wait, caplog: Any
) -> None:
    said = refused(listen(), make_sink, traffic, wait_until, caplog, tls_ca=str(authority.cert))
    assert "speaks no TLS" in said


def test_insecure_believes_anybody_and_says_so(
    listen: Any, make_sink: Any, traffic: Any, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(credentials=credentials(stranger.sign("elsewhere")))
    with caplog.at_level(logging.WARNING, "rover.oap"):
        send_one(make_sink(listener.address, tls=True, tls_insecure=True), traffic)
    listener.expect(["/0"])
    assert "tls_insecure" in caplog.text


def test_settings_of_tls_without_it_are_told(
    listen: Any, make_sink: Any, traffic: Any, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen()
    with caplog.at_level(logging.WARNING, "rover.oap"):
        send_one(make_sink(listener.address, tls_ca=str(authority.cert)), traffic)
    listener.expect(["/0"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "oap: tls_ca without tls=true: access logs go in clear text"


def test_certificates_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    cert, key = map(str, authority.sign("agent"))
    other_key = str(authority.sign("other")[1])
    encrypted = str(tmp_path / "encrypted.key")
    command = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", encrypted]
    subprocess.run(command, check=True, capture_output=True)
    garbage = str(tmp_path / "garbage.pem")
    Path(garbage).write_text("garbage")
    for settings, named in (
        ({"tls_ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"tls_ca": garbage}, garbage),
        ({"tls_cert": cert}, "tls_key"),
        ({"tls_cert": cert, "tls_key": other_key}, other_key),
        ({"tls_cert": cert, "tls_key": encrypted}, "encrypted"),
        ({"tls_cert": garbage, "tls_key": key}, garbage),
    ):
        with pytest.raises(RoverError, match=named):
            Backend(configure({"tls": True, **settings}))


# -- servers that are none, within TLS -------------------------------------------------------

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
REFUSAL = b"\0\0\x11\1\5\0\0\0\1" + b"\x88\x40\x0bgrpc-status\x0216"
PINGS = (b"\0\0\x08\6" + bytes(13)) * 1000


def with_tls(script: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket, ssl.SSLContext], None]:
    def meet(connection: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            script(secured)

    return meet


def reset(secured: ssl.SSLSocket) -> None:
    secured.sendall(SETTINGS)
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_and_stay(secured: ssl.SSLSocket) -> None:
    secured.sendall(SETTINGS + REFUSAL)
    while secured.recv(1 << 16):
        pass


def flood(secured: ssl.SSLSocket) -> None:
    secured.sendall(SETTINGS)
    while True:
        secured.sendall(PINGS)


def garble(secured: ssl.SSLSocket) -> None:
    secured.sendall(SETTINGS)
    secured.recv(1 << 16)
    socket.socket.sendall(secured, os.urandom(10_000))


def stay(connection: socket.socket, *_: object) -> None:
    while connection.recv(1 << 16):
        pass


SCRIPTS: dict[str, tuple[Callable[[socket.socket, ssl.SSLContext], None], set[str]]] = {
    "hangs up at once": (lambda *_: None, {"UNAVAILABLE"}),
    "never shakes hands": (stay, {"UNAVAILABLE", "DEADLINE_EXCEEDED"}),
    "hangs up after the handshake": (with_tls(lambda _: None), {"UNAVAILABLE"}),
    "hangs up in the middle": (with_tls(lambda secured: secured.sendall(SETTINGS)), {"UNAVAILABLE"}),
    "resets": (with_tls(reset), {"UNAVAILABLE"}),
    "says nothing": (with_tls(stay), {"DEADLINE_EXCEEDED"}),
    "refuses, and reads": (with_tls(answer_and_stay), {"UNAUTHENTICATED"}),
    "floods": (with_tls(flood), {"DEADLINE_EXCEEDED"}),
    "breaks TLS": (with_tls(garble), {"UNAVAILABLE"}),
    "speaks HTTP/1.1": (with_tls(lambda secured: secured.sendall(b"HTTP/1.1 400 \r\n\r\n")), {"UNAVAILABLE"}),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_whatever_a_server_does_within_tls_is_a_failed_attempt(name: str, authority: Authority) -> None:
    script, codes = SCRIPTS[name]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the authority here has no key usage extension
    context.load_cert_chain(*authority.sign("here", "IP:127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def meet() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                script(connection, context)

        thread = threading.Thread(target=meet)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        given: dict[str, Any] = {"address": [address], "tls": True, "tls_ca": str(authority.cert)}
        given["timeout"] = 1.0 if "DEADLINE_EXCEEDED" in codes else 20.0
        began = time.monotonic()
        with pytest.raises(BackendError) as caught:
            Backend(configure(given)).send([os.urandom(1000)] * 3000)
        assert caught.value.code in codes, str(caught.value)
        assert time.monotonic() - began < 30
        thread.join(30)
        assert not thread.is_alive()
