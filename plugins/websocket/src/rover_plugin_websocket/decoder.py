"""One WebSocket connection: frames in, exchanges out (RFC 6455).

Each direction is read on its own, in place: a frame's header, then its payload, which is counted and passed
over, whatever length it claims. Of payloads only that of Close is looked at. Nothing in the bytes marks where
a frame begins, so bytes that are missing in a header end the decoding; inside a payload they do not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from rover import NEED_MORE, Connection, Direction, Exchange, Outcomes, ProtocolBreak, Role, StreamBuffer
from rover_plugin_websocket.frames import (
    CLOSE,
    CONTINUATION,
    NAMES,
    RSV1,
    Frame,
    read_frame,
    unmasked,
)
from rover_plugin_websocket.handshake import Extensions, endpoint
from rover_plugin_websocket.logs import ConnectionLog, Logs, MessageLogs, Tally
from rover_plugin_websocket.undecodable import Undecodable

INGRESS, EGRESS = Direction
SECOND = 1_000_000_000
PINNED = "a WebSocket begins with an HTTP handshake, and is read from there on: its port is not to be pinned"
CHARACTER = 4
"""Bytes that a character of a text takes at most."""


class Side:
    """What is known of one direction."""

    __slots__ = ("closed", "counts", "direction", "ends", "left", "owner", "tally")

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.tally: Tally | None = None
        """Of the message that is under way."""
        self.left = 0
        """Payload bytes of the current frame that are still to be passed over."""
        self.owner: int | None = None
        """Whose they are."""
        self.counts = False
        """Whether they are the message's."""
        self.ends = False
        """Whether the message ends with them."""
        self.closed = False
        """Whether Close was sent: nothing of what follows means anything (section 5.5.1)."""


class WebSocketDecoder:
    """Implements `rover.WeighedDecoder`."""

    def __init__(
        self, connection: Connection, settings: Mapping[str, Any], upgrade: ProtocolBreak | None
    ) -> None:
        """`settings`: `log` and `split_after` (s), see `register_protocols`."""
        request, response = (upgrade.request, upgrade.response) if upgrade is not None else (None, None)
        self._extensions = Extensions(response)
        attributes = endpoint(request, response)
        self.memory = CHARACTER * sum(len(text) for text in attributes.values() if isinstance(text, str))
        """Bytes that what all logs share takes, at most: the target may be a long one."""
        self.role: Role | None = connection.role
        self._client: Direction | None = None
        if upgrade is not None and upgrade.direction is not None:
            self._found_client(_opposite(upgrade.direction))  # the 101 is the server's
        elif self.role is not None:
            self._found_client(EGRESS if self.role is Role.CLIENT else INGRESS)
        split_after = settings["split_after"] * SECOND
        self._logs: Logs
        if settings["log"] == "connection":
            self._logs = ConnectionLog(attributes, split_after, response.end if response is not None else 0)
        else:
            self._logs = MessageLogs(attributes, split_after)
        self._sides = (Side(INGRESS), Side(EGRESS))
        self._ready: deque[Exchange] = deque()
        self._broke = None if upgrade is not None else ProtocolBreak(reason="framing", detail=PINNED)

    # -- what the core calls -----------------------------------------------------------------------

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> Exchange | Outcomes | ProtocolBreak:
        """One exchange, NEED_MORE, or the break, after what it cuts."""
        if self._broke is None:
            try:
                return self._decode(self._sides[direction], buffer, now)
            except Undecodable as fault:
                found = f"frame at byte {buffer.position}: {fault.found}"
                self._broke = ProtocolBreak(
                    reason=fault.reason, detail=found, direction=direction, position=buffer.position
                )
                self._ready += self._logs.cut(now)
        return self._ready.popleft() if self._ready else self._broke

    def unneeded(self, direction: Direction) -> int:
        """What is to come of a payload."""
        return self._sides[direction].left

    def expire(self, now: int) -> Iterable[Exchange]:
        """What has been open for long, as far as it got."""
        return self._logs.split(now)

    def close(self, now: int) -> Iterable[Exchange]:
        """What the connection's end cuts."""
        left = [*self._ready, *self._logs.cut(now)]
        self._ready.clear()
        return left

    # -- frames ------------------------------------------------------------------------------------

    def _decode(self, side: Side, buffer: StreamBuffer, now: int) -> Exchange | Outcomes:
        while True:
            if side.left and not self._pass(side, buffer):
                return NEED_MORE
            if side.ends and (exchange := self._end(side, now)) is not None:
                return exchange
            if side.closed:
                buffer.skip(buffer.unread)
                return NEED_MORE
            frame = read_frame(buffer.data, buffer.offset)
            if frame is None:
                if buffer.gap:
                    raise Undecodable("gap", f"{buffer.gap} bytes missing in its header")
                return NEED_MORE
            self._check_mask(side, frame)
            if frame.opcode == CLOSE:
                if not _is_whole(buffer, frame):
                    return NEED_MORE
                if (exchange := self._close(side, buffer, frame, now)) is not None:
                    return exchange
            elif frame.control:
                self._check_reserved(frame, self._extensions.further)
                self._take(side, buffer, frame, self._logs.control, counts=False)
            else:
                tally = self._data(side, buffer, frame)
                self._take(side, buffer, frame, tally.owner, counts=True)

    def _data(self, side: Side, buffer: StreamBuffer, frame: Frame) -> Tally:
        """A frame of a message: the message."""
        tally = side.tally
        if frame.opcode == CONTINUATION:
            if tally is None:
                raise Undecodable("framing", "no message to continue")
            self._check_reserved(frame, self._extensions.further)
        else:
            if tally is not None:
                raise Undecodable("framing", f"{NAMES[frame.opcode]} inside a message")
            self._check_reserved(frame, self._extensions.first)
            compressed = bool(frame.reserved & RSV1) if self._extensions.compression else None
            kind = NAMES[frame.opcode]
            tally = side.tally = self._logs.begun(self._sender(side), kind, compressed, buffer.since)
        tally.frames += 1
        side.ends = frame.final
        return tally

    def _take(
        self, side: Side, buffer: StreamBuffer, frame: Frame, owner: int | None, *, counts: bool
    ) -> None:
        """A frame's header; its payload is next."""
        buffer.consume(frame.size, owner)
        side.left, side.owner, side.counts = frame.length, owner, counts

    def _pass(self, side: Side, buffer: StreamBuffer) -> bool:
        """Passes over what there is of a payload; False when more must come."""
        passed = buffer.skip(side.left, side.owner)
        side.left -= passed
        if side.counts and side.tally is not None:
            side.tally.size += passed
        return not side.left

    def _end(self, side: Side, now: int) -> Exchange | None:
        tally, side.tally = side.tally, None
        side.ends = False
        return self._logs.ended(tally, now) if tally is not None else None

    def _close(self, side: Side, buffer: StreamBuffer, frame: Frame, now: int) -> Exchange | None:
        """The last frame of a direction; the exchange when it is the second of them."""
        self._check_reserved(frame, self._extensions.further)
        code, reason = None, ""
        if frame.length == 1:
            raise Undecodable("framing", "half of a code")
        if frame.length and len(buffer) >= frame.size + frame.length:
            start = buffer.offset + frame.size
            payload = unmasked(bytes(buffer.data[start : start + frame.length]), frame.key)
            code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")
        owner = self._logs.closing(self._sender(side), buffer.since, code, reason)
        self._take(side, buffer, frame, owner, counts=False)
        self._pass(side, buffer)
        side.closed = True
        ingress, egress = self._sides
        return self._logs.closed(now) if ingress.closed and egress.closed else None

    # -- rules -------------------------------------------------------------------------------------

    def _check_mask(self, side: Side, frame: Frame) -> None:
        """Clients mask their frames, servers do not (section 5.1)."""
        if self._client is None:
            self._found_client(side.direction if frame.key else _opposite(side.direction))
        elif bool(frame.key) is not (side.direction is self._client):
            sender = self._sender(side)
            raise Undecodable("framing", f"the {sender} sent it {'' if frame.key else 'not '}masked")

    def _check_reserved(self, frame: Frame, allowed: int) -> None:
        if frame.reserved & ~allowed:
            raise Undecodable(
                "framing", f"reserved bits {frame.reserved & ~allowed:#x} of {NAMES[frame.opcode]}"
            )

    def _found_client(self, direction: Direction) -> None:
        self._client = direction
        self.role = Role.CLIENT if direction is EGRESS else Role.SERVER

    def _sender(self, side: Side) -> str:
        return "client" if side.direction is self._client else "server"


def _is_whole(buffer: StreamBuffer, frame: Frame) -> bool:
    """Whether all of a frame is there that will ever be."""
    return len(buffer) >= frame.size + frame.length or buffer.gap > 0


def _opposite(direction: Direction) -> Direction:
    return INGRESS if direction is EGRESS else EGRESS
