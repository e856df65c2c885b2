"""Which command a reply answers.

Redis answers in order, so the oldest command that waits is the one, as long as no message went unseen.
Counting is proof then. Where bytes were lost:

- How many commands a gap among the commands hides is not known. Pairs after it are *assumed*, until the
  connection ends. So are all of a connection whose beginning was not seen.
- A gap among the replies, from wherever it begins, may hide the replies to commands that had been sent
  before its bytes moved, and no others. A client that was seen to take turns, and never seen otherwise, sends
  its next command when the one before is over: so that is, and what follows is proven. Not so if the client
  sent more than one meanwhile, or if what is read then is not a whole reply alone: nothing in RESP tells a
  reply's beginning from that of a value within one.
- Of other clients the oldest are taken to be over: those of as many calls as were lost, or, where the client
  was always seen to wait for all replies to a batch, the batch. Pairs after that are assumed.
- A reply answers what was sent before it. One that was there first answers something that nobody saw.
"""

from __future__ import annotations

import collections

from rover_plugin_redis.commands import PLAIN

MAX_WAITING = 65_536
"""Commands that may wait for their replies: 1 MB of the smallest, more than a server reads before it answers.
Beyond it decoding ends (`overflow`)."""

PROOF = 2
"""Turns that a client has to be seen to take before a lost reply is taken to be over when it goes on."""


class Command:
    """A command that waits for its reply."""

    __slots__ = ("argument", "assumed", "due", "kind", "name", "owner", "sequence", "size", "start", "whole")

    def __init__(self, owner: int, start: int, sequence: int, name: str, argument: bytes, size: int) -> None:
        self.owner = owner
        """The key of its bytes, and of its reply's."""
        self.start = start
        """ns, when its first byte moved."""
        self.sequence = sequence
        """The number of the call that moved it."""
        self.name = name
        self.argument = argument
        """Its first one, or the beginning of that."""
        self.size = size
        """Bytes as sent."""
        self.kind = PLAIN
        self.due = 1
        """Replies that it still gets; 0: until they say themselves that they are over."""
        self.whole = True
        """Whether no byte is missing that hides where it ends."""
        self.assumed = False
        """Whether it is not proven which reply is its own."""


class Pairing:
    """The commands of a connection that wait for their reply."""

    __slots__ = ("_alone", "_batches", "_turns", "doubt", "probation", "waiting")

    def __init__(self) -> None:
        self.waiting: collections.deque[Command] = collections.deque()
        """In the order sent."""
        self.doubt = False
        """Whether commands or replies may be to come that nobody saw, so that counting is no proof."""
        self.probation = False
        """Whether the next reply is the first one after a loss that counting has survived."""
        self._batches = True  # the client was never seen to send a call while it waited
        self._alone = True  # nor several commands in one
        self._turns = 0  # times that it was seen to wait

    def add(self, command: Command, missing: int) -> list[Command]:
        """A command was sent; `missing` is the highest number of a call of which no record came. Returns the
        commands that are over because of it."""
        waiting = self.waiting
        over: list[Command] = []
        if waiting:
            last = waiting[-1].sequence
            if command.sequence == last:
                self._alone = False
            elif missing <= last and self._batches:  # else what is missing in between may be the reply
                if self.doubt and self._turns:
                    over = list(waiting)
                    waiting.clear()
                else:
                    self._batches = False
        if self.probation and waiting:
            self.doubt = True  # it does not take turns any more
        command.assumed = self.doubt
        waiting.append(command)
        return over

    def answer(self) -> Command:
        """The oldest has its reply."""
        waiting = self.waiting
        command = waiting.popleft()
        if not waiting:
            self._turns += 1
        if self.doubt:
            command.assumed = True
        return command

    def unasked(self) -> None:
        """A reply came that answers nothing known."""
        if self.doubt:
            self._batches = False
        self.doubt = True

    def lose(self, moved: int, records: int, ordered: bool) -> list[Command]:
        """Replies may have been lost, in `records` calls at most, before the call number `moved`. Returns the
        commands that are over. `ordered`: whether the calls' numbers tell which came first."""
        waiting = self.waiting
        open_ = 0
        for command in waiting:
            if command.sequence >= moved:
                break
            open_ += 1
        proven = ordered and self._batches and self._alone and self._turns >= PROOF
        if not proven or not 0 < open_ <= records or len(waiting) > open_ + 1:
            self.doubt = True  # without one open, it was an answer to what nobody saw
        self.probation = True
        if not self._batches:
            over, calls, last = 0, 0, -1
            for command in waiting:
                if command.sequence != last:
                    last = command.sequence
                    calls += 1
                if over == open_ or calls > max(records, 1):
                    break
                over += 1
            open_ = over
        return [waiting.popleft() for _ in range(open_)]
