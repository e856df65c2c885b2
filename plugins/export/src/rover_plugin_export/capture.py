"""Records as a packet capture: what each call moved, in packets that could have carried it.

One end of each connection was watched, or both were, as on loopback. A capture has a connection once, so of
two views of it the one that opened first is written, and the other is counted.

The order of records tells more than packets do: where the number of a record is left out, some call came
before the next one, and what that call moved shows later, in the position of a call in its direction. The
other end had those bytes by then, as acknowledgements tell in a capture. So what follows such a number waits
for that call.

A call is a segment, or several. Of a call that was not captured whole, the segments are cut off, as by a snap
length; of calls whose records were lost, the sequence numbers are missing. Every packet is of the interface
that stands for the process whose call it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from rover import Closed, Detail, Direction, Opened, Process, Role
from rover_plugin_export import pcapng
from rover_plugin_export.segments import ACK, FIN, MAX_SEGMENT, PSH, RST, SYN, Route

MAX_INTERFACES = 60_000
"""Processes that have one of their own; readers keep each, and ours takes 65,536."""
MAX_CONVERSATIONS = 65_536
"""Written at once, at some 2 kB: as many as the pipeline follows (`limits.connections`). The oldest makes
room."""
MAX_PROCESSES = 32_768
"""The default of kernel.pid_max."""
MAX_HOLE = 1 << 29
"""Bytes that may be missing between two segments: readers take what is farther away than a window (RFC 7323
section 2.3: 1 GiB) for another stream's. After a larger hole the connection is written as another one."""
MAX_ENDED = 65_536
"""Connections that ended whose other view may still begin: a server accepts after its client has connected,
spoken and closed."""
VIEW_DELAY = 5_000_000_000
"""ns after that end within which it does."""
MAX_HELD = 256
"""Calls of a connection that wait."""
MAX_HELD_BYTES = 32 << 20
"""Bytes of all calls that wait."""
_SPREAD = 0x9E3779B1
"""Knuth's multiplicative hash: initial sequence numbers that are far from each other."""
_UNKNOWN = Process(pid=0, name="")

Ends = tuple[str, int, str, int]


class _Conversation:
    """A connection that is written."""

    __slots__ = (
        "base",
        "comment",
        "ended",
        "ends",
        "held",
        "next",
        "opened",
        "proven",
        "routes",
        "secret",
        "sequence",
    )

    def __init__(self, opened: Opened, routes: tuple[Route, Route], base: list[int], comment: str) -> None:
        self.opened = opened
        self.ends = _ends(opened)
        self.routes = routes
        """By direction: of what comes in, and of what goes out."""
        self.base = base
        """By direction: the position with which it begins."""
        self.next = list(base)
        """By direction: the position after the last byte."""
        self.ended = [False, False]
        """By direction: whether the stream has ended."""
        self.held: list[_Held] = []
        """What waits for a call in the other direction."""
        self.proven = 0
        """Bytes of the other direction, beyond `next`, that the packet written now acknowledges."""
        self.sequence = opened.detail.sequence + 1 if opened.detail is not None else 0
        """The number of the record that is due."""
        self.comment = comment
        """Of the first packet; empty once that is written."""
        self.secret = False
        """Whether its plaintext is written: then its socket calls, which carried ciphertext, are not."""


class _Held(NamedTuple):
    call: Any
    payload: bytes
    jump: bool
    """Whether records of the other direction may have been lost right before it."""


def _ends(opened: Opened) -> Ends:
    return opened.local.host, opened.local.port, opened.remote.host, opened.remote.port


class Capture:
    """Takes records as a source delivers them, and writes packets."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """`write` takes whole blocks; the first ones come at once."""
        self.packets = 0
        self.connections = 0
        self.views = 0
        """Connections that were left out because their other end's view is there."""
        self._write = write
        self._epoch = 0
        self._conversations: dict[int, _Conversation] = {}
        self._written: dict[Ends, int] = {}  # what is being written: how many, by ends
        self._ended: OrderedDict[Ends, int] = OrderedDict()  # when it was written to its end
        self._processes: dict[int, Process] = {}
        self._interfaces: dict[tuple[int, str], int] = {}
        self._held_bytes = 0
        self._begun = 0

    def begin(self, epoch: int) -> None:
        """The records of another source follow, whose clock has its zero at this Unix time (ns)."""
        self.finish()
        self._epoch = epoch
        self._conversations.clear()
        self._written.clear()
        self._ended.clear()
        self._processes.clear()

    def finish(self) -> None:
        """Nothing follows, or nothing of these connections."""
        for conversation in list(self._conversations.values()):
            self._release(conversation, 0)

    # -- records -------------------------------------------------------------------------------

    def process(self, process: Process) -> None:
        """A process, by the name it has from now on."""
        processes = self._processes
        processes.pop(process.pid, None)
        processes[process.pid] = process
        if len(processes) > MAX_PROCESSES:
            del processes[next(iter(processes))]

    def opened(self, opened: Opened) -> None:
        """A connection, unless it is the other view of one that is there."""
        ends = _ends(opened)
        mirrored = (*ends[2:], *ends[:2])
        if mirrored != ends and (mirrored in self._written or self._just_ended(mirrored, opened.time)):
            self._ended.pop(mirrored, None)
            self.views += 1
            return
        conversations = self._conversations
        if (left := conversations.pop(opened.connection, None)) is not None:
            self._forget(left, opened.time)
        if len(conversations) >= MAX_CONVERSATIONS:
            self._forget(conversations.pop(next(iter(conversations))), opened.time)
        self._written[ends] = self._written.get(ends, 0) + 1
        self.connections += 1
        self._begin(opened, [0, 0], opened.time, late=opened.late)

    def data(self, detail: Detail, payload: bytes) -> None:
        """A call."""
        conversation = self._conversations.get(detail.connection)
        if conversation is not None and not conversation.secret:
            self._arrived(conversation, detail, payload)

    def plaintext(self, plaintext: Any, payload: bytes) -> None:
        """A call of a TLS library: a record with `connection`, `direction`, `position`, `size`, `pid` and
        `end`, as of `data`. The socket calls before it and after it carried ciphertext, so what was written
        of those ends, and the plaintext is a connection of its own between the same ends."""
        conversation = self._conversations.get(plaintext.connection)
        if conversation is None:
            return
        if not conversation.secret:
            conversation = self._release(conversation, 0)
            if conversation.next != [0, 0]:
                self._reset(conversation, plaintext.end)
                opened = conversation.opened
                conversation = self._begin(opened, [0, 0], plaintext.end, late=False, note=", plaintext")
            conversation.secret = True
            conversation.sequence = 0
        self._arrived(conversation, plaintext, payload)

    def closed(self, closed: Closed) -> None:
        """The end of a connection."""
        conversation = self._conversations.pop(closed.connection, None)
        if conversation is None:
            return
        conversation = self._release(conversation, 0)
        if not closed.reset and not conversation.ended[Direction.EGRESS]:
            self._end(conversation, Direction.EGRESS, closed.time, conversation.opened.pid)
        if not all(conversation.ended):
            # What the other end had still to say is not known: a FIN would say that it was all.
            self._reset(conversation, closed.time)
        self._forget(conversation, closed.time)

    def _forget(self, conversation: _Conversation, time: int) -> None:
        self._release(conversation, 0)
        ends, written, ended = conversation.ends, self._written, self._ended
        written[ends] -= 1
        if not written[ends]:
            del written[ends]
        ended[ends] = time
        ended.move_to_end(ends)
        if len(ended) > MAX_ENDED:
            ended.popitem(last=False)

    # -- packets -------------------------------------------------------------------------------

    def _just_ended(self, ends: Ends, time: int) -> bool:
        ended = self._ended.get(ends)
        return ended is not None and time - ended < VIEW_DELAY

    def _begin(
        self, opened: Opened, base: list[int], time: int, *, late: bool, note: str = ""
    ) -> _Conversation:
        """A connection from these positions on, at this time."""
        self._begun += 1
        isn = self._begun * _SPREAD & 0xFFFF_FFFF
        local, remote = opened.local, opened.remote
        client = opened.role is Role.CLIENT
        routes = (
            Route(remote, local, isn, from_client=not client),
            Route(local, remote, isn, from_client=client),
        )
        conversation = _Conversation(opened, routes, base, self._comment(opened) + note)
        self._conversations[opened.connection] = conversation
        if not late and opened.role is not None:
            asks = Direction.EGRESS if client else Direction.INGRESS
            self._packet(conversation, asks, SYN, time, opened.pid)
            self._packet(conversation, 1 - asks, SYN | ACK, time, opened.pid)
            self._packet(conversation, asks, ACK, time, opened.pid)
        return conversation

    def _comment(self, opened: Opened) -> str:
        role = f" is the {opened.role.value}" if opened.role is not None else ""
        return f"{_named(self._known(opened.pid))}{role}, rover.connection {opened.connection:016x}"

    def _arrived(self, conversation: _Conversation, call: Any, payload: bytes) -> None:
        """`call` as of `plaintext`, with its `sequence`."""
        direction, held = call.direction, conversation.held
        lost = call.sequence - conversation.sequence
        conversation.sequence = max(conversation.sequence, call.sequence + 1)
        if held and held[0].call.direction != direction:
            missing = call.position - conversation.next[direction]
            conversation = self._release(conversation, missing, last=lost <= 0)
        elif not held and lost <= 0:
            self._moved(conversation, call, payload)
            return
        end = (
            held[-1].call.position + held[-1].call.size if conversation.held else conversation.next[direction]
        )
        # One record that was lost, and bytes missing in this direction: it was of this one.
        jump = lost > (call.position > end)
        if not jump and not conversation.held:
            self._moved(conversation, call, payload)
            return
        conversation.held.append(_Held(call, payload, jump))
        self._held_bytes += len(payload)
        if len(conversation.held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            self._release(conversation, 0)

    def _release(self, conversation: _Conversation, missing: int, *, last: bool = True) -> _Conversation:
        """Writes what waits. `missing`: bytes of the other direction that are known by now to have been lost.
        `last`: whether none was lost after the last one of what waits."""
        held, conversation.held = conversation.held, []
        left = sum(each.jump for each in held)
        for call, payload, jump in held:
            self._held_bytes -= len(payload)
            if jump:
                left -= 1
                # Nobody knows what each record had of it: at least a byte.
                more = missing if last and not left else min(conversation.proven + 1, missing)
                conversation.proven = max(more, 0)
            conversation = self._moved(conversation, call, payload)
        conversation.proven = 0
        return conversation

    def _moved(self, conversation: _Conversation, call: Any, payload: bytes) -> _Conversation:
        """`call` as of `plaintext`. Returns what goes on: after a large hole, another one."""
        direction, size, position = call.direction, call.size, call.position
        if not size:
            if not conversation.ended[direction]:
                self._end(conversation, direction, call.end, call.pid)
            return conversation
        if position - conversation.next[direction] > MAX_HOLE:
            self._reset(conversation, call.end)
            base = list(conversation.next)
            base[direction] = position
            before = conversation
            conversation = self._begin(before.opened, base, call.end, late=False)
            conversation.secret, conversation.sequence = before.secret, before.sequence
        for at in range(0, size, MAX_SEGMENT):
            part = min(MAX_SEGMENT, size - at)
            captured = payload[at : at + part]
            self._packet(
                conversation, direction, ACK | PSH, call.end, call.pid, part, captured, position + at
            )
        return conversation

    def _end(self, conversation: _Conversation, direction: int, time: int, pid: int) -> None:
        conversation.ended[direction] = True
        self._packet(conversation, direction, FIN | ACK, time, pid)

    def _reset(self, conversation: _Conversation, time: int) -> None:
        self._packet(conversation, Direction.INGRESS, RST | ACK, time, conversation.opened.pid)

    def _packet(
        self,
        conversation: _Conversation,
        direction: int,
        flags: int,
        time: int,
        pid: int,
        size: int = 0,
        payload: bytes = b"",
        position: int = -1,
    ) -> None:
        """At `position`, or where the stream of its direction has got to."""
        positions, base = conversation.next, conversation.base
        if position < 0:
            position = positions[direction]
        other = 1 - direction
        known = positions[other] + conversation.ended[other] + conversation.proven  # a FIN has a number, too
        route = conversation.routes[direction]
        captured, length = route.segment(
            position - base[direction], known - base[other], flags, size, payload
        )
        positions[direction] = max(positions[direction], position + size)
        comment, conversation.comment = conversation.comment, ""
        interface = self._interface(self._known(pid))
        self._write(pcapng.packet(interface, self._epoch + time, captured, length, comment))
        self.packets += 1

    # -- processes -----------------------------------------------------------------------------

    def _known(self, pid: int) -> Process:
        return self._processes.get(pid) or (Process(pid=pid, name="") if pid else _UNKNOWN)

    def _interface(self, process: Process) -> int:
        """The number of the interface that stands for a process."""
        key = (process.pid, process.name)
        number = self._interfaces.get(key)
        if number is None:
            if len(self._interfaces) >= MAX_INTERFACES:
                return 0
            number = self._interfaces[key] = len(self._interfaces)
            name = _named(process)
            self._write(pcapng.interface(name, f"what rover saw of {name}"))
        return number


def _named(process: Process) -> str:
    """As the console shows it: "nginx[42]"."""
    return f"{process.name or '?'}[{process.pid}]" if process.pid else "unknown process"
