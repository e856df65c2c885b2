"""TLS to the server: who is believed, and what is said when nobody is."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rover import RoverError
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
