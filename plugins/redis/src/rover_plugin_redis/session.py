"""What the commands of a connection have changed about how it is read: transactions, subscriptions, replies
that a client does without, the database.
"""

from __future__ import annotations

import re

from rover import StreamBuffer
from rover_plugin_redis.commands import (
    CLIENT,
    CONFIRMATION,
    CONFIRMATIONS,
    DISCARD,
    EXEC,
    MESSAGE,
    MESSAGES,
    MONITOR,
    MULTI,
    PLAIN,
    QUIT,
    REPLY,
    RESET,
    SELECT,
    SHARDED,
    SUBSCRIBE,
    UNASKED,
    UNKNOWN,
    UNSUBSCRIBE,
)
from rover_plugin_redis.pairing import Command, Pairing
from rover_plugin_redis.resp import STAR

PLUS, PUSH = b"+>"
KIND = re.compile(rb"[*>][1-9][0-9]{0,2}\r\n\$[1-9][0-9]?\r\n([a-z]+)\r\n")
KIND_BEGINNING = re.compile(
    rb"[*>](?:[1-9][0-9]{0,2}(?:\r(?:\n(?:\$(?:[1-9][0-9]?(?:\r(?:\n(?:[a-z]{0,20}\r?)?)?)?)?)?)?)?)?\Z"
)
"""What a message begins with that a subscriber gets, and a beginning of that."""
LONGEST_KIND = 48
WATCHED = re.compile(rb"\+[0-9]{9,}\.[0-9]+ \[")
WATCHED_BEGINNING = re.compile(rb"\+[0-9]*(?:\.[0-9]* ?)?\Z")
"""A line of MONITOR: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`."""


class Session:
    """The state of one connection, as Redis itself keeps it for a client."""

    def __init__(self, pairing: Pairing) -> None:
        self._pairing = pairing
        self._waiting = pairing.waiting
        self.database = "0"
        """Empty: not known."""
        self.multi = False
        """Between MULTI and its end."""
        self._queued = False  # whether EXEC may change how the connection is read
        self._selects = False  # or its database
        self.mute = False
        """After CLIENT REPLY OFF."""
        self.skip = False
        """After CLIENT REPLY SKIP."""
        self._total = 0  # channels and patterns that are subscribed to
        self._patterns = 0
        self._shards = 0
        self.monitor = False

    def answers(self, command: Command, kind: int, mode: bytes, count: int) -> bool:
        """Notes what a command changes. Whether it gets a reply."""
        if self.multi:
            if kind in (EXEC, DISCARD, RESET):
                self.multi = False
            elif kind != MULTI and kind != QUIT:
                if kind == SELECT:
                    self._selects = True
                elif kind != PLAIN:
                    self._queued = True
                kind = PLAIN  # +QUEUED
        elif kind == MULTI:
            self.multi = True
            self._queued = self._selects = False
        command.kind = kind
        if kind == SUBSCRIBE:
            command.due = max(count - 1, 1)
        elif kind == UNSUBSCRIBE:
            command.due = count - 1
        if kind == RESET:
            self.mute = self.skip = False
            return True
        if kind == CLIENT and command.argument.upper() == b"REPLY":
            mode = mode.upper()
            if mode == b"ON":
                self.mute = self.skip = False
                return True
            if mode == b"OFF":
                self.mute = True
                return False
            if mode == b"SKIP":
                self.skip = not self.mute
                return False
        answers = not (self.mute or self.skip)
        self.skip = False
        return answers

    def lost_commands(self) -> None:
        """Commands may be missing."""
        self.database = ""
        self.multi = False

    def what_is(self, buffer: StreamBuffer, data: bytes | bytearray, offset: int) -> int:
        """What the server begins to send: REPLY and so on."""
        first = data[offset]
        oldest = self._waiting[0] if self._waiting else None
        if first == PUSH:
            return self._kind(data, offset)
        if first == STAR:
            subscribes = oldest is not None and oldest.kind in (SUBSCRIBE, UNSUBSCRIBE)
            if self._total or self._shards or subscribes or self._pairing.doubt:
                kind = self._kind(data, offset)
                if kind != REPLY:
                    return kind
        elif first == PLUS and self.monitor:
            if WATCHED.match(data, offset):
                return MESSAGE
            if WATCHED_BEGINNING.match(data[offset : offset + LONGEST_KIND]):
                return UNKNOWN
        if oldest is None or 0 < buffer.since < oldest.start:
            return UNASKED
        return REPLY

    def _kind(self, data: bytes | bytearray, offset: int) -> int:
        """Of an aggregate that may be a message, by its first element."""
        match = KIND.match(data, offset)
        pushed = data[offset] == PUSH
        if match is None:
            head = data[offset : offset + LONGEST_KIND]
            if len(head) < LONGEST_KIND and KIND_BEGINNING.match(head):
                return UNKNOWN
            return MESSAGE if pushed else REPLY
        kind = match[1]
        if kind in CONFIRMATIONS:
            oldest = self._waiting[0] if self._waiting else None
            if oldest is not None and oldest.name.lower().encode() == kind and oldest.kind != PLAIN:
                return CONFIRMATION
            return MESSAGE
        return MESSAGE if pushed or kind in MESSAGES else REPLY

    def confirmed(self, number: int) -> bool:
        """The answer for one channel; `number` is what remains. Whether it is the last one."""
        command = self._waiting[0]
        class_ = command.name[0]
        if class_ == "P":
            self._patterns = max(self._patterns + number - self._total, 0)
        if command.name in SHARDED:
            self._shards = max(number, 0)
            left = self._shards
        else:
            self._total = max(number, 0)
            left = self._patterns if class_ == "P" else self._total - self._patterns
        if command.due:
            command.due -= 1
            last = not command.due
        else:  # all of them, however many there are
            last = left <= 0 or self._pairing.doubt
        return last

    def changed(self, command: Command, error: bytes | None) -> None:
        """What a command has changed, by its reply."""
        kind = command.kind
        if kind == MULTI:
            if error is not None:
                self.multi = False
                self._pairing.doubt |= bool(self._waiting)
        elif error is not None:
            return
        elif kind == SELECT:
            self.database = command.argument[:20].decode() if command.argument.isdigit() else ""
        elif kind == MONITOR:
            self.monitor = True
        elif kind == EXEC:
            self._pairing.doubt |= self._queued
            if self._selects:
                self.database = ""
        elif kind == RESET:
            self.database = "0"
            self._total = self._patterns = self._shards = 0
            self.monitor = False
