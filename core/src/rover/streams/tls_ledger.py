"""Exactly-once delivery of the details of a TLS connection.

Its buffers hold plaintext, and what goes through them is the calls of the TLS library: each has a stand-in, a
`Detail` of plaintext. The details are of socket calls, which moved ciphertext. A call of the library owns a
range of ciphertext; a socket call belongs to the first range of which it moved any. So a detail leaves with
whoever took the stand-in of its owner. What moved bytes of no range is nobody's: handshakes, alerts.
"""

from __future__ import annotations

import operator
from typing import Any

from rover.streams.ledger import MAX_WAITING, Ledger
from rover.values.records import Detail, Direction, Plaintext, Syscall

INGRESS, EGRESS = (int(direction) for direction in Direction)
NO_CALL = int(Syscall.NONE)
MAX_FRAGMENT = 16384
"""Bytes of plaintext in a record (RFC 8446 section 5.1)."""
OVERHEAD = 21
"""Bytes that a record has besides them, at least: a header of 5, and a tag of 16 (RFC 7905)."""

SEQUENCE = operator.attrgetter("sequence")


class StandIn(Detail):
    """A call of the library, as a buffer takes it. It owns ciphertext from `begin` to `stop`, and the details
    of the socket calls that began there, as far as they came: unlike a value, it changes."""

    __slots__ = ("begin", "details", "stop")

    begin: int
    stop: int
    details: list[Detail] | None

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


StandIns = tuple[Any, ...]
"""Of `StandIn`, where a base class knows them as details."""


def stand_in(plaintext: Plaintext) -> StandIn:
    """One that owns nothing yet."""
    made = StandIn.__new__(StandIn)
    made.connection = plaintext.connection
    made.sequence = plaintext.sequence
    made.start = plaintext.start
    made.end = plaintext.end
    made.position = plaintext.position
    made.size = plaintext.size
    made.pid = plaintext.pid
    made.fd = -1
    made.syscall = NO_CALL
    made.direction = plaintext.direction
    made.error = 0
    made.begin = made.stop = 0
    made.details = None
    return made


class Side:
    """One direction."""

    __slots__ = ("claimed_to", "claims", "held", "seen_to")

    def __init__(self) -> None:
        self.claims: list[StandIn] = []
        """Those that may still get details, in the order of what they begin with."""
        self.held: list[Detail] = []
        """What came before its claim, in the order of positions."""
        self.claimed_to = -1
        """Where the newest claim ends; -1 when there was none."""
        self.seen_to = 0
        """Where the newest socket call ended."""

    def held_from(self, position: int) -> int:
        """Where in `held` those are that begin there or later."""
        low, high = 0, len(self.held)
        while low < high:
            middle = (low + high) >> 1
            detail = self.held[middle]
            if detail.position < position:
                low = middle + 1
            else:
                high = middle
        return low

    def claims_from(self, position: int) -> int:
        """Where in `claims` those are that begin there or later."""
        low, high = 0, len(self.claims)
        while low < high:
            middle = (low + high) >> 1
            claim = self.claims[middle]
            if claim.begin < position:
                low = middle + 1
            else:
                high = middle
        return low

    def claim_of(self, detail: Detail) -> StandIn | None:
        """The first of which it moved any."""
        claims, position = self.claims, detail.position
        at = self.claims_from(position + 1)
        if at:
            claim = claims[at - 1]
            if position < claim.stop:
                return claim
        if at < len(claims):
            claim = claims[at]
            if claim.begin < position + detail.size:
                return claim
        return None

    def forget(self, claim: StandIn) -> None:
        """Nothing more is added to it."""
        claims = self.claims
        at = self.claims_from(claim.begin)
        while at < len(claims):
            other = claims[at]
            if other is claim:
                del claims[at]
                return
            if other.begin != claim.begin:
                return
            at += 1


class TlsLedger(Ledger):
    """What goes in by `assign` and `free`, and out by `take`, are stand-ins: `details_of` has their details.
    All else that leaves is details."""

    __slots__ = ("_egress", "_ingress", "_loose")

    def __init__(self) -> None:
        super().__init__()
        self._ingress = Side()
        self._egress = Side()
        self._loose: list[Detail] = []  # belong to nobody

    # -- what comes in -----------------------------------------------------------------------

    def begin(self, direction: int, position: int) -> None:
        """What socket calls moved up to there was seen, by somebody else."""
        side = self._egress if direction else self._ingress
        side.seen_to = position

    def add(self, detail: Detail, limit: int = MAX_WAITING) -> None:
        """A socket call; one that moved nothing is nobody's.

        Of those that no call of the library has claimed, the oldest go free beyond `limit`. What is claimed
        and beyond MAX_WAITING goes free, too.
        """
        position = detail.position
        if detail.size <= 0:
            self._loose.append(detail)
            return
        side = self._egress if detail.direction else self._ingress
        if position + detail.size > side.seen_to:
            side.seen_to = position + detail.size
        if position < side.claimed_to:
            claim = side.claim_of(detail)
            if claim is None or self.waiting >= MAX_WAITING:
                self._loose.append(detail)
                return
            if claim.details is None:
                claim.details = [detail]
            else:
                claim.details.append(detail)
        else:
            side.held.insert(side.held_from(position + 1), detail)
            if self.waiting >= limit:
                self._loose.append(side.held.pop(0))
                return
        self.waiting += 1

    def own(self, call: StandIn, begin: int, end: int) -> None:
        """A call of the library, which goes into a buffer: where the ciphertext begins and ends that it owns,
        as of `Plaintext`."""
        direction = call.direction
        side = self._egress if direction else self._ingress
        if end < 0:
            end = side.seen_to  # by order of arrival
        elif direction == INGRESS and end > side.seen_to:
            # What is decrypted was read: a program that reads ahead of its library misleads a source which
            # compares what both have read.
            end = side.seen_to
        if begin < 0:
            begin = side.claimed_to
            if begin < 0:
                begin = first_begin(side.held, call, end)
        if begin > end:
            begin = end
        if end > side.claimed_to:
            side.claimed_to = end
        call.begin, call.stop = begin, end
        held = side.held
        if held:
            at = side.held_from(begin)
            if at and begin < end:
                last = held[at - 1]
                if last.position + last.size > begin:
                    at -= 1  # it moved the end of a handshake, too
            after = side.held_from(end)
            if at:
                self._loose += held[:at]
                self.waiting -= at
            if not at and after == len(held):  # as mostly: then nothing is copied
                call.details, side.held = held, []
            elif after:
                call.details = held[at:after]
                del held[:after]
        if begin < end:
            side.claims.insert(side.claims_from(begin + 1), call)

    # -- what goes out -----------------------------------------------------------------------

    def awaits(self, calls: StandIns) -> bool:
        """Whether socket calls that these own have not come: a program may write what its library encrypted
        when the library's call is over."""
        seen = self._egress.seen_to
        for each in calls:
            call = each
            if call.direction == EGRESS and call.stop > seen:
                return True
        return False

    def details_of(self, calls: StandIns) -> tuple[Detail, ...]:
        """What these own, in the order of its sequence numbers; at most once."""
        found: list[Detail] | None = None
        for each in calls:
            call = each
            if call.begin < call.stop:
                side = self._egress if call.direction else self._ingress
                side.forget(call)
            if call.details is not None:
                if found is None:
                    found = call.details
                else:
                    found += call.details
                call.details = None
        if found is None:
            return ()
        self.waiting -= len(found)
        if not in_order(found):
            found.sort(key=SEQUENCE)
        return tuple(found)

    def let_go(self, before: int) -> None:
        """Details of calls that ended earlier than this (ns), and that nobody has claimed, go free."""
        for side in (self._ingress, self._egress):
            held, count = side.held, 0
            while count < len(held):
                detail = held[count]
                if detail.end >= before:
                    break
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
        everything, self._loose = self._loose, []
        everything += self.details_of(Ledger.drain(self))
        for side in (self._ingress, self._egress):
            everything += side.held
            side.held.clear()
            side.claims.clear()
        self.waiting = 0
        everything.sort(key=SEQUENCE)
        return tuple(everything)


def first_begin(held: list[Detail], call: StandIn, end: int) -> int:
    """Where the ciphertext of the first call that is seen begins: about where its records do, and no
    later than the socket calls made inside it."""
    records = (call.size + MAX_FRAGMENT - 1) // MAX_FRAGMENT
    begin = max(0, end - call.size - records * OVERHEAD)
    for detail in held:
        if detail.position >= begin:
            break
        if detail.start >= call.start:
            return detail.position
    return begin


def in_order(details: list[Detail]) -> bool:
    """Of sequence numbers. Most are, and to sort them by a key takes a call for each."""
    before = -1
    for each in details:
        detail = each
        if detail.sequence < before:
            return False
        before = detail.sequence
    return True
