"""gRPC and HTTP servers for OTLP's three services."""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from rover import RoverError
from rover.errors import file_error
from rover.sending import address
from rover_plugin_sink_otlp.answers import RESPONSES
from rover_plugin_sink_otlp.backend import METHODS
from rover_plugin_sink_otlp.receiver.grpc_quiet import grpc
from rover_plugin_sink_otlp.receiver.items import REQUESTS

MAX_REQUEST = 4 << 20
"""Bytes of a request, unpacked: what receivers take unless they are told otherwise."""
THREADS = 8
PATHS = {f"/v1/{signal}": signal for signal in METHODS}

Accepted = Callable[[str, Any], None]
"""Called with the signal and the request."""


class Faults(NamedTuple):
    """How the receiver misbehaves."""

    delay: float = 0.0
    """Seconds before the answer."""
    refuse: str = ""
    """Name of the gRPC status, or number of the HTTP status, that every request gets."""
    retry_after: int = 0
    """Seconds that a refused client is told to wait."""
    reject: int = 0
    """Items of each request that are said not to be taken."""


class Certificate(NamedTuple):
    """Files in PEM."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    """What clients' certificates must be of; without it they need none."""


class _Refused(Exception):  # noqa: N818
    """With a status of HTTP, and words."""


class Receiver:
    """Requests count when they are answered: one that fails is the client's to send again."""

    def __init__(
        self,
        grpc_listen: str | None = "127.0.0.1:0",
        http_listen: str | None = "127.0.0.1:0",
        *,
        accepted: Accepted,
        faults: Faults | None = None,
        headers: dict[str, str] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """`accepted` is called with each request that is answered for, one at a time. `headers`: that each
        request must have. `certificate`: for TLS.

        Raises RoverError when nothing can listen there, or the certificate cannot be read.
        """
        self.faults = faults or Faults()
        self.requests: Counter[str] = Counter()
        """Answered, by signal."""
        self.grpc_address = self.http_address = ""
        self._accepted = accepted
        self._headers = headers or {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._grpc = self._http = None
        if grpc_listen is not None:
            self._grpc = self._make_grpc(grpc_listen, certificate)
        if http_listen is not None:
            self._http = self._make_http(http_listen, certificate)

    def start(self) -> None:
        """Begins to take requests."""
        if self._grpc is not None:
            self._grpc.start()
        if self._http is not None:
            threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more; calls of gRPC under way get `grace` seconds."""
        self._stopping.set()
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
        if self._grpc is not None:
            self._grpc.stop(grace).wait()
            self._handlers.shutdown()

    # -- what both do ----------------------------------------------------------------------------

    def take(self, signal: str, raw: bytes) -> bytes:
        """The answer. Raises ValueError for what is no request."""
        try:
            request = REQUESTS[signal].FromString(raw)
        except DecodeError as error:
            raise ValueError(str(error)) from None
        response, field = RESPONSES[signal]
        answer = response()
        if self.faults.reject:
            setattr(answer.partial_success, field, self.faults.reject)
            answer.partial_success.error_message = "told to reject"
        with self._lock:
            self.requests[signal] += 1
            self._accepted(signal, request)
        serialised: bytes = answer.SerializeToString()
        return serialised

    def wait(self) -> bool:
        """Waits the delay; whether the receiver ends meanwhile."""
        return bool(self.faults.delay) and self._stopping.wait(self.faults.delay)

    def missing(self, headers: Any) -> str:
        """The header that is not as it must be."""
        return next((name for name, value in self._headers.items() if headers.get(name) != value), "")

    # -- gRPC ------------------------------------------------------------------------------------

    def _make_grpc(self, listen: str, certificate: Certificate | None) -> Any:
        self._handlers = futures.ThreadPoolExecutor(THREADS)
        options = (("grpc.max_receive_message_length", MAX_REQUEST), ("grpc.so_reuseport", 0))
        server = grpc.server(self._handlers, options=options)
        for signal, method in METHODS.items():
            _, service, name = method.split("/")
            handler = grpc.unary_unary_rpc_method_handler(self._export(signal))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        try:
            if certificate is None:
                port = server.add_insecure_port(listen)
            else:
                port = server.add_secure_port(listen, _credentials(certificate))
        except RuntimeError:
            raise RoverError(f"cannot listen on {listen}; is the port taken?") from None
        self.grpc_address = f"{listen.rpartition(':')[0]}:{port}"
        return server

    def _export(self, signal: str) -> Callable[[bytes, Any], bytes]:
        def export(raw: bytes, context: Any) -> bytes:
            faults = self.faults
            if missing := self.missing(dict(context.invocation_metadata())):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"wrong or no {missing}")
            if faults.refuse:
                if faults.retry_after:
                    context.set_trailing_metadata(
                        (("grpc-status-details-bin", _details(faults.retry_after)),)
                    )
                code = faults.refuse if faults.refuse in grpc.StatusCode.__members__ else "UNAVAILABLE"
                context.abort(grpc.StatusCode[code], "told to refuse")
            if self.wait():
                context.abort(grpc.StatusCode.UNAVAILABLE, "the receiver ended before its answer was due")
            try:
                if context.is_active():
                    return self.take(signal, raw)
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return b""

        return export

    # -- HTTP ------------------------------------------------------------------------------------

    def _make_http(self, listen: str, certificate: Certificate | None) -> ThreadingHTTPServer:
        try:
            server = _Server(address.split(listen), _handler(self))
        except OSError:
            raise RoverError(f"cannot listen on {listen}; is the port taken?") from None
        if certificate is not None:
            # The handshake is done by whoever reads first: that is not the thread that accepts.
            server.socket = _context(certificate).wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.http_address = f"{listen.rpartition(':')[0]}:{server.server_address[1]}"
        return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of ours."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            code, content = 200, b""
            try:
                content = self._take()
            except _Refused as refused:
                code, words = refused.args
                content = b"\x12" + bytes((min(len(words), 127),)) + words.encode()[:127]
                self.close_connection = True
            self.send_response(code)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(content)))
            if code != 200 and receiver.faults.retry_after:
                self.send_header("retry-after", str(receiver.faults.retry_after))
            self.end_headers()
            self.wfile.write(content)

        def _take(self) -> bytes:
            if missing := receiver.missing(self.headers):
                raise _Refused(401, f"wrong or no {missing}")
            signal = PATHS.get(self.path)
            if signal is None:
                raise _Refused(404, f"no signal has the path {self.path[:50]}")
            if self.headers.get("content-type") != "application/x-protobuf":
                raise _Refused(415, "only application/x-protobuf is taken")
            length = self.headers.get("content-length", "")
            if not (length.isascii() and length.isdigit() and int(length) <= MAX_REQUEST):
                raise _Refused(413, f"a request has at most {MAX_REQUEST} bytes")
            raw = self.rfile.read(int(length))
            if len(raw) < int(length):
                raise _Refused(400, "the request was cut off")
            if self.headers.get("content-encoding") == "gzip":
                raw = _unpacked(raw)
            if receiver.faults.refuse:
                number = receiver.faults.refuse
                raise _Refused(int(number) if number.isdigit() else 503, "told to refuse")
            if receiver.wait():
                raise _Refused(503, "the receiver ended before its answer was due")
            try:
                return receiver.take(signal, raw)
            except ValueError as error:
                raise _Refused(400, str(error)) from None

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    return Handler


def _credentials(certificate: Certificate) -> Any:
    ca = certificate.client_ca
    try:
        pair = certificate.key.read_bytes(), certificate.cert.read_bytes()
        roots = ca.read_bytes() if ca is not None else None
    except OSError as error:
        raise file_error(f"cannot read {error.filename}", error) from None
    return grpc.ssl_server_credentials([pair], roots, roots is not None)


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate.cert, certificate.key)
        if certificate.client_ca is not None:
            context.load_verify_locations(certificate.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise RoverError(f"cannot use {certificate.cert} with {certificate.key}: {error}") from None
    return context


def _unpacked(raw: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        unpacked = unpacker.decompress(raw, MAX_REQUEST + 1)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise _Refused(400, str(error)) from None
    if len(unpacked) > MAX_REQUEST:
        raise _Refused(413, f"a request has at most {MAX_REQUEST} bytes")
    return unpacked


def _details(seconds: int) -> bytes:
    """google.rpc.Status with a google.rpc.RetryInfo."""
    kind = b"type.googleapis.com/google.rpc.RetryInfo"
    info = b"\x0a\x02\x08" + bytes((min(seconds, 127),))
    detail = b"\x0a" + bytes((len(kind),)) + kind + b"\x12" + bytes((len(info),)) + info
    return b"\x08\x0e\x1a" + bytes((len(detail),)) + detail
