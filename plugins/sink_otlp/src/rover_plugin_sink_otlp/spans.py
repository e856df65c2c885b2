"""Exchanges as spans (opentelemetry/proto/trace/v1/trace.proto), gathered into requests."""

from __future__ import annotations

import struct
from collections import Counter, deque
from typing import NamedTuple

from rover import AccessLog, Process
from rover.sending.batch import Batch
from rover_plugin_sink_otlp.exchange import ExchangeEncoder
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
_TIMES = struct.Struct("<BQBQ")  # start_time_unix_nano = 7, end_time_unix_nano = 8, both fixed64
_START, _END = 7 << 3 | 1, 8 << 3 | 1
_FAILED = b"\x7a\x02\x18\x02"  # status = 15, code = 3: STATUS_CODE_ERROR
_REMOTE = b"\x85\x01\x00\x03\x00\x00"  # flags = 16: whether the parent is remote is known, and it is
MAX_TIME = (1 << 64) - 1


class SpanEncoder:
    """Writes spans."""

    def __init__(self) -> None:
        self._exchanges = ExchangeEncoder(ATTRIBUTES)
        self._kinds = [b"\x30" + bytes((kind,)) for kind in range(4)]

    def span(self, log: AccessLog, identity: Identity) -> bytes:
        """A span without its parent. Raises ValueError for times that are none, as of a plugin's log."""
        said = self._exchanges.exchange(log)
        epoch = log.connection.epoch
        try:
            times = _TIMES.pack(_START, epoch + log.start, _END, epoch + max(log.start, log.end))
        except struct.error as error:
            raise ValueError(str(error)) from None
        name = utf8(str(said.name))
        return b"\x0a\x10%b\x12\x08%b\x2a%b%b%b%b%b%b" % (
            identity.trace,
            identity.span,
            varint(len(name)),
            name,
            self._kinds[said.kind],
            times,
            b"".join(said.attributes),
            _FAILED if said.failed else b"",
        )


class _Held(NamedTuple):
    """A server's span that waits for its client's."""

    until: float
    process: Process | None
    body: bytes
    identity: Identity


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
        held = self._held[0].until if self._held else None
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
        process = log.connection.process
        if not identity.client:
            self._append(process, body, identity.parent, now)
        elif self._identities.watched(identity.connection):
            self._append(process, body, identity.client, now)
        else:
            self._held.append(_Held(now + SETTLE, process, body, identity))
            if len(self._held) > MAX_HELD:
                self._release(now)

    def ripen(self, now: float | None) -> None:
        """See `rover.sending.sender.Filling`."""
        while self._held and (now is None or self._held[0].until <= now):
            self._release(now if now is not None else 0.0)
        self._request.ripen(now)

    def take(self) -> list[Batch]:
        """See `rover.sending.sender.Filling`."""
        return self._request.take()

    def _release(self, now: float) -> None:
        """The one that waits longest, with what is known now."""
        _, process, body, identity = self._held.popleft()
        watched = self._identities.watched(identity.connection)
        self._append(process, body, identity.client if watched else identity.parent, now)

    def _append(self, process: Process | None, body: bytes, parent: bytes, now: float) -> None:
        if parent:
            body = b"%b\x22\x08%b%b" % (body, parent, _REMOTE)
        self._request.append(process, block(b"\x12", body), now)
