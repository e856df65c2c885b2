"""Both directions of one connection, in the order of its calls."""

from __future__ import annotations

from rover.streams.buffer import StreamBuffer
from rover.streams.ledger import DETAIL_MEMORY, Ledger
from rover.values.records import Detail, Direction

INGRESS, EGRESS = Direction  # once: what an enumeration holds is slow to ask for


class StreamPair:
    """The buffers, their ledger, and which call is due next."""

    __slots__ = ("_due", "_first", "_joined", "egress", "ingress", "ledger", "seen")

    def __init__(self, opened: int, late: bool, ledger: Ledger | None = None) -> None:
        """`opened`: when it began (ns). `late`: its beginning was not seen. `ledger`: a new one."""
        self.ledger = Ledger() if ledger is None else ledger
        self.ingress = StreamBuffer(INGRESS, self.ledger)
        self.egress = StreamBuffer(EGRESS, self.ledger)
        self.ingress.late = self.egress.late = late
        self.seen = opened
        """When the newest call ended (ns)."""
        self._due = 0  # a sequence number
        # Whether its first call was in the middle of it, and all since were of one direction: which one.
        self._joined = False
        self._first = 0

    def join(self, detail: Detail) -> None:
        """Begins with this call, which is the first that is known of it, and is added next."""
        self._due = detail.sequence
        self.seen = detail.start  # nothing is known of a call that it overlaps
        self._joined, self._first = True, detail.direction
        # Nothing is missing that was never ours to see: the stream begins here.
        self.of(detail.direction).begin(detail.position)

    def of(self, direction: int) -> StreamBuffer:
        """The buffer of a direction."""
        return self.egress if direction else self.ingress

    def count(self, sequence: int) -> int:
        """A call of this number came; returns how many are missing before it, as far as is known.

        One that is not the next tells that others are missing, or was missing itself until now.
        """
        due = self._due
        if sequence < due:
            self._joined = False
            return 0
        self._due = sequence + 1
        if sequence == due:
            return 0
        self._joined = False
        self.ledger.miss(due, sequence)
        return sequence - due

    def time(self, start: int, end: int) -> None:
        """When it began and ended."""
        if start < self.seen:
            self.ledger.overlapping = True
        self.seen = end

    def append(self, detail: Detail, payload: bytes) -> StreamBuffer:
        """What it moved; returns where that is."""
        buffer = self._place(detail)
        buffer.append(detail, payload)
        return buffer

    def lend(self, detail: Detail, memory: bytes, captured: int) -> StreamBuffer:
        """The same, of memory that is the source's: see `StreamBuffer.lend`."""
        buffer = self._place(detail)
        buffer.lend(detail, memory, captured)
        return buffer

    def _place(self, detail: Detail) -> StreamBuffer:
        direction = detail.direction
        buffer = self.egress if direction else self.ingress
        if self._joined and direction != self._first:
            # No call is missing since the first one, so its stream begins here.
            self._joined = False
            buffer.begin(detail.position)
        if detail.size == 0:
            buffer.ended = True
        return buffer

    @property
    def older(self) -> int:
        """The direction whose next unread byte moved first."""
        ingress, egress = self.ingress, self.egress
        since = egress.since
        return int(since > 0 and not 0 < ingress.since <= since)

    def memory(self) -> int:
        """Bytes of memory that the buffers take, and the details that wait for their exchange."""
        return self.ingress.memory() + self.egress.memory() + self.ledger.waiting * DETAIL_MEMORY

    def clear(self) -> None:
        """Forgets every byte; details not yet assigned go free."""
        self.ingress.clear()
        self.egress.clear()
