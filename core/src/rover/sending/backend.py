"""A server at the other end: one call that sends a batch and says how it went."""

from __future__ import annotations

import abc
import contextlib
import enum
import select
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rover.sending import address
from rover.sending.call import TAKEN_EARLY, Call, Status
from rover.sending.tls import reason

CONNECT_TIMEOUT = 5.0
"""Seconds for one address to answer, with TLS; beyond it the next one is tried."""
PROBE_TIMEOUT = 1.0
"""Seconds for each in the first look whether somebody listens."""
READ = 1 << 16
READ_AHEAD = 1 << 20
"""Bytes that are read while nothing can be written: what a server says may want an answer (a PING does), and
those must not pile up."""
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Failure(enum.Enum):
    """What a failure means for the batch."""

    AWAY = "away"
    """Nobody there, or overloaded: later."""
    REFUSED = "refused"
    """Somebody has to change something first; the batch may wait for it."""
    FAULT = "fault"
    """Something is wrong with the server or the batch; it may be the batch."""
    REJECTED = "rejected"
    """The server will never take this batch, and says so."""


class BackendError(Exception):
    """A batch that was not taken, as far as this end knows."""

    def __init__(self, status: Status, failure: Failure = Failure.FAULT) -> None:
        super().__init__(status.message)
        self.code = status.code
        """Name of the gRPC status."""
        self.failure = failure
        self.retry_after = status.retry_after
        """Seconds the server asks for before the next attempt."""


class Backend(abc.ABC):
    """Each call has a connection of its own: none can be stale, and an address that has come up,
    or was added to a name, is found at the next call.

    Addresses are tried in turn, each of those a name stands for: after a failure the next one is
    asked, and kept while it answers.
    """

    fixes: Mapping[str, str] = {}
    """What a user can do about a status."""

    def __init__(
        self,
        addresses: Sequence[str],
        timeout: float,
        context: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """`addresses`: one or more. `timeout`: seconds for a batch. `context`: for TLS. `server_name`: what
        the server's certificate must name, if not the address."""
        self.addresses = addresses
        """`host:port` as configured."""
        self.choices = len(addresses)
        """Addresses there were to try, at the last call."""
        self.address = addresses[0]
        """The one that was called last."""
        self._timeout = timeout
        self._server_name = server_name
        self._context = context
        self._turn = 0
        self._socket: socket.socket | None = None
        self.cancelled = False
        """What fails from now on fails by `cancel`."""

    @abc.abstractmethod
    def begin(self, messages: Sequence[bytes], authority: str, timeout: float) -> Call:
        """The call for one attempt. `authority`: host and port of the server. `timeout`: seconds left."""

    @abc.abstractmethod
    def failure(self, status: Status) -> Failure:
        """What a status that is not OK means."""

    def answered(self, answer: bytes) -> None:  # noqa: B027 - most servers say nothing
        """What the server said when it took a batch."""

    @property
    def secure(self) -> bool:
        """Whether the connection has TLS."""
        return self._context is not None

    def probe(self) -> str:
        """Whether anybody listens: why not, of the last address asked; empty if somebody does."""
        failure = ""
        for each in self.addresses:
            try:
                socket.create_connection(address.split(each), PROBE_TIMEOUT).close()
            except (OSError, UnicodeError) as error:
                failure = reason(error)
            else:
                return ""
        return failure

    def send(self, messages: Iterable[bytes]) -> None:
        """One call: the messages, the half-close, the answer. Raises BackendError.

        A call that a server which goes away has not looked at is made again, once, on another
        connection: that is no failure yet (gRPC's "transparent retry").
        """
        deadline = time.monotonic() + self._timeout
        stream = list(messages)
        status = self._attempt(stream, deadline)
        if status.unprocessed and not self.cancelled:
            self._turn += 1
            status = self._attempt(stream, deadline)
        if self.cancelled and status.code != "OK":
            # The connection ended under it by our own hand.
            status = Status("CANCELLED", "the agent ends")
        if status.code != "OK":
            self._turn += 1
            raise BackendError(status, self.failure(status))

    def cancel(self) -> None:
        """Ends the call under way, and any later one; safe from another thread."""
        self.cancelled = True
        connection = self._socket
        if connection is not None:
            # Past SSLSocket's own, which takes its state from under the thread that uses it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _attempt(self, messages: Sequence[bytes], deadline: float) -> Status:
        try:
            return self._call(messages, deadline)
        except TimeoutError:
            return Status("DEADLINE_EXCEEDED", f"no answer within {self._timeout:g} s")
        except (OSError, UnicodeError) as error:  # the latter of a name that no DNS can hold
            return Status("UNAVAILABLE", reason(error))
        finally:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _call(self, messages: Sequence[bytes], deadline: float) -> Status:
        connection, host = self._connect(deadline)
        authority = address.authority(self.address) if not self._server_name else host
        call = self.begin(messages, authority, deadline - time.monotonic())
        status = self._converse(connection, call, deadline)
        if status.code == "OK":
            self.answered(call.answer)
        return status

    def _converse(self, connection: socket.socket, call: Call, deadline: float) -> Status:
        """Writes and reads as either goes: a server may answer, and hang up, before it has read all."""
        connection.setblocking(False)
        poll = select.poll()
        waiting = memoryview(b"")
        unanswered = 0  # bytes read since something was written
        broken: OSError | None = None
        while call.status is None:
            if self.cancelled:
                return Status("CANCELLED", "the agent ends")
            left = _left(deadline)
            written = read = 0
            if broken is None and (waiting := waiting or memoryview(call.output())):
                try:
                    written = connection.send(waiting)
                except WOULD_BLOCK:
                    pass
                except OSError as error:
                    broken = error  # its answer may have arrived before
                else:
                    waiting, unanswered = waiting[written:], 0
            if unanswered < READ_AHEAD:
                with contextlib.suppress(*WOULD_BLOCK):
                    data = connection.recv(READ)
                    call.input(data)
                    read = len(data)
                    unanswered += read
            elif broken is not None:
                raise broken
            if not written and not read and call.status is None:
                events = select.POLLIN if unanswered < READ_AHEAD else 0
                poll.register(connection, events | (select.POLLOUT if waiting and broken is None else 0))
                poll.poll(left * 1000)
        return TAKEN_EARLY if call.status.code == "OK" and waiting else call.status

    def _connect(self, deadline: float) -> tuple[socket.socket, str]:
        choices = self._resolve()
        self.choices = len(choices)
        self.address, family, where = choices[self._turn % len(choices)]
        connection = self._socket = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(min(CONNECT_TIMEOUT, _left(deadline)))
        # No certificate has the dot that ends a name for a resolver, or an interface of this host.
        host = (self._server_name or address.split(self.address)[0]).partition("%")[0].removesuffix(".")
        try:
            connection.connect(where)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._socket = self._context.wrap_socket(connection, server_hostname=host)
        except TimeoutError:
            raise OSError(f"{where[0]} does not answer") from None
        return connection, host

    def _resolve(self) -> list[tuple[str, socket.AddressFamily, Any]]:
        choices: list[tuple[str, socket.AddressFamily, Any]] = []
        failure: OSError | UnicodeError | None = None
        for each in self.addresses:
            try:
                found = socket.getaddrinfo(*address.split(each), type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                failure = error
            else:
                choices += [(each, family, where) for family, _, _, _, where in found]
        if not choices and failure is not None:
            raise failure
        return choices


def _left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError when there are none: 0 would mean not to wait."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
