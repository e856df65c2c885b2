"""How the figures of all workers come onto one page.

Whoever has the port has the page. Every worker listens on a Unix socket. When the page is asked for, the one
that has the port asks the others for what they have counted since. When it dies, the port is free, and the
next one that tries has it. Its page begins anew, with what nobody had been asked for yet: as Prometheus
understands counters, nothing is counted twice.

The sockets are abstract (unix(7)): nothing is left in a file system, which may be read-only. The kernel tells
who is at the other end.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable

from rover import RoverError
from rover_plugin_sink_prometheus.share import Portion, Share, decode, encode

TRY = 1.0
"""Seconds between two tries to have the port."""
PATIENCE = 2.0
"""Seconds for all other workers to tell what they have. What one does not tell is on a later page."""
MAX_PORTION = 1 << 28
"""Bytes: 10,000 series are some 3 MB."""
RECEIVED = b"+"

_LENGTH = struct.Struct("!Q")
_CREDENTIALS = struct.Struct("3i")

logger = logging.getLogger("rover.prometheus")


def name_of(host: str, port: int, number: int) -> bytes:
    """A worker's socket: one run has a port, in the network namespace that these names are of, too."""
    return f"\0rover-prometheus/{os.getppid()}/{host[:50]}/{port}/{number}".encode()


def is_own(connection: socket.socket) -> bool:
    """Whether a process of the same user is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(credentials)[1] == os.geteuid())


class Relay:
    """A worker's thread: it hands over what the worker has, and tries to have the port when it is free."""

    def __init__(self, name: bytes, share: Share, take_port: Callable[[], bool]) -> None:
        """`take_port` is called now and then, until it says that this worker has it."""
        self._name = name
        self._share = share
        self._take_port = take_port
        self._has_port = False
        self._stopping = threading.Event()
        self._said = False
        self._thread = threading.Thread(target=self._run, name="rover-prometheus-relay", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, a while from now."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._has_port:
            try:
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(self._name)
                    listener.listen()
                    listener.settimeout(TRY)
                    self._relay(listener)
            except OSError as error:
                if not self._said:
                    self._said = True
                    logger.error(
                        "prometheus: this worker cannot be asked for its figures: %s", error.strerror
                    )
                self._stopping.wait(TRY)

    def _relay(self, listener: socket.socket) -> None:
        tried = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - tried >= TRY:
                tried = time.monotonic()
                self._has_port = self._take_port()
                if self._has_port:
                    return
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        try:
            if not is_own(connection):
                return
            connection.settimeout(PATIENCE)
            data = encode(self._share.portion())
            connection.sendall(_LENGTH.pack(len(data)) + data)
            if connection.recv(1) == RECEIVED:
                self._share.received()
        except Exception as error:  # this thread is the worker's only one that can
            logger.debug("prometheus: not handed over", exc_info=error)


class Collection:
    """What the one that has the port asks of the others."""

    def __init__(self, names: Iterable[bytes]) -> None:
        """Of their sockets."""
        self._names = list(names)
        self._last: dict[bytes, tuple[int, int]] = {}
        """The newest portion of each: its process and its number."""

    def gather(self, take: Callable[[Portion], None]) -> int:
        """Takes what they have, each portion once; how many of them have told."""
        deadline = time.monotonic() + PATIENCE
        told = 0
        for name in self._names:
            try:
                told += self._ask(name, take, deadline)
            except (OSError, RoverError) as error:
                logger.debug("prometheus: a worker is not on the page", exc_info=error)
        return told

    def _ask(self, name: bytes, take: Callable[[Portion], None], deadline: float) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.connect(name)
            if not is_own(connection):
                return False
            (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
            if length > MAX_PORTION:
                raise RoverError(f"prometheus: a worker has {length} bytes of figures")
            portion = decode(_exactly(connection, length, deadline))
            if self._last.get(name) != (portion.giver, portion.number):
                take(portion)
                self._last[name] = portion.giver, portion.number
            connection.sendall(RECEIVED)
            return True


def _exactly(connection: socket.socket, length: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < length:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        data = connection.recv(min(length - len(received), 1 << 20))
        if not data:
            raise ConnectionError("it ended before all was told")
        received += data
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(received)
