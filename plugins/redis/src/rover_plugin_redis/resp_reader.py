"""Where a command and where a reply ends.

Both readers go over the bytes at hand once and stop where these end, to go on with those that come. They
keep numbers, never content; what a length says is passed over is passed over whether it was captured or not.
"""

from __future__ import annotations

from rover_plugin_redis.commands import ARGUED, ARGUED_SIZE
from rover_plugin_redis.resp import (
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
    NEWLINE,
    NULL,
    RETURN,
    SIMPLE,
    STAR,
    TYPES,
    ZERO,
)


class HeaderLine:
    """A line that holds a number, such as `$5`."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def read(self, data: bytes | bytearray, position: int) -> int:
        """Reads the one whose type is at `position`; `number` is -1 for null.

        Returns where the next line begins, 0 when more bytes are needed, -1 where there is none.
        """
        line = bytes(data[position : position + MAX_HEADER])
        size = len(line)
        at = 1
        number = 0
        while at < size:
            digit = line[at] - ZERO
            if digit < 0 or digit > 9:
                break
            number = number * 10 + digit
            at += 1
        if at == size:
            return -1 if size == MAX_HEADER else 0
        if at == 1:  # no digit
            null = line[1 : 1 + len(NULL)]
            self.number = -1
            if not NULL.startswith(null):
                return -1
            return position + 1 + len(NULL) if null == NULL else 0
        if line[at] != RETURN or at > MAX_DIGITS + 1:
            return -1
        if at + 1 == size:
            return 0
        self.number = number
        return position + at + 2 if line[at + 1] == NEWLINE else -1


class CommandReader:
    """Where a command ends, what it is called, and its first argument."""

    __slots__ = ("_header", "_keys", "argument", "begun", "count", "left", "mode", "name", "skip", "state")

    def __init__(self, keys: bool) -> None:
        """`keys`: whether the first argument is wanted of every command, and not only of those in ARGUED."""
        self._header = HeaderLine()
        self._keys = keys
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
        """The same of what comes after it, where it is wanted."""
        self.mode = b""
        """The same of what comes then."""

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
        header = self._header
        if not self.begun:
            start = header.read(data, position) if data[position] == STAR else -1
            if start <= 0:
                self.state = BAD if start else NEED
                return position
            position = start
            self.begun = True
            self.left = self.count = max(header.number, 0)
        while self.left:
            if position >= size:
                self.state = NEED
                return position
            start = header.read(data, position) if data[position] == DOLLAR else -1
            if start <= 0:
                self.state = BAD if start else NEED
                return position
            long = header.number
            if long < 0:
                self.state = BAD
                return position
            past = start + long + 2
            index = self.count - self.left
            if index == 0 or (index < 3 and self._wants()):
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

    def _wants(self) -> bool:
        """Whether arguments of the command matter."""
        name = self.name
        return self._keys or (len(name) == ARGUED_SIZE and name.upper() in ARGUED)


class ReplyReader:
    """Where a reply ends, and whether it is an error."""

    __slots__ = ("_header", "begun", "error", "left", "number", "skip", "stack", "state")

    def __init__(self) -> None:
        self._header = HeaderLine()
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
        header = self._header
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
            if kind in SIMPLE:
                end = data.find(CRLF, position, position + MAX_LINE)
                if end < 0:
                    if size - position >= MAX_LINE:
                        self.state = BAD
                    break
                if kind == MINUS:
                    if not stack:
                        self.error = bytes(data[position + 1 : min(end, position + 1 + KEPT)])
                elif kind == COLON:
                    self.number = header.number if header.read(data, position) > 0 else -1
                left -= 1
                position = end + 2
                self.begun = True
                continue
            if kind not in TYPES:
                self.state = BAD
                break
            start = header.read(data, position)
            if start <= 0:
                if start:
                    self.state = BAD
                break
            number = header.number
            if kind in BULK:
                past = start + number + 2 if number >= 0 else start
                if kind == BLOB_ERROR and not stack:
                    kept = min(start + max(number, 0), start + KEPT)
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
            else:
                if len(stack) >= MAX_DEPTH:
                    self.state = BAD
                    break
                if kind != ATTRIBUTE:
                    left -= 1
                if kind in (MAP, ATTRIBUTE):
                    number *= 2
                position = start
                if number > 0:
                    stack.append(left)
                    left = number
            self.begun = True
        self.left = left
        return position
