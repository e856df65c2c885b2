"""The bytes of one direction of a connection, kept until the message is known that they belong to."""

from __future__ import annotations


class Allowance:
    """Bytes that all connections together may keep."""

    def __init__(self, limit: int) -> None:
        self.left = limit


class KeptBytes:
    """Runs of bytes by position. What goes beyond the limits is not kept: a hole, as one where nothing was
    captured."""

    __slots__ = ("_allowance", "_limit", "_runs", "_size", "begin")

    def __init__(self, limit: int, allowance: Allowance) -> None:
        self.begin = 0
        """The position up to which everything was forgotten."""
        self._limit = limit
        self._allowance = allowance
        self._runs: list[tuple[int, bytearray]] = []  # by position; none touches the next
        self._size = 0

    def add(self, position: int, data: bytes) -> None:
        """What moved at `position`. Positions never go back; where one does, nothing of it is kept."""
        runs = self._runs
        end = runs[-1][0] + len(runs[-1][1]) if runs else position
        room = min(self._limit - self._size, self._allowance.left)
        data = data[:room] if room > 0 else b""
        if not data or position < end:
            return
        if runs and position == end:
            runs[-1][1].extend(data)
        else:
            runs.append((position, bytearray(data)))
        self._size += len(data)
        self._allowance.left -= len(data)

    def find(self, wanted: bytes, position: int = 0) -> int:
        """The first position, from this one on, where these bytes are kept; -1 where they are not."""
        for start, run in self._runs:
            if (at := run.find(wanted, max(position - start, 0))) >= 0:
                return start + at
        return -1

    def read(self, start: int, end: int) -> bytes:
        """What is kept from `start` on without a hole, up to `end`."""
        for begin, run in self._runs:
            if begin <= start < begin + len(run):
                return bytes(run[start - begin : end - begin])
        return b""

    def forget(self, position: int) -> None:
        """Everything before a position."""
        self.begin = max(self.begin, position)
        runs = self._runs
        while runs and runs[0][0] < position:
            start, run = runs[0]
            gone = min(position - start, len(run))
            self._size -= gone
            self._allowance.left += gone
            if gone == len(run):
                del runs[0]
            else:
                del run[:gone]
                runs[0] = (position, run)

    def clear(self) -> None:
        """Forgets everything, and begins anew."""
        self.begin = 0
        self._allowance.left += self._size
        self._size = 0
        self._runs.clear()
