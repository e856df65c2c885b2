"""One connection on its way through the pipeline: recognised, decoded, broken."""

from __future__ import annotations

from rover.contracts.in_place import InPlaceDecoder
from rover.contracts.protocol import (
    NEED_MORE,
    RESYNCHRONISED,
    UPLOAD_NONE,
    AnyExchange,
    Decoder,
    ProtocolSpec,
)
from rover.pipeline.memory import GRAIN
from rover.pipeline.opening import Opening
from rover.pipeline.outbox import Outbox
from rover.pipeline.surroundings import Surroundings
from rover.plugins.guard import (
    MAX_YIELDED,
    check_result,
    checked_break,
    found,
    memory_of,
    role_of,
    yielded,
)
from rover.streams.buffer import MAX_SIZE, StreamBuffer
from rover.streams.pair import StreamPair
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak, speaking
from rover.values.exchange import Outcome
from rover.values.http import HttpExchange
from rover.values.records import MAX_NUMBER, Detail, Direction, Role

LARGE = 8192
"""Bytes of a call after which the decoder is asked what it needs: bodies that are worth it come in
pieces of this size and more, heads do not."""
_LARGE = LARGE  # compiled, a number of C
WORTH_TELLING = 1 << 18
"""Bytes to come from which on the source is told that they are unneeded: to copy fewer costs less than
to tell it."""
MAX_CLAIMS = 8
"""Protocols one connection may have, one after the other: HTTP/1.1, HTTP/2 by upgrade, and what else a
chain of proxies agrees on. A decoder whose upgrade is to its own protocol, over and over, ends here."""
SPARE_STEPS = MAX_YIELDED
"""Decoder steps over one call, besides one for each byte: what it had ready. More is an endless loop."""
FEW_DETAILS = 4
"""Details that may wait for their exchange before they are accounted for."""

WAYS = tuple(Direction)
CLIENT, _ = Role  # once: what an enumeration holds is slow to ask for
ABORTED = Outcome.ABORTED


class TrackedConnection:
    """Mutable, owned by the pipeline; `connection` is the snapshot that others see."""

    __slots__ = (
        "_claims",
        "_decoder",
        "_in_place",
        "_kept",
        "_opening",
        "_skipping",
        "_spec",
        "_streams",
        "_surroundings",
        "_weighed",
        "begins_tls",
        "connection",
        "listed",
        "memory",
        "outbox",
    )

    def __init__(self, surroundings: Surroundings, connection: Connection, late: bool, built: bool) -> None:
        """`late`: its beginning was not seen. `built`: the record that opens it has come."""
        self.connection = connection
        self._surroundings = surroundings
        if built:
            self.outbox = self._surroundings.outbox
        else:
            self.outbox = Outbox(self._surroundings.delivery, self._surroundings.totals, True)
        self.listed = False
        """Whether it is in the pipeline's table."""
        self.begins_tls = False
        """Whether what it says is TLS: then a `TlsConnection` takes its place."""
        self.memory = 0
        """Bytes it is charged for: more than what any connection takes."""
        self._streams = StreamPair(self.connection.opened, late)
        # It is opening, or decoded; with neither it is plain: every detail goes straight out.
        self._opening: Opening | None = Opening(late)
        self._decoder: Decoder | None = None
        self._in_place: InPlaceDecoder | None = None  # the same, where it is one
        self._weighed = self._skipping = False  # which optional parts the decoder has
        self._kept = 0  # bytes that the decoder keeps, as far as it tells
        self._spec: ProtocolSpec | None = None  # the protocol it speaks, or spoke
        self._claims = 0  # how many protocols it has had

    # -- records -----------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        """ns of the newest record."""
        return self._streams.seen

    def join(self, detail: Detail) -> None:
        """Begins with this call, which is the first that is known of it."""
        self._streams.join(detail)

    def pin(self, time: int) -> None:
        """Claims it for the protocol that the user pinned to its port, if there is one."""
        opening = self._opening
        if opening is None or (spec := self._surroundings.recogniser.pinned(self.connection)) is None:
            return
        if opening.late:
            self._claim(spec, time)
        else:
            # With the first bytes, which may be a PROXY protocol header.
            opening.pinned = spec
            self._set_upload(spec.upload)

    def build(self, facts: Connection) -> None:
        """The opening record came after data: what was learned meanwhile holds."""
        known = self.connection
        self.connection = facts.replace(
            role=known.role or facts.role,
            protocol=known.protocol,
            protocol_break=known.protocol_break,
            tls=known.tls,
            tls_version=known.tls_version,
            server_name=known.server_name,
        )
        self.outbox.release(self.connection)
        self._weigh()
        if known.protocol_break is not None:
            self._set_upload(UPLOAD_NONE)

    def describe(self) -> None:
        """What plugins say of its process now, which may be more than when it was opened."""
        process = self.connection.process
        if process is not None:
            described = self._surroundings.processes.as_described(process)
            if described is not process:
                self.connection = self.connection.replace(process=described)

    def account(self, detail: Detail) -> None:
        """A call that moves no bytes: it takes part in sequence and totals only."""
        self._count(detail.sequence)
        self.outbox.put_alone(self.connection, (detail,))
        if self.outbox.memory:
            self._weigh()

    def _count(self, sequence: int) -> None:
        totals = self._surroundings.totals
        totals.calls += 1
        missing = self._streams.count(sequence)
        if missing:
            totals.missing += missing

    def data(self, detail: Detail, payload: bytes) -> bool:
        """One socket call. Returns whether the budget may have been charged for it."""
        if not self._enter(detail, len(payload)):
            return self._pass_by(detail)
        buffer = self._streams.append(detail, payload)
        self._read(buffer, detail, len(payload))
        return self._settle(buffer)

    def lend(self, detail: Detail, memory: bytes, captured: int) -> bool:
        """The same, of a payload that stays the source's: it is the first `captured` bytes of this memory."""
        if not self._enter(detail, captured):
            return self._pass_by(detail)
        buffer = self._streams.lend(detail, memory, captured)
        try:
            self._read(buffer, detail, captured)
        finally:
            buffer.keep()
        return self._settle(buffer)

    def _enter(self, detail: Detail, captured: int) -> bool:
        """Takes account of a call. Returns whether anybody reads its bytes; so many were captured."""
        self._count(detail.sequence)
        self._streams.time(detail.start, detail.end)
        if self._decoder is not None or self._opening is not None:
            return True
        if captured and self.connection.protocol_break is not None:
            self._surroundings.totals.late_payload += captured
        return False

    def _pass_by(self, detail: Detail) -> bool:
        """Nobody reads them."""
        self.outbox.put_alone(self.connection, (detail,))
        if self.outbox.memory or self.memory:
            self._weigh()
            return True
        return False

    def _read(self, buffer: StreamBuffer, detail: Detail, captured: int) -> None:
        """The bytes of a call are in their buffer."""
        direction, now = detail.direction, detail.end
        if self._decoder is None:
            buffer.keep()
            self._recognise(direction, now)
            return
        self._decode(buffer, direction, now)
        if captured >= _LARGE:
            self._leave_out(direction)

    def _settle(self, buffer: StreamBuffer) -> bool:
        """They have been read. Returns whether anything is left to be charged for."""
        if (
            buffer.size
            or self.memory
            or self._kept > GRAIN
            or self._streams.ledger.waiting > FEW_DETAILS
            or self.outbox.memory
        ):
            self._weigh()
            return True
        return False

    # -- recognition -------------------------------------------------------------------------

    def _recognise(self, direction: int, now: int) -> None:
        opening, connection = self._opening, self.connection
        if opening is None:
            return
        buffer, other = self._streams.of(direction), self._streams.of(1 - direction)
        requests = direction == (connection.role is CLIENT)
        spec = opening.recognise(self._surroundings.recogniser, self.connection, buffer, other, requests)
        header = opening.header
        if header is not None and connection.proxied is not header.client:
            self.connection = connection.replace(proxied=header.client)
        if spec is not None:
            self._claim(spec, now)
            return
        if opening.tls:
            self.begins_tls = True
            return
        self._send_free()
        if opening.given_up:
            self._make_plain()
            self._set_upload(UPLOAD_NONE)

    def _claim(self, spec: ProtocolSpec, now: int, upgrade: ProtocolBreak | None = None) -> None:
        self._opening = None
        self._spec = spec
        self._claims += 1
        connection = self.connection = speaking(self.connection, spec.name)
        try:
            if self._claims > MAX_CLAIMS:
                raise RuntimeError(f"a connection goes from protocol to protocol {MAX_CLAIMS} times")
            made = self._surroundings.decoders.make(spec, connection, upgrade)
        except BaseException as error:
            self._fail("make", error, now)
            return
        self._decoder, self._weighed, self._skipping = made
        self._in_place = self._decoder if isinstance(self._decoder, InPlaceDecoder) else None
        self._set_upload(spec.upload)
        first = self._streams.older
        for direction in (first, 1 - first):
            buffer = self._streams.of(direction)
            if self._decoder is not None and (len(buffer) or buffer.gap):
                self._decode(buffer, direction, now)

    def _make_plain(self) -> None:
        """Nothing of this connection is decoded from here on; what was buffered goes out."""
        self._opening = self._decoder = self._in_place = None
        self._weighed = self._skipping = False
        self._kept = 0
        self._streams.clear()

    # -- decoding ----------------------------------------------------------------------------

    def _decode(self, buffer: StreamBuffer, direction: int, now: int) -> None:
        decoder, in_place = self._decoder, self._in_place
        if decoder is None:
            return
        if buffer.lent and (in_place is None or not in_place.reads_in_place()):
            buffer.keep()
        way = WAYS[direction]
        steps = buffer.size + SPARE_STEPS
        for _ in range(steps):
            before = buffer.position
            try:
                if in_place is not None:
                    result = in_place.decode(way, buffer, now)
                else:
                    result = decoder.decode(way, buffer, now)
                if result is NEED_MORE:
                    break
                check_result(result)
            except BaseException as error:
                self._fail("decode", error, now)
                return
            if result is RESYNCHRONISED:
                self._surroundings.totals.resynchronised += 1
                if buffer.position == before:
                    break
            elif type(result) is ProtocolBreak:
                self._end_protocol(result, way, now)
                return
            else:
                self._exchange(result)  # type: ignore[arg-type]  # check_result has seen to it
        else:
            self._fail("decode", RuntimeError(f"{steps} steps without an end"), now)
            return
        if buffer.size > MAX_SIZE:
            waiting = f"{buffer.size} bytes wait undecoded"
            self._overflow(
                ProtocolBreak(
                    reason="overflow", detail=waiting, protocol="", direction=way, position=buffer.position
                ),
                now,
            )
            return
        self._send_free()
        if self._weighed and self.listed:
            self._poll_memory(now)

    def _leave_out(self, direction: int) -> None:
        """Tells the source what it need not deliver of a large body that has begun."""
        source = self._surroundings.source
        if not self._skipping or not source.skips:
            return
        try:
            size = self._decoder.unneeded(WAYS[direction])  # type: ignore[union-attr]  # it is a SkippingDecoder
            if type(size) is not int:
                raise TypeError(f"returned {found(size)} where a number of bytes is due")
        except BaseException as error:
            self._fail("unneeded", error, self.seen)
            return
        if size >= WORTH_TELLING:
            end = min(self._streams.of(direction).end + size, MAX_NUMBER)
            source.set_unneeded(self.connection.id, WAYS[direction], end)

    def _collect(self, method: str, now: int, cut: Outcome) -> None:
        """What the decoder's `expire` or `close` yields. `cut` is how those ended that it calls aborted."""
        exchanges, error = yielded(self._decoder, method, now)
        for exchange in exchanges:
            if cut is not ABORTED and exchange.outcome is ABORTED:
                self._exchange(exchange.replace(outcome=cut))
            else:
                self._exchange(exchange)
        if error is not None:
            self._fail(method, error, now)

    def _exchange(self, exchange: AnyExchange) -> None:
        if type(exchange) is HttpExchange:  # the same, read in C
            http = exchange
            details = self._streams.ledger.take(http.owner)
        else:
            details = self._streams.ledger.take(exchange.owner)
        connection = self.connection
        if self._decoder is not None:
            role = self._role()
            if role is not None and role is not connection.role:
                # A header came from the client's end, so what that one was taken for no longer holds.
                connection = self.connection = connection.replace(role=role, proxied=None)
        self._deliver(exchange, details)

    def _deliver(self, exchange: AnyExchange, details: tuple[Detail, ...]) -> None:
        connection = self.connection
        surroundings = self._surroundings
        if details:
            call, process = details[0], connection.process
            if process is None or process.pid != call.pid:
                process = surroundings.processes.successor(call.pid, process)
                connection = self.connection = connection.replace(process=process)
        totals = surroundings.totals
        totals.exchanges += 1
        log = surroundings.delivery.log_of(connection, exchange, details)
        if log is None:
            totals.unhandled += 1
            self.outbox.put_alone(self.connection, details)
            return
        totals.in_exchanges += len(details)
        self.outbox.put(log)

    def _role(self) -> Role | None:
        """The end that is watched, as the decoder sees it."""
        if self._in_place is not None and self._in_place.role is self.connection.role:
            return self.connection.role
        try:
            return role_of(self._decoder)
        except BaseException as error:
            self._blame("role", error)
            return None

    # -- the break ---------------------------------------------------------------------------

    def _end_protocol(self, protocol_break: ProtocolBreak, way: Direction, now: int) -> None:
        """A break, unless an installed protocol claims what follows an upgrade."""
        try:
            protocol_break = checked_break(protocol_break)
        except BaseException as error:
            self._fail("decode", error, now)
            return
        if protocol_break.direction is None:
            position = self._streams.of(way).position
            protocol_break = protocol_break.replace(direction=way, position=position)
        upgrade = protocol_break.upgrade
        spec = self._surroundings.recogniser.upgrade(upgrade) if upgrade else None
        if spec is not None:
            self._send_free()
            self._claim(spec, now, protocol_break)
        else:
            self._break(protocol_break, now)

    def _break(self, protocol_break: ProtocolBreak, now: int) -> None:
        """Decoding of this connection ends for good; all it holds is delivered."""
        before = self.connection
        protocol_break = protocol_break.replace(protocol=before.protocol)
        totals = self._surroundings.totals
        totals.broke(protocol_break.reason)
        self._decoder = self._in_place = None
        self._surroundings.delivery.announce(before, protocol_break)
        told = protocol_break.replace(request=None, response=None)  # every later log carries it
        self.connection = before.replace(protocol="", protocol_break=told)
        self._set_upload(UPLOAD_NONE)
        self._make_plain()
        details = self._streams.ledger.drain()
        totals.alone += len(details)
        self.outbox.put(
            AccessLog(connection=self.connection, start=now, end=now, details=details, outcome=Outcome.BREAK)
        )
        if self.memory:
            self._weigh()

    def _overflow(self, protocol_break: ProtocolBreak, now: int) -> None:
        """A break that the decoder does not know of: what it has under way is cut first."""
        self._collect("close", now, ABORTED)
        if self._decoder is not None:  # else its `close` failed, which was a break
            self._break(protocol_break, now)

    def _blame(self, where: str, error: BaseException) -> None:
        """Counts a failure of the plugin whose decoder the connection has."""
        self._surroundings.decoders.failed(self._spec.name if self._spec else "", where, error)

    def _fail(self, where: str, error: BaseException, now: int) -> None:
        """The break that such a failure is."""
        self._blame(where, error)
        name = self._spec.name if self._spec else ""
        self._break(ProtocolBreak(reason="plugin", detail=f"{where} of {name} failed"), now)

    # -- memory ------------------------------------------------------------------------------

    def _poll_memory(self, now: int) -> None:
        """Asks the decoder what it keeps."""
        try:
            self._kept = memory_of(self._decoder) if self._in_place is None else self._in_place.kept()
        except BaseException as error:
            self._fail("memory", error, now)

    def _weigh(self) -> None:
        """Charges the budget with what it takes now; nothing, when it is not in the table."""
        taken = self._streams.memory() + self._kept
        if taken < GRAIN:
            taken = 0
        taken = taken + self.outbox.memory if self.listed else 0
        self._surroundings.budget.taken += taken - self.memory
        self.memory = taken

    def relieve(self, said: str, now: int) -> None:
        """Gives up all that it holds: `said` is why."""
        self.send_held()
        if self._decoder is not None:
            self._overflow(ProtocolBreak(reason="overflow", detail=said), now)
        elif self._opening is not None:  # its opening bytes wait for more, to be recognised
            self._surroundings.totals.broke("overflow")
            self._make_plain()
            self._set_upload(UPLOAD_NONE)
            self.outbox.put_alone(self.connection, self._streams.ledger.drain())
            self._weigh()

    # -- endings and deliveries --------------------------------------------------------------

    def expire(self, now: int) -> None:
        """Time passes."""
        if self._decoder is None:
            return
        self._collect("expire", now, ABORTED)
        self._send_free()
        if self._weighed:  # else it has broken, too
            self._poll_memory(now)
        if self.memory:
            self._weigh()

    def finish(self, now: int, reset: bool = False) -> None:
        """Nothing follows: messages ended by close are complete, unless it was a reset (RFC 9112
        section 8); others are cut."""
        for direction in (0, 1):
            buffer = self._streams.of(direction)
            if self._decoder is not None and not buffer.ended and not reset:
                buffer.ended = True
                self._decode(buffer, direction, now)
        self.cut(now, ABORTED)

    def cut(self, now: int, outcome: Outcome) -> None:
        """Decoding ends here, whether the connection does or not: what is under way ends like this."""
        if self._decoder is not None:
            self._collect("close", now, outcome)
        self._streams.clear()
        self.outbox.put_alone(self.connection, self._streams.ledger.drain())

    def release(self) -> None:
        """Nothing is held any more."""
        if self.outbox.holds:
            self.outbox.release(self.connection)
            self._weigh()

    def send_held(self) -> None:
        """Sends what waited for the record that opens the connection."""
        self.outbox.send_held(self.connection)
        self._weigh()

    def _send_free(self) -> None:
        free = self._streams.ledger.take_free()
        if free:
            self.outbox.put_alone(self.connection, free)

    def _set_upload(self, limit: int) -> None:
        self._surroundings.source.set_upload(self.connection.id, limit)
