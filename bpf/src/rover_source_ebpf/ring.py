"""Reads a BPF ring buffer in place, without a callback per record (kernel/bpf/ringbuf.c).

The map's descriptor maps to three parts: a page with the consumer's position (writable), a page
with the producer's, and the data, mapped twice in a row so that a record that wraps around reads
as one piece. A record is 8 bytes of header (its length with two flag bits, and a page number)
and its bytes, rounded up to a multiple of 8.
"""

from __future__ import annotations

import mmap
import select
from typing import Any

BUSY = 1 << 31
"""Reserved, and being written still: nothing behind it can be read either."""
DISCARD = 1 << 30
"""Given up by its writer."""
HEADER = 8
PAGE = mmap.PAGESIZE


class Ring:
    """The consumer's side over mapped memory; knows of no descriptor."""

    __slots__ = ("_consumed", "_consumer", "_kept", "_lengths", "_mask", "_producer", "memory")

    def __init__(self, consumer: Any, memory: Any, size: int) -> None:
        """`consumer`: the writable page. `memory`: the producer's page and the data behind it,
        twice; `size` is that of the data, a power of two."""
        self._consumer = memoryview(consumer)[:8].cast("Q")
        self._producer = memoryview(memory)[:8].cast("Q")
        self._lengths = memoryview(memory).cast("I")
        self._mask = size - 1
        self._consumed: int = self._consumer[0]
        self._kept = self._consumed
        self.memory = memory
        """Where the records of `take` are, by offset."""

    def take(self, limit: int) -> list[tuple[int, int]]:
        """(offset, length) of up to `limit` records, in order; they stay until `release`."""
        records: list[tuple[int, int]] = []
        lengths, mask = self._lengths, self._mask
        # The kernel writes a record's length, with its busy bit, before it moves the producer's
        # position over it: what lies below the position read here is a record or busy.
        produced = self._producer[0]
        consumed = last = self._consumed
        if consumed == produced:
            return records
        while consumed < produced and limit > 0:
            offset = PAGE + (consumed & mask)
            length = lengths[offset >> 2]
            if length & BUSY:
                break
            limit -= 1
            last = consumed
            if length & DISCARD:
                length &= ~DISCARD
            else:
                records.append((offset + HEADER, length))
            consumed += (length + HEADER + 7) & ~7
        self._consumed = consumed
        self._kept = last
        return records

    def release(self) -> None:
        """Gives the space of what was taken back to the kernel, but for the last record's.

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


class RingMap:
    """A ring buffer map of the kernel: its memory and its wake-ups."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Raises OSError when the kernel will not map it."""
        self._consumer = mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._memory = mmap.mmap(descriptor, PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE)
        self.ring = Ring(self._consumer, self._memory, size)
        self._poll = select.epoll()
        self._poll.register(descriptor, select.EPOLLIN)

    def wait(self, timeout: float) -> None:
        """Returns when a record is there, at the latest after `timeout` seconds."""
        self.ring.settle()
        self._poll.poll(timeout, 1)

    def close(self) -> None:
        """Unmaps; the descriptor stays its owner's."""
        self._poll.close()
        self.ring.close()
        self._memory.close()
        self._consumer.close()
