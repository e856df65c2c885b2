"""Reads one of the kernel's rings: waits, sleeps, looks, and takes a batch at a time."""

from __future__ import annotations

import time

from rover.errors import RoverError
from rover.values.records import RecordHandler
from rover_source_ebpf.pace import SHORTEST, Pace
from rover_source_ebpf.record import RecordDecoder
from rover_source_ebpf.ring import RingMap

BATCH = 128
"""Records after which the ring's space is given back."""
BATCHES = 3
"""Batches in one poll: some milliseconds of work, after which the caller sees to its clock and its
sinks."""


class RingReader:
    """The records of one ring, for one handler."""

    def __init__(self, descriptor: int, size: int, decoder: RecordDecoder) -> None:
        """`descriptor`: of the ring, which stays its owner's; `size`: of its data. Raises RoverError."""
        self._decoder = decoder
        self._pace = Pace(size)
        try:
            self._map = RingMap(descriptor, size)
        except OSError as error:
            raise RoverError(f"the ring buffer cannot be mapped: {error.strerror}") from None

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Delivers what is there, up to BATCHES, after a pause in which it gathers; says whether there was
        any. Where few records come, waits up to `timeout` seconds for the first one, and then a little for
        those of the same exchange: what begins may be a large body of which nothing more is needed."""
        pace = self._pace
        if not pace.left and timeout > 0:
            pause = pace.pause
            if pace.few:
                began = time.monotonic()
                if not self._map.wait(timeout):
                    return False
                pace.waited(time.monotonic() - began)
                pause = SHORTEST
            time.sleep(min(timeout, pause))
        return self._deliver_some(handler) > 0

    def drain(self, handler: RecordHandler) -> None:
        """Delivers everything; for a ring that is not written to any more."""
        while self._deliver(handler):
            pass

    def _deliver_some(self, handler: RecordHandler) -> int:
        """What is there, up to BATCHES; returns how many records it held. They say when to look again."""
        ring = self._map.ring
        gathered, delivered = ring.pending, 0
        for _ in range(BATCHES):
            batch = self._deliver(handler)
            delivered += batch
            if batch < BATCH:  # it ends where nothing follows, or where the mapped window does
                break
        self._pace.came(delivered, gathered, ring.pending, all_taken=batch < BATCH)
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
