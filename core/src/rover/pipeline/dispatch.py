"""The pipeline: records in, access logs out. One thread; no I/O but the source's upload switch."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rover.contracts.protocol import (
    NEED_MORE,
    RESYNCHRONISED,
    UPLOAD_NONE,
    AnyExchange,
    ProtocolSpec,
    Verdict,
)
from rover.pipeline.outlet import Outlet
from rover.pipeline.proxy_header import FIRST_V1, FIRST_V2, Header, read_header
from rover.pipeline.recognition import MAX_GREETING, MAX_ONE_WAY, Recogniser
from rover.pipeline.state import ConnectionState
from rover.pipeline.totals import Totals
from rover.plugins.guard import (
    MAX_YIELDED,
    check_decoder,
    check_result,
    checked_break,
    checked_log,
    checked_opened,
    found,
    memory_of,
    role_of,
    yielded,
)
from rover.plugins.manager import Implementation, PluginManager
from rover.streams.buffer import MAX_SIZE
from rover.streams.ledger import DETAIL_MEMORY
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak, new_connection, speaking
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpExchange, HttpStream
from rover.values.records import MAX_NUMBER, Closed, Detail, Direction, Loss, Opened, Process, Role

SECOND = 1_000_000_000
MAX_HELD = 1024
"""Logs kept for a connection whose opening record has not arrived; then the oldest go out."""
HELD_FOR = 10 * SECOND
"""How long they are kept: the record follows at once or never will."""
BREAK_KEPT_FOR = 60 * SECOND
"""How long the break of a connection that is not built is remembered."""
IDLE_CHECK = 60 * SECOND
"""Silence after which the source is asked whether a connection still exists: the record of its
end may have been lost."""
SWEEP_SLICE = 1024
"""Connections looked at per tick, so that a tick stays under a few milliseconds."""
MAX_PROCESSES = 32_768
"""Process names kept, the least recently used one goes first: the default of kernel.pid_max."""
LARGE = 8192
"""Bytes of a call after which the decoder is asked what it needs: bodies that are worth it come in
pieces of this size and more, heads do not."""
WORTH_TELLING = 1 << 18
"""Bytes to come from which on the source is told that they are unneeded: to copy fewer costs less than
to tell it."""
WAYS = (Direction.INGRESS, Direction.EGRESS)
CLIENT, _ = Role  # once: what an enumeration holds is slow to ask for
ABORTED = Outcome.ABORTED
MAX_CLAIMS = 8
"""Protocols one connection may have, one after the other: HTTP/1.1, HTTP/2 by upgrade, and what else a
chain of proxies agrees on. A decoder whose upgrade is to its own protocol, over and over, ends here."""
EVICTION_BATCH = 64
"""Of so many connections one is found idle enough to make room, at a time: to find the idlest takes a
look at all of them, some ten milliseconds where there are 65,536."""
CONNECTION_MEMORY = 3072
"""Bytes that any connection takes: its state and its decoder's, measured for both versions of HTTP."""
GRAIN = 2048
"""Bytes beyond these that are accounted for. An ordinary connection stays below, and costs nothing."""
SPARE_STEPS = MAX_YIELDED
"""Decoder steps over one call, besides one for each byte: what it had ready. More is an endless loop."""
FEW_DETAILS = 4
"""Details that may wait for their exchange before they are accounted for."""
RELIEF = 16
"""When the limit of memory is reached, a sixteenth of it is freed: to find the largest takes a look at
all connections, and that is then done once for every 16 MB that come."""
LOG_MEMORY = 1024
"""Bytes of a log that is held, besides its texts and details."""
UNMADE: tuple[type | None, bool] = (None, False)
"""Of a protocol that has made no decoder yet: of which class the newest was, and whether it is weighed."""


class UploadSwitch(Protocol):
    """The one way back to the source."""

    def set_upload(self, connection: int, limit: int) -> None: ...

    def is_open(self, connection: int) -> bool: ...


class Pipeline:
    """Implements `rover.values.records.RecordHandler`."""

    def __init__(
        self,
        manager: PluginManager,
        recogniser: Recogniser,
        outlets: Sequence[Outlet],
        source: UploadSwitch,
        *,
        epoch: int,
        protocol_settings: Mapping[str, Mapping[str, Any]],
        max_connections: int = 65_536,
        max_memory: int = 256 << 20,
    ) -> None:
        """`protocol_settings`: by protocol name. `epoch`: see `Connection.epoch`. `max_memory`: bytes for
        all connections, with what they have buffered and what their decoders keep."""
        self.totals = Totals()
        self._manager = manager
        self._hook = manager.hook
        self._http_hooks = manager.first_result("handle_http_data")
        self._stream_hooks = manager.first_result("handle_whole_stream")
        self._exchange_hooks = manager.first_result("handle_exchange")
        self._recogniser = recogniser
        self._outlets = tuple(outlets)
        self._kernel_outlets = tuple(o for o in outlets if o.kernel_logs)
        self._source = source
        self._set_unneeded = self._optional("set_unneeded")
        self._describe = self._optional("describe")
        self._epoch = epoch
        self._settings = protocol_settings
        self._max_connections = max(1, min(max_connections, max_memory // CONNECTION_MEMORY))
        self._max_memory = max_memory
        self._memory = 0  # bytes that all connections take
        self._idlest: list[tuple[int, int]] = []  # (when last seen, which), the idlest last
        self._states: dict[int, ConnectionState] = {}
        self._processes: dict[int, Process] = {}
        self._made: dict[str, tuple[type | None, bool]] = {}  # see _claim
        self._sweep: list[int] = []

    # -- records -----------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """A process as it is from now on."""
        if self._processes.pop(process.pid, None) is None and len(self._processes) >= MAX_PROCESSES:
            del self._processes[next(iter(self._processes))]
        self._processes[process.pid] = process

    def _process(self, pid: int) -> Process:
        """The process of this number, from now on the most recently used one."""
        known = self._processes.pop(pid, None)
        if known is None:
            return Process(pid=pid, name="")
        self._processes[pid] = known
        return known

    def opened(self, opened: Opened) -> None:
        """A connection that is new to the source; builds one whose data came first."""
        self.totals.connections += 1
        identity, time, late, detail = opened.connection, opened.time, opened.late, opened.detail
        facts = self._facts(opened)
        state = self._states.get(identity)
        if state is None:
            state = self._add(ConnectionState(facts, late=late, built=True))
        elif state.held is not None:
            self._build(state, facts)
        if detail is not None:
            self._account(state, detail)
            self._send_alone(state, (detail,))
        if state.decoder is None and not state.plain and (spec := self._recogniser.pinned(facts)):
            if state.late:
                self._claim(state, spec, time)
            else:
                # With the first bytes, which may be a PROXY protocol header.
                state.spec = spec
                self._set_upload(identity, spec.upload)

    def _facts(self, opened: Opened) -> Connection:
        return new_connection(
            id=opened.connection,
            local=opened.local,
            remote=opened.remote,
            role=opened.role,
            process=self._process(opened.pid),
            opened=opened.time,
            epoch=self._epoch,
            tls=False,
            protocol="",
            protocol_break=None,
            proxied=None,
        )

    def data(self, detail: Detail, payload: bytes) -> None:
        """One socket call."""
        identity, sequence, start, now = detail.connection, detail.sequence, detail.start, detail.end
        size, direction = detail.size, detail.direction
        state = self._states.get(identity)
        if state is None:
            state = self._add_unbuilt(detail)
            state.seen = start  # nothing is known of a call that it overlaps
        if sequence == state.sequence:
            state.sequence = sequence + 1
        else:
            self._missed(state, sequence)
            state.joined = False
        if start < state.seen:
            state.ledger.overlapping = True
        state.seen = now
        self.totals.calls += 1
        if state.plain:
            if payload and state.connection.protocol_break is not None:
                self.totals.late_payload += len(payload)
            self._send_alone(state, (detail,))
            if state.held_memory and self._is_full():
                self._relieve(now)
            return
        buffer = state.buffers[direction]
        if state.joined and direction != state.first:
            # No record is missing since the first one, so its stream begins here.
            state.joined = False
            buffer.begin(detail.position)
        buffer.append(detail, payload)
        if size == 0:
            buffer.ended = True
        if state.decoder is None:
            self._recognise(state, direction, now)
        else:
            self._decode(state, direction, now)
            if len(payload) >= LARGE:
                self._leave_out(state, direction)
        if buffer.size or state.memory or state.kept > GRAIN or state.ledger.waiting > FEW_DETAILS:
            self._weigh(state)
            if self._is_full():
                self._relieve(now)

    def closed(self, closed: Closed) -> None:
        """The end of a connection."""
        if closed.unseen:
            self.totals.unseen_bytes += closed.unseen
            self.totals.unseen_connections += 1
        state = self._remove(closed.connection)
        if state is None:
            if closed.detail is None:
                return
            state = ConnectionState(self._provisional(closed.detail), late=True, built=True)
        self._finish(state, closed.time, closed.reset)
        if closed.detail is not None:
            self._account(state, closed.detail)
            self._send_alone(state, (closed.detail,))
        self._release(state)

    def lost(self, loss: Loss) -> None:
        """Records the source could not deliver."""
        self.totals.records_lost[loss.cause] += loss.records

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Looks at a slice of the connections; call it about once a second."""
        if not self._sweep:
            self._sweep = list(self._states)
        for _ in range(min(SWEEP_SLICE, len(self._sweep))):
            identity = self._sweep.pop()
            if (state := self._states.get(identity)) is not None:
                self._age(state, now)

    def finish(self, now: int) -> None:
        """The end of the run: what is under way on any connection stays unfinished."""
        for identity in list(self._states):
            if (state := self._remove(identity)) is not None:
                self._cut(state, now, Outcome.UNFINISHED)
                self._release(state)

    def _age(self, state: ConnectionState, now: int) -> None:
        silent = now - state.seen
        if state.held is not None:
            if silent > (BREAK_KEPT_FOR if state.connection.protocol_break else HELD_FOR):
                self._remove(state.connection.id)
                self._cut(state, now, ABORTED)
                self._release(state)
                return
            if state.held and now - state.held[0].end > HELD_FOR:
                self._send_held(state)
        if state.decoder is not None:
            self._collect(state, "expire", now, ABORTED)
            self._send_free(state)
            if state.weighed:  # else it has broken, too
                self._poll_memory(state, now)
            if state.memory:
                self._weigh(state)
        if silent > IDLE_CHECK and not self._is_open(state.connection.id):
            self._remove(state.connection.id)
            self._cut(state, now, ABORTED)
            self._release(state)

    # -- the table ---------------------------------------------------------------------------

    def _add(self, state: ConnectionState) -> ConnectionState:
        if len(self._states) >= self._max_connections:
            self._evict(state.seen)
        self._states[state.connection.id] = state
        state.listed = True
        self._memory += CONNECTION_MEMORY
        return state

    def _remove(self, identity: int) -> ConnectionState | None:
        state = self._states.pop(identity, None)
        if state is not None:
            self._memory -= CONNECTION_MEMORY + state.memory
            state.memory = state.held_memory = 0
            state.listed = False
        return state

    def _evict(self, now: int) -> None:
        """The idlest connection makes room."""
        while True:
            if not self._idlest:
                seen = [(state.seen, identity) for identity, state in self._states.items()]
                self._idlest = heapq.nsmallest(max(1, len(seen) // EVICTION_BATCH), seen)
                self._idlest.reverse()
            when, identity = self._idlest.pop()
            state = self._states.get(identity)
            if state is not None and state.seen == when:  # it was idle since it was found to be
                break
        self.totals.evicted += 1
        self._remove(identity)
        self._cut(state, now, ABORTED)
        self._release(state)

    def _provisional(self, detail: Detail) -> Connection:
        return Connection(
            id=detail.connection,
            local=None,
            remote=None,
            role=None,
            process=self._process(detail.pid),
            opened=detail.start,
            epoch=self._epoch,
        )

    def _add_unbuilt(self, detail: Detail) -> ConnectionState:
        facts = self._described(detail.connection)
        if facts is None:
            state = ConnectionState(self._provisional(detail), late=True, built=False)
        else:
            state = ConnectionState(facts, late=True, built=True)
            self.totals.returned += 1
        state.sequence = detail.sequence
        state.seen = detail.end
        state.joined, state.first = True, detail.direction
        # Nothing is missing that was never ours to see: the stream begins here.
        state.buffers[detail.direction].begin(detail.position)
        return self._add(state)

    def _described(self, identity: int) -> Connection | None:
        """What the source knows of a connection that it told of before: one that was evicted."""
        if self._describe is None:
            return None
        try:
            opened = checked_opened(self._describe(identity))
        except BaseException as error:
            self._source_failed("describe", error)
            return None
        return self._facts(opened.replace(connection=identity)) if opened is not None else None

    def _build(self, state: ConnectionState, facts: Connection) -> None:
        """The opening record came after data: what was learned meanwhile holds."""
        known = state.connection
        state.connection = facts.replace(
            role=known.role or facts.role,
            protocol=known.protocol,
            protocol_break=known.protocol_break,
        )
        self._send_held(state)
        state.held = None
        if known.protocol_break is not None:
            self._set_upload(known.id, UPLOAD_NONE)

    def _missed(self, state: ConnectionState, sequence: int) -> None:
        """A record came that is not the next one: others are missing, or it was one of them."""
        if sequence > state.sequence:
            state.ledger.miss(state.sequence, sequence)
            self.totals.missing += sequence - state.sequence
            state.sequence = sequence + 1

    def _account(self, state: ConnectionState, detail: Detail) -> None:
        """A call that moves no bytes: it takes part in sequence and totals only."""
        if detail.sequence == state.sequence:
            state.sequence += 1
        else:
            self._missed(state, detail.sequence)
        self.totals.calls += 1

    # -- recognition -------------------------------------------------------------------------

    def _recognise(self, state: ConnectionState, direction: int, now: int) -> None:
        buffer = state.buffers[direction]
        if buffer.at_gap:
            # Its first bytes were lost, or not captured: whatever follows is mid-stream.
            state.late |= buffer.hide(buffer.gap) > 0 and len(buffer) > 0
        if not state.late and not self._passed_header(state, direction):
            return
        if state.spec is not None:
            self._claim(state, state.spec, now)
            return
        while len(buffer):
            verdict, spec = self._recogniser.sniff(buffer)
            if spec is not None:
                self._claim(state, spec, now)
                return
            if verdict is Verdict.MAYBE:
                return
            # A message may begin where a call does: what only seemed to open one hides none, neither
            # here, nor in the other direction, where it was answered by what is none.
            buffer.hide_call()
            if not state.late:
                other = state.buffers[1 - direction]
                other.hide(other.unread)
            if buffer.at_gap:
                state.late |= buffer.hide(buffer.gap) > 0 and len(buffer) > 0
        buffer.clear()
        self._send_free(state)
        if state.late:
            return
        ingress, egress = state.buffers
        if min(ingress.end, egress.end) >= MAX_GREETING or max(ingress.end, egress.end) >= MAX_ONE_WAY:
            self._make_plain(state)
            self._set_upload(state.connection.id, UPLOAD_NONE)

    def _passed_header(self, state: ConnectionState, direction: int) -> bool:
        """Takes a PROXY protocol header from the front of a connection. False while more of it is due,
        and when nothing has come after it yet."""
        connection = state.connection
        if direction != (connection.role is CLIENT):
            return True  # the answers
        buffer = state.buffers[direction]
        if buffer.position >= state.header_end:
            if buffer.position or not len(buffer):
                return True
            first = buffer.data[0]
            if first != FIRST_V1 and first != FIRST_V2:
                return True
            header = read_header(buffer.data)
            if header is None:
                return True
            if not isinstance(header, Header):
                return buffer.gap > 0 or buffer.ended  # no more of it will come
            state.header_end = header.size
            state.connection = connection.replace(proxied=header.client)
        buffer.skip(state.header_end - buffer.position)
        self._send_free(state)
        return buffer.unread > 0

    def _claim(
        self, state: ConnectionState, spec: ProtocolSpec, now: int, upgrade: ProtocolBreak | None = None
    ) -> None:
        state.spec = spec
        state.claims += 1
        connection = state.connection = speaking(state.connection, spec.name)
        try:
            if state.claims > MAX_CLAIMS:
                raise RuntimeError(f"a connection goes from protocol to protocol {MAX_CLAIMS} times")
            decoder = spec.make(connection, self._settings.get(spec.name, {}), upgrade)
            kind, state.weighed = self._made.get(spec.name, UNMADE)
            if type(decoder) is not kind:  # of each class the first is looked at
                check_decoder(decoder)
                state.weighed = hasattr(decoder, "memory")
                self._made[spec.name] = type(decoder), state.weighed
        except BaseException as error:
            self._break(state, self._plugin_break(state, "make", error), now)
            return
        state.decoder = decoder
        self._set_upload(connection.id, spec.upload)
        ingress, egress = state.buffers
        first = int(0 < egress.since < (ingress.since or now + 1))
        for direction in (first, 1 - first):
            if state.decoder is not None and (len(state.buffers[direction]) or state.buffers[direction].gap):
                self._decode(state, direction, now)

    def _make_plain(self, state: ConnectionState) -> None:
        """Nothing of this connection is decoded from here on; what was buffered goes out."""
        state.decoder = None
        state.weighed = False
        state.kept = 0
        state.plain = True
        for buffer in state.buffers:
            buffer.clear()

    # -- decoding ----------------------------------------------------------------------------

    def _decode(self, state: ConnectionState, direction: int, now: int) -> None:
        buffer = state.buffers[direction]
        decoder = state.decoder
        if decoder is None:
            return
        way = WAYS[direction]
        steps = buffer.size + SPARE_STEPS
        for _ in range(steps):
            before = buffer.position
            try:
                result = decoder.decode(way, buffer, now)
                if result is NEED_MORE:
                    break
                check_result(result)
            except BaseException as error:
                self._break(state, self._plugin_break(state, "decode", error), now)
                return
            if result is RESYNCHRONISED:
                self.totals.resynchronised += 1
                if buffer.position == before:
                    break
            elif type(result) is ProtocolBreak:
                self._end_protocol(state, result, way, now)
                return
            else:
                self._exchange(state, result)  # type: ignore[arg-type]  # check_result has seen to it
        else:
            endless = RuntimeError(f"{steps} steps without an end")
            self._break(state, self._plugin_break(state, "decode", endless), now)
            return
        if buffer.size > MAX_SIZE:
            waiting = f"{buffer.size} bytes wait undecoded"
            self._overflow(
                state,
                ProtocolBreak(
                    reason="overflow", detail=waiting, protocol="", direction=way, position=buffer.position
                ),
                now,
            )
            return
        self._send_free(state)
        if state.weighed:
            self._poll_memory(state, now)

    def _leave_out(self, state: ConnectionState, direction: int) -> None:
        """Tells the source what it need not deliver of a large body that has begun."""
        if self._set_unneeded is None:
            return
        try:
            unneeded = getattr(state.decoder, "unneeded", None)
            if unneeded is None:
                return
            size = unneeded(WAYS[direction])
            if type(size) is not int:
                raise TypeError(f"returned {found(size)} where a number of bytes is due")
        except BaseException as error:
            self._break(state, self._plugin_break(state, "unneeded", error), state.seen)
            return
        if size >= WORTH_TELLING:
            end = min(state.buffers[direction].end + size, MAX_NUMBER)
            try:
                self._set_unneeded(state.connection.id, direction, end)
            except BaseException as error:
                self._source_failed("set_unneeded", error)

    def _blame(self, state: ConnectionState, where: str, error: BaseException) -> None:
        """Counts a failure of the plugin whose decoder the connection has."""
        name = state.spec.name if state.spec else ""
        self._manager.blame(f"protocol {name}").failed(where, error)

    def _plugin_break(self, state: ConnectionState, where: str, error: BaseException) -> ProtocolBreak:
        self._blame(state, where, error)
        return ProtocolBreak(
            reason="plugin", detail=f"{where} of {state.spec.name if state.spec else ''} failed"
        )

    def _collect(self, state: ConnectionState, method: str, now: int, cut: Outcome) -> None:
        """What the decoder's `expire` or `close` yields. `cut` is how those ended that it calls aborted."""
        exchanges, error = yielded(state.decoder, method, now)
        for exchange in exchanges:
            if cut is not ABORTED and exchange.outcome is ABORTED:
                self._exchange(state, exchange.replace(outcome=cut))
            else:
                self._exchange(state, exchange)
        if error is not None:
            self._break(state, self._plugin_break(state, method, error), now)

    def _exchange(self, state: ConnectionState, exchange: AnyExchange) -> None:
        details = state.ledger.take(exchange.owner)
        connection = state.connection
        if state.decoder is not None:
            role = self._role(state)
            if role is not None and role is not connection.role:
                # A header came from the client's end, so what that one was taken for no longer holds.
                connection = state.connection = connection.replace(role=role, proxied=None)
        process = connection.process
        if details and (process is None or process.pid != details[0].pid):
            connection = state.connection = connection.replace(process=self._process(details[0].pid))
        self.totals.exchanges += 1
        over, assumed = 0, False
        if type(exchange) is HttpExchange:
            over, assumed = exchange.end, exchange.assumed
            log = self._ask(self._http_hooks, (connection, exchange.request, exchange.response, details))
        elif type(exchange) is HttpStream:
            over = exchange.end
            log = self._ask(self._stream_hooks, (connection, exchange, details))
        else:
            log = self._ask(self._exchange_hooks, (connection, exchange, details))
            if log is None:
                log = self._own_log(state, exchange)  # type: ignore[arg-type]  # as check_result has seen
        if log is None:
            self.totals.unhandled += 1
            self._send_alone(state, details)
            return
        outcome = exchange.outcome
        if log.details is not details or log.outcome is not outcome or log.connection is not connection:
            log = log.replace(connection=connection, details=details, outcome=outcome)
        if over and over > log.end:
            log = log.replace(end=over)
        if assumed:
            log = log.replace(attributes={**log.attributes, "rover.pairing": "assumed"})
        self.totals.in_exchanges += len(details)
        self._send(state, log, self._outlets)

    def _own_log(self, state: ConnectionState, exchange: Exchange) -> AccessLog | None:
        """The log of an exchange that no hook made one of."""
        try:
            return checked_log(
                AccessLog(
                    connection=state.connection,
                    start=exchange.start,
                    end=exchange.end,
                    protocol=exchange.name,
                    attributes=exchange.attributes,
                )
            )
        except BaseException as error:
            self._blame(state, "decode", error)
            return None

    def _role(self, state: ConnectionState) -> Role | None:
        """The end that is watched, as the decoder sees it."""
        try:
            return role_of(state.decoder)
        except BaseException as error:
            self._blame(state, "role", error)
            return None

    def _ask(self, implementations: list[Implementation], arguments: tuple[object, ...]) -> AccessLog | None:
        """The first access log any of them returns."""
        for function, chosen, failed in implementations:
            try:
                if chosen is None:
                    log = function(*arguments)
                else:
                    log = function(*[arguments[index] for index in chosen])
                if log is not None:
                    return checked_log(log)
            except BaseException as error:
                failed(error)
        return None

    # -- the break ---------------------------------------------------------------------------

    def _end_protocol(
        self, state: ConnectionState, protocol_break: ProtocolBreak, way: Direction, now: int
    ) -> None:
        """A break, unless an installed protocol claims what follows an upgrade."""
        try:
            protocol_break = checked_break(protocol_break)
        except BaseException as error:
            self._break(state, self._plugin_break(state, "decode", error), now)
            return
        if protocol_break.direction is None:
            position = state.buffers[way].position
            protocol_break = protocol_break.replace(direction=way, position=position)
        if protocol_break.upgrade and (spec := self._recogniser.upgrade(protocol_break.upgrade)):
            self._send_free(state)
            self._claim(state, spec, now, protocol_break)
        else:
            self._break(state, protocol_break, now)

    def _break(self, state: ConnectionState, protocol_break: ProtocolBreak, now: int) -> None:
        """Decoding of this connection ends for good; all it holds is delivered."""
        before = state.connection
        protocol_break = protocol_break.replace(protocol=before.protocol)
        self.totals.broke(protocol_break.reason)
        state.decoder = None
        self._hook.on_protocol_break(connection=before, protocol_break=protocol_break)
        state.connection = before.replace(protocol="", protocol_break=protocol_break)
        self._set_upload(before.id, UPLOAD_NONE)
        self._make_plain(state)
        details = state.ledger.drain()
        self.totals.alone += len(details)
        log = AccessLog(
            connection=state.connection, start=now, end=now, details=details, outcome=Outcome.BREAK
        )
        self._send(state, log, self._outlets)
        if state.memory:
            self._weigh(state)

    def _overflow(self, state: ConnectionState, protocol_break: ProtocolBreak, now: int) -> None:
        """A break that the decoder does not know of: what it has under way is cut first."""
        self._collect(state, "close", now, ABORTED)
        if state.decoder is not None:  # else its `close` failed, which was a break
            self._break(state, protocol_break, now)

    # -- memory ------------------------------------------------------------------------------

    def _poll_memory(self, state: ConnectionState, now: int) -> None:
        """Asks the decoder what it keeps."""
        try:
            state.kept = memory_of(state.decoder)
        except BaseException as error:
            self._break(state, self._plugin_break(state, "memory", error), now)

    def _weigh(self, state: ConnectionState) -> None:
        """Charges a connection for what it takes now."""
        ingress, egress = state.buffers
        taken = ingress.memory() + egress.memory() + state.kept + state.ledger.waiting * DETAIL_MEMORY
        if taken < GRAIN or not state.listed:
            taken = 0
        taken += state.held_memory
        self._memory += taken - state.memory
        state.memory = taken

    def _is_full(self) -> bool:
        return self._memory > self._max_memory

    def _relieve(self, now: int) -> None:
        """The largest connections break, until there is room again."""
        enough = self._max_memory - self._max_memory // RELIEF
        holders = [state for state in self._states.values() if state.memory]
        holders.sort(key=operator.attrgetter("memory"))
        all_of_them = self._memory
        while holders and self._memory > enough:
            state = holders.pop()
            taken = state.memory
            if state.held:
                self._send_held(state)
            if state.decoder is not None:
                said = f"all connections take {all_of_them} bytes of memory, this one {taken}"
                self._overflow(state, ProtocolBreak(reason="overflow", detail=said), now)
            elif not state.plain:  # its opening bytes wait for more, to be recognised
                self.totals.broke("overflow")
                self._make_plain(state)
                self._set_upload(state.connection.id, UPLOAD_NONE)
                self._send_alone(state, state.ledger.drain())
                self._weigh(state)

    # -- the source --------------------------------------------------------------------------

    def _optional(self, method: str) -> Any:
        """A method that the source may have."""
        try:
            return getattr(self._source, method, None)
        except BaseException as error:
            self._source_failed(method, error)
            return None

    def _source_failed(self, method: str, error: BaseException) -> None:
        self._manager.maker(self._source).failed(method, error)

    def _set_upload(self, connection: int, limit: int) -> None:
        try:
            self._source.set_upload(connection, limit)
        except BaseException as error:
            self._source_failed("set_upload", error)

    def _is_open(self, connection: int) -> bool:
        try:
            said = self._source.is_open(connection)
            if type(said) is not bool:
                raise TypeError(f"returned {found(said)} where a bool is due")
        except BaseException as error:
            self._source_failed("is_open", error)
            return True
        return said

    # -- endings and deliveries --------------------------------------------------------------

    def _finish(self, state: ConnectionState, now: int, reset: bool = False) -> None:
        """Nothing follows: messages ended by close are complete, unless it was a reset (RFC 9112
        section 8); others are cut."""
        for direction in (0, 1):
            buffer = state.buffers[direction]
            if state.decoder is not None and not buffer.ended and not reset:
                buffer.ended = True
                self._decode(state, direction, now)
        self._cut(state, now, ABORTED)

    def _cut(self, state: ConnectionState, now: int, cut: Outcome) -> None:
        """Decoding ends here, whether the connection does or not: what is under way ends like this."""
        if state.decoder is not None:
            self._collect(state, "close", now, cut)
        for buffer in state.buffers:
            buffer.clear()
        self._send_alone(state, state.ledger.drain())

    def _send_free(self, state: ConnectionState) -> None:
        if free := state.ledger.take_free():
            self._send_alone(state, free)

    def _send_alone(self, state: ConnectionState, details: tuple[Detail, ...]) -> None:
        if not details:
            return
        self.totals.alone += len(details)
        if self._kernel_outlets:
            log = AccessLog(
                connection=state.connection, start=details[0].start, end=details[-1].end, details=details
            )
            self._send(state, log, self._kernel_outlets)

    def _send(self, state: ConnectionState, log: AccessLog, outlets: tuple[Outlet, ...]) -> None:
        if state.held is not None:
            state.held.append(log)
            taken = log_memory(log)
            state.held_memory += taken
            state.memory += taken
            self._memory += taken
            if len(state.held) > MAX_HELD:
                self._send_held(state)
            return
        for outlet in outlets:
            outlet.put(log)

    def _send_held(self, state: ConnectionState) -> None:
        """Sends what waited, with the addresses if they are known by now."""
        facts = state.connection
        for log in state.held or ():
            connection = log.connection.replace(
                local=facts.local,
                remote=facts.remote,
                role=log.connection.role or facts.role,
            )
            full = log.replace(connection=connection)
            everyone = log.protocol or log.outcome is Outcome.BREAK
            for outlet in self._outlets if everyone else self._kernel_outlets:
                outlet.put(full)
        if state.held is not None:
            state.held = []
            self._memory -= state.held_memory
            state.memory -= state.held_memory
            state.held_memory = 0

    def _release(self, state: ConnectionState) -> None:
        if state.held is not None:
            self._send_held(state)
            state.held = None


def log_memory(log: AccessLog) -> int:
    """Bytes that a log takes while it is held, about."""
    texts = sum(len(value) for value in log.attributes.values() if isinstance(value, str))
    return LOG_MEMORY + texts + len(log.details) * DETAIL_MEMORY
