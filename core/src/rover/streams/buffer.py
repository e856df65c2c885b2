"""One direction of one connection: ordered bytes at absolute positions, with explicit gaps.

The unread bytes up to the first gap lie in one object, `data`, from index `offset` on: a
decoder parses in place. A message that arrives in one call is never copied: `data` is then the
captured payload itself. After the first gap everything waits in a list until the gap has been
dealt with. Each call's detail travels along with its bytes and leaves as they are consumed.

A source that has the payload in memory of its own may *lend* it, for as long as the call is handled: most
bytes are passed over at once, and what is left then is copied. None but an `InPlaceDecoder` meets lent bytes.
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
        "_call",
        "_incoming",
        "_later",
        "_ledger",
        "_missed",
        "data",
        "direction",
        "end",
        "ended",
        "gap",
        "gap_moved",
        "gap_records",
        "here",
        "hidden",
        "hidden_moved",
        "hidden_records",
        "late",
        "lent",
        "loan",
        "offset",
        "position",
        "sequence",
        "since",
        "size",
    )

    def __init__(self, direction: Direction, ledger: Ledger, position: int = 0) -> None:
        self.direction = direction
        self.data: bytes | bytearray = EMPTY
        """Holds the unread bytes, from `offset` to its end. Read it, never keep or change it."""
        self.offset = 0
        self.here = 0
        """Unread contiguous bytes: those up to the first gap."""
        self.lent = False
        """Whether the unread bytes up to the first gap lie in the source's memory: until `keep`, `data` is
        empty, and they are in `loan`, from `offset` on."""
        self.loan = b""
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
        self.since = 0
        """When the next unread byte moved: a read's return, a write's entry (ns); 0 if unknown.

        A read may have waited long for its bytes, so what counts is when it returned.
        """
        self.sequence = 0
        """The number of the call that moved the next unread byte; 0 if unknown."""
        # What is rare is made when it comes: an empty list is memory, too, that each call would look at.
        # Payload, and the gap after it, as above.
        self._behind: list[tuple[bytearray, int, int, int]] | None = None
        self._ledger = ledger
        self._incoming = not direction  # which is INGRESS's number
        self._call: Detail | None = None  # the oldest whose bytes are not all consumed
        self._later: list[Detail] | None = None  # those after it
        self._assigned = False  # whether the oldest has its owner already
        self._missed = 0  # the ledger's, when the newest call was added

    def __len__(self) -> int:
        return self.here

    @property
    def unread(self) -> int:
        """Bytes known of that were not consumed, captured or missing."""
        return self.end - self.position

    def memory(self) -> int:
        """Bytes of memory it takes: also those already consumed that the first piece still holds, what a
        growing one has in reserve (an eighth), and the details."""
        calls = 0
        if self._call is not None:
            calls = 1 if self._later is None else 1 + len(self._later)
        if not self.size:
            return calls * DETAIL_MEMORY
        here = len(self.data)
        behind = self.size - self.here
        reserve = (here + behind) >> 3 if behind or isinstance(self.data, bytearray) else 0
        pieces = 0 if self._behind is None else len(self._behind)
        return here + behind + reserve + pieces * PIECE_MEMORY + calls * DETAIL_MEMORY

    @property
    def at_gap(self) -> bool:
        """True when the next byte is a missing one."""
        return self.gap > 0 and not self.here

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
        if not self._add(detail):
            return detail.size <= 0
        captured = len(payload)
        if captured:
            self._hold(payload, captured, detail.sequence)
        if captured < detail.size:
            self._miss(detail.size - captured, detail.sequence, 1)
        return True

    def lend(self, detail: Detail, memory: bytes, captured: int) -> bool:
        """The same, with the first `captured` bytes of memory that is the source's: it holds until `keep`,
        which is to be called before the source has it back."""
        if not self._add(detail):
            return detail.size <= 0
        if self.gap or self.here:
            if captured:
                self._hold(memory[:captured], captured, detail.sequence)
        elif captured:
            self.size += captured
            self.here = captured
            self.offset = 0
            self.loan = memory
            self.lent = True
        if captured < detail.size:
            self._miss(detail.size - captured, detail.sequence, 1)
        return True

    def keep(self) -> None:
        """Copies what is left of lent bytes: from here on it lies in `data`, from `offset` on, as ever."""
        if self.lent:
            self.lent = False
            self.data = self.loan[self.offset : self.offset + self.here]
            self.offset = 0

    def _hold(self, payload: bytes, captured: int, sequence: int) -> None:
        """Bytes that come after all that there are."""
        self.size += captured
        if self.gap:
            self._append_behind(payload, sequence)
            return
        if self.here:
            self._grow(payload)
        else:
            self.data = payload
            self.offset = 0
        self.here += captured

    def _add(self, detail: Detail) -> bool:
        """The account of a call. False, and the detail set free, when it brings nothing new."""
        position, size = detail.position, detail.size
        end = self.end
        if position < end or size <= 0:
            self._ledger.free(detail)
            return False
        if position > end:
            self._lose(position - end, detail)
        self._missed = self._ledger.missed
        self.end = position + size
        if self._call is None:
            self._begin_call(detail)
        elif self._later is None:
            self._later = [detail]
        else:
            if len(self._later) >= MAX_WAITING - 1:
                if not self._assigned:
                    self._ledger.free(self._call)
                self._next_call()
            self._later.append(detail)
        return True

    def _begin_call(self, call: Detail) -> None:
        """It is the oldest from here on."""
        self._call = call
        self.since = call.end if self._incoming else call.start
        self.sequence = call.sequence

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
        behind = self._behind
        if behind is None:
            behind = self._behind = []
        if behind and not behind[-1][1]:
            behind[-1][0].extend(payload)
        elif len(behind) >= MAX_PIECES:
            self.size -= len(payload)
            self._miss(len(payload), sequence, 1)
        else:
            behind.append((bytearray(payload), 0, 0, 0))

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
        if size < 0 or size > self.here:
            raise ValueError(f"cannot consume {size} of {len(self)} bytes")
        self.pass_over(size, owner)

    def skip(self, size: int, owner: int | None = None) -> int:
        """Passes over up to `size` bytes, captured or missing; returns how many there were."""
        return self.pass_over(min(size, self.end - self.position), owner)

    def pass_over(self, size: int, owner: int | None) -> int:
        """What `skip` does, for a size of at most 62 bits: compiled, it is a number of C."""
        left = size
        while left > 0:
            here = self.here
            if here > left:
                self.here = here - left
                self.offset += left
                self.size -= left
                left = 0
                break
            if here:
                left -= here
                self.size -= here
            elif self.gap:
                taken = min(self.gap, left)
                self.gap -= taken
                left -= taken
            else:
                break
            self._go_on()
        if left < size:
            self._advance(size - left, owner)
            return size - left
        return 0

    def _go_on(self) -> None:
        """All bytes before the gap are consumed; where there is none any more, those after it are next."""
        self.data = EMPTY
        self.lent = False
        self.offset = 0
        self.here = 0
        if not self.gap and self._behind:
            self.data, self.gap, self.gap_moved, self.gap_records = self._behind.pop(0)
            self.here = len(self.data)

    def _advance(self, size: int, owner: int | None) -> None:
        self.position = position = self.position + size
        call = self._call
        while call is not None:
            if call.position >= position:
                return
            if owner is not None and not self._assigned:
                self._ledger.assign(owner, call)
                self._assigned = True
            if call.position + call.size > position:
                return
            if not self._assigned:
                self._ledger.free(call)
            self._next_call()
            call = self._call

    def _next_call(self) -> None:
        self._assigned = False
        later = self._later
        if later:
            self._begin_call(later[0])
            del later[0]
        else:
            self._call = None
            self.since = self.sequence = 0

    def hide(self, size: int) -> int:
        """Passes over up to `size` bytes that no decoder was shown, and remembers what is missing of
        them for the decoder that comes; returns how many there were."""
        before = self.position
        end = before + size
        while self.position < end:
            here = self.here
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
        call = self._call
        self.hide((self.end if call is None else call.position + call.size) - self.position)

    def clear(self) -> None:
        """Forgets every byte; details not yet assigned go free. Positions go on from `end`."""
        self.skip(self.end - self.position)
