"""TCP segments to records (RFC 9293): connections, their two streams in order, gaps, ends.

What was seen first stays: a retransmission that says something else changes nothing. Bytes are
delivered as soon as they are in order, with the time of the packet that made them so: that is
when the receiver could read them. Bytes that never come become a gap: the position jumps.

The sequence numbers of the records tell by when lost bytes had moved: what was sent after that cannot
be answered by them. A segment that acknowledges bytes of the other direction was sent by somebody who
had them; where the capture does not have them, one number is left out right before the record of that
segment. Where nothing acknowledged them before, it is left out right before the record after the gap.
Bytes that come after all, later in the file than a record that acknowledges them, show that the file is
not in the order of things: their record begins (`start`) before that one ended, as calls that overlap do.

Nobody watched an end, so one is chosen to be `local`: the client's. Requests are then EGRESS.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection

from rover.values.records import Closed, RecordHandler, Syscall, new_detail
from rover_source_pcap.pieces import Pieces
from rover_source_pcap.tcp_connection import PORTS, UNKNOWN, Half, TcpConnection, distance, opened_of

SECOND = 1_000_000_000

MAX_CONNECTIONS = 32_768
"""Kept at once, ended ones included; at about 1.2 kB some 40 MB. The longest silent quarter makes
room."""
MAX_HELD = 1 << 20
"""Bytes one direction keeps after a hole: a second's delay at 8 Mbit/s, a tenth at 80. A faster
sender that lost a segment loses it here too, and nothing else."""
MAX_HELD_TOTAL = 32 << 20
"""The same for all connections: 32 that are full, or thousands with a usual hole."""
MAX_STALL = 60 * SECOND
"""How long a hole is waited for: a sender gives up after 924 s (net.ipv4.tcp_retries2), but by a
minute it has tried eight times, doubling the pause, and nobody reads the exchange any more."""
MAX_IDLE = 3600 * SECOND
"""Silence after which a connection is over: pools keep idle connections open for minutes, push
channels send something every few minutes, and kernels probe after two hours."""
LINGER = 60 * SECOND
"""What comes this long after the end belongs to the connection that ended: retransmissions. Linux
keeps the ports that long (TCP_TIMEWAIT_LEN)."""
AGE_INTERVAL = 10 * SECOND
MAX_JUMP = 1 << 30
"""Bytes a segment may be away from where its stream is: the largest window (RFC 7323 section 2.3)."""
MAX_RESET_JUMP = 1 << 20
"""The same for a RST. The RFC wants it exact (RFC 5961 section 3); a capture may miss segments."""
MAX_LATE_SYN = 1 << 16
"""Bytes of a stream that may have come before its own SYN, in a capture that shuffles packets."""

_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_RARE = _FIN | _SYN | _RST
_MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000
_HEADER = struct.Struct(">4xIIBB").unpack_from
_NO_CALL = int(Syscall.NONE)


class Assembler:
    """All connections of a capture. Deterministic: the same packets give the same records."""

    def __init__(self, ports: Collection[int] = ()) -> None:
        """`ports`: only connections with one of these on either end; empty is all."""
        self.handler: RecordHandler
        """Where records go; to be set before the first segment."""
        self.skipped: Counter[str] = Counter()
        """Segments that came to nothing, by cause; `retransmitted` ones may have in part."""
        self.gaps = 0
        self.gap_bytes = 0
        self.evicted = 0
        """Connections given up because there were too many."""
        self._ports = frozenset(ports)
        self._halves: dict[bytes, Half] = {}
        self._connections: dict[bytes, TcpConnection] = {}
        self._reported = 0
        self._held = 0
        self._aged = 0
        self._packets = 0

    # -- segments --------------------------------------------------------------------------

    def segment(self, time: int, key: bytes, data: bytes, offset: int, end: int, cut: int) -> None:
        """See `ip.SegmentHandler`."""
        if end - offset < 20:
            self.skipped["bad_tcp"] += 1
            return
        seq, ack, length, flags = _HEADER(data, offset)
        start = offset + ((length & 0xF0) >> 2)
        size = end + cut - start
        if length < 0x50 or size < 0:
            self.skipped["bad_tcp"] += 1
            return
        self.arrived(time, key, seq, ack, flags, size, data, start, end)

    def arrived(
        self,
        time: int,
        key: bytes,
        seq: int,
        ack: int,
        flags: int,
        size: int,
        data: bytes,
        start: int,
        end: int,
    ) -> None:
        """A segment whose header was read: `size` bytes, captured of them `data[start:end]`."""
        half = self._halves.get(key)
        if half is None:
            if flags & _RST or not self._selected(key):
                return
            half = self._begin(time, key)
        half.connection.seen = time
        if flags & _RARE:
            self._rare(time, half, seq, ack, flags, size, data, start, end)
            return
        if flags & _ACK:
            other = half.other
            other.acknowledged = ack
            if not other.orderly:
                self._settle(time, other)
        if size == 0:
            return
        if seq == half.next and half.orderly:
            other = half.other
            if flags & _ACK and 0 < (ack - other.next & _MASK) < _HALF:
                self._prove(time, other, ack)
            half.next = (seq + size) & _MASK
            self._deliver(time, time, half, size, data[start:end])
        else:
            self._disorder(time, half, seq, ack, flags, size, data, start, end)

    def _rare(
        self,
        time: int,
        half: Half,
        seq: int,
        ack: int,
        flags: int,
        size: int,
        data: bytes,
        start: int,
        end: int,
    ) -> None:
        """A segment that begins or ends something."""
        if flags & _RST:
            self._reset(time, half, seq)
            return
        if flags & _SYN:
            synchronised = self._synchronise(time, half, seq, ack, bool(flags & _ACK))
            if synchronised is None:
                return
            half = synchronised
            seq = seq + 1 & _MASK
        if half.connection.closed:
            self.skipped["after_end"] += 1
            return
        if flags & _ACK:
            half.other.acknowledged = ack
            self._settle(time, half.other)
        if size:
            self._disorder(time, half, seq, ack, flags, size, data, start, end)
        if flags & _FIN:
            self._finish(time, half, seq + size & _MASK)

    def _disorder(
        self,
        time: int,
        half: Half,
        seq: int,
        ack: int,
        flags: int,
        size: int,
        data: bytes,
        start: int,
        end: int,
    ) -> None:
        """Data that may be anywhere in the stream, or not in it at all."""
        if half.connection.closed or half.ended:
            self.skipped["after_end"] += 1
            return
        if size == 1 and not flags & (_PSH | _RARE) and self._probes(half, seq):
            self.skipped["keep_alive"] += 1
            return
        if half.next == UNKNOWN:
            half.next = seq
        ahead = distance(half.next, seq)
        if not -MAX_JUMP <= ahead <= MAX_JUMP:
            if half.position or half.held is not None or half.isn != UNKNOWN:
                self.skipped["out_of_window"] += 1
                return
            # All that is known of this stream is an acknowledgement, which cannot be right.
            half.next = seq
            half.proven = UNKNOWN
            ahead = 0
        if ahead < 0:
            self.skipped["retransmitted"] += 1
            size += ahead
            start -= ahead
            ahead = 0
        if size > 0:
            known = ack if flags & _ACK else UNKNOWN
            self._hold(time, half, half.position + ahead, size, data[start:end], known)
        self._drain(time, half)
        self._settle(time, half)
        while (held := half.held) is not None and (
            held.cost > MAX_HELD or self._held > MAX_HELD_TOTAL or time - half.stalled > MAX_STALL
        ):
            self._jump(time, half, held.first)

    def _probes(self, half: Half, seq: int) -> bool:
        """Whether a byte that nobody pushed probes the other end (RFC 9293 section 3.8.4, RFC 1122
        section 4.2.3.6): such a byte repeats the last one that was sent, and may hold anything."""
        if half.next == UNKNOWN:
            return half.connection.late
        acknowledged = half.acknowledged
        return acknowledged != UNKNOWN and distance(half.next, seq) > 0 and distance(seq, acknowledged) > 0

    def _hold(self, time: int, half: Half, position: int, size: int, payload: bytes, ack: int) -> None:
        held = half.held
        if held is None:
            if position == half.position:
                self._advance(time, half, size, payload, ack)
                return
            held = half.held = Pieces()
            half.stalled = time
        self._held -= held.cost
        held.add(position, size, payload, ack)
        self._held += held.cost

    # -- what is delivered -----------------------------------------------------------------

    def _deliver(self, start: int, time: int, half: Half, size: int, payload: bytes) -> None:
        """The next `size` bytes of a stream, which moved from `start` to `time`; 0 is its end."""
        connection = half.connection
        if not connection.id:
            self._report(connection)
        sequence = connection.sequence
        connection.sequence = sequence + 1
        position = half.position
        half.position = position + size
        self.handler.data(
            new_detail(
                connection=connection.id,
                sequence=sequence,
                start=start,
                end=time,
                position=position,
                size=size,
                pid=0,
                fd=-1,
                syscall=_NO_CALL,
                direction=half.direction,
                error=0,
            ),
            payload,
        )

    def _drain(self, time: int, half: Half) -> None:
        """Delivers what is in order by now, the end of the stream included."""
        held = half.held
        if held is not None:
            self._held -= held.cost
            for _, size, payload, ack in held.take(half.position):
                half.stalled = time
                self._advance(time, half, size, payload, ack)
            self._held += held.cost
            if not held:
                half.held = None
        if half.fin != UNKNOWN and half.position >= half.fin:
            self._end(time, half)
        half.orderly = not (half.held or half.ended or half.fin != UNKNOWN or half.proven != UNKNOWN)

    def _advance(self, time: int, half: Half, size: int, payload: bytes, ack: int) -> None:
        """Delivers what is in order by now, of a segment that acknowledged `ack`."""
        start = time if half.proven == UNKNOWN else half.since - 1
        if ack != UNKNOWN:
            self._prove(time, half.other, ack)
        half.next = half.next + size & _MASK
        self._caught_up(half)
        self._deliver(start, time, half, size, payload)

    def _caught_up(self, half: Half) -> None:
        """Forgets what was proven of bytes that are delivered, or given up, by now."""
        if half.proven != UNKNOWN and distance(half.next, half.proven) <= 0:
            half.proven = UNKNOWN

    def _prove(self, time: int, half: Half, ack: int) -> None:
        """What is delivered next, by the other end, was sent when that end had this stream up to
        `ack`. If that is more than was delivered, it is not in the file, or not yet."""
        if half.ended or half.next == UNKNOWN:
            return
        ahead = distance(half.next, ack)
        if half.fin != UNKNOWN:
            ahead = min(ahead, half.fin - half.position)
        if not 0 < ahead <= MAX_JUMP:
            return
        proven = half.next + ahead & _MASK
        if half.proven == UNKNOWN:
            half.since = time
        elif distance(half.proven, proven) <= 0:
            return
        half.proven = proven
        half.orderly = False
        half.connection.sequence += 1

    def _end(self, time: int, half: Half) -> None:
        half.ended = True
        half.fin = UNKNOWN
        if half.held is not None:
            self._held -= half.held.cost
            half.held = None
        self._deliver(time, time, half, 0, b"")
        if half.other.ended:
            self._close(time, half.connection)

    def _settle(self, time: int, half: Half) -> None:
        """Gives up on holes whose bytes the receiver has: they will not be sent again."""
        acknowledged = half.acknowledged
        if acknowledged == UNKNOWN or half.ended or half.connection.closed:
            return
        if half.next == UNKNOWN:
            # After a SYN the first acknowledgement tells where the stream begins. Joined late, what
            # it acknowledges was before our time, and all that follows is ours to see.
            half.next = acknowledged
            half.orderly = True
            return
        while half.held is not None or half.fin != UNKNOWN:
            target = half.held.first if half.held is not None else half.fin
            if half.position + distance(half.next, acknowledged) < target:
                return
            self._jump(time, half, target)

    def _jump(self, time: int, half: Half, target: int) -> None:
        """Leaves a gap up to the position `target`, where there are data or the end."""
        size = target - half.position
        self.gaps += 1
        self.gap_bytes += size
        half.next = half.next + size & _MASK
        unproven = half.proven == UNKNOWN or distance(half.proven, half.next) > 0
        self._caught_up(half)
        if half.held is not None:
            half.connection.sequence += unproven
            half.position = target
        else:
            # No data will follow to show the gap: these bytes were sent, and not captured.
            self._deliver(time, time, half, size, b"")
        self._drain(time, half)

    # -- beginnings and ends ---------------------------------------------------------------

    def _selected(self, key: bytes) -> bool:
        return not self._ports or not self._ports.isdisjoint(PORTS(key[-4:]))

    def _begin(self, time: int, key: bytes) -> Half:
        if len(self._connections) >= MAX_CONNECTIONS:
            self._make_room(time)
        connection = self._connections[key] = TcpConnection(time)
        half = connection.first = self._halves[key] = Half(connection, key)
        address = len(key) // 2 - 2
        reverse = key[address : 2 * address] + key[:address] + key[-2:] + key[-4:-2]
        if reverse != key:
            half.other = self._halves[reverse] = Half(connection, reverse)
            half.other.other = half
        return half

    def _synchronise(self, time: int, half: Half, seq: int, ack: int, answer: bool) -> Half | None:
        """A SYN: the half it opens, perhaps of a new connection on the same ports; None if bogus."""
        connection, other = half.connection, half.other
        if not connection.closed:
            if half.isn == seq:
                return half
            begin = half.next - half.position & _MASK
            fits = half.next == UNKNOWN or 0 <= distance(seq + 1 & _MASK, begin) < MAX_LATE_SYN
            confirmed = answer and other.isn != UNKNOWN and ack == other.isn + 1 & _MASK
            if confirmed and half.isn != UNKNOWN and (half.position or half.held):
                self.skipped["bogus_syn"] += 1
                return None
            if confirmed or (half.isn == UNKNOWN and fits):
                self._open(half, seq, answer)
                return half
        self._forget(time, connection)
        half = self._begin(time, half.key)
        self._open(half, seq, answer)
        return half

    def _open(self, half: Half, seq: int, answer: bool) -> None:
        connection = half.connection
        connection.late = False
        connection.client = half.other if answer else half
        half.isn = seq
        if not half.position and not half.held:
            half.next = seq + 1 & _MASK
            half.proven = UNKNOWN
            half.orderly = half.fin == UNKNOWN and not half.ended
        other = half.other
        if other.isn == UNKNOWN and not other.position and not other.held:
            # What was seen of it so far belongs to whoever had the ports before.
            other.next = other.proven = UNKNOWN
            other.orderly = False

    def _report(self, connection: TcpConnection) -> None:
        """The connection carries something: it gets a number and is made known."""
        self._reported += 1
        connection.id = self._reported
        self.handler.opened(opened_of(connection))

    def _finish(self, time: int, half: Half, seq: int) -> None:
        """A FIN, at the sequence number `seq`."""
        if half.connection.closed or half.ended:
            return
        if half.next == UNKNOWN:
            half.next = seq
        ahead = distance(half.next, seq)
        if not 0 <= ahead <= MAX_JUMP:
            return
        half.fin = half.position + ahead
        self._drain(time, half)
        self._settle(time, half)

    def _reset(self, time: int, half: Half, seq: int) -> None:
        connection = half.connection
        if connection.closed:
            return
        # Joined late, an acknowledgement alone does not tell how much was under way.
        known = half.next != UNKNOWN and (half.position > 0 or not connection.late)
        if known and abs(distance(half.next, seq)) > MAX_RESET_JUMP:
            self.skipped["bogus_rst"] += 1
            return
        connection.reset = True
        self._close(time, connection)

    def _close(self, time: int, connection: TcpConnection) -> None:
        """The end of a connection; what still waits for a hole is delivered after a gap."""
        client = connection.client or connection.first
        for half in (client, client.other):
            while not connection.closed and (half.held is not None or half.fin != UNKNOWN):
                self._jump(time, half, half.held.first if half.held is not None else half.fin)
        if connection.closed:
            return
        connection.closed = True
        client.orderly = client.other.orderly = False
        if connection.id:
            self.handler.closed(
                Closed(connection=connection.id, time=time, reset=connection.reset, detail=None)
            )

    def _forget(self, time: int, connection: TcpConnection) -> None:
        self._close(time, connection)
        first = connection.first
        del self._connections[first.key]
        self._halves.pop(first.key, None)
        self._halves.pop(first.other.key, None)

    # -- time and room ---------------------------------------------------------------------

    def age(self, time: int, packets: int) -> None:
        """Ends what has been silent for too long; to be called with every `packets` packets."""
        self._packets += packets
        # As many packets as connections pay for looking at them all.
        if self._packets < len(self._connections) or abs(time - self._aged) < AGE_INTERVAL:
            return
        self._packets = 0
        self._aged = time
        for connection in list(self._connections.values()):
            silent = time - connection.seen
            if silent > (LINGER if connection.closed else MAX_IDLE):
                self._forget(time, connection)
                continue
            for half in (connection.first, connection.first.other):
                if half.held is not None and time - half.stalled > MAX_STALL:
                    self._jump(time, half, half.held.first)

    def _make_room(self, time: int) -> None:
        by_silence = sorted(self._connections.values(), key=lambda c: (not c.closed, c.seen))
        for connection in by_silence[: MAX_CONNECTIONS // 4]:
            self.evicted += not connection.closed
            self._forget(time, connection)

    def finish(self, time: int) -> None:
        """Nothing follows: every connection ends."""
        for connection in list(self._connections.values()):
            self._forget(time, connection)
