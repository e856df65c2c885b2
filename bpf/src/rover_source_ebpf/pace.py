"""When a reader looks into its ring again. Knows of no ring and no clock: what came in, what to do out.

To be woken by the kernel for each record costs the watched processes more than all the rest of the capture.
So while records come, the reader sleeps for a while, and looks by itself. After each pause the processor's
caches have to be filled again, which the watched processes pay for, too: a look costs the agent as much as
ten exchanges do. So a pause is as long as it may be: it bounds how late an access log is, and how much has to
fit into the ring.
"""

from __future__ import annotations

LONGEST = 0.008
"""Seconds. An access log is late by half of it on average. With 1 ms, the agent takes three times as much
processor time for 1,000 exchanges a second."""
SHORTEST = 0.001
MANY = 256
"""Records after which the next pause is half as long: they are a few milliseconds of work, which come on top
of what the first of them have waited. Where a quarter of these come it is twice as long again."""
FULL = 8
"""After a pause that has brought more than an eighth of the ring comes the shortest one, and none while as
much is left of it."""
FASTEST = 4_000_000_000
"""Bytes a second that a pause leaves room for from the first moment on: more than two processors copy in this
time. A ring that would be full earlier is looked into more often."""
FEW = 4
"""Records that a pause has brought below which the kernel wakes the reader next. An exchange then takes that
wake-up, and the one after the shortest pause, in which the rest of it comes; of the longest, most would bring
none."""


class Pace:
    """Of one ring of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._longest = max(SHORTEST, min(LONGEST, size / FASTEST))
        self.pause = self._longest
        """Seconds to sleep before the next look."""
        self.few = True
        """Whether to wait for the kernel before that pause, because it would bring little."""
        self.left = False
        """Whether to look at once, without either."""
        self._in_bursts = True
        self._woken = False

    def waited(self, seconds: float) -> None:
        """The kernel told of a record after so long."""
        # Between bursts a pause would have brought nothing; what comes all the time needs no kernel to tell.
        self._in_bursts = seconds >= self._longest
        self._woken = True

    def came(self, records: int, gathered: int, left: int, *, all_taken: bool) -> None:
        """A look has found so many records, and so many bytes; so many more are there after it. `all_taken`:
        as far as is known, no record was left for want of time."""
        # What came with the first record, which the kernel told of, says nothing of what a pause brings.
        self.few = self._in_bursts or (records < FEW and not self._woken)
        self._woken = False
        self.left = not all_taken or left * FULL > self._size
        if gathered * FULL > self._size:
            self.pause = SHORTEST
        elif records >= MANY:
            self.pause = max(self.pause / 2, SHORTEST)
        elif records < MANY / 4:
            self.pause = min(2 * self.pause, self._longest)
