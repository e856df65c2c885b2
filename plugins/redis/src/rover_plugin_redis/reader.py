"""Where a command and where a reply ends.

Both readers go over the bytes at hand once and stop where these end, to go on with those that come. They
keep numbers, never content; what a length says is passed over is passed over whether it was captured or not.
"""

from __future__ import annotations

from rover_plugin_redis.resp import (
    AGGREGATE,
    ATTRIBUTE,
    BAD,
    BLOB_ERROR,
    BULK,
    COLON,
    CRLF,
    DOLLAR,
    DONE,
    KEPT,
    MAP,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_HEADER,
    MAX_LINE,
    MINUS,
    NEED,
    SIMPLE,
    STAR,
    TYPES,
)


def length(data: bytes | bytearray, start: int, end: int) -> int:
    """The number in a line; -1 stands for null, -2 is none."""
    digits = data[start:end]
    if digits.isdigit() and len(digits) <= MAX_DIGITS:
        return int(digits)
    return -1 if digits == b"-1" else -2


class CommandReader:
    """Where a command ends, what it is called, and its first argument."""

    __slots__ = ("argument", "begun", "count", "left", "mode", "name", "skip", "state")

    def __init__(self) -> None:
        self.state = NEED
        self.skip = 0
        """Bytes to be passed over before the next one is looked at."""
        self.left = 0
        """Arguments that are still due, the name among them."""
        self.count = 0
        """How many there are in all."""
        self.begun = False
        """Whether a part of the command has been read."""
        self.name = b""
        """As it was sent, at most KEPT bytes of it; empty until it is known."""
        self.argument = b""
        """The same of what comes after it."""
        self.mode = b""
        """The same of what comes then, of `CLIENT` alone."""

    def reset(self) -> None:
        """The next byte begins a command."""
        self.state = NEED
        self.skip = self.left = self.count = 0
        self.begun = False
        self.name = self.argument = self.mode = b""

    def advance(self, data: bytes | bytearray, offset: int) -> int:
        """Goes on at `offset`, where nothing is to be skipped, to where it returns. `state` tells why."""
        size = len(data)
        position = offset
        if not self.begun:
            end = data.find(CRLF, position, position + MAX_HEADER)
            if end < 0:
                self.state = BAD if size - position >= MAX_HEADER else NEED
                return position
            count = length(data, position + 1, end)
            if data[position] != STAR or count < -1:
                self.state = BAD
                return position
            position = end + 2
            self.begun = True
            self.left = self.count = max(count, 0)
        while self.left:
            if position >= size:
                self.state = NEED
                return position
            end = data.find(CRLF, position, position + MAX_HEADER)
            if end < 0:
                self.state = BAD if size - position >= MAX_HEADER or data[position] != DOLLAR else NEED
                return position
            long = length(data, position + 1, end)
            if data[position] != DOLLAR or long < 0:
                self.state = BAD
                return position
            start = end + 2
            past = start + long + 2
            index = self.count - self.left
            if index < 2 or (index == 2 and self.name.upper() == b"CLIENT"):
                kept = min(start + long, start + KEPT)
                if kept > size:
                    self.state = NEED
                    return position
                text = bytes(data[start:kept])
                if index == 0:
                    self.name = text
                elif index == 1:
                    self.argument = text
                else:
                    self.mode = text
            self.left -= 1
            if past > size:
                self.skip = past - size
                self.state = NEED
                return size
            position = past
        self.state = DONE
        return position


class ReplyReader:
    """Where a reply ends, and whether it is an error."""

    __slots__ = ("begun", "error", "left", "number", "skip", "stack", "state")

    def __init__(self) -> None:
        self.state = NEED
        self.skip = 0
        """Bytes to be passed over before the next one is looked at."""
        self.left = 1
        """Values that are still due of the innermost aggregate."""
        self.stack: list[int] = []
        """The same of those around it."""
        self.begun = False
        """Whether a part of the reply has been read."""
        self.error: bytes | None = None
        """What an error says, at most KEPT bytes of it."""
        self.number = -1
        """The last integer in it."""

    def reset(self) -> None:
        """The next byte begins a reply."""
        self.state = NEED
        self.skip = 0
        self.left = 1
        if self.stack:
            self.stack.clear()
        self.begun = False
        self.error = None
        self.number = -1

    def advance(self, data: bytes | bytearray, offset: int) -> int:
        """Goes on at `offset`, where nothing is to be skipped, to where it returns. `state` tells why."""
        size = len(data)
        position = offset
        left = self.left
        stack = self.stack
        self.state = NEED
        while True:
            # What is complete was counted: of an aggregate when it began, because of an attribute nothing is.
            while not left:
                if not stack:
                    self.left = 0
                    self.state = DONE
                    return position
                left = stack.pop()
            if position >= size:
                break
            kind = data[position]
            end = data.find(CRLF, position, position + MAX_LINE)
            if end < 0:
                long = size - position
                if long >= MAX_LINE or (long >= MAX_HEADER and kind not in SIMPLE) or kind not in TYPES:
                    self.state = BAD
                break
            if kind in SIMPLE:
                if kind == MINUS and not stack:
                    self.error = bytes(data[position + 1 : min(end, position + 1 + KEPT)])
                elif kind == COLON:
                    self.number = max(length(data, position + 1, end), -1)
                left -= 1
                position = end + 2
            elif kind in BULK:
                long = length(data, position + 1, end)
                if long < -1:
                    self.state = BAD
                    break
                start = end + 2
                past = start + long + 2 if long >= 0 else start
                if kind == BLOB_ERROR and not stack:
                    kept = min(start + long, start + KEPT)
                    if kept > size:
                        break
                    self.error = bytes(data[start:kept])
                left -= 1
                if past > size:
                    self.skip = past - size
                    position = size
                    self.begun = True
                    break
                position = past
            elif kind in AGGREGATE:
                count = length(data, position + 1, end)
                if count < -1 or len(stack) >= MAX_DEPTH:
                    self.state = BAD
                    break
                if kind != ATTRIBUTE:
                    left -= 1
                if kind in (MAP, ATTRIBUTE):
                    count *= 2
                position = end + 2
                if count > 0:
                    stack.append(left)
                    left = count
            else:
                self.state = BAD
                break
            self.begun = True
        self.left = left
        return position
