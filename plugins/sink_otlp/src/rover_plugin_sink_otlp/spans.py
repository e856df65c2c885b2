"""Exchanges as spans (opentelemetry/proto/trace/v1/trace.proto), gathered into requests."""

from __future__ import annotations

import struct
from collections import Counter, deque

from rover import AccessLog, Process
from rover.sending.batch import Batch
from rover_plugin_sink_otlp.exchange import MAX_KEPT, MAX_VALUES, ExchangeEncoder
from rover_plugin_sink_otlp.identity import Identities, Identity
from rover_plugin_sink_otlp.request import Request
from rover_plugin_sink_otlp.wire import block, utf8, varint

SETTLE = 1.0
"""Seconds that a server's span waits for the first span of its client's end: that end has its answer some
microseconds later, and its access log may come from another buffer of the kernel."""
MAX_HELD = 8192
"""Spans that wait so, some 700 bytes each; beyond it the oldest goes without knowing."""
ATTRIBUTES = b"\x4a"
"""Field 9 of Span."""
_TRACE, _SPAN = b"\x0a\x10", b"\x12\x08"  # trace_id = 1, span_id = 2
_KINDS = tuple(b"\x30" + bytes((kind,)) for kind in range(4))
_TIMES = struct.Struct("<BQBQ")  # start_time_unix_nano = 7, end_time_unix_nano = 8, both fixed64
_START, _END = 7 << 3 | 1, 8 << 3 | 1
_FAILED = b"\x7a\x02\x18\x02"  # status = 15, code = 3: STATUS_CODE_ERROR
_PARENT = b"\x22\x08"
_REMOTE = b"\x85\x01\x00\x03\x00\x00"  # flags = 16: whether the parent is remote is known, and it is
MAX_TIME = (1 << 64) - 1


class _Names(dict[str, bytes]):
    """Names of spans as their field 5."""

    def __missing__(self, name: str) -> bytes:
        made = block(b"\x2a", utf8(name))
        if len(name) <= MAX_KEPT:
            if len(self) >= MAX_VALUES:
                self.clear()
            self[name] = made
        return made


class SpanEncoder:
    """Writes spans."""

    def __init__(self) -> None:
        self._exchanges = ExchangeEncoder(ATTRIBUTES)
        self._names = _Names()

    def span(self, log: AccessLog, identity: Identity) -> bytes:
        """A span without its parent. Raises ValueError for times that are none, as of a plugin's log."""
        name, kind, attributes, failed = self._exchanges.exchange(log)
        epoch, start, end = log.connection.epoch, log.start, log.end
        try:
            times = _TIMES.pack(_START, epoch + start, _END, epoch + max(start, end))
        except struct.error as error:
            raise ValueError(str(error)) from None
        ids = (_TRACE, identity.trace, _SPAN, identity.span)
        fields = (*ids, self._names[name], _KINDS[kind], times, *attributes)
        return b"".join((*fields, _FAILED) if failed else fields)


_Held = tuple[float, Process | None, bytes, bytes, bytes, int]
"""A server's span that waits for its client's: until when; its process, what is encoded of it, its parent if
its client's end is not seen, and if it is; by which that end is known."""


class SpanCollector:
    """Spans that become batches. Not thread-safe. Times are time.monotonic() seconds."""

    def __init__(self, identities: Identities, request: Request) -> None:
        self.counters: Counter[str] = Counter()
        self._identities = identities
        self._encoder = SpanEncoder()
        self._request = request
        self._held: deque[_Held] = deque()

    @property
    def due(self) -> float | None:
        """See `rover.sending.sender.Filling`."""
        held = self._held[0][0] if self._held else None
        return min((when for when in (self._request.due, held) if when is not None), default=None)

    def add(self, item: tuple[AccessLog, Identity], now: float) -> None:
        """Takes an exchange."""
        log, identity = item
        try:
            body = self._encoder.span(log, identity)
        except (ValueError, TypeError):
            # A plugin made the log, with figures that are not numbers.
            self.counters["invalid"] += 1
            return
        _, _, parent, client, connection = identity
        process = log.connection.process
        if not client:
            self._append(process, body, parent, now)
        elif self._identities.watched(connection):
            self._append(process, body, client, now)
        else:
            self._held.append((now + SETTLE, process, body, parent, client, connection))
            if len(self._held) > MAX_HELD:
                self._release(now)

    def ripen(self, now: float | None) -> None:
        """See `rover.sending.sender.Filling`."""
        while self._held and (now is None or self._held[0][0] <= now):
            self._release(now if now is not None else 0.0)
        self._request.ripen(now)

    def take(self) -> list[Batch]:
        """See `rover.sending.sender.Filling`."""
        return self._request.take()

    def _release(self, now: float) -> None:
        """The one that waits longest, with what is known now."""
        _, process, body, parent, client, connection = self._held.popleft()
        self._append(process, body, client if self._identities.watched(connection) else parent, now)

    def _append(self, process: Process | None, body: bytes, parent: bytes, now: float) -> None:
        if parent:
            size = len(body) + len(_PARENT) + len(parent) + len(_REMOTE)
            item = b"".join((b"\x12", varint(size), body, _PARENT, parent, _REMOTE))
        else:
            item = b"".join((b"\x12", varint(len(body)), body))
        self._request.append(process, item, now)
