"""Exactly-once delivery of the details of a TLS connection.

Its buffers hold plaintext, and what goes through them is the calls of the TLS library: each has a stand-in, a
`Detail` of plaintext. The details are of socket calls, which moved ciphertext. A call of the library owns a
range of ciphertext; a socket call belongs to the first range of which it moved any. So a detail leaves with
whoever took the stand-in of its owner. What moved bytes of no range is nobody's: handshakes, alerts.
"""

from __future__ import annotations

import bisect
import operator

from rover.streams.ledger import MAX_WAITING, Ledger
from rover.values.records import Detail, Direction, Plaintext

INGRESS, EGRESS = (int(direction) for direction in Direction)
MAX_FRAGMENT = 16384
"""Bytes of plaintext in a record (RFC 8446 section 5.1)."""
OVERHEAD = 21
"""Bytes that a record has besides them, at least: a header of 5, and a tag of 16 (RFC 7905)."""

POSITION = operator.attrgetter("position")
SEQUENCE = operator.attrgetter("sequence")
BEGIN = operator.attrgetter("begin")


class Claim:
    """A range of ciphertext, and the details of the socket calls that began in it, as far as they came."""

    __slots__ = ("begin", "details", "end")

    def __init__(self, begin: int, end: int, details: list[Detail]) -> None:
        self.begin = begin
        self.end = end
        self.details = details


class TlsLedger(Ledger):
    """What goes in by `assign` and `free`, and out by `take`, are stand-ins: `details_of` has their details.
    All else that leaves is details."""

    __slots__ = ("_claimed_to", "_claims", "_held", "_loose", "_of_call", "_seen_to")

    def __init__(self) -> None:
        super().__init__()
        # All by direction: of claims that may still get details, in the order of what they begin with; of
        # details that came before their claim, in the order of their positions.
        self._claims: tuple[list[Claim], list[Claim]] = ([], [])
        self._held: tuple[list[Detail], list[Detail]] = ([], [])
        self._claimed_to = [-1, -1]  # where the newest claim ends; -1 when there was none
        self._seen_to = [0, 0]  # where the newest socket call ended
        self._of_call: dict[int, Claim] = {}  # by the number of the library's call
        self._loose: list[Detail] = []  # belong to nobody

    # -- what comes in -----------------------------------------------------------------------

    def begin(self, direction: int, position: int) -> None:
        """What socket calls moved up to there was seen, by somebody else."""
        self._seen_to[direction] = position

    def add(self, detail: Detail, limit: int = MAX_WAITING) -> None:
        """A socket call; one that moved nothing is nobody's.

        Of those that no call of the library has claimed, the oldest go free beyond `limit`. What is claimed
        and beyond MAX_WAITING goes free, too.
        """
        direction, position = detail.direction, detail.position
        if detail.size <= 0:
            self._loose.append(detail)
            return
        self._seen_to[direction] = max(self._seen_to[direction], position + detail.size)
        if position < self._claimed_to[direction]:
            claim = self._claim_of(detail)
            if claim is None or self.waiting >= MAX_WAITING:
                self._loose.append(detail)
                return
            claim.details.append(detail)
        else:
            held = self._held[direction]
            if held and held[-1].position > position:
                bisect.insort(held, detail, key=POSITION)
            else:
                held.append(detail)
            if self.waiting >= limit:
                self._loose.append(held.pop(0))
                return
        self.waiting += 1

    def own(self, plaintext: Plaintext) -> None:
        """A call of the library, whose stand-in goes into a buffer: what it owns."""
        direction, held = plaintext.direction, self._held[plaintext.direction]
        end = plaintext.ciphertext
        if end < 0:
            end = self._seen_to[direction]  # by order of arrival
        elif direction == INGRESS:
            # What is decrypted was read: a program that reads ahead of its library misleads a source which
            # compares what both have read.
            end = min(end, self._seen_to[direction])
        begin = plaintext.ciphertext_start
        if begin < 0:
            begin = self._claimed_to[direction]
            if begin < 0:
                begin = self._first_begin(plaintext, end)
        begin = min(begin, end)
        self._claimed_to[direction] = max(self._claimed_to[direction], end)
        at = bisect.bisect_left(held, begin, key=POSITION)
        if at and begin < end and held[at - 1].position + held[at - 1].size > begin:
            at -= 1  # it moved the end of a handshake, too
        after = bisect.bisect_left(held, end, key=POSITION)
        claim = Claim(begin, end, held[at:after])
        if at:
            self._loose += held[:at]
            self.waiting -= at
        if after:
            del held[:after]
        again = self._of_call.get(plaintext.sequence)
        if again is not None:  # a source that gives one number to two calls
            self._forget(direction, again)
            self._forget(1 - direction, again)
            claim.details += again.details
        claims = self._claims[direction]
        if begin < end:
            if claims and claims[-1].begin > begin:
                bisect.insort(claims, claim, key=BEGIN)
            else:
                claims.append(claim)
        self._of_call[plaintext.sequence] = claim

    def _first_begin(self, plaintext: Plaintext, end: int) -> int:
        """Where the ciphertext of the first call that is seen begins: about where its records do, and no
        later than the socket calls made inside it."""
        records = (plaintext.size + MAX_FRAGMENT - 1) // MAX_FRAGMENT
        begin = max(0, end - plaintext.size - records * OVERHEAD)
        for detail in self._held[plaintext.direction]:
            if detail.position >= begin:
                break
            if detail.start >= plaintext.start:
                return detail.position
        return begin

    def _claim_of(self, detail: Detail) -> Claim | None:
        """The first of which it moved any."""
        claims, position = self._claims[detail.direction], detail.position
        at = bisect.bisect_right(claims, position, key=BEGIN)
        if at and position < claims[at - 1].end:
            return claims[at - 1]
        if at < len(claims) and claims[at].begin < position + detail.size:
            return claims[at]
        return None

    # -- what goes out -----------------------------------------------------------------------

    def awaits(self, calls: tuple[Detail, ...]) -> bool:
        """Whether socket calls that these stand-ins own have not come: a program may write what its library
        encrypted when the library's call is over."""
        seen = self._seen_to[EGRESS]
        for call in calls:
            if call.direction == EGRESS:
                claim = self._of_call.get(call.sequence)
                if claim is not None and claim.end > seen:
                    return True
        return False

    def details_of(self, calls: tuple[Detail, ...]) -> tuple[Detail, ...]:
        """What these stand-ins own, in the order of its sequence numbers; at most once."""
        found: list[Detail] = []
        for call in calls:
            claim = self._of_call.pop(call.sequence, None)
            if claim is None:
                continue
            found += claim.details
            self._forget(call.direction, claim)
        self.waiting -= len(found)
        if len(found) > 1:
            found.sort(key=SEQUENCE)
        return tuple(found)

    def _forget(self, direction: int, claim: Claim) -> None:
        """Nothing more is added to it."""
        claims = self._claims[direction]
        at = bisect.bisect_left(claims, claim.begin, key=BEGIN)
        while at < len(claims) and claims[at].begin == claim.begin:
            if claims[at] is claim:
                del claims[at]
                return
            at += 1

    def let_go(self, before: int) -> None:
        """Details of calls that ended earlier than this (ns), and that nobody has claimed, go free."""
        for held in self._held:
            count = 0
            while count < len(held) and held[count].end < before:
                count += 1
            if count:
                self._loose += held[:count]
                del held[:count]
                self.waiting -= count

    def take_free(self) -> tuple[Detail, ...]:
        """What is to be sent alone now."""
        free = Ledger.take_free(self)
        if not free and not self._loose:
            return ()
        loose, self._loose = self._loose, []
        if free:
            loose += self.details_of(free)
        return tuple(loose)

    def drain(self) -> tuple[Detail, ...]:
        """Every detail, whoever owns it, in the order of its sequence numbers."""
        Ledger.drain(self)
        everything, self._loose = self._loose, []
        for claim in self._of_call.values():
            everything += claim.details
        self._of_call.clear()
        for direction in (0, 1):
            everything += self._held[direction]
            self._held[direction].clear()
            self._claims[direction].clear()
        everything.sort(key=SEQUENCE)
        return tuple(everything)
