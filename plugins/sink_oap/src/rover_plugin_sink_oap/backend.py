"""The OAP server at the other end: one call that sends a batch and says how it went."""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rover import RoverError
from rover_plugin_sink_oap import address
from rover_plugin_sink_oap.grpc_call import TAKEN_EARLY, ClientCall, Status
from rover_plugin_sink_oap.settings import Configuration, Tls

METHOD = "/skywalking.v3.EBPFAccessLogService/collect"
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


FAILURES = {
    "UNAVAILABLE": Failure.AWAY,
    "RESOURCE_EXHAUSTED": Failure.AWAY,
    "DEADLINE_EXCEEDED": Failure.AWAY,
    "CANCELLED": Failure.AWAY,
    "ABORTED": Failure.AWAY,
    "UNIMPLEMENTED": Failure.REFUSED,
    "UNAUTHENTICATED": Failure.REFUSED,
    "PERMISSION_DENIED": Failure.REFUSED,
}
"""Of every other gRPC status: FAULT."""

FIXES = {
    "UNIMPLEMENTED": "it takes no access logs; is sink.oap.address its gRPC port?",
    "UNAUTHENTICATED": "set sink.oap.authentication to its token",
    "PERMISSION_DENIED": "set sink.oap.authentication to a token that may send",
}


class BackendError(Exception):
    """A batch that was not taken, as far as this end knows."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.code = status.code
        """Name of the gRPC status."""
        self.failure = FAILURES.get(status.code, Failure.FAULT)


class Backend:
    """Each call has a connection of its own: none can be stale, and an address that has come up,
    or was added to a name, is found at the next call.

    Addresses are tried in turn, each of those a name stands for: after a failure the next one is
    asked, and kept while it answers.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Raises RoverError for certificates that cannot be used."""
        self.addresses: Sequence[str] = configuration.addresses
        """`host:port` as configured."""
        self.choices = len(configuration.addresses)
        """Addresses there were to try, at the last call."""
        self.address = configuration.addresses[0]
        """The one that was called last."""
        self._timeout = configuration.timeout
        self._server_name = configuration.tls.server_name if configuration.tls else ""
        self._context = _context(configuration.tls) if configuration.tls else None
        token = configuration.authentication
        self._metadata = (("authentication", token),) if token else ()
        self._turn = 0
        self._socket: socket.socket | None = None
        self.cancelled = False
        """What fails from now on fails by `cancel`."""

    def probe(self) -> str:
        """Whether anybody listens: why not, of the last address asked; empty if somebody does."""
        failure = ""
        for each in self.addresses:
            try:
                socket.create_connection(address.split(each), PROBE_TIMEOUT).close()
            except (OSError, UnicodeError) as error:
                failure = _reason(error)
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
            raise BackendError(status)

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
            return Status("UNAVAILABLE", _reason(error))
        finally:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _call(self, messages: Sequence[bytes], deadline: float) -> Status:
        connection, host = self._connect(deadline)
        call = ClientCall(
            METHOD,
            messages,
            authority=address.authority(self.address) if not self._server_name else host,
            secure=self._context is not None,
            timeout=deadline - time.monotonic(),
            metadata=self._metadata,
        )
        return self._converse(connection, call, deadline)

    def _converse(self, connection: socket.socket, call: ClientCall, deadline: float) -> Status:
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


def _context(tls: Tls) -> ssl.SSLContext:
    if bool(tls.cert) != bool(tls.key):
        raise RoverError("sink.oap.tls_cert and sink.oap.tls_key belong together; one is missing")
    what = f"sink.oap.tls_ca {tls.ca}"
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        # From Python 3.13 on a CA without the key usage extension (RFC 5280 section 4.2.1.3) is refused
        # unless this is said. `openssl req -x509` makes such; whoever has one connects with every Python.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls.cert:
            what = f"sink.oap.tls_cert {tls.cert} with tls_key {tls.key}"
            context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise RoverError(f"{what}: {_reason(error)}") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _no_password() -> str:
    """An encrypted key must not ask the terminal."""
    raise ValueError("the key is encrypted")


def _left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError when there are none: 0 would mean not to wait."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reason(error: Exception) -> str:
    """A failure in words: of TLS the verification's own, which is the most telling."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers speaks no TLS"
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
