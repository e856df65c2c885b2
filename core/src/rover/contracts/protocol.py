"""What a protocol plugin provides: a sniff, and decoders without I/O."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rover.contracts.settings import Setting
from rover.streams.buffer import StreamBuffer
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange
from rover.values.http import HttpExchange, HttpStream
from rover.values.records import Direction, Role

UPLOAD_ALL = 0xFFFF_FFFE
"""Upload limit: every byte up to what the source can take of one call."""
UPLOAD_NONE = 0
"""Upload limit: details only."""
MAX_OPENING = 1 << 17
"""The most that `ProtocolSpec.opening` may ask for: a first reply of 64 kB with what frames it, twice over.
Every connection that nobody has recognised yet pays for it: so many bytes of each direction are copied."""


class Verdict(enum.Enum):
    """What the first bytes of a direction say about a protocol."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"
    """Too few bytes to tell; the core asks again with more."""


class Outcomes(enum.Enum):
    """What `Decoder.decode` found, when it is neither an exchange nor a break."""

    NEED_MORE = "need more"
    """Nothing to do until more bytes arrive."""
    RESYNCHRONISED = "resynchronised"
    """Bytes were skipped to the next plausible start; decode again."""


NEED_MORE = Outcomes.NEED_MORE
RESYNCHRONISED = Outcomes.RESYNCHRONISED

AnyExchange = HttpExchange | HttpStream | Exchange


class Decoder(Protocol):
    """The state of one connection in one protocol. No I/O, no clock of its own.

    Fed whole or byte by byte, it yields the same exchanges. Any exception, and any result of
    another type, is a bug of the plugin: the core counts it and breaks the connection (reason `plugin`).

    It may be a WeighedDecoder and a SkippingDecoder, too: the core looks at the first of each class.
    """

    role: Role | None
    """Which end is watched, as the direction of the requests shows; None until known."""

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        """One step over the unread bytes of a direction; called again until it returns NEED_MORE.

        It consumes what it understood. `now` (ns) is when the newest bytes were seen. It is also
        called when `buffer.ended` became true, so that a message that a close ends can finish.
        """

    def expire(self, now: int) -> Iterable[AnyExchange]:
        """Called every few seconds; returns exchanges that took too long, as `split` or `aborted`."""

    def close(self, now: int) -> Iterable[AnyExchange]:
        """Called when the connection is over; returns the exchanges under way, as `aborted`."""


@runtime_checkable
class WeighedDecoder(Protocol):
    """The optional part of a decoder that tells how much it keeps, so that `limits.memory` can hold for it.

    A decoder that does not tell keeps little: less than a kilobyte beyond the bytes it left unread.
    """

    @property
    def memory(self) -> int:
        """About how many bytes it keeps now, in addition to what is unread in its buffers.

        The core reads it after each call's bytes, so keep the sum up to date instead of adding it up
        each time.
        """


@runtime_checkable
class SkippingDecoder(Protocol):
    """The optional part of a decoder that tells which bytes it has no use for."""

    def unneeded(self, direction: Direction) -> int:
        """How many of the bytes that come next it will pass over whatever they are.

        The core asks in the middle of large bodies, and tells the source to leave those bytes out: a gap
        of known size takes their place.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A protocol, returned by `register_protocols`."""

    name: str
    """Short and unique: `http1`. What `rover plugins` lists and ports are pinned to."""
    sniff: Callable[[bytes | bytearray], Verdict]
    """Do these bytes, the first of a direction, open a message of this protocol? Called on
    the beginning of a connection (after a PROXY protocol header, if it has one), and on that of later
    calls while nothing has been recognised: a greeting may come first, or the connection was joined late."""
    make: Callable[[Connection, Mapping[str, Any], ProtocolBreak | None], Decoder]
    """(connection, settings, upgrade): a decoder. `upgrade` is the break of the protocol
    before, when this one was claimed by its `upgrade` token, else None."""
    settings: Sequence[Setting] = ()
    """Configured as `protocol.NAME.SETTING`."""
    upgrades: frozenset[str] = frozenset()
    """Upgrade tokens (lower case) after which a connection goes on in this protocol."""
    upload: int = UPLOAD_ALL
    """Bytes of each call the source should deliver once the protocol is recognised."""
    priority: int = 0
    """The protocol with the highest one sniffs first."""
    opening: int = 0
    """Bytes of each direction, from a connection's first, that `sniff` and the first reply may need: what
    comes before the core has told the source that the protocol is recognised. 0 is for what the source
    delivers by itself, some kB; MAX_OPENING is the most. The largest of all installed protocols holds."""
    ports: frozenset[int] = frozenset()
    """Ports that are its own, at either end. Connections of these are delivered in full from their first
    call, as are those of ports that a user pins. What is sniffed decides, as ever, whether they speak the
    protocol."""
    sniff_own: Callable[[bytes | bytearray], Verdict] | None = None
    """On connections of `ports` asked instead of `sniff`: for openings that prove little elsewhere."""
