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
LONGEST_PAUSE = 0.008
"""Seconds between two looks into the ring while records come. To be woken for each record would cost the
watched processes more than all the rest of the capture. After each pause the processor's caches have to be
filled again, which the watched processes pay for, too, and a look costs what ten exchanges do: as long as an
agent may be late by milliseconds, it is late by so many at most, and by half as many on average."""
SHORTEST_PAUSE = 0.001
MANY = 256
"""Records after which the next pause is half as long: they are a few milliseconds of work, which come on top
of what the first of them have waited. Where a quarter of these come it is longer again."""
FULL = 8
"""After a pause that has brought more than an eighth of the ring comes the shortest one, and none while as
much is left of it."""
FASTEST = 4 << 30
"""Bytes a second that a pause is sure to leave room for: more than two processors copy in this time. A ring
that would be full earlier is looked into more often."""
FEW = 4
"""Records that a pause has brought below which the kernel wakes the reader next: an exchange or two take no
more wake-ups then than after another pause, and none is for nothing."""


class Reader:
    """The records of one ring, for one handler."""

    def __init__(self, descriptor: int, size: int, decoder: Decoder) -> None:
        """`descriptor`: of the ring, which stays its owner's; `size`: of its data. Raises RoverError."""
        self._decoder = decoder
        self._size = size
        self._longest = max(SHORTEST_PAUSE, min(LONGEST_PAUSE, size / FASTEST))
        self._pause = self._longest
        self._left = False
        """Whether the ring may hold more than what was taken last."""
        self._few = True
        """Whether so few records come that the kernel is to tell of the next one."""
        try:
            self._map = RingMap(descriptor, size)
        except OSError as error:
            raise RoverError(f"the ring buffer cannot be mapped: {error.strerror}") from None

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Delivers what is there, up to BATCHES, after a pause in which it gathers; says whether there was
        any. Where few records come, waits up to `timeout` seconds for the first one before."""
        if not self._left and timeout > 0:
            if self._few and not self._map.wait(timeout):
                return False
            time.sleep(min(timeout, self._pause))
        return self._deliver_some(handler) > 0

    def drain(self, handler: RecordHandler) -> None:
        """Delivers everything; for a ring that is not written to any more."""
        while self._deliver(handler):
            pass

    def _deliver_some(self, handler: RecordHandler) -> int:
        """What is there, up to BATCHES; returns how many records it held. They say when to look again."""
        ring = self._map.ring
        much = ring.pending * FULL > self._size
        self._few, self._left = False, True
        delivered = 0
        for _ in range(BATCHES):
            batch = self._deliver(handler)
            delivered += batch
            if batch < BATCH:
                # It ends where nothing follows, or where the mapped window does.
                self._left = ring.pending * FULL > self._size
                break
        self._few = delivered < FEW
        if much:
            self._pause = SHORTEST_PAUSE
        elif delivered >= MANY:
            self._pause = max(self._pause / 2, SHORTEST_PAUSE)
        elif delivered < MANY / 4:
            self._pause = min(2 * self._pause, self._longest)
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
