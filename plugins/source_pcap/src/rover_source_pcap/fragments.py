"""IP datagrams from their fragments (RFC 791 section 3.2, RFC 8200 section 4.5)."""

from __future__ import annotations

from rover_source_pcap.pieces import Pieces

MAX_DATAGRAM = 65_535
"""Bytes: a fragment that ends past it is nonsense (RFC 791), and an old attack."""
MAX_DATAGRAMS = 1024
"""Incomplete ones kept: many times what one host's traffic has under way in half a minute."""
MAX_COST = 16 << 20
"""Bytes of memory for all of them: 1024 of the usual few kilobytes, or 256 of the largest."""
MAX_AGE = 30_000_000_000
"""ns to wait for the rest: net.ipv4.ipfrag_time of Linux. Identifications are used again."""


class _Datagram:
    __slots__ = ("begun", "end", "pieces", "size")

    def __init__(self, begun: int) -> None:
        self.begun = begun
        self.end = 0
        """The position after the last byte that came."""
        self.size = MAX_DATAGRAM
        """When complete; as good as unknown until the last fragment has come."""
        self.pieces = Pieces()


class Fragments:
    """The datagrams under way."""

    def __init__(self) -> None:
        self.lost = 0
        """Datagrams given up because a fragment did not come."""
        self._datagrams: dict[bytes, _Datagram] = {}
        self._cost = 0

    def add(self, time: int, key: bytes, position: int, payload: bytes, more: bool) -> bytes | None:
        """One fragment of the datagram `key`; returns the whole when this completes it."""
        datagram = self._datagrams.get(key)
        if datagram is not None and abs(time - datagram.begun) > MAX_AGE:
            self._drop(key)
            datagram = None
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(time)
        end = position + len(payload)
        if end > datagram.size or (not more and end < datagram.end):
            return None
        datagram.end = max(datagram.end, end)
        if not more:
            datagram.size = end
        pieces = datagram.pieces
        before = pieces.cost
        pieces.add(position, len(payload), payload)
        self._cost += pieces.cost - before
        if pieces.size == datagram.size:
            del self._datagrams[key]
            self._cost -= pieces.cost
            return b"".join(payload for _, _, payload, _ in pieces.take(0))
        while len(self._datagrams) > MAX_DATAGRAMS or self._cost > MAX_COST:
            self._drop(next(iter(self._datagrams)))
        return None

    def _drop(self, key: bytes) -> None:
        self._cost -= self._datagrams.pop(key).pieces.cost
        self.lost += 1

    def give_up(self) -> None:
        """Nothing follows."""
        for key in list(self._datagrams):
            self._drop(key)
