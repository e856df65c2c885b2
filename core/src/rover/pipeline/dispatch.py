"""The pipeline: records in, access logs out. One thread; no I/O but the source's upload switch."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from rover.access_log import AccessLog
from rover.buffer import MAX_SIZE
from rover.connection import Connection, ProtocolBreak, speaking
from rover.decoder import NEED_MORE, RESYNCHRONISED, UPLOAD_NONE, AnyExchange, ProtocolSpec, Verdict
from rover.exchange import Exchange, Outcome
from rover.http.values import HttpExchange, HttpStream
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import MAX_ATTEMPTS, MAX_ATTEMPTS_ONE_WAY, Recogniser
from rover.pipeline.state import ConnectionState
from rover.pipeline.totals import Totals
from rover.plugins import Implementation, PluginManager
from rover.records import Closed, Detail, Direction, Loss, Opened, Process
from rover.tuples import new

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
"""Process names kept: the default of kernel.pid_max."""
MAX_STEPS = 1_000_000
"""Decoder steps over one call: one per byte of the largest buffer. More is an endless loop."""
LARGE = 8192
"""Bytes of a call behind which the decoder is asked what it needs: bodies that are worth it come in
pieces of this size and more, heads do not."""
WORTH_TELLING = 1 << 18
"""Bytes to come from which on the source is told that they are unneeded: to copy fewer costs less than
to tell it."""
WAYS = (Direction.INGRESS, Direction.EGRESS)
EXCHANGES = (HttpExchange, HttpStream, Exchange)
EVICTION_SAMPLE = 64
"""Oldest connections among which the longest silent one makes room."""


class UploadSwitch(Protocol):
    """The one way back to the source."""

    def set_upload(self, connection: int, limit: int) -> None: ...

    def is_open(self, connection: int) -> bool: ...


class Pipeline:
    """Implements `rover.records.RecordHandler`."""

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
    ) -> None:
        """`protocol_settings`: by protocol name. `epoch`: see `Connection.epoch`."""
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
        self._set_unneeded = getattr(source, "set_unneeded", None)
        self._epoch = epoch
        self._settings = protocol_settings
        self._max_connections = max_connections
        self._states: dict[int, ConnectionState] = {}
        self._processes: dict[int, Process] = {}
        self._sweep: list[int] = []

    # -- records -----------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """A process as it is from now on."""
        if len(self._processes) >= MAX_PROCESSES and process.pid not in self._processes:
            del self._processes[next(iter(self._processes))]
        self._processes[process.pid] = process

    def opened(self, opened: Opened) -> None:
        """A connection that is new to the source; builds one whose data came first."""
        self.totals.connections += 1
        identity, time, local, remote, role, pid, late, detail = opened
        process = self._processes.get(pid) or Process(pid, "")
        facts = new(Connection, (identity, local, remote, role, process, time, self._epoch, False, "", None))
        state = self._states.get(identity)
        if state is None:
            state = self._add(ConnectionState(facts, late=late, built=True))
        elif state.held is not None:
            self._build(state, facts)
        if detail is not None:
            self._account(state, detail)
            self._send_alone(state, (detail,))
        if state.decoder is None and not state.plain and (spec := self._recogniser.pinned(facts)):
            self._claim(state, spec, time)

    def data(self, detail: Detail, payload: bytes) -> None:
        """One socket call."""
        identity, sequence, _, now, _, size, _, _, _, direction, _ = detail
        state = self._states.get(identity)
        if state is None:
            state = self._add_unbuilt(detail)
        if sequence != state.sequence:
            self._missed(state, detail)
        state.sequence = sequence + 1
        state.seen = now
        self.totals.calls += 1
        if state.plain:
            if payload and state.connection.protocol_break is not None:
                self.totals.late_payload += len(payload)
            self._send_alone(state, (detail,))
            return
        buffer = state.buffers[direction]
        buffer.append(detail, payload)
        if size == 0:
            buffer.ended = True
        if state.decoder is None:
            self._recognise(state, direction, now)
        else:
            self._decode(state, direction, now)
            if len(payload) >= LARGE:
                self._leave_out(state, direction)

    def closed(self, closed: Closed) -> None:
        """The end of a connection."""
        state = self._states.pop(closed.connection, None)
        if state is None:
            if closed.detail is None:
                return
            state = ConnectionState(self._provisional(closed.detail), late=True, built=True)
        self._finish(state, closed.time)
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
        """The end of the run: every connection is finished as if it closed."""
        for state in list(self._states.values()):
            self._finish(state, now)
            self._release(state)
        self._states.clear()

    def _age(self, state: ConnectionState, now: int) -> None:
        silent = now - state.seen
        if state.held is not None:
            if silent > (BREAK_KEPT_FOR if state.connection.protocol_break else HELD_FOR):
                self._finish(state, now)
                self._release(state)
                self._states.pop(state.connection.id, None)
                return
            if state.held and now - state.held[0].end > HELD_FOR:
                self._send_held(state)
        if state.decoder is not None:
            try:
                expired = list(state.decoder.expire(now))
            except Exception as error:
                self._break(state, self._plugin_break(state, "expire", error), now)
            else:
                self._exchanges(state, expired)
                self._send_free(state)
        if silent > IDLE_CHECK and not self._source.is_open(state.connection.id):
            self._states.pop(state.connection.id, None)
            self._finish(state, now)
            self._release(state)

    # -- the table ---------------------------------------------------------------------------

    def _add(self, state: ConnectionState) -> ConnectionState:
        states = self._states
        if len(states) >= self._max_connections:
            oldest = itertools.islice(states.values(), EVICTION_SAMPLE)
            victim = min(oldest, key=operator.attrgetter("seen"))
            del states[victim.connection.id]
            self.totals.evicted += 1
            self._finish(victim, state.seen)
            self._release(victim)
        states[state.connection.id] = state
        return state

    def _provisional(self, detail: Detail) -> Connection:
        return Connection(
            id=detail.connection,
            local=None,
            remote=None,
            role=None,
            process=self._processes.get(detail.pid) or Process(detail.pid, ""),
            opened=detail.start,
            epoch=self._epoch,
        )

    def _add_unbuilt(self, detail: Detail) -> ConnectionState:
        state = ConnectionState(self._provisional(detail), late=True, built=False)
        state.sequence = detail.sequence
        # Nothing is missing that was never ours to see: the stream begins here.
        state.buffers[detail.direction].begin(detail.position)
        return self._add(state)

    def _build(self, state: ConnectionState, facts: Connection) -> None:
        """The opening record came after data: what was learned meanwhile holds."""
        known = state.connection
        state.connection = facts._replace(
            role=known.role or facts.role,
            protocol=known.protocol,
            protocol_break=known.protocol_break,
        )
        self._send_held(state)
        state.held = None
        if known.protocol_break is not None:
            self._source.set_upload(known.id, UPLOAD_NONE)

    def _missed(self, state: ConnectionState, detail: Detail) -> None:
        if detail.sequence > state.sequence:
            self.totals.missing += detail.sequence - state.sequence

    def _account(self, state: ConnectionState, detail: Detail) -> None:
        """A call that moves no bytes: it takes part in sequence and totals only."""
        if detail.sequence > state.sequence:
            self._missed(state, detail)
        state.sequence = detail.sequence + 1
        self.totals.calls += 1

    # -- recognition -------------------------------------------------------------------------

    def _recognise(self, state: ConnectionState, direction: int, now: int) -> None:
        buffer = state.buffers[direction]
        if buffer.at_gap:
            # Its first bytes were lost, or not captured: whatever follows is mid-stream.
            state.late |= buffer.skip(buffer.gap) > 0 and len(buffer) > 0
        if not buffer.ended or len(buffer):
            verdict, spec = self._recogniser.sniff(buffer)
            if spec is not None:
                self._claim(state, spec, now)
                return
            if verdict is Verdict.MAYBE:
                return
            state.attempts[direction] += 1
        buffer.clear()
        self._send_free(state)
        if state.late:
            return
        attempts = state.attempts
        if min(attempts) >= MAX_ATTEMPTS or max(attempts) >= MAX_ATTEMPTS_ONE_WAY:
            self._make_plain(state)
            self._source.set_upload(state.connection.id, UPLOAD_NONE)

    def _claim(
        self, state: ConnectionState, spec: ProtocolSpec, now: int, upgrade: ProtocolBreak | None = None
    ) -> None:
        state.spec = spec
        connection = state.connection = speaking(state.connection, spec.name)
        try:
            state.decoder = spec.make(connection, self._settings.get(spec.name, {}), upgrade)
        except Exception as error:
            self._break(state, self._plugin_break(state, "make", error), now)
            return
        self._source.set_upload(connection.id, spec.upload)
        ingress, egress = state.buffers
        first = int(0 < egress.since < (ingress.since or now + 1))
        for direction in (first, 1 - first):
            if state.decoder is not None and (len(state.buffers[direction]) or state.buffers[direction].gap):
                self._decode(state, direction, now)

    def _make_plain(self, state: ConnectionState) -> None:
        """Nothing of this connection is decoded from here on; what was buffered goes out."""
        state.decoder = None
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
        for _ in range(MAX_STEPS):
            before = buffer.position
            try:
                result = decoder.decode(way, buffer, now)
            except Exception as error:
                self._break(state, self._plugin_break(state, "decode", error), now)
                return
            if result is NEED_MORE:
                break
            if result is RESYNCHRONISED:
                self.totals.resynchronised += 1
                if buffer.position == before:
                    break
            elif isinstance(result, ProtocolBreak):
                self._end_protocol(state, result, way, now)
                return
            elif isinstance(result, EXCHANGES):
                self._exchange(state, result)
            else:
                wrong = TypeError(f"returned {result!r}")
                self._break(state, self._plugin_break(state, "decode", wrong), now)
                return
        else:
            endless = RuntimeError(f"{MAX_STEPS} steps without an end")
            self._break(state, self._plugin_break(state, "decode", endless), now)
            return
        if buffer.size > MAX_SIZE:
            found = f"{buffer.size} bytes wait undecoded"
            self._break(state, ProtocolBreak("overflow", found, "", way, buffer.position), now)
            return
        self._send_free(state)

    def _leave_out(self, state: ConnectionState, direction: int) -> None:
        """Tells the source what it need not deliver of a large body that has begun."""
        unneeded = getattr(state.decoder, "unneeded", None)
        if unneeded is None or self._set_unneeded is None:
            return
        try:
            size = unneeded(WAYS[direction])
        except Exception as error:
            self._break(state, self._plugin_break(state, "unneeded", error), state.seen)
            return
        if size >= WORTH_TELLING:
            end = state.buffers[direction].end
            self._set_unneeded(state.connection.id, direction, end + size)

    def _plugin_break(self, state: ConnectionState, where: str, error: Exception) -> ProtocolBreak:
        name = state.spec.name if state.spec else ""
        if plugin := self._manager.owner(f"protocol {name}"):
            plugin.failed(where, error)
        return ProtocolBreak("plugin", f"{where} of {name} failed")

    def _exchanges(self, state: ConnectionState, exchanges: Iterable[AnyExchange]) -> None:
        for exchange in exchanges:
            self._exchange(state, exchange)

    def _exchange(self, state: ConnectionState, exchange: AnyExchange) -> None:
        details = state.ledger.take(exchange.owner)
        connection = state.connection
        if state.decoder is not None and (role := state.decoder.role) and role is not connection.role:
            connection = state.connection = connection._replace(role=role)
        process = connection.process
        if details and (process is None or process.pid != details[0].pid):
            pid = details[0].pid
            user = self._processes.get(pid) or Process(pid, "")
            connection = state.connection = connection._replace(process=user)
        self.totals.exchanges += 1
        over, assumed = 0, False
        if isinstance(exchange, HttpExchange):
            over, assumed = exchange.end, exchange.assumed
            log = self._ask(self._http_hooks, (connection, exchange.request, exchange.response, details))
        elif isinstance(exchange, HttpStream):
            over = exchange.end
            log = self._ask(self._stream_hooks, (connection, exchange, details))
        else:
            log = self._ask(self._exchange_hooks, (connection, exchange, details))
            if log is None:
                log = AccessLog(
                    connection,
                    exchange.start,
                    exchange.end,
                    protocol=exchange.name,
                    attributes=exchange.attributes,
                    details=details,
                )
        if not isinstance(log, AccessLog) or not log.protocol:
            self.totals.unhandled += 1
            self._send_alone(state, details)
            return
        outcome = exchange.outcome
        if log.details is not details or log.outcome is not outcome or log.connection is not connection:
            log = log._replace(connection=connection, details=details, outcome=outcome)
        if over > log.end:
            log = log._replace(end=over)
        if assumed:
            log = log._replace(attributes={**log.attributes, "rover.pairing": "assumed"})
        self.totals.in_exchanges += len(details)
        self._send(state, log, self._outlets)

    def _ask(self, implementations: list[Implementation], arguments: tuple[object, ...]) -> object:
        """The first access log any of them returns."""
        for function, chosen, failed in implementations:
            try:
                if chosen is None:
                    log = function(*arguments)
                else:
                    log = function(*[arguments[index] for index in chosen])
            except Exception as error:
                failed(error)
                continue
            if log is not None:
                return log
        return None

    # -- the break ---------------------------------------------------------------------------

    def _end_protocol(
        self, state: ConnectionState, protocol_break: ProtocolBreak, way: Direction, now: int
    ) -> None:
        """A break, unless an installed protocol claims what follows an upgrade."""
        if protocol_break.direction is None:
            position = state.buffers[way].position
            protocol_break = protocol_break._replace(direction=way, position=position)
        if protocol_break.upgrade and (spec := self._recogniser.upgrade(protocol_break.upgrade)):
            self._send_free(state)
            self._claim(state, spec, now, protocol_break)
        else:
            self._break(state, protocol_break, now)

    def _break(self, state: ConnectionState, protocol_break: ProtocolBreak, now: int) -> None:
        """Decoding of this connection ends for good; all it holds is delivered."""
        before = state.connection
        protocol_break = protocol_break._replace(protocol=before.protocol)
        self.totals.breaks[protocol_break.reason] += 1
        state.decoder = None
        self._hook.on_protocol_break(connection=before, protocol_break=protocol_break)
        state.connection = before._replace(protocol="", protocol_break=protocol_break)
        self._source.set_upload(before.id, UPLOAD_NONE)
        self._make_plain(state)
        details = state.ledger.drain()
        self.totals.alone += len(details)
        log = AccessLog(state.connection, now, now, details=details, outcome=Outcome.BREAK)
        self._send(state, log, self._outlets)

    # -- endings and deliveries --------------------------------------------------------------

    def _finish(self, state: ConnectionState, now: int) -> None:
        """Nothing follows: messages ended by close are complete, others are cut."""
        for direction in (0, 1):
            buffer = state.buffers[direction]
            if state.decoder is not None and not buffer.ended:
                buffer.ended = True
                self._decode(state, direction, now)
        if state.decoder is not None:
            try:
                left = list(state.decoder.close(now))
            except Exception as error:
                self._break(state, self._plugin_break(state, "close", error), now)
            else:
                self._exchanges(state, left)
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
            log = AccessLog(state.connection, details[0].start, details[-1].end, details=details)
            self._send(state, log, self._kernel_outlets)

    def _send(self, state: ConnectionState, log: AccessLog, outlets: tuple[Outlet, ...]) -> None:
        if state.held is not None:
            state.held.append(log)
            if len(state.held) > MAX_HELD:
                self._send_held(state)
            return
        for outlet in outlets:
            outlet.put(log)

    def _send_held(self, state: ConnectionState) -> None:
        """Sends what waited, with the addresses if they are known by now."""
        facts = state.connection
        for log in state.held or ():
            connection = log.connection._replace(
                local=facts.local,
                remote=facts.remote,
                role=log.connection.role or facts.role,
            )
            full = log._replace(connection=connection)
            everyone = log.protocol or log.outcome is Outcome.BREAK
            for outlet in self._outlets if everyone else self._kernel_outlets:
                outlet.put(full)
        if state.held is not None:
            state.held = []

    def _release(self, state: ConnectionState) -> None:
        if state.held is not None:
            self._send_held(state)
            state.held = None
