"""A TLS connection on its way through the pipeline.

Its streams are of plaintext, which comes from a TLS library; recognition, decoding and breaks are those of
any connection. Its socket calls moved ciphertext, by whose positions their details are joined with exchanges.
Until the first plaintext comes it is only known that it begins like TLS, and some of its details wait for it.
"""

from __future__ import annotations

from collections import deque

from rover.contracts.protocol import UPLOAD_ALL, AnyExchange
from rover.pipeline.opening import Opening
from rover.pipeline.outbox import LOG_MEMORY
from rover.pipeline.tls_handshake import Handshake
from rover.pipeline.tracked_connection import TrackedConnection
from rover.streams.pair import StreamPair
from rover.streams.tls_ledger import StandIn, StandIns, TlsLedger, stand_in
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.records import Detail, Direction, Plaintext, Role

HELD_UNREAD = 16
"""Details kept while no plaintext has come: the calls of a handshake, and of the first message after it.
Of a connection that stays unread these are all it costs, some 6 kB."""
HELD_FOR = 10_000_000_000
"""ns for which a detail waits for the plaintext that its ciphertext becomes: a record of 16 kB may come in
many pieces, and plaintext waits in the source while nobody knows whose it is. After that it goes alone."""
PATIENCE = 50_000_000
"""ns for which an exchange waits for the socket calls that write its ciphertext. A program with a memory BIO
makes them at once, or when its peer reads on, which may be never. Half of what an access log may take."""
BEHIND = 1_000_000_000
"""ns by which the newest records may be older than the clock: what happened is told when there is time."""
MAX_WAITING = 64
"""Exchanges of one connection that wait for them."""

WAYS = tuple(Direction)
_, EGRESS = WAYS
ABORTED = Outcome.ABORTED


class Waiting:
    """An exchange whose details have not all come."""

    __slots__ = ("calls", "connection", "due", "exchange", "memory")

    def __init__(self, exchange: AnyExchange, calls: StandIns, connection: Connection, due: int) -> None:
        self.exchange = exchange
        self.memory = exchange_memory(exchange)
        """Bytes that it takes, about; its details are in the ledger."""
        self.calls = calls
        self.connection = connection
        """As it was when the exchange was over."""
        self.due = due
        """When it waits no longer (ns)."""


def exchange_memory(exchange: AnyExchange) -> int:
    """Bytes that it takes, about."""
    if isinstance(exchange, Exchange):
        return LOG_MEMORY + sum(len(text) for text in exchange.attributes.values() if isinstance(text, str))
    heads = exchange.request.header_size
    if exchange.response is not None:
        heads += exchange.response.header_size
    return LOG_MEMORY + heads


class TlsConnection(TrackedConnection):
    """Takes the place of a connection in the pipeline's table, once it is known to be TLS."""

    __slots__ = ("_handshake", "_join", "_joined", "_sockets", "_waiting", "_waits", "_withheld", "read")

    def __init__(self, before: TrackedConnection, now: int) -> None:
        """`before` is what it was so far; it is used no more."""
        self.read = False
        """Whether any plaintext has come."""
        self._handshake: Handshake | None = Handshake()
        self._waiting: deque[Waiting] = deque()
        self._withheld = 0  # bytes that they take
        self._waits = True  # whether more socket calls may come
        self._joined = True  # whether it is known which one is next
        self._join = TlsLedger()
        self._succeed(before, now)

    def _succeed(self, before: TrackedConnection, now: int) -> None:
        self.begins_tls = False
        self._surroundings = before._surroundings
        self.outbox, self.listed, self.memory = before.outbox, before.listed, before.memory
        if before._decoder is not None:
            before._collect("close", now, ABORTED)  # what was said before TLS began, or seemed to be
        self.connection = before.connection
        self._sockets = before._streams  # counts the socket calls
        late = self._sockets.ingress.late
        self._streams = StreamPair(self.connection.opened, late, self._join)
        self._opening = Opening(late)
        self._decoder = self._in_place = None
        self._weighed = self._skipping = False
        self._kept = 0
        self._spec = None
        self._claims = 0
        for direction in (0, 1):
            buffer = self._sockets.of(direction)
            self._read_handshake(direction, buffer.data[buffer.offset :])
            self._join.begin(direction, buffer.end)
        self._sockets.clear()
        for detail in self._sockets.ledger.drain():
            self._hold(detail)
        if before._opening is None:
            # Whatever was wanted of the ciphertext, of the plaintext nothing is known yet.
            self._set_upload(UPLOAD_ALL)

    @property
    def seen(self) -> int:
        """ns of the newest record."""
        return max(self._streams.seen, self._sockets.seen)

    # -- socket calls ------------------------------------------------------------------------

    def forget_sockets(self) -> None:
        """Which socket call is next is not known: plaintext came of a connection of which nothing was."""
        self._joined = False

    def account(self, detail: Detail) -> None:
        """A call that moves no bytes."""
        self._count_call(detail)
        self.outbox.put_alone(self.connection, (detail,))
        if self.outbox.memory:
            self._weigh()

    def _count_call(self, detail: Detail) -> None:
        totals, sockets = self._surroundings.totals, self._sockets
        totals.calls += 1
        if not self._joined:
            self._joined = True
            sockets.join(detail)
        missing = sockets.count(detail.sequence)
        if missing:
            totals.missing += missing
        sockets.time(detail.start, detail.end)

    def data(self, detail: Detail, payload: bytes) -> bool:
        """One socket call. Returns whether the budget may have been charged for it."""
        self._count_call(detail)
        if self._handshake is not None:
            self._read_handshake(detail.direction, payload)
            if len(payload) < detail.size and self._handshake is not None:
                self._handshake.give_up(WAYS[detail.direction])
        if self._decoder is None and self._opening is None:
            if self._join.waiting:
                self.outbox.put_alone(self.connection, self._join.drain())
            self.outbox.put_alone(self.connection, (detail,))
        else:
            self._hold(detail)
            if self._waiting:
                self._deliver_due(detail.end)
            self._send_free()
        self._weigh()
        return True

    def lend(self, detail: Detail, memory: bytes, captured: int) -> bool:
        """The same, of a payload that stays the source's: no more than a handshake is read of it."""
        return self.data(detail, memory[:captured])

    def _hold(self, detail: Detail) -> None:
        """Until it is known whose it is."""
        if self.read:
            self._join.add(detail)
        else:
            self._join.add(detail, HELD_UNREAD)

    def _read_handshake(self, direction: int, data: bytes | bytearray) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        handshake.feed(WAYS[direction], data)
        self._kept = handshake.size
        connection = self.connection
        if handshake.client is not None:
            role = connection.role
            if role is None:
                role = Role.CLIENT if handshake.client is EGRESS else Role.SERVER
            if (
                not connection.tls
                or connection.server_name != handshake.server_name
                or connection.tls_version != handshake.version
            ):
                self.connection = connection.replace(
                    role=role, tls=True, tls_version=handshake.version, server_name=handshake.server_name
                )
        if handshake.over:
            self._end_handshake()

    def _end_handshake(self) -> None:
        """Nothing more is to be learned of it."""
        self._handshake = None
        self._kept = 0

    # -- plaintext ---------------------------------------------------------------------------

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> bool:
        """One call of the TLS library. Returns whether the budget may have been charged for it."""
        call = self._enter_plaintext(plaintext, len(payload))
        return call is not None and TrackedConnection.data(self, call, payload)

    def lend_plaintext(self, plaintext: Plaintext, memory: bytes, captured: int) -> bool:
        """The same, of a payload that stays the source's."""
        call = self._enter_plaintext(plaintext, captured)
        return call is not None and TrackedConnection.lend(self, call, memory, captured)

    def _enter_plaintext(self, plaintext: Plaintext, captured: int) -> StandIn | None:
        """Takes account of a call of the library. None: nobody reads its bytes; so many were captured."""
        call = stand_in(plaintext)
        if not self.read:
            self._begin(call)
        if self._decoder is None and self._opening is None:
            self._count(plaintext.sequence)
            if captured and self.connection.protocol_break is not None:
                self._surroundings.totals.late_payload += captured
            return None
        self._join.own(call, plaintext.ciphertext_start, plaintext.ciphertext)
        return call

    def _begin(self, call: StandIn) -> None:
        """The first one."""
        self.read = True
        if self._handshake is not None:
            self._end_handshake()
        if self._streams.ingress.late:
            self._streams.join(call)
        # A break before it was one of what is not plaintext: a tunnel, say, that has TLS in it.
        self.connection = self.connection.replace(tls=True, protocol="", protocol_break=None)
        self.pin(call.end)

    def _count(self, sequence: int) -> None:
        missing = self._streams.count(sequence)
        if missing:
            self._surroundings.totals.missing += missing

    # -- exchanges ---------------------------------------------------------------------------

    def _deliver(self, exchange: AnyExchange, calls: tuple[Detail, ...]) -> None:
        """One that is over: at once, or when the socket calls have come that carry it."""
        waiting = self._waiting
        if waiting or (self._waits and self._join.awaits(calls)):
            waiting.append(Waiting(exchange, calls, self.connection, self.seen + PATIENCE))
            self._withheld += waiting[-1].memory
            if len(waiting) > MAX_WAITING:
                self._deliver_first()
        else:
            TrackedConnection._deliver(self, exchange, self._join.details_of(calls))

    def _deliver_due(self, now: int) -> None:
        waiting = self._waiting
        while waiting and (now >= waiting[0].due or not self._join.awaits(waiting[0].calls)):
            self._deliver_first()

    def _deliver_first(self) -> None:
        first = self._waiting.popleft()
        self._withheld -= first.memory
        connection = self.connection
        self.connection = first.connection
        TrackedConnection._deliver(self, first.exchange, self._join.details_of(first.calls))
        if connection is not first.connection:
            self.connection = connection

    def _stop_waiting(self) -> None:
        while self._waiting:
            self._deliver_first()

    def _break(self, protocol_break: ProtocolBreak, now: int) -> None:
        self._stop_waiting()
        TrackedConnection._break(self, protocol_break, now)

    # -- memory, endings ---------------------------------------------------------------------

    def _weigh(self) -> None:
        kept = self._kept
        self._kept = kept + self._withheld
        TrackedConnection._weigh(self)
        self._kept = kept

    def relieve(self, said: str, now: int) -> None:
        """Gives up all that it holds: `said` is why."""
        self._stop_waiting()
        if self.read:
            TrackedConnection.relieve(self, said, now)
            return
        self.send_held()
        if self._handshake is not None:
            self._end_handshake()
        self.outbox.put_alone(self.connection, self._join.drain())
        self._weigh()

    def expire(self, now: int) -> None:
        """Time passes."""
        if self._waiting:
            self._deliver_due(now - BEHIND)
        if self._decoder is None and self._opening is None:
            self.outbox.put_alone(self.connection, self._join.drain())
        else:
            self._join.let_go(now - HELD_FOR)
            self._send_free()
            TrackedConnection.expire(self, now)
        self._weigh()

    def finish(self, now: int, reset: bool = False) -> None:
        """Nothing follows."""
        self._waits = False
        TrackedConnection.finish(self, now, reset)

    def cut(self, now: int, outcome: Outcome) -> None:
        """Decoding ends here, whether the connection does or not."""
        self._waits = False
        self._stop_waiting()
        TrackedConnection.cut(self, now, outcome)
        if not self.read and self.connection.tls_version:
            self._surroundings.totals.tls_unread += 1
