"""Reads one of the kernel's rings: when to look into it, when to sleep, how much to take at a time."""

from __future__ import annotations

import time

from rover.errors import RoverError
from rover.values.records import RecordHandler
from rover_source_ebpf.record import Decoder
from rover_source_ebpf.ring import RingMap

BATCH = 128
"""Records after which the ring's space is given back."""
BATCHES = 3
"""Batches in one poll: some milliseconds of work, after which the caller sees to its clock and its
sinks."""
PAUSE = 0.001
"""Seconds between two looks into the ring while records come. To be woken for each record would cost
the watched processes more than all the rest of the capture."""
LONGEST_PAUSE = 0.002
"""Seconds between two looks while many come. After each pause the processor's caches have to be filled
again, and the watched processes pay, too: with half of this an exchange costs 3 % more, with eight times
as much 6 % less, but then it is in the file 25 ms after its end instead of 6."""
MANY = 32
"""Records that a pause has brought for which the next is longer: below four a millisecond they come
at once."""
LINGER = 10_000_000
"""ns without a record after which the reader sleeps until the kernel wakes it."""


class Reader:
    """The records of one ring, for one handler."""

    def __init__(self, descriptor: int, size: int, decoder: Decoder) -> None:
        """`descriptor`: of the ring, which stays its owner's; `size`: of its data. Raises RoverError."""
        self._decoder = decoder
        self._busy = 0
        self._pause = PAUSE
        try:
            self._map = RingMap(descriptor, size)
        except OSError as error:
            raise RoverError(f"the ring buffer cannot be mapped: {error.strerror}") from None

    def poll(self, handler: RecordHandler, timeout: float) -> None:
        """Delivers a batch, waiting up to `timeout` seconds for its first record."""
        delivered = self._deliver_some(handler)
        now = time.monotonic_ns()
        if delivered:
            self._busy = now
        elif timeout > 0:
            if now - self._busy < LINGER:
                time.sleep(min(timeout, self._pause))
            else:
                self._map.wait(timeout)
            if delivered := self._deliver_some(handler):
                self._busy = time.monotonic_ns()
            longer = delivered >= MANY
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if longer else max(self._pause / 2, PAUSE)

    def drain(self, handler: RecordHandler) -> None:
        """Delivers everything; for a ring that is not written to any more."""
        while self._deliver(handler):
            pass

    def _deliver_some(self, handler: RecordHandler) -> int:
        """What is there, up to BATCHES; returns how many records it held."""
        delivered = 0
        for _ in range(BATCHES):
            batch = self._deliver(handler)
            delivered += batch
            if batch < BATCH:
                break
        return delivered

    def _deliver(self, handler: RecordHandler) -> int:
        """One batch; returns how many records it held."""
        ring = self._map.ring
        records = ring.take(BATCH)
        if records:
            try:
                self._decoder.deliver_all(handler, ring.memory, records)
            finally:
                ring.release()
        return len(records)

    def close(self) -> None:
        """Unmaps the ring."""
        self._map.close()
