"""One direction of one connection: ordered bytes at absolute positions, with explicit gaps.

The unread bytes up to the first gap lie in one object, `data`, from index `offset` on: a
decoder parses in place. A message that arrives in one call is never copied: `data` is then the
captured payload itself. After the first gap everything waits in a list until the gap has been
dealt with. Each call's detail travels along with its bytes and leaves as they are consumed.
"""

from __future__ import annotations

from rover.streams.ledger import DETAIL_MEMORY, MAX_WAITING, Ledger
from rover.values.records import Detail, Direction

EMPTY = b""

MAX_SIZE = 1 << 20
"""Unread bytes one direction keeps. Decoders skip bodies by length and bound their heads, so
only one that waits for what never comes gets near it: four times the largest head anybody
configures. The core breaks the connection there (reason `overflow`)."""

PIECE_MEMORY = 160
"""Bytes that a piece after a gap takes besides what was captured of it."""
MAX_PIECES = 256
"""Captured pieces between gaps that wait after the first gap. Decoders pass over gaps as they come; one
that waits for the other direction first may see bytes by ones, each of which would cost 130. Of more
pieces the bytes are missing, too."""


class StreamBuffer:
    """Bytes of one direction that no decoder has consumed yet."""

    __slots__ = (
        "_assigned",
        "_behind",
        "_calls",
        "_first",
        "_first_end",
        "_incoming",
        "_ledger",
        "_missed",
        "data",
        "direction",
        "end",
        "ended",
        "gap",
        "gap_moved",
        "gap_records",
        "hidden",
        "hidden_moved",
        "hidden_records",
        "late",
        "offset",
        "position",
        "size",
    )

    def __init__(self, direction: Direction, ledger: Ledger, position: int = 0) -> None:
        self.direction = direction
        self.data: bytes | bytearray = EMPTY
        """Holds the unread bytes, from `offset` to its end. Read it, never keep or change it."""
        self.offset = 0
        self.gap = 0
        """Bytes missing right after `data`; 0 when nothing is known to be missing there."""
        self.gap_moved = 0
        """A sequence number: calls of that number or higher were made after the gap's bytes had moved."""
        self.gap_records = 0
        """Calls that may have moved them: lost ones, some of which may be of the other direction, and
        those that were not captured to their end."""
        self.hidden = 0
        """Bytes missing that were passed over while nobody knew the protocol (see `hide`)."""
        self.hidden_moved = 0
        """Of these: what `gap_moved` is of a gap."""
        self.hidden_records = 0
        self.late = False
        """True when the connection's beginning was not seen: messages may be under way at the first byte."""
        self.position = position
        """Absolute stream position of the next unread byte, captured or missing."""
        self.end = position
        """Position after the last byte known of, captured or not."""
        self.size = 0
        """Captured bytes held, also those after gaps."""
        self.ended = False
        """True when no byte will follow `end`."""
        self._behind: list[tuple[bytearray, int, int, int]] = []  # payload; the gap after it, as above
        self._ledger = ledger
        self._incoming = not direction  # which is INGRESS's number
        self._calls: list[Detail] = []  # whose bytes are not all consumed, oldest first
        self._assigned = False  # whether _calls[0] has its owner already
        self._missed = 0  # the ledger's, when the newest call was added
        self._first = self._first_end = 0  # the positions between which _calls[0] moved its bytes

    def __len__(self) -> int:
        """Unread contiguous bytes."""
        return len(self.data) - self.offset

    @property
    def unread(self) -> int:
        """Bytes known of that were not consumed, captured or missing."""
        return self.end - self.position

    def memory(self) -> int:
        """Bytes of memory it takes: also those already consumed that the first piece still holds, what a
        growing one has in reserve (an eighth), and the details."""
        if not self.size:
            return len(self._calls) * DETAIL_MEMORY
        here = len(self.data)
        behind = self.size - (here - self.offset)
        reserve = (here + behind) >> 3 if behind or isinstance(self.data, bytearray) else 0
        return here + behind + reserve + len(self._behind) * PIECE_MEMORY + len(self._calls) * DETAIL_MEMORY

    @property
    def at_gap(self) -> bool:
        """True when the next byte is a missing one."""
        return self.gap > 0 and self.offset >= len(self.data)

    @property
    def since(self) -> int:
        """When the next unread byte moved: a read's return, a write's entry (ns); 0 if unknown.

        A read may have waited long for its bytes, so what counts is when it returned.
        """
        if not self._calls:
            return 0
        call = self._calls[0]
        return call.end if self._incoming else call.start

    @property
    def sequence(self) -> int:
        """The number of the call that moved the next unread byte; 0 if unknown."""
        return self._calls[0].sequence if self._calls else 0

    @property
    def missed(self) -> int:
        """Records of the connection that were lost since the newest call of this direction."""
        return max(0, self._ledger.missed - self._missed)

    @property
    def missing(self) -> int:
        """The highest sequence number of the connection that is known to be missing."""
        return self._ledger.missing

    @property
    def overlapping(self) -> bool:
        """Whether calls of the connection overlapped in time: a record may come after that of a call
        which began later."""
        return self._ledger.overlapping

    # -- filling, by the core ------------------------------------------------------------

    def begin(self, position: int) -> None:
        """Moves an unused buffer to where its stream begins for us."""
        self.position = self.end = position

    def append(self, detail: Detail, payload: bytes) -> bool:
        """Adds one call. False, and the detail set free, when its position was passed already."""
        position, size = detail.position, detail.size
        end = self.end
        if position < end or size <= 0:
            self._ledger.free(detail)
            return size <= 0
        if position > end:
            self._lose(position - end, detail)
        self._missed = self._ledger.missed
        self.end = position + size
        calls = self._calls
        if len(calls) >= MAX_WAITING:
            if not self._assigned:
                self._ledger.free(calls[0])
            self._next_call()
        if not calls:
            self._first, self._first_end = position, position + size
        calls.append(detail)
        captured = len(payload)
        if captured:
            self.size += captured
            if self.gap:
                self._append_behind(payload, detail.sequence)
            elif self.offset >= len(self.data):
                self.data = payload
                self.offset = 0
            else:
                self._grow(payload)
        if captured < size:
            self._miss(size - captured, detail.sequence, 1)
        return True

    def _lose(self, size: int, detail: Detail) -> None:
        """Bytes are missing before the call `detail`.

        The lost records have the sequence numbers that are missing. The last of them may be well
        before this call: what was called in between came after the lost bytes. Where calls
        overlap in time, or no number is missing, nothing tells.
        """
        ledger = self._ledger
        records = ledger.missed - self._missed
        if records <= 0 or ledger.overlapping:
            self._miss(size, detail.sequence, max(records, 0))
        else:
            self._miss(size, ledger.missing, records)

    def _grow(self, payload: bytes) -> None:
        # A message that trickles in must not be copied again for each call: a bytearray grows
        # in place, and gives its consumed front back when that is most of it.
        data = self.data
        if not isinstance(data, bytearray):
            data = self.data = bytearray(memoryview(data)[self.offset :])
            self.offset = 0
        elif self.offset > len(data) >> 1:
            del data[: self.offset]
            self.offset = 0
        data += payload

    def _append_behind(self, payload: bytes, sequence: int) -> None:
        if self._behind and not self._behind[-1][1]:
            self._behind[-1][0].extend(payload)
        elif len(self._behind) >= MAX_PIECES:
            self.size -= len(payload)
            self._miss(len(payload), sequence, 1)
        else:
            self._behind.append((bytearray(payload), 0, 0, 0))

    def _miss(self, size: int, moved: int, records: int) -> None:
        if self._behind:
            payload, missing, _, lost = self._behind[-1]
            self._behind[-1] = (payload, missing + size, moved, lost + records)
        else:
            self.gap_records = records + (self.gap_records if self.gap else 0)
            self.gap_moved = moved
            self.gap += size

    # -- emptying, by decoders -------------------------------------------------------------

    def consume(self, size: int, owner: int | None = None) -> None:
        """Takes `size` of the unread contiguous bytes, on behalf of the exchange `owner`.

        None means that they belong to no exchange. The details of calls whose bytes these are
        wait for the first owner that took any of them; a call all of whose bytes belong to
        nobody is delivered alone.
        """
        here = len(self.data)
        if size < 0 or size > here - self.offset:
            raise ValueError(f"cannot consume {size} of {len(self)} bytes")
        taken = size  # of C from here on: what was asked for may have been any number
        offset = self.offset + taken
        self.size -= taken
        if offset == here:
            self.data = EMPTY
            self.offset = 0
        else:
            self.offset = offset
        if taken:
            self._advance(taken, owner)

    def skip(self, size: int, owner: int | None = None) -> int:
        """Passes over up to `size` bytes, captured or missing; returns how many there were."""
        left = asked = min(size, self.end - self.position)
        while left > 0:
            here = len(self.data) - self.offset
            if here:
                taken = min(here, left)
                self.offset += taken
                self.size -= taken
            elif self.gap:
                taken = min(self.gap, left)
                self.gap -= taken
            else:
                break
            left -= taken
            if self.offset >= len(self.data):
                self.data, self.offset = EMPTY, 0
                if not self.gap and self._behind:
                    self.data, self.gap, self.gap_moved, self.gap_records = self._behind.pop(0)
        if left < asked:
            self._advance(asked - left, owner)
        return asked - left

    def _advance(self, size: int, owner: int | None) -> None:
        self.position = position = self.position + size
        calls = self._calls
        while calls:
            if self._first >= position:
                return
            if owner is not None and not self._assigned:
                self._ledger.assign(owner, calls[0])
                self._assigned = True
            if self._first_end > position:
                return
            if not self._assigned:
                self._ledger.free(calls[0])
            self._next_call()

    def _next_call(self) -> None:
        del self._calls[0]
        self._assigned = False
        if self._calls:
            call = self._calls[0]
            self._first, self._first_end = call.position, call.position + call.size

    def hide(self, size: int) -> int:
        """Passes over up to `size` bytes that no decoder was shown, and remembers what is missing of
        them for the decoder that comes; returns how many there were."""
        before = self.position
        end = before + size
        while self.position < end:
            here = len(self)
            step = min(here + self.gap, end - self.position)
            if step > here:
                self.hidden += step - here
                self.hidden_moved = self.gap_moved
                self.hidden_records += self.gap_records
            if not self.skip(step):
                break
        return self.position - before

    def hide_call(self) -> None:
        """The same with what is left of the oldest call's bytes."""
        self.hide((self._first_end if self._calls else self.end) - self.position)

    def clear(self) -> None:
        """Forgets every byte; details not yet assigned go free. Positions go on from `end`."""
        self.skip(self.end - self.position)
