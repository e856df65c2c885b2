"""Which request a response answers.

Responses come in the order of their requests (RFC 9112 section 9.3), so as long as no message went
unseen, the oldest request that waits is the one: counting is proof. Where bytes were lost, messages
may have been lost with them, and counting goes on with bounds:

- A gap among the responses hides at most as many answers as requests were open when its bytes moved;
  one that begins where a message begins hides one at least, unless it is small enough to be an
  interim response. So `low` to `high` of the requests that wait, the oldest first, are over.
- A response answers a request that was sent before it (RFC 9112 section 9.2): one of those is not over.
- Where the bounds meet, those that are over are known. Where they do not, the likeliest is taken. `low` is
  negative when requests that were taken to be over may not be.
- What reads as a response after a gap may be content of one whose head was in the gap. It is none where
  nothing that was open when the bytes moved still is, if the client takes turns: it has got all its answers.
  Else counting has no base, and pairs are *assumed* until the connection ends.
- How many a gap among the requests hides is not known, nor whether what reads as a request after it was
  one: these are assumed until the connection ends. So are all of a connection whose beginning was not seen.

The likeliest: a client that was never seen with two requests open has taken turns, so all but its newest
request are over. For one that pipelines, one answer was lost with each lost record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover_plugin_http1.framing import UNSEEN

if TYPE_CHECKING:
    from rover_plugin_http1.exchange import Request

MAX_INTERIM = 1024
"""Bytes of a gap that may be nothing but interim responses: a status line, for 103 some Link fields."""

CONTINUE = 25
"""Bytes of `HTTP/1.1 100 Continue` with two line ends. So few of a request that waits for it are it: those of
a final response have no room for a length, and what follows such a head ends with the connection."""

MIN_HEAD = 14
"""Bytes of the smallest final head: `HTTP/1.1 200` and two bare line ends. RFC 9112 section 4 wants a blank
after the status, which servers leave out."""

MAX_HINT = 1 << 20
"""Lost records that are reckoned with: more than requests can wait."""


class Pairing:
    """The requests of a connection that wait for their response."""

    __slots__ = (
        "_beheaded",
        "_heads",
        "_hint",
        "_stray",
        "_unread",
        "_until",
        "gapped",
        "high",
        "interim",
        "low",
        "moved",
        "records",
        "size",
        "turns",
        "unknown",
        "waiting",
    )

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        """In the order sent."""
        self.size = 0
        """Bytes of their heads."""
        self.low = 0
        """How many of them, the oldest first, are over at least; below 0 when others may wait as well."""
        self.high = 0
        """How many of them are over at most."""
        self.unknown = False
        """Whether requests that nobody saw may wait before them."""
        self.gapped = False
        """Whether requests may have been lost before one of them, or before one that was answered."""
        self.interim = False
        """Whether the server was seen to send interim responses."""
        self.turns = True
        """Whether the client was never seen with two requests open."""
        self.records = 0
        """Lost calls that may have brought responses, since the last of these."""
        self._hint = 0  # how many answers they brought, if each was one
        self._unread = False  # whether bytes are there that may be an answer, and could not be read
        self._heads = False  # whether a request that may not be over is HEAD
        self.moved = 0
        """The number of a call: responses were last lost before it."""
        self._stray = 0  # ns: a response began that answered none of those known
        self._until = 0  # ns: requests sent before may have been open when responses were last lost
        self._beheaded = False  # whether the content of a response may be read as one, its head lost

    @property
    def whole(self) -> bool:
        """Whether it is not known of any message that it may be lost."""
        return not (self.gapped or self.low or self.high or self._beheaded)

    @property
    def mixed(self) -> bool:
        """In doubt: whether the response that begins now may answer HEAD, for all that is known."""
        if self.unknown or self.gapped or self._heads:
            return True
        return any(request.head.method == "HEAD" for request in self.waiting[: self.high + 1])

    def begin(self, request: Request) -> bool:
        """A request begins. False when it is taken to be over already."""
        waiting = self.waiting
        waiting.append(request)
        self.size += request.head.size
        if request.follows:
            self.gapped = True
        if self.gapped:
            request.assumed = True
        cut = request.head.content == UNSEEN
        stray = cut and request.start <= self._stray
        if stray or (cut and request.sequence < self.moved) or request.start < self._until:
            # It was open when a response was lost, or was none's, and is known of only now.
            self.high = len(waiting)
            self._hint += 1
            self._beheaded = True
            if stray and self.turns and len(waiting) == 1:
                self._drop(1)
                return False
        return True

    def narrow(self, start: int, *, hidden: bool, early: bool) -> list[Request]:
        """A response begins whose first byte moved at `start` (ns), in doubt: it answers a request
        that was sent before; `hidden`: perhaps one that was not seen, `early`: or is not known of yet.
        Returns what is taken to be over.
        """
        before = 0
        for request in self.waiting:
            if before > self.high or (start and request.start > start):
                break
            before += 1
        most = before if hidden or early or self.gapped else before - 1
        self.high = max(self.low, min(self.high, most))
        # Where a client that takes turns had a request open when both a response and a request may
        # have been lost, the response at hand is the lost request's.
        newest = before if hidden else before - 1
        guess = min(self.high, newest if self.turns else max(self._hint, self._unread))
        self._hint = self.records = 0
        self._unread = False
        return self._drop(guess)

    def answerable(self, start: int) -> bool:
        """Whether a response whose first byte moved at `start` (ns) can answer what waits."""
        if not self.waiting:
            return False
        oldest = self.waiting[0]
        return not start or start >= oldest.start

    def oldest(self, start: int) -> Request | None:
        """The request that such a response answers; it goes on waiting."""
        waiting = self.waiting
        if not self.answerable(start):
            return None
        if self.turns and len(waiting) > 1:
            second = waiting[1]
            if start >= second.start:
                self.turns = False
        return waiting[0]

    def answer(self) -> Request:
        """A final response to the oldest begins."""
        request = self.waiting[0]
        del self.waiting[0]
        self.records = 0
        self.size -= request.head.size
        if request.follows:
            self.unknown = True
        if self.low or self.high or self.unknown or self._beheaded:
            request.assumed = True
            self._note(request)
        return request

    def unasked(self, start: int, *, hidden: bool) -> None:
        """A final response to none of them begins, whose first byte moved at `start` (ns); `hidden`:
        perhaps to a request that was not seen, or is not known of yet."""
        self._stray = start
        self.records = 0
        if self.low < 0 and not hidden:
            self.low += 1
            self.high = 0
        else:
            self.unknown = True

    def lose(
        self, moved: int, size: int, records: int, until: int, *, boundary: bool, passed: int, reached: int
    ) -> list[Request]:
        """Responses may have been lost. Returns the requests that are over for certain.

        Missing are `size` bytes, which moved before the call number `moved`, in `records` calls at most;
        `boundary`: the first of these bytes began a message. Where records come late, those of requests
        that were sent before `until` (ns) may come yet; else it is 0. With those that were captured and
        could not be read, `passed` bytes were passed over, and the call number `reached` moved the last
        captured one (0: there was none).
        """
        waiting = self.waiting
        self.moved = max(self.moved, moved)
        self._until = until
        open_ = 0
        awaited = False
        for request in waiting:
            if request.sequence >= moved:
                break
            open_ += 1
            awaited |= request.head.expects
        interim = self.interim or awaited
        if 0 < records < open_ - self.high:
            # Who takes turns gets each answer in a call of its own; those of the others may be among
            # the bytes that were lost before, or could not be read.
            self.turns = False
        small = size <= MAX_INTERIM and (interim or open_ > 1 or not self.turns)
        hides = boundary and not small
        if hides and not open_ and not self.low and not self.gapped:
            # Something was answered, and nothing was open: the calls' numbers tell no order here.
            self.unknown = True
        if waiting and waiting[0].follows:
            hides = False
        self.high = max(self.high, open_)
        if hides:
            self.low = min(self.low + 1, self.high)
        self.records = min(self.records + records, MAX_HINT)
        if size:
            self._hint = min(self._hint + max(records, 1), MAX_HINT)
        else:  # it is told of piece by piece
            self._unread = True
        over = self._drop(self.low)
        if not (boundary and passed <= (CONTINUE if awaited and open_ == 1 else MIN_HEAD - 1)):
            self.pass_over(max(moved, reached))
        if not self.high:
            self._hint = 0
            self._unread = False
        return over

    def pass_over(self, reached: int) -> None:
        """Bytes of responses were passed over, the last of them before the end of the call number `reached`:
        the head of a response may be among them whose content is not."""
        waiting = self.waiting
        if not self.turns:
            self._beheaded = True
        elif waiting:
            oldest = waiting[0]
            if oldest.sequence < reached:
                self._beheaded = True

    def end(self) -> list[Request]:
        """No response will come. Returns the requests that wait."""
        self.low = self.high = len(self.waiting)
        return self._drop(self.low)

    def _drop(self, count: int) -> list[Request]:
        """The oldest are over."""
        if count <= 0:
            return []
        dropped = self.waiting[:count]
        del self.waiting[:count]
        for request in dropped:
            self.size -= request.head.size
            if request.follows:
                self.unknown = True
            self._note(request)
        self.low -= count
        self.high -= count
        self._hint = max(0, self._hint - count)
        return dropped

    def _note(self, request: Request) -> None:
        if request.head.method == "HEAD":
            self._heads = True
