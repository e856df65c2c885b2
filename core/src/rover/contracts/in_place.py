"""The base of a decoder that is compiled, for the core to call it as C."""

from __future__ import annotations

from rover.contracts.protocol import AnyExchange, Outcomes
from rover.streams.buffer import StreamBuffer
from rover.values.connection import ProtocolBreak
from rover.values.records import Direction, Role


class InPlaceDecoder:
    """A `Decoder` and a `WeighedDecoder` that need not derive from this: it spares the core some lookups.

    Compiled, one that overrides `reads_in_place` is handed *lent* buffers (`StreamBuffer.lent`): what it does
    not pass over unread it reads in the source's memory, or calls `StreamBuffer.keep` first. No Python can
    override it, so none meets a lent buffer.
    """

    __slots__ = ("role",)

    def __init__(self) -> None:
        self.role: Role | None = None

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        """See `Decoder`."""
        raise NotImplementedError

    def kept(self) -> int:
        """See `memory`."""
        return 0

    def reads_in_place(self) -> bool:
        """Whether its `decode` takes lent buffers."""
        return False

    @property
    def memory(self) -> int:
        """See `WeighedDecoder`."""
        return self.kept()
