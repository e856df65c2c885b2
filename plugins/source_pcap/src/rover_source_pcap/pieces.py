"""Bytes at positions, come in any order: what was there first stays."""

from __future__ import annotations

from bisect import bisect_right

Piece = tuple[int, int, bytes, int]
"""(position, size, payload, ack): the payload may be shorter than the size: the rest was not captured;
`ack` is what the segment acknowledged, -1 for nothing."""

OVERHEAD = 240
"""Bytes of memory a piece takes besides its payload: tuple, bytes object, two list entries, two ints."""


class Pieces:
    """Pieces that do not overlap, in order of position."""

    __slots__ = ("_pieces", "_starts", "cost", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes held, captured or not."""
        self.cost = 0
        """Bytes of memory they take."""
        self._starts: list[int] = []
        self._pieces: list[Piece] = []

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def first(self) -> int:
        """Position of the first piece. There must be one."""
        return self._starts[0]

    def add(self, position: int, size: int, payload: bytes, ack: int = -1) -> None:
        """Takes of these bytes what is not there yet."""
        starts, pieces = self._starts, self._pieces
        begin, end = position, position + size
        index = bisect_right(starts, position)
        if index:
            before = pieces[index - 1]
            position = max(position, before[0] + before[1])
        while position < end:
            last = index == len(starts)
            stop = end if last else min(end, starts[index])
            if stop > position:
                part = payload[position - begin : stop - begin]
                starts.insert(index, position)
                pieces.insert(index, (position, stop - position, part, ack))
                self.size += stop - position
                self.cost += len(part) + OVERHEAD
                index += 1
            if last:
                return
            position = starts[index] + pieces[index][1] if index < len(starts) else end
            index += 1

    def take(self, position: int) -> list[Piece]:
        """Removes the pieces that follow each other without a hole from `position` on."""
        taken: list[Piece] = []
        for piece in self._pieces:
            if piece[0] != position:
                break
            taken.append(piece)
            position += piece[1]
            self.size -= piece[1]
            self.cost -= len(piece[2]) + OVERHEAD
        del self._pieces[: len(taken)]
        del self._starts[: len(taken)]
        return taken
