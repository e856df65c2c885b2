"""A source slowed down to the times of its records, for `rover replay --speed`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rover.contracts.source import Source
from rover.values.records import Closed, Detail, Loss, Opened, Plaintext, Process, RecordHandler

PATIENCE = 0.1
"""Seconds slept at a time: how late an interruption is noticed."""


class Paced:
    """Implements `rover.contracts.source.Source` around another, and hands its records on in their time."""

    def __init__(self, source: Source, speed: float) -> None:
        self._source = source
        self._speed = speed
        self._started = 0.0
        self._first: int | None = None
        self._handler: RecordHandler | None = None
        self.attend: Callable[[], float] = lambda: math.inf
        """Called while waiting; says until when it may (time.monotonic). See `Agent.attend`."""
        self.epoch = 0
        """The source's, when it has started."""
        self.now = source.now
        self.set_upload = source.set_upload
        self.is_open = source.is_open
        self.counters = source.counters
        self.stop = source.stop
        self.close = source.close

    def start(self) -> None:
        """Starts the source."""
        self._source.start()
        self.epoch = self._source.epoch

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """As the source's, with waits in between."""
        self._handler = handler
        return self._source.poll(self, timeout)

    def _wait(self, when: int) -> RecordHandler:
        if self._first is None:
            self._first, self._started = when, time.monotonic()
        due = self._started + (when - self._first) / 1e9 / self._speed
        while (ahead := due - time.monotonic()) > 0 and self.attend() == math.inf:
            time.sleep(min(ahead, PATIENCE))
        assert self._handler is not None  # noqa: S101
        return self._handler

    def process(self, process: Process) -> None:
        """Passed on."""
        if self._handler is not None:
            self._handler.process(process)

    def opened(self, opened: Opened) -> None:
        """Passed on when its time has come."""
        self._wait(opened.time).opened(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        """Passed on when its time has come."""
        self._wait(detail.end).data(detail, payload)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        """Passed on when its time has come."""
        self._wait(plaintext.end).plaintext(plaintext, payload)

    def closed(self, closed: Closed) -> None:
        """Passed on when its time has come."""
        self._wait(closed.time).closed(closed)

    def lost(self, loss: Loss) -> None:
        """Passed on."""
        if self._handler is not None:
            self._handler.lost(loss)
