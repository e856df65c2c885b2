"""What a source delivers: the vocabulary between capture and pipeline.

Times are nanoseconds on the source's own clock (CLOCK_MONOTONIC for eBPF); the Unix time
of that clock's zero is `Connection.epoch`. Values are named tuples: they are made once per
socket call, where a frozen dataclass costs four times as much.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, Protocol

MAX_NUMBER = (1 << 62) - 1
"""Sequence numbers, positions, sizes and times are not larger, so that sums of two fit 64 bits. A
source refuses others as malformed: bytes and nanoseconds take a century to get there."""


class Direction(enum.IntEnum):
    """Which way bytes move, seen from the watched process."""

    INGRESS = 0
    EGRESS = 1


class Role(enum.Enum):
    """Which end of the connection the watched process is."""

    CLIENT = "client"
    SERVER = "server"


class Syscall(enum.IntEnum):
    """The socket call of a detail. The numbers are shared with bpf/ and with recordings."""

    NONE = 0
    """No call at all: a segment from a packet capture."""
    CONNECT = 1
    ACCEPT = 2
    ACCEPT4 = 3
    CLOSE = 4
    SHUTDOWN = 5
    READ = 8
    READV = 9
    RECVFROM = 10
    RECVMSG = 11
    RECVMMSG = 12
    PREADV2 = 13
    WRITE = 16
    WRITEV = 17
    SENDTO = 18
    SENDMSG = 19
    SENDMMSG = 20
    SENDFILE64 = 21
    SPLICE = 22
    """Either way; the detail's direction tells which."""
    PWRITEV2 = 23


SYSCALL_NAMES: dict[int, str] = {call.value: call.name.lower() for call in Syscall}
"""Lower-case name by number: a plain dict lookup on paths where `Syscall(n)` is too slow."""


class Address(NamedTuple):
    """An IPv4 or IPv6 address as text (v4-mapped written as IPv4) and a port."""

    host: str
    port: int


NO_ATTRIBUTES: Mapping[str, str | int | bool] = {}


class Process(NamedTuple):
    """A process as first seen. `name` is the comm of its main thread (proc(5), status Name)."""

    pid: int
    """0 where none is known, as of a packet capture."""
    name: str
    attributes: Mapping[str, str | int | bool] = NO_ATTRIBUTES
    """What plugins say of it (`describe_process`); sources say nothing here."""


class Detail(NamedTuple):
    """The kernel's account of one completed socket call.

    `position` is the stream position, in the call's direction, of the first byte it moved:
    the bytes moved by all earlier calls since the source first saw the connection. The next
    call of that direction is at `position + size`; a difference is bytes that were lost.
    """

    connection: int
    sequence: int
    """Number of this record within its connection, from 0; a jump is lost records."""
    start: int
    """ns, when the call was entered."""
    end: int
    """ns, when it returned."""
    position: int
    size: int
    """Bytes moved. 0 on a read is the end of the stream (the peer's FIN)."""
    pid: int
    fd: int
    """Descriptor the call was made with, -1 when there was none."""
    syscall: int
    """A `Syscall` number."""
    direction: int
    """A `Direction` number; EGRESS for connect, accept, close."""
    error: int
    """errno of a connect or close that failed (EINPROGRESS is no failure), else 0."""


class Opened(NamedTuple):
    """A connection the source sees for the first time."""

    connection: int
    """Identity: unique over the life of the source, whatever the descriptor."""
    time: int
    local: Address
    remote: Address
    role: Role | None
    """None where the source cannot tell: the connection existed before the agent."""
    pid: int
    late: bool
    """True when its beginning was not seen, so that the first bytes may be mid-message."""
    detail: Detail | None
    """The connect or accept, None for a connection that was found."""


class Closed(NamedTuple):
    """The end of a connection. Nothing follows for it."""

    connection: int
    time: int
    reset: bool
    """True when a RST ended it."""
    detail: Detail | None
    """The close call; None when the process ended without one, or the kernel closed it."""
    unseen: int = 0
    """Bytes of both directions that the process moved and no record tells of, by the kernel's own
    counters: calls that are not watched (io_uring), or processes that are not. They are part of no
    position."""


class Loss(NamedTuple):
    """Records that the source knows it could not deliver."""

    records: int
    cause: str
    """One word for the totals: `ring_full`, `truncated`."""


class RecordHandler(Protocol):
    """Where a source delivers. One call per record; payload and account come together."""

    def process(self, process: Process) -> None:
        """A process that owns sockets, before its first record and again after an exec."""

    def opened(self, opened: Opened) -> None: ...

    def data(self, detail: Detail, payload: bytes) -> None:
        """One completed call that moved bytes, ended a stream, or shut one down.

        `payload` is the captured part, from the call's first byte; shorter than `detail.size`
        when the source did not take all of it. It is never longer.
        """

    def closed(self, closed: Closed) -> None: ...

    def lost(self, loss: Loss) -> None: ...
