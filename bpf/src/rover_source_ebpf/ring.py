"""Reads a BPF ring buffer in place, without a callback per record (kernel/bpf/ringbuf.c).

The map's descriptor maps to three parts: a page with the consumer's position (writable), a page
with the producer's, and the data, twice in a row so that a record that wraps around reads
as one piece. A record is 8 bytes of header (its length with two flag bits, and a page number)
and its bytes, rounded up to a multiple of 8.

Of the data a window is mapped, and the next one where a record lies beyond it: mapped pages count as
this process's memory, and all of them, twice, would be most of what it has.
"""

from __future__ import annotations

import mmap
import select
from collections.abc import Callable
from typing import Any

BUSY = 1 << 31
"""Reserved, and being written still: nothing after it can be read either."""
DISCARD = 1 << 30
"""Given up by its writer."""
HEADER = 8
PAGE = mmap.PAGESIZE
WINDOW = 4 << 20
"""Bytes of data mapped at a time: four times the longest record, and to map them takes the kernel 0.1 ms."""


class Ring:
    """The consumer's side over mapped memory; knows of no descriptor."""

    __slots__ = (
        "_base",
        "_consumed",
        "_consumer",
        "_kept",
        "_lengths",
        "_mask",
        "_producer",
        "_window",
        "_window_at",
        "memory",
    )

    def __init__(
        self, consumer: Any, producer: Any, window_at: Callable[[int], Any], size: int, window: int
    ) -> None:
        """`consumer`: the writable page; `producer`: the other one. `window_at(offset)`: `window` bytes of
        the data from there on, as if it came twice; an offset is a multiple of a page, and below `size`, that
        of the data, a power of two. A page and the longest record fit into a window."""
        self._consumer = memoryview(consumer)[:8].cast("Q")
        self._producer = memoryview(producer)[:8].cast("Q")
        self._window_at = window_at
        self._window = window
        self._mask = size - 1
        self._consumed: int = self._consumer[0]
        self._kept = self._consumed
        self._move()

    def _move(self) -> None:
        """The window begins with the page of what is read next."""
        self._base: int = self._consumed - self._consumed % PAGE
        self.memory = self._window_at(self._base & self._mask)
        """Where the records of the last `take` are, by offset."""
        self._lengths = memoryview(self.memory).cast("I")

    @property
    def pending(self) -> int:
        """Bytes that were written, or reserved, and not taken."""
        return int(self._producer[0]) - self._consumed

    def take(self, limit: int) -> list[tuple[int, int]]:
        """(offset, length) of up to `limit` records, in order; they stay until `release`, their offsets hold
        until the next `take`."""
        records: list[tuple[int, int]] = []
        lengths, base, window = self._lengths, self._base, self._window
        busy, discard, header = BUSY, DISCARD, HEADER  # machine integers where this is compiled
        # The kernel writes a record's length, with its busy bit, before it moves the producer's
        # position over it: what lies below the position read here is a record or busy.
        produced = self._producer[0]
        consumed = last = self._consumed
        if consumed == produced:
            return records
        while consumed < produced and limit > 0:
            offset = consumed - base + header
            end = offset
            length = 0
            if end <= window:
                length = lengths[(offset - header) >> 2]
                if length & busy:
                    break
                end += length & ~discard
            if end > window:
                if records or offset - header < PAGE:  # it begins with this page already
                    break
                self._consumed = consumed
                self._move()
                lengths, base = self._lengths, self._base
                continue
            limit -= 1
            last = consumed
            if not length & discard:
                records.append((offset, length))
            consumed = base + ((end + 7) & ~7)
        self._consumed = consumed
        self._kept = last
        return records

    def release(self) -> None:
        """Gives the space of what was taken back to the kernel, except for the last record's.

        A record whose writer finds that everything before it is given back wakes the reader, at the
        cost of several microseconds for the process it tells of. A reader that looks again by
        itself spares them that by lagging one record behind.
        """
        self._consumer[0] = self._kept

    def settle(self) -> None:
        """Gives all of it back: the next record wakes the reader."""
        self._consumer[0] = self._kept = self._consumed

    def close(self) -> None:
        """Lets go of the memory, so that it can be unmapped."""
        for view in (self._consumer, self._producer, self._lengths):
            view.release()
        self.memory = b""


class RingMap:
    """A ring buffer map of the kernel: its memory and its wake-ups."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Raises OSError when the kernel will not map it."""
        self._consumer = mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE)
        window = min(WINDOW, size + PAGE)

        def window_at(offset: int) -> mmap.mmap:
            """The one before goes when nothing refers to it any more."""
            return mmap.mmap(descriptor, window, mmap.MAP_SHARED, mmap.PROT_READ, offset=2 * PAGE + offset)

        self.ring = Ring(self._consumer, self._producer, window_at, size, window)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout: float) -> bool:
        """Returns when a record is there, at the latest after `timeout` seconds; says whether one is."""
        self.ring.settle()
        # It looks first, and so finds what was written before `settle` and woke nobody.
        return bool(self._poll.poll(1000 * timeout))

    def close(self) -> None:
        """Unmaps; the descriptor stays its owner's."""
        self.ring.close()
        self._producer.close()
        self._consumer.close()
