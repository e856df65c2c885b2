"""Access logs as log records (opentelemetry/proto/logs/v1/logs.proto), gathered into requests."""

from __future__ import annotations

import struct
import time
from collections import Counter

from rover import AccessLog
from rover.sending.batch import Batch
from rover_plugin_sink_otlp.exchange import ExchangeEncoder
from rover_plugin_sink_otlp.identity import Identity
from rover_plugin_sink_otlp.request import Request
from rover_plugin_sink_otlp.wire import any_value, attribute, block, key

ATTRIBUTES = b"\x32"
"""Field 6 of LogRecord."""
EVENT, BREAK = "rover.exchange", "rover.break"
"""Names of the events."""
_TIMES = struct.Struct("<BQBQ")  # time_unix_nano = 1, observed_time_unix_nano = 11, both fixed64
_TIME, _OBSERVED = 1 << 3 | 1, 11 << 3 | 1
_INFO = b"\x10\x09" + block(b"\x1a", b"INFO")  # severity_number = 2, severity_text = 3
_WARN = b"\x10\x0d" + block(b"\x1a", b"WARN")


class LogEncoder:
    """Writes log records."""

    def __init__(self) -> None:
        self._exchanges = ExchangeEncoder(ATTRIBUTES)
        self._duration = key("rover.duration_ns")
        self._break = [(key(name), name.rpartition(".")[2]) for name in BREAK_NAMES]

    def record(self, log: AccessLog, identity: Identity | None) -> bytes:
        """A record of an exchange, or, without `identity`, of a break.

        Raises ValueError for times that are none, as of a plugin's log.
        """
        name, _, parts, failed = self._exchanges.exchange(log)
        attributes = b"".join(parts)
        epoch = log.connection.epoch
        try:
            times = _TIMES.pack(_TIME, epoch + log.start, _OBSERVED, time.time_ns())
        except struct.error as error:
            raise ValueError(str(error)) from None
        if identity is None:
            return b"".join([times, _WARN, attributes, self._broken(log), block(b"\x62", BREAK.encode())])
        duration = attribute(ATTRIBUTES, self._duration, log.end - log.start)
        body = any_value(_line(log, name)) or b""
        return b"".join(
            [
                times,
                _WARN if failed else _INFO,
                block(b"\x2a", body),
                attributes,
                duration,
                block(b"\x4a", identity.trace),
                block(b"\x52", identity.span),
                block(b"\x62", EVENT.encode()),
            ]
        )

    def _broken(self, log: AccessLog) -> bytes:
        broken = log.connection.protocol_break
        body = block(b"\x2a", any_value("the protocol broke") or b"")
        if broken is None:
            return body
        said = [(start, getattr(broken, field)) for start, field in self._break]
        return body + b"".join([attribute(ATTRIBUTES, start, value) for start, value in said if value])


BREAK_NAMES = ("rover.break.reason", "rover.break.detail", "rover.break.protocol")


def _line(log: AccessLog, name: str) -> str:
    """For people: "GET /users/7 200"."""
    said = log.attributes
    method, status = said.get("http.request.method"), said.get("http.response.status_code")
    if method is None or said.get("rpc.system.name") is not None:
        return name
    return f"{method} {said.get('url.original', '')} {'-' if status is None else status}"


class LogCollector:
    """Records that become batches. Not thread-safe. Times are time.monotonic() seconds."""

    def __init__(self, request: Request) -> None:
        self.counters: Counter[str] = Counter()
        self._encoder = LogEncoder()
        self._request = request

    @property
    def due(self) -> float | None:
        """See `rover.sending.sender.Filling`."""
        return self._request.due

    def add(self, item: tuple[AccessLog, Identity | None], now: float) -> None:
        """Takes an exchange, or a break, which has no identity."""
        log, identity = item
        try:
            record = self._encoder.record(log, identity)
        except (ValueError, TypeError):
            self.counters["invalid"] += identity is not None
            return
        self._request.append(log.connection.process, block(b"\x12", record), now, int(identity is not None))

    def ripen(self, now: float | None) -> None:
        """See `rover.sending.sender.Filling`."""
        self._request.ripen(now)

    def take(self) -> list[Batch]:
        """See `rover.sending.sender.Filling`."""
        return self._request.take()
