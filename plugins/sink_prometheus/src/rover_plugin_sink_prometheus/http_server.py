"""A small HTTP server: GET and HEAD, one request per connection, in one thread.

Whoever can reach it may be hostile: connections, their time and their bytes have an end, whatever a client
does or leaves undone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from rover import RoverError

MAX_CONNECTIONS = 32
"""Open at a time: Prometheus has one. One more takes the place of the oldest that has not asked yet."""
MAX_SENDING = 4
"""Of these, such as are being answered: each holds a page. One more takes the oldest's place."""
MAX_HEAD = 8192
"""Bytes of a request."""
READING, SENDING, DRAINING = 5.0, 10.0, 2.0
"""Seconds for a request, for the response, and for the client to close. Prometheus gives up after ten."""
MAX_DRAINED = 1 << 16
"""Bytes that are read of what nobody asked for, so that the client gets its response before a reset."""
BACKLOG = 128
"""Connections that the kernel keeps until they are accepted."""
STOP_SECONDS = 2.0

logger = logging.getLogger("rover.prometheus")

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    505: "HTTP Version Not Supported",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """By name in small letters; the values of a name that is there twice are joined by commas."""


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    content_type: str
    body: Sequence[bytes]
    """Pieces; others may hold them, too."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def message(status: int, **headers: str) -> Response:
    """One line of text, which says no more than the status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, "text/plain; charset=utf-8", [f"{REASONS[status]}\n".encode()], named)


def parsed(head: bytes) -> tuple[str, Request] | Response:
    """The method and the request (RFC 9112 section 3); or what to answer to one that is none."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    if len(words) != 3 or not all(words) or not words[1].startswith("/"):
        return message(400)
    method, target, version = words
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return message(505 if version.startswith("HTTP/") else 400)
    if method not in ("GET", "HEAD"):
        return message(405, Allow="GET, HEAD")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return message(400)
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return method, Request(target.partition("?")[0], headers)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises RoverError."""
    where = f"{f'[{host}]' if ':' in host else host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise RoverError(f"prometheus: cannot listen on {where}: {_reason(error)}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise RoverError(
            f"prometheus: cannot listen on {where}: {_reason(error)}; choose another sink.prometheus.port"
        ) from None
    return listener


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Connection:
    def __init__(self, sock: socket.socket, now: float) -> None:
        self.socket = sock
        self.deadline = now + READING
        self.received = bytearray()
        self.sending: list[memoryview] | None = None
        """Pieces, the next one last; None until the request has come, and empty when all is sent."""
        self.drained = 0


class Server:
    """Answers in a thread of its own, from `start` to `stop`."""

    def __init__(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        """`answer` is called in that thread. What it raises is logged and is the client's 500."""
        self._listener = listener
        self._answer = answer
        self._connections: dict[int, _Connection] = {}
        """By descriptor, the oldest first."""
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="rover-prometheus", daemon=True)
        self.failed = 0
        """Requests that `answer` raised for."""

    def start(self) -> None:
        """Begins to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, whatever is under way."""
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        if not self._thread.is_alive():
            self._close()

    # -- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        selector = self._selector
        selector.register(self._woken, selectors.EVENT_READ)
        selector.register(self._listener, selectors.EVENT_READ)
        while True:
            ready = selector.select(self._patience())
            for key, _ in ready:
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd in self._connections:
                    self._serve(self._connections[key.fd])
            now = time.monotonic()
            for connection in [each for each in self._connections.values() if each.deadline <= now]:
                self._drop(connection)

    def _patience(self) -> float | None:
        if not self._connections:
            return None
        first = min(connection.deadline for connection in self._connections.values())
        return max(0.0, first - time.monotonic())

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | ConnectionError | InterruptedError):
                time.sleep(0.1)  # no descriptor is left: it would be tried without end
            return
        sock.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            waiting = [each for each in self._connections.values() if each.sending is None]
            self._drop(next(iter(waiting or self._connections.values())))
        self._connections[sock.fileno()] = _Connection(sock, time.monotonic())
        self._selector.register(sock, selectors.EVENT_READ)

    def _serve(self, connection: _Connection) -> None:
        try:
            if connection.sending is None:
                self._read(connection)
            elif connection.sending:
                self._send(connection)
            else:
                self._drain(connection)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(MAX_HEAD + 1 - len(connection.received))
        if not data:
            self._drop(connection)
            return
        received = connection.received
        received += data
        ends = [end for mark in (b"\r\n\r\n", b"\n\n") if (end := received.find(mark)) >= 0]
        if ends:
            self._respond(connection, bytes(received[: min(ends)]))
        elif len(received) > MAX_HEAD:
            self._respond(connection, None)

    def _respond(self, connection: _Connection, head: bytes | None) -> None:
        asked = message(431) if head is None else parsed(head)
        if isinstance(asked, Response):
            method, response = "GET", asked
        else:
            method, request = asked
            try:
                response = self._answer(request)
            except Exception as error:
                self.failed += 1
                if self.failed == 1:
                    logger.error("prometheus: %s: %s", type(error).__name__, error)
                logger.debug("prometheus", exc_info=error)
                response = message(500)
        fields = {
            "Content-Type": response.content_type,
            "Content-Length": str(sum(map(len, response.body))),
            "Connection": "close",
            **response.headers,
        }
        lines = [f"HTTP/1.1 {response.status} {REASONS[response.status]}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        start = ("\r\n".join(lines) + "\r\n\r\n").encode()
        body = () if method == "HEAD" else response.body
        connection.sending = [memoryview(piece) for piece in (*reversed(body), start) if piece]
        connection.deadline = time.monotonic() + SENDING
        sending = [each for each in self._connections.values() if each.sending]
        if len(sending) > MAX_SENDING:
            self._drop(sending[0] if sending[0] is not connection else sending[1])
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, None)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        sending = connection.sending
        while sending:
            piece = sending.pop()
            try:
                sent = connection.socket.send(piece)
            except (BlockingIOError, InterruptedError):
                sending.append(piece)
                raise
            if sent < len(piece):
                sending.append(piece[sent:])
        connection.socket.shutdown(socket.SHUT_WR)
        connection.deadline = time.monotonic() + DRAINING
        self._selector.modify(connection.socket, selectors.EVENT_READ, None)

    def _drain(self, connection: _Connection) -> None:
        data = connection.socket.recv(4096)
        connection.drained += len(data)
        if not data or connection.drained > MAX_DRAINED:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _close(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        for each in (self._listener, self._woken, self._selector):
            with contextlib.suppress(OSError):
                each.close()
