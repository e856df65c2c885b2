"""What the pipeline keeps of one connection."""

from __future__ import annotations

from rover.contracts.protocol import Decoder, ProtocolSpec
from rover.streams.buffer import StreamBuffer
from rover.streams.ledger import Ledger
from rover.values.access_log import AccessLog
from rover.values.connection import Connection
from rover.values.records import Direction

INGRESS, EGRESS = Direction  # once: what an enumeration holds is slow to ask for


class ConnectionState:
    """Mutable, owned by the pipeline; `connection` is the snapshot that others see."""

    __slots__ = (
        "buffers",
        "claims",
        "connection",
        "decoder",
        "first",
        "header_end",
        "held",
        "held_memory",
        "joined",
        "kept",
        "late",
        "ledger",
        "listed",
        "memory",
        "plain",
        "seen",
        "sequence",
        "spec",
        "weighed",
    )

    def __init__(self, connection: Connection, *, late: bool, built: bool) -> None:
        self.connection = connection
        self.late = late
        """Its beginning was not seen: recognition never gives up on it."""
        self.held: list[AccessLog] | None = None if built else []
        """Logs that wait for the record that opens the connection; None once it is built."""
        self.ledger = Ledger()
        ingress, egress = StreamBuffer(INGRESS, self.ledger), StreamBuffer(EGRESS, self.ledger)
        ingress.late = egress.late = late
        self.buffers = (ingress, egress)
        self.decoder: Decoder | None = None
        self.spec: ProtocolSpec | None = None
        """The protocol it speaks. Without a decoder: the one it will speak, pinned by the user."""
        self.joined = False
        """Whether its first record was in the middle of it, and all records since were of one direction."""
        self.first = 0
        """That direction."""
        self.claims = 0
        """How many protocols it has had."""
        self.listed = False
        """Whether it is in the pipeline's table."""
        self.weighed = False
        """Whether the decoder tells what it keeps."""
        self.kept = 0
        """Bytes that the decoder keeps, as far as it tells."""
        self.held_memory = 0
        """Bytes that the logs in `held` take."""
        self.memory = 0
        """Bytes it is charged for: more than what any connection takes."""
        self.plain = False
        """Nothing is decoded (any more): every detail goes straight out."""
        self.sequence = 0
        """The sequence number due next."""
        self.header_end = 0
        """Position of the first byte after a PROXY protocol header, in the direction of the requests."""
        self.seen = connection.opened
        """ns of the newest record."""
