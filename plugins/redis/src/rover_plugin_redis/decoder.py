"""Redis on one connection: commands in one direction, replies in the other, paired in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rover import (
    NEED_MORE,
    RESYNCHRONISED,
    AnyExchange,
    Connection,
    Direction,
    Exchange,
    Outcome,
    Outcomes,
    ProtocolBreak,
    Role,
    StreamBuffer,
)
from rover_plugin_redis.commands import (
    CONFIRMATION,
    CONFIRMATIONS,
    KINDS,
    KNOWN,
    MESSAGE,
    MONITOR,
    PLAIN,
    REPLY,
    SYNC,
    UNASKED,
    UNKNOWN,
)
from rover_plugin_redis.exchange import exchange_of
from rover_plugin_redis.pairing import MAX_WAITING, Command, Pairing
from rover_plugin_redis.resp import BAD, CRLF, DONE, KEPT, MAX_LINE, MAX_NAME, MINUS, NEWLINE, REPLIES, STAR
from rover_plugin_redis.resp_reader import CommandReader, ReplyReader
from rover_plugin_redis.session import Session
from rover_plugin_redis.sniff import OPENING

COMMAND_MEMORY = 400
"""Bytes that a command takes while it waits, with its own numbers and texts."""
MAX_NAMES = 16
"""Names of commands that are remembered as they are shown: few clients use more on one connection."""
HOLD = 1_000_000_000
"""ns that a reply waits for its command: where one thread of a client writes while another reads, the record
of the write may come after that of the read."""
HELD = 65_536
"""Bytes of replies that may wait so."""
UNDECIDED = 4096
"""Bytes of both directions together after which the one that spoke first is taken to be the client's."""

INGRESS, EGRESS = Direction
COMPLETE, ABORTED = Outcome.COMPLETE, Outcome.ABORTED
NAME = re.compile(rb"[A-Za-z][A-Za-z0-9._-]*\Z")
START = re.compile(rb"\*[1-9][0-9]{0,6}\r\n\$[1-9][0-9]?\r\n[A-Za-z]")
LONGEST_START = 1 + 7 + 2 + 1 + 2 + 2
"""Bytes of a command after a gap that do not tell yet that it is one."""


class RedisDecoder:
    """Implements `rover.WeighedDecoder`."""

    def __init__(
        self, connection: Connection, settings: Mapping[str, Any], _upgrade: ProtocolBreak | None = None
    ) -> None:
        self.role: Role | None = None
        self._known = connection.role
        self._keys = bool(settings.get("keys", False))
        self._asking = -1  # the direction of the commands, once it is known
        self._requests: StreamBuffer | None = None
        self._replies: StreamBuffer | None = None
        self._command = CommandReader(self._keys)
        self._reply = ReplyReader()
        self._pairing = Pairing()
        self._waiting = self._pairing.waiting
        self._session = Session(self._pairing)
        self._out: list[Exchange | ProtocolBreak] = []
        self._ready: list[Exchange | ProtocolBreak] = []  # to be passed on next, the first one last
        self._names: dict[bytes, str] = {}  # as they are shown, by how they were sent
        self._owners = 0
        self._over = False  # a break was found
        # Of the command that is read:
        self._owner = 0
        self._start = 0
        self._sequence = 0
        self._begin = 0
        # Of the commands:
        self._lost_commands = False  # where the next one begins has to be found
        # Of the reply that is read:
        self._what = REPLY
        self._reply_owner: int | None = None
        self._reply_begin = 0
        # Of the replies:
        self._lost_replies = False  # nothing is to be read until a command waits
        self._size = 0  # bytes of those answers to the oldest command that came before

    @property
    def memory(self) -> int:
        """About how many bytes it keeps."""
        return COMMAND_MEMORY * len(self._waiting)

    def unneeded(self, direction: Direction) -> int:
        """What is left of a long string."""
        return self._command.skip if direction == self._asking else self._reply.skip

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        """One step. See `rover.Decoder`."""
        if self._ready:
            return self._ready.pop()
        if self._over:
            return NEED_MORE
        way = int(direction)
        if self._asking < 0 and not self._choose(direction, buffer, now):
            return NEED_MORE
        if way == self._asking:
            if self._requests is None:
                self._requests = self._adopted(buffer)
            before = buffer.position
            while self._read_commands(buffer, now):
                if buffer.position != before:
                    return RESYNCHRONISED
        elif self._replies is None:
            self._replies = self._adopted(buffer)
        found = None
        if self._replies is not None and not self._over:
            found = self._read_replies(self._replies, now)
        if self._out:
            if found is not None:
                self._out.append(found)
            self._out.reverse()
            self._out, self._ready = self._ready, self._out
            return self._ready.pop()
        return NEED_MORE if found is None else found

    def expire(self, now: int) -> Iterable[AnyExchange]:  # noqa: ARG002
        """Nothing is over by time alone: a command may block for as long as its client wants."""
        return ()

    def close(self, now: int) -> Iterable[AnyExchange]:
        """What waits is cut."""
        self._abandon(now)
        return [each for each in (*reversed(self._ready), *self._out) if isinstance(each, Exchange)]

    # -- which end is which ------------------------------------------------------------------

    def _choose(self, direction: Direction, buffer: StreamBuffer, now: int) -> bool:
        """Finds out which direction the commands have. False while that is not known."""
        asking = direction
        if self._known is not None:
            asking = EGRESS if self._known is Role.CLIENT else INGRESS
        elif not self._tells(buffer):
            # Until it is known, the first direction that came is the one of `_requests`.
            if self._requests is None:
                self._requests = buffer
            elif self._requests is not buffer:
                self._replies = buffer
            held = self._requests.unread + (self._replies.unread if self._replies is not None else 0)
            if held < UNDECIDED:
                return False
            asking = self._requests.direction
        elif buffer.data[buffer.offset] in REPLIES:
            asking = Direction(1 - direction)
        seen = {each.direction: each for each in (self._requests, self._replies, buffer) if each is not None}
        for each in seen.values():
            self._adopted(each)
        self._requests, self._replies = seen.get(asking), seen.get(Direction(1 - asking))
        self._asking = asking
        self.role = Role.CLIENT if asking is EGRESS else Role.SERVER
        if self._requests is not None and direction != asking:
            while self._read_commands(self._requests, now):
                pass
        return True

    def _tells(self, buffer: StreamBuffer) -> bool:
        """Whether the bytes at hand are commands, or are replies, beyond doubt."""
        if not len(buffer):
            return False
        if buffer.data[buffer.offset] != STAR:
            return True
        match = OPENING.match(buffer.data, buffer.offset)
        return match is not None and match[3] not in CONFIRMATIONS and match[3].upper().decode() in KNOWN

    def _adopted(self, buffer: StreamBuffer) -> StreamBuffer:
        """A buffer that is new: whether any of it went unseen."""
        if buffer.late or buffer.hidden:
            self._pairing.doubt = True
            self._session.database = ""
        return buffer

    # -- commands ----------------------------------------------------------------------------

    def _read_commands(self, buffer: StreamBuffer, now: int) -> bool:
        """All that are there. True when the next one had to be looked for, and was found."""
        reader = self._command
        while not self._over:
            if reader.skip:
                reader.skip -= buffer.skip(reader.skip, self._owner)
                if reader.skip:
                    return False
            data, offset = buffer.data, buffer.offset
            if not reader.begun:
                if self._lost_commands:
                    return self._find_command(buffer)
                if offset >= len(data):
                    if not buffer.gap:
                        return False
                    self._lose_commands(buffer, now)
                    continue
                self._owner = self._owners
                self._start = buffer.since
                self._sequence = buffer.sequence
                self._begin = buffer.position
                if data[offset] != STAR:
                    if not self._read_line(buffer, now):
                        return False
                    continue
            end = reader.advance(data, offset)
            if end > offset:
                buffer.consume(end - offset, self._owner)
            state = reader.state
            if state == DONE:
                if reader.count:
                    size, missing = buffer.position - self._begin, buffer.missing
                    self._asked(reader.name, reader.argument, reader.mode, reader.count, size, missing, now)
                reader.reset()
            elif state == BAD:
                if not self._bad_command(buffer, now):
                    return False
            elif not reader.skip:
                if not buffer.gap:
                    return False
                self._lose_commands(buffer, now)
        return False

    def _read_line(self, buffer: StreamBuffer, now: int) -> bool:
        """A command that is a line of words, as people send it. False when more bytes are needed."""
        data, offset = buffer.data, buffer.offset
        end = data.find(b"\n", offset, offset + MAX_LINE)
        if end < 0:
            if len(buffer) >= MAX_LINE:
                return self._bad_command(buffer, now)
            if not buffer.gap:
                return False
            self._lose_commands(buffer, now)
            return True
        words = bytes(data[offset:end]).split()
        size = end + 1 - offset
        if not words:
            buffer.consume(size)
            return True
        name, argument, mode = ([*words, b"", b""])[:3]
        name = name.strip(b"\"'")
        if not NAME.match(name):
            return self._bad_command(buffer, now)
        buffer.consume(size, self._owner)
        argument = argument.strip(b"\"'")[:KEPT]
        self._asked(name[:KEPT], argument, mode[:KEPT], len(words), size, buffer.missing, now)
        return True

    def _asked(
        self, name: bytes, argument: bytes, mode: bytes, count: int, size: int, missing: int, now: int
    ) -> None:
        """A command is whole."""
        text = self._names.get(name)
        if text is None:
            text = name[:MAX_NAME].upper().decode("ascii", "backslashreplace")
            if len(self._names) < MAX_NAMES:
                self._names[name] = text
        command = Command(self._owner, self._start, self._sequence, text, argument, size)
        self._owners += 1
        kind = KINDS.get(text, PLAIN)
        session = self._session
        unusual = kind or session.skip or session.mute or session.multi
        if unusual and not session.answers(command, kind, mode, count):
            self._out.append(self._exchange(command, now, COMPLETE, -1, None))
            return
        if len(self._waiting) >= MAX_WAITING:
            self._break("overflow", f"{MAX_WAITING} commands wait for a reply", self._requests, now)
            return
        for over in self._pairing.add(command, missing):
            self._out.append(self._exchange(over, now, ABORTED, -1, None))
        self._lost_replies = False

    def _find_command(self, buffer: StreamBuffer) -> bool:
        """Goes to the next bytes that look like a command. False when none do yet."""
        while True:
            data, offset = buffer.data, buffer.offset
            match = START.search(data, offset)
            if match:
                buffer.consume(match.start() - offset)
                self._lost_commands = False
                return True
            # What may be the beginning of one stays.
            star = data.rfind(b"*", max(offset, len(data) - LONGEST_START))
            if star < 0 or buffer.gap:
                star = len(data)
            buffer.consume(star - offset)
            if not buffer.gap:
                return False
            buffer.skip(buffer.gap)

    def _bad_command(self, buffer: StreamBuffer, now: int) -> bool:
        """Bytes that begin no command. False when that is the end."""
        if not self._pairing.doubt:
            self._break("framing", "what follows a command is none", buffer, now)
            return False
        self._lose_command(buffer.missing, now)
        buffer.consume(min(1, len(buffer)))
        return True

    def _lose_commands(self, buffer: StreamBuffer, now: int) -> None:
        """Bytes are missing that may have been commands."""
        buffer.consume(len(buffer), self._owner if self._command.begun else None)
        buffer.skip(buffer.gap)
        self._lose_command(buffer.missing, now)
        self._pairing.doubt = True
        self._session.lost_commands()

    def _lose_command(self, missing: int, now: int) -> None:
        """Where the one that is read ends is not known; that it was sent is, if its name is."""
        reader = self._command
        if reader.name:
            self._asked(reader.name, reader.argument, reader.mode, reader.count, 0, missing, now)
            last = self._waiting[-1] if self._waiting else None
            if last is not None and last.owner == self._owner:
                last.whole = False
        reader.reset()
        self._lost_commands = True

    # -- replies -----------------------------------------------------------------------------

    def _read_replies(self, buffer: StreamBuffer, now: int) -> Exchange | None:
        """The next exchange that is over."""
        reader, waiting = self._reply, self._waiting
        while not self._over:
            if reader.skip:
                reader.skip -= buffer.skip(reader.skip, self._reply_owner)
                if reader.skip:
                    return None
            data, offset = buffer.data, buffer.offset
            if not reader.begun:
                if self._lost_replies:
                    buffer.skip(buffer.unread)
                    return None
                if offset >= len(data):
                    if not buffer.gap:
                        return None
                    self._lose_replies(buffer, now)
                    continue
                what = self._session.what_is(buffer, data, offset)
                if what in (REPLY, CONFIRMATION):
                    oldest = waiting[0]
                    self._reply_owner = oldest.owner
                    if oldest.kind == SYNC and data[offset] != MINUS:
                        return self._synchronise(buffer, now)
                elif what == UNKNOWN or (what == UNASKED and self._may_hold(buffer, now)):
                    if not buffer.gap:
                        return None
                    self._lose_replies(buffer, now)
                    continue
                else:
                    self._reply_owner = None
                self._what = what
                self._reply_begin = buffer.position
            end = reader.advance(data, offset)
            if end > offset:
                buffer.consume(end - offset, self._reply_owner)
            state = reader.state
            if state == DONE:
                size = buffer.position - self._reply_begin
                error, number, what = reader.error, reader.number, self._what
                reader.reset()
                if self._pairing.probation and what != MESSAGE:
                    self._pairing.probation = False
                    # What is left of the reply that was lost, if it was read as one, has more to come.
                    self._pairing.doubt |= len(buffer) > 0 and len(waiting) < 2
                if what == REPLY or (what == CONFIRMATION and self._session.confirmed(number)):
                    return self._complete(size, error, now)
                if what == CONFIRMATION:
                    self._size += size
                elif what == UNASKED:
                    self._pairing.unasked()
            elif state == BAD:
                self._pairing.doubt |= self._pairing.probation
                if not self._pairing.doubt:
                    self._break("framing", "what follows a reply is none", buffer, now)
                    return None
                reader.reset()
                buffer.consume(len(buffer))
                if waiting and self._what == REPLY:
                    self._out.append(self._exchange(waiting.popleft(), now, ABORTED, -1, None))
                self._lost_replies = not waiting
            elif not reader.skip:
                if not buffer.gap:
                    return None
                self._lose_replies(buffer, now)
        return None

    def _complete(self, size: int, error: bytes | None, now: int) -> Exchange:
        """The oldest command has its reply."""
        command = self._pairing.answer()
        size += self._size
        self._size = 0
        outcome = COMPLETE if command.whole else ABORTED
        exchange = self._exchange(command, now, outcome, size, error)
        if command.kind:
            self._session.changed(command, error)
        return exchange

    def _may_hold(self, buffer: StreamBuffer, now: int) -> bool:
        """Whether a reply may have come before the record of its command; see HOLD."""
        return (
            not self._waiting
            and self.role is Role.CLIENT
            and not self._pairing.doubt
            and not buffer.ended
            and buffer.unread <= HELD
            and now - buffer.since <= HOLD
        )

    def _synchronise(self, buffer: StreamBuffer, now: int) -> Exchange | None:
        """The answer to a replica that asks for the data: a line. What follows is no reply."""
        data, offset = buffer.data, buffer.offset
        start = offset
        while start < len(data) and data[start] == NEWLINE:  # the master is alive, and prepares the data
            start += 1
        if start > offset:
            buffer.consume(start - offset, self._reply_owner)
            self._size += start - offset
            return None if start == len(data) else self._read_replies(buffer, now)
        end = data.find(CRLF, offset, offset + MAX_LINE)
        if end < 0:
            if len(buffer) >= MAX_LINE:
                self._break("framing", "what answers PSYNC is no line", buffer, now)
            elif buffer.gap:
                self._break("gap", "what answers PSYNC is missing", buffer, now)
            return None
        size = end + 2 - offset
        buffer.consume(size, self._reply_owner)
        name = self._waiting[0].name
        exchange = self._complete(size, None, now)
        self._out.append(exchange)
        self._break("replication", f"{name} was answered: what follows is a replica's data", buffer, now)
        return None

    def _lose_replies(self, buffer: StreamBuffer, now: int) -> None:
        """Bytes are missing that may have been replies."""
        reader, waiting = self._reply, self._waiting
        answering = reader.begun and self._what != MESSAGE and self._what != UNASKED
        moved, records, ordered = buffer.gap_moved, buffer.gap_records, not buffer.overlapping
        buffer.consume(len(buffer), self._reply_owner if reader.begun else None)
        buffer.skip(buffer.gap)
        reader.reset()
        self._size = 0
        over = self._pairing.lose(moved, records, ordered)
        if answering and not over and waiting:
            self._pairing.doubt = True
            over = [waiting.popleft()]
        for command in over:
            self._out.append(self._exchange(command, now, ABORTED, -1, None))
            if command.kind == MONITOR:
                self._session.monitor = True
            elif command.kind:
                self._session.database = ""
        if self._pairing.doubt:
            self._session.database = ""
        self._lost_replies = not waiting

    # -- endings -----------------------------------------------------------------------------

    def _exchange(
        self, command: Command, now: int, outcome: Outcome, size: int, error: bytes | None
    ) -> Exchange:
        """See `exchange_of`."""
        return exchange_of(command, now, outcome, size, error, self._session.database, self._keys)

    def _abandon(self, now: int) -> None:
        """What waits gets no reply any more."""
        while self._waiting:
            self._out.append(self._exchange(self._waiting.popleft(), now, ABORTED, -1, None))

    def _break(self, reason: str, detail: str, buffer: StreamBuffer | None, now: int) -> None:
        """Decoding ends here."""
        self._abandon(now)
        self._over = True
        direction = buffer.direction if buffer is not None else None
        position = buffer.position if buffer is not None else 0
        self._out.append(ProtocolBreak(reason=reason, detail=detail, direction=direction, position=position))
