"""One HTTP/2 connection: frames in, streams out (RFC 9113).

Each direction is read on its own, frame by frame, in place; only what a frame means is common
to both (`streams`). A direction that did not open with the preface or SETTINGS was *joined
late*: its first bytes may be anything, and are believed only as far as they look like frames.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from rover import NEED_MORE, Connection, Direction, Outcomes, ProtocolBreak, Role
from rover.http import HttpRequest, HttpStream
from rover.streams.buffer import StreamBuffer
from rover_plugin_http2 import frames
from rover_plugin_http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITISED,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MASK,
)
from rover_plugin_http2.header_blocks import MAX_BLOCK
from rover_plugin_http2.side import Side
from rover_plugin_http2.streams import Streams
from rover_plugin_http2.undecodable import Undecodable
from rover_plugin_http2.upgrade import settings_of

INGRESS, EGRESS = Direction

SMALLEST_ADDING = HEADER_SIZE + 2
"""Bytes of the smallest frame that adds to a header table: a field with an indexed name and no value."""
MAX_SETTINGS = 6 * 1024
"""Bytes of a SETTINGS frame: a thousand settings, where a dozen are defined."""

_FIELD_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+\0")
"""RFC 9113 section 8.2.1, RFC 9110 section 5.1."""

_Step = HttpStream | Outcomes | None
"""What a frame led to: a finished stream, NEED_MORE of it, or nothing to tell."""


class Http2Decoder:
    """Implements `rover.Decoder`."""

    def __init__(
        self, connection: Connection, settings: Mapping[str, Any], upgrade: ProtocolBreak | None
    ) -> None:
        """`settings`: `split_after` (s) and `memory` (KiB), see `register_protocols`."""
        self.role: Role | None = connection.role
        self._streams = Streams(settings["split_after"] * 1_000_000_000)
        self._memory = settings["memory"] * 1024
        self._sides = (Side(INGRESS), Side(EGRESS))
        self._ready: deque[HttpStream] = deque()
        self._broke: ProtocolBreak | None = None
        if upgrade is not None and upgrade.request is not None:
            self._upgraded(upgrade.request, upgrade.direction)

    @property
    def memory(self) -> int:
        """Bytes that open streams and header tables take, at most."""
        return self._taken()

    # -- what the core calls ---------------------------------------------------------------------

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> HttpStream | Outcomes | ProtocolBreak:
        """One finished stream, NEED_MORE, or the break, after what it cuts."""
        if self._ready:
            return self._ready.popleft()
        if self._broke is not None:
            return self._broke
        side = self._sides[direction]
        try:
            return self._decode(side, buffer, now)
        except Undecodable as fault:
            found = f"{_frame_at(buffer)}: {fault.found}"
            reason = fault.reason
            if side.missing and not side.trusted and reason in ("framing", "unknown-stream"):
                reason = "gap"  # what follows it only looked like frames
            self._broke = ProtocolBreak(
                reason=reason, detail=found, protocol="", direction=direction, position=buffer.position
            )
        self._ready += self._streams.close(now)
        return self._ready.popleft() if self._ready else self._broke

    def expire(self, now: int) -> Iterable[HttpStream]:
        """Streams that have been open for long, as far as they got."""
        return self._streams.split(now)

    def close(self, now: int) -> Iterable[HttpStream]:
        """The streams that the connection's end cuts."""
        left = [*self._ready, *self._streams.close(now)]
        self._ready.clear()
        return left

    # -- frames ------------------------------------------------------------------------------------

    def _decode(self, side: Side, buffer: StreamBuffer, now: int) -> HttpStream | Outcomes:
        if not side.begun and not self._begin(side, buffer):
            return NEED_MORE
        step: _Step
        while True:
            if side.left and not self._pass(side, buffer, now):
                return NEED_MORE
            if side.ends_stream and (step := self._end_data(side)) is not None:
                return step
            data, offset = buffer.data, buffer.offset
            if len(data) - offset < HEADER_SIZE:
                if not buffer.gap or not self._pass_gap(side, buffer):
                    return NEED_MORE
                continue
            # As HEADER.unpack_from, which is the slower when all this is compiled.
            if type(data) is bytes:
                header, at = data, offset
            else:
                header, at = bytes(data[offset : offset + HEADER_SIZE]), 0
            length = header[at] << 16 | header[at + 1] << 8 | header[at + 2]
            kind, flags = header[at + 3], header[at + 4]
            reserved = header[at + 5] >> 7
            stream = (
                (header[at + 5] & 0x7F) << 24 | header[at + 6] << 16 | header[at + 7] << 8 | header[at + 8]
            )
            if not side.trusted:
                word = stream | reserved << 31
                _check(frames.implausible(kind, flags, word, length))
                if side.missing:
                    self._check_after_gap(side, stream, length)
            elif kind > HEADERS or not stream or flags & (PADDED | PRIORITISED):
                _check(frames.fault(kind, flags, stream, length))
            if length > side.max_frame_size:
                self._check_maximum(side, length)
            if kind == DATA:
                step = self._data(side, buffer, now, flags, stream, length)
            elif kind == HEADERS:
                step = self._header_block(side, buffer, now, kind, flags, stream, length)
            else:
                step = self._other(side, buffer, now, kind, flags, stream, length)
            if step is not None:
                return step

    def _pass_gap(self, side: Side, buffer: StreamBuffer) -> bool:
        """Bytes are missing where a frame begins; False until something has come after them.

        They were whole frames if frames follow. Which, nobody knows: any stream may have got content,
        trailers or its end, and header blocks may have moved what was in the table before.
        """
        size = buffer.gap
        if buffer.offset < len(buffer.data) or (size < HEADER_SIZE and not buffer.ended):
            raise Undecodable("gap", f"{size} bytes missing where a frame begins")
        if buffer.unread == size and not buffer.ended:
            return False
        buffer.skip(size)
        side.missing += size
        side.trusted = False
        told = self._streams.hide(side.direction, size > HEADER_SIZE)
        if size >= SMALLEST_ADDING:
            side.blocks.doubt()
            side.doubted = told
            if not told:
                side.blocks.settle(False)
            side.memory = side.blocks.memory
        return True

    def _check_after_gap(self, side: Side, stream: int, length: int) -> None:
        """What else is expected of frames until a header block shows that they are."""
        if length > side.max_frame_size:
            raise Undecodable("gap", f"{length} bytes long")
        if stream and not self._streams.may_exist(stream, side.missing):
            raise Undecodable("gap", "far above all streams that were seen")

    def _begin(self, side: Side, buffer: StreamBuffer) -> bool:
        """The first bytes of a direction; False when there are too few to tell."""
        if buffer.at_gap:
            # Joined after bytes that were lost, which is as good as any other moment.
            buffer.skip(buffer.gap)
            side.late = True
            self._streams.hide(side.direction, True)
        start = bytes(buffer.data[buffer.offset : buffer.offset + len(PREFACE)])
        if start == PREFACE:
            self._found_client(side.direction)
            self._streams.preface = True
            buffer.consume(len(PREFACE))
        elif PREFACE.startswith(start) or len(start) < HEADER_SIZE:
            if start and buffer.gap:
                raise Undecodable("gap", f"{buffer.gap} bytes missing in the first frame")
            return False
        self._streams.opened[side.direction] = not side.late and start[3] == SETTINGS
        side.begun = True
        return True

    def _found_client(self, direction: Direction) -> None:
        self._streams.found_client(direction)
        self.role = Role.CLIENT if direction is EGRESS else Role.SERVER

    def _knows_limits(self, side: Side) -> bool:
        """Whether everything was seen that the receiver of this direction announced."""
        return not self._streams.is_late(side.opposite)

    def _check_maximum(self, side: Side, length: int) -> None:
        if length > side.max_frame_size and self._knows_limits(side):
            raise Undecodable("framing", f"{length} bytes long, {side.max_frame_size} were announced")

    def _taken(self) -> int:
        ingress, egress = self._sides
        return self._streams.memory + ingress.memory + egress.memory

    def _check_memory(self, now: int) -> None:
        """Keeps less when it gets much; what that cuts is ready."""
        taken, streams = self._taken(), self._streams
        if taken > self._memory:
            self._ready += streams.relieve(now)
            taken = self._taken()
            if taken > self._memory:
                raise Undecodable("overflow", f"open streams and header tables take {taken} bytes")
        elif streams.tight and taken < self._memory >> 1:
            streams.tight = False

    def _owner(self, stream: int) -> int | None:
        """Whose bytes those of a stream are: nobody's when it is not, or no more, to be logged."""
        return stream if self._streams.get(stream) is not None else None

    # -- DATA, and other payloads that are passed over -----------------------------------------------

    def _data(
        self, side: Side, buffer: StreamBuffer, now: int, flags: int, number: int, length: int
    ) -> _Step:
        size, content = HEADER_SIZE, length
        hidden = False
        if flags & PADDED:
            if len(buffer) > HEADER_SIZE:
                padding = buffer.data[buffer.offset + HEADER_SIZE]
                if padding >= length:
                    raise Undecodable("framing", f"{padding} bytes of padding in {length}")
                size += 1
                content -= 1 + padding
            elif buffer.gap:
                hidden, content = True, 0
            else:
                return NEED_MORE
        streams, way = self._streams, side.direction
        stream = streams.data_begins(way, number)
        if HEADER_SIZE + length <= len(buffer):
            if stream is not None:
                streams.data(way, stream, content, now)
                buffer.consume(HEADER_SIZE + length, number)
                return streams.end(way, stream) if flags & END_STREAM else None
            buffer.consume(HEADER_SIZE + length)
            return None
        if stream is not None:
            streams.data(way, stream, None if hidden else 0, now)
        buffer.consume(size, None if stream is None else number)
        self._pass_over(side, number, HEADER_SIZE + length - size)
        side.content = content
        side.ends_stream = bool(flags & END_STREAM)
        return None

    def _pass_over(self, side: Side, stream: int, length: int) -> None:
        side.left = length
        side.content = 0
        side.stream = stream

    def _pass(self, side: Side, buffer: StreamBuffer, now: int) -> bool:
        """Passes over what has arrived of a payload; False when more must come."""
        stream = self._streams.get(side.stream)
        passed = buffer.skip(side.left, None if stream is None else side.stream)
        side.left -= passed
        content = min(passed, side.content)
        side.content -= content
        if content and stream is not None:
            self._streams.data(side.direction, stream, content, now)
        return not side.left

    def _end_data(self, side: Side) -> HttpStream | None:
        side.ends_stream = False
        stream = self._streams.get(side.stream)
        if stream is None:
            return None
        return self._streams.end(side.direction, stream)

    # -- header blocks -------------------------------------------------------------------------------

    def _header_block(
        self, side: Side, buffer: StreamBuffer, now: int, kind: int, flags: int, number: int, length: int
    ) -> _Step:
        """HEADERS or PUSH_PROMISE. Nothing is consumed before the whole block is there."""
        size = self._walk(side, buffer, flags, number, length)
        if not size:
            return NEED_MORE
        data, start = buffer.data, buffer.offset + HEADER_SIZE
        end = start + length
        promised = 0
        if flags & PADDED:
            end -= data[start]
            start += 1
        if kind == PUSH_PROMISE:
            promised = int.from_bytes(data[start : start + 4], "big") & STREAM_MASK
            start += 4
        elif flags & PRIORITISED:
            start += 5
        if start > end:
            raise Undecodable("framing", f"more padding than its {length} bytes hold")
        if not flags & END_HEADERS:
            first = HEADER_SIZE + length
            data = bytes(data[start:end]) + frames.continuations(
                data, buffer.offset + first, buffer.offset + size
            )
            start, end = 0, len(data)
        if side.doubted:
            self._settle(side, kind, number)
        pseudo, fields = side.blocks.fields(
            data, start, end, side.max_table_size if self._knows_limits(side) else None
        )
        side.memory = side.blocks.memory
        if not side.trusted:
            _check_names(pseudo + fields)
            side.trusted = True
        streams, way, since = self._streams, side.direction, buffer.since
        if kind == PUSH_PROMISE:
            stream = streams.promised(way, promised, pseudo, fields, end - start, since, now)
        else:
            ends = bool(flags & END_STREAM)
            stream = streams.headers(way, number, pseudo, fields, end - start, since, now, ends)
        if self.role is None and streams.client is not None:
            self._found_client(streams.client)
        done = None if stream is None else streams.finished(stream)
        if done is None:
            self._check_memory(now)
        buffer.consume(size, None if stream is None else stream.number)
        return done if done is not None else self._next_ready()

    def _settle(self, side: Side, kind: int, number: int) -> None:
        """Before a header block that follows a gap: did the gap hide others?"""
        if kind == HEADERS and self._streams.is_new(side.direction, number):
            side.blocks.settle(self._streams.opened_nothing(number))
            side.doubted = False

    def _next_ready(self) -> HttpStream | None:
        return self._ready.popleft() if self._ready else None

    def _walk(self, side: Side, buffer: StreamBuffer, flags: int, number: int, length: int) -> int:
        """Bytes of a header block with all its frames, once they are there; else 0."""
        data, offset = buffer.data, buffer.offset
        here = len(data) - offset
        walked = side.walked
        while True:
            if walked:
                if here < walked + HEADER_SIZE:
                    break
                upper, lower, kind, flags, word = HEADER.unpack_from(data, offset + walked)
                length = upper << 8 | lower
                if kind != CONTINUATION or word & STREAM_MASK != number:
                    raise Undecodable("framing", f"{frames.name(kind)} inside its header block")
                self._check_maximum(side, length)
            end = walked + HEADER_SIZE + length
            if end > MAX_BLOCK:
                raise Undecodable("hpack", f"a header block of more than {MAX_BLOCK} bytes")
            if end > here:
                break
            if flags & END_HEADERS:
                side.walked = 0
                return end
            walked = side.walked = end
        if buffer.gap:
            raise Undecodable("gap", f"{buffer.gap} bytes missing inside the header block")
        return 0

    # -- frames that control ---------------------------------------------------------------------------

    def _other(
        self, side: Side, buffer: StreamBuffer, now: int, kind: int, flags: int, stream: int, length: int
    ) -> _Step:
        if kind == PUSH_PROMISE:
            return self._header_block(side, buffer, now, kind, flags, stream, length)
        if kind == CONTINUATION:
            raise Undecodable("framing", "no header block to continue")
        if kind == SETTINGS:
            payload = self._payload(buffer, length)
            if payload is not None:
                self._settings(side.direction, payload)
                side.trusted = True
                buffer.consume(HEADER_SIZE + length)
            elif buffer.gap:
                self._streams.lost[side.direction] = True
                self._pass_unread(side, buffer, length)
            else:
                return NEED_MORE
        elif kind == RST_STREAM:
            payload = self._payload(buffer, length)
            if payload is None and not buffer.gap:
                return NEED_MORE
            owner = self._owner(stream)
            error = None if payload is None else int.from_bytes(payload, "big")
            done = self._streams.reset(side.direction, stream, error, now)
            if payload is None:
                self._pass_unread(side, buffer, length, owner)
                return done
            if done is None:
                self._check_memory(now)
            buffer.consume(HEADER_SIZE + length, owner)
            return done if done is not None else self._next_ready()
        elif kind == GOAWAY:
            payload = self._payload(buffer, 8)
            if payload is None:
                if not buffer.gap:
                    return NEED_MORE
                self._pass_unread(side, buffer, length)
                return None
            last, error = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:], "big")
            self._ready += self._streams.going_away(side.direction, last & STREAM_MASK, error, now)
            buffer.consume(HEADER_SIZE + 8)
            self._pass_over(side, 0, length - 8)
            return self._next_ready()
        else:  # PRIORITY, PING, WINDOW_UPDATE, and whatever extensions send
            here = min(len(buffer), HEADER_SIZE + length)
            buffer.consume(here, self._owner(stream))
            self._pass_over(side, stream, HEADER_SIZE + length - here)
        return None

    def _payload(self, buffer: StreamBuffer, size: int) -> bytes | None:
        """The first `size` bytes of the payload; None when they are not there, yet or never."""
        if size > MAX_SETTINGS:
            raise Undecodable("framing", f"{size} bytes long")
        if len(buffer) < HEADER_SIZE + size:
            return None
        start = buffer.offset + HEADER_SIZE
        return bytes(buffer.data[start : start + size])

    def _pass_unread(self, side: Side, buffer: StreamBuffer, length: int, owner: int | None = None) -> None:
        """A frame of known length that was not captured whole."""
        buffer.consume(HEADER_SIZE, owner)
        self._pass_over(side, 0, length)

    def _settings(self, direction: Direction, payload: bytes) -> None:
        """What one side announces binds what the other side sends."""
        settings = frames.read_settings(payload)
        _check(frames.settings_fault(settings))
        other = self._sides[1 - direction]
        for identifier, value in settings:
            if identifier == frames.HEADER_TABLE_SIZE:
                other.max_table_size = max(other.max_table_size, value)
            elif identifier == frames.MAX_FRAME_SIZE:
                other.max_frame_size = max(other.max_frame_size, value)

    def _upgraded(self, request: HttpRequest, answered: Direction | None) -> None:
        """The connection goes on from HTTP/1.1 (RFC 7540 section 3.2). `answered`: the 101's way."""
        if self.role is not None:
            client = EGRESS if self.role is Role.CLIENT else INGRESS
        elif answered is not None:
            client = INGRESS if answered is EGRESS else EGRESS
        else:
            return
        self._found_client(client)
        self._streams.upgraded(request)
        payload = settings_of(request)
        if payload is not None:
            with contextlib.suppress(Undecodable):
                self._settings(client, payload)


def _check(found: str) -> None:
    if found:
        raise Undecodable("framing", found)


def _check_names(packed: bytes) -> None:
    """The first header block of a direction joined late: do these look like fields?"""
    for line in packed.split(b"\n")[1:]:
        if _FIELD_NAME.match(line) is None:
            raise Undecodable("framing", f"a field named {line[: line.index(0)][:40]!r}")


def _frame_at(buffer: StreamBuffer) -> str:
    """The frame at the head, for people."""
    if len(buffer) < HEADER_SIZE:
        return f"at byte {buffer.position}"
    _, _, kind, _, word = HEADER.unpack_from(buffer.data, buffer.offset)
    return f"{frames.name(kind)} of stream {word & STREAM_MASK} at byte {buffer.position}"
