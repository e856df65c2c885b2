"""HTTP/2 conversations for tests, written with hyperframe and hpack: not with what is tested."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hpack
import pytest
from hyperframe import frame as hf

from rover import Direction, ProtocolBreak, Role
from rover.http import HttpStream
from rover.testing import Play, check_delivery, connection
from rover_plugin_http2 import register_protocols

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Sequence[tuple[str, str]]
GET: Fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")]
OK: Fields = [(":status", "200")]


class Conversation:
    """One connection, watched from the client's process: frames go `up`, and `down`.

    Frame methods return bytes; `up` and `down` send them as one socket call. Header blocks are
    encoded in the order the methods are called, with one encoder per direction.
    """

    def __init__(
        self,
        *,
        late: bool = False,
        role: Role | None = None,
        upgrade: ProtocolBreak | None = None,
        **settings: int,
    ) -> None:
        (spec,) = register_protocols()
        given = {setting.name: setting.default for setting in spec.settings} | settings
        self.play = Play(spec.make(connection(role), given, upgrade))
        self.encoders = {Direction.EGRESS: hpack.Encoder(), Direction.INGRESS: hpack.Encoder()}
        if not late:
            self.up(PREFACE, self.settings())
            self.down(self.settings())

    # -- calls ---------------------------------------------------------------------------

    def up(self, *parts: bytes, **how: int) -> None:
        self.play.send(Direction.EGRESS, b"".join(parts), **how)

    def down(self, *parts: bytes, **how: int) -> None:
        self.play.send(Direction.INGRESS, b"".join(parts), **how)

    # -- frames --------------------------------------------------------------------------

    def request(self, stream: int, fields: Fields | None = None, path: str = "/", **how: Any) -> bytes:
        """HEADERS of a request, which ends its stream unless `end=False`."""
        if fields is None:
            fields = [(n, path if n == ":path" else v) for n, v in GET]
        return self.block(Direction.EGRESS, stream, fields, **how)

    def response(self, stream: int, fields: Fields = OK, **how: Any) -> bytes:
        return self.block(Direction.INGRESS, stream, fields, **how)

    def block(
        self,
        direction: Direction,
        stream: int,
        fields: Fields,
        *,
        end: bool = True,
        pad: int | None = None,
        priority: bool = False,
        cut: Sequence[int] = (),
        huffman: bool = True,
        promise: int = 0,
    ) -> bytes:
        """HEADERS (PUSH_PROMISE if `promise`), its block cut by CONTINUATION frames at `cut`."""
        encoded = self.encode(direction, fields, huffman=huffman)
        edges = [0, *sorted({c for c in cut if 0 <= c <= len(encoded)}), len(encoded)]
        pieces = [encoded[a:b] for a, b in itertools.pairwise(edges)]
        first: Any = hf.PushPromiseFrame(stream) if promise else hf.HeadersFrame(stream)
        if promise:
            first.promised_stream_id = promise
        elif end:
            first.flags.add("END_STREAM")
        first.data = pieces[0]
        if pad is not None:
            first.flags.add("PADDED")
            first.pad_length = pad
        if priority:
            first.flags.add("PRIORITY")
            first.depends_on, first.stream_weight, first.exclusive = 0, 15, True
        rest = [hf.ContinuationFrame(stream, data=piece) for piece in pieces[1:]]
        (rest or [first])[-1].flags.add("END_HEADERS")
        return b"".join(f.serialize() for f in [first, *rest])

    def encode(self, direction: Direction, fields: Fields, *, huffman: bool = True) -> bytes:
        return self.encoders[direction].encode(fields, huffman=huffman)

    def data(self, stream: int, payload: bytes = b"", *, end: bool = True, pad: int | None = None) -> bytes:
        frame = hf.DataFrame(stream, payload, flags=["END_STREAM"] if end else [])
        if pad is not None:
            frame.flags.add("PADDED")
            frame.pad_length = pad
        return frame.serialize()

    def settings(self, values: dict[int, int] | None = None, *, ack: bool = False) -> bytes:
        pairs = {} if ack else {3: 100} if values is None else values
        return self.raw(4, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs.items()), int(ack))

    def reset(self, stream: int, error: int) -> bytes:
        return hf.RstStreamFrame(stream, error_code=error).serialize()

    def goaway(self, last: int, error: int = 0, debug: bytes = b"") -> bytes:
        return hf.GoAwayFrame(0, last_stream_id=last, error_code=error, additional_data=debug).serialize()

    def ping(self) -> bytes:
        return hf.PingFrame(0, b"pingpong").serialize()

    def window(self, stream: int = 0) -> bytes:
        return hf.WindowUpdateFrame(stream, window_increment=1000).serialize()

    def priority(self, stream: int) -> bytes:
        return hf.PriorityFrame(stream, depends_on=0, stream_weight=7).serialize()

    def raw(
        self, kind: int, stream: int, payload: bytes = b"", flags: int = 0, length: int | None = None
    ) -> bytes:
        """Any frame header, whatever it says."""
        size = len(payload) if length is None else length
        return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    # -- results -------------------------------------------------------------------------

    @property
    def streams(self) -> list[HttpStream]:
        """What was logged, the connection being well."""
        assert self.play.protocol_break is None, self.play.protocol_break
        return [e for e in self.play.exchanges if isinstance(e, HttpStream)]

    @property
    def stream(self) -> HttpStream:
        """The one stream that was logged."""
        (stream,) = self.streams
        return stream

    @property
    def broke(self) -> ProtocolBreak:
        """The break there has been."""
        assert self.play.protocol_break is not None
        return self.play.protocol_break

    @property
    def summary(self) -> list[tuple[Any, ...]]:
        """What does not depend on when which bytes came."""
        return [summary(stream) for stream in self.play.exchanges if isinstance(stream, HttpStream)]

    def check_details(self) -> None:
        """Every call's detail has been delivered, once. Ends the connection."""
        self.play.close()
        check_delivery(self.play)


def summary(stream: HttpStream) -> tuple[Any, ...]:
    """A stream without its times."""
    q, r = stream.request, stream.response
    return (
        stream.owner,
        stream.outcome,
        stream.error_code,
        (q.method, q.target, q.authority, q.scheme, tuple(q.headers), q.header_size, q.body_size),
        r and (r.status, tuple(r.headers), tuple(r.trailers), r.header_size, r.body_size),
    )


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data`, cut at these indices."""
    edges = [0, *sorted({c for c in cuts if 0 < c < len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.fixture(scope="session")
def talk() -> type[Conversation]:
    """Makes conversations."""
    return Conversation


@pytest.fixture(scope="session")
def cut_at() -> Callable[[bytes, Iterable[int]], list[bytes]]:
    """Cuts bytes at indices."""
    return pieces_of
