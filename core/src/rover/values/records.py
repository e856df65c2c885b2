"""What a source delivers: the vocabulary between capture and pipeline.

Times are nanoseconds on the source's own clock (CLOCK_MONOTONIC for eBPF); the Unix time
of that clock's zero is `Connection.epoch`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

from rover.values.attributes import AttributeValue
from rover.values.value import Value

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


class Address(Value):
    """An IPv4 or IPv6 address as text (v4-mapped written as IPv4) and a port."""

    __slots__ = ("host", "port")

    def __init__(
        self,
        *,
        host: str,
        port: int,
    ) -> None:
        self.host = host
        self.port = port


NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}


class Process(Value):
    """A process as first seen. `name` is the comm of its main thread (proc(5), status Name)."""

    __slots__ = ("attributes", "name", "pid")

    def __init__(
        self,
        *,
        pid: int,
        name: str,
        attributes: Mapping[str, AttributeValue] = NO_ATTRIBUTES,
    ) -> None:
        self.pid = pid
        """0 where none is known, as of a packet capture."""
        self.name = name
        self.attributes = attributes
        """What plugins say of it (`describe_process`); sources say nothing here."""


class Detail(Value):
    """The kernel's account of one completed socket call.

    `position` is the stream position, in the call's direction, of the first byte it moved:
    the bytes moved by all earlier calls since the source first saw the connection. The next
    call of that direction is at `position + size`; a difference is bytes that were lost.
    """

    __slots__ = (
        "connection",
        "direction",
        "end",
        "error",
        "fd",
        "pid",
        "position",
        "sequence",
        "size",
        "start",
        "syscall",
    )

    def __init__(
        self,
        *,
        connection: int,
        sequence: int,
        start: int,
        end: int,
        position: int,
        size: int,
        pid: int,
        fd: int,
        syscall: int,
        direction: int,
        error: int,
    ) -> None:
        self.connection = connection
        self.sequence = sequence
        """Number of this record within its connection, from 0; a jump is lost records."""
        self.start = start
        """ns, when the call was entered."""
        self.end = end
        """ns, when it returned."""
        self.position = position
        self.size = size
        """Bytes moved. 0 on a read is the end of the stream (the peer's FIN)."""
        self.pid = pid
        self.fd = fd
        """Descriptor the call was made with, -1 when there was none."""
        self.syscall = syscall
        """A `Syscall` number."""
        self.direction = direction
        """A `Direction` number; EGRESS for connect, accept, close."""
        self.error = error
        """errno of a connect or close that failed (EINPROGRESS is no failure), else 0."""


class Opened(Value):
    """A connection the source sees for the first time."""

    __slots__ = ("connection", "detail", "late", "local", "pid", "remote", "role", "time")

    def __init__(
        self,
        *,
        connection: int,
        time: int,
        local: Address,
        remote: Address,
        role: Role | None,
        pid: int,
        late: bool,
        detail: Detail | None,
    ) -> None:
        self.connection = connection
        """Identity: unique over the life of the source, whatever the descriptor."""
        self.time = time
        self.local = local
        self.remote = remote
        self.role = role
        """None where the source cannot tell: the connection existed before the agent."""
        self.pid = pid
        self.late = late
        """True when its beginning was not seen, so that the first bytes may be mid-message."""
        self.detail = detail
        """The connect or accept, None for a connection that was found."""


class Closed(Value):
    """The end of a connection. Nothing follows for it."""

    __slots__ = ("connection", "detail", "reset", "time", "unseen")

    def __init__(
        self,
        *,
        connection: int,
        time: int,
        reset: bool,
        detail: Detail | None,
        unseen: int = 0,
    ) -> None:
        self.connection = connection
        self.time = time
        self.reset = reset
        """True when a RST ended it."""
        self.detail = detail
        """The close call; None when the process ended without one, or the kernel closed it."""
        self.unseen = unseen
        """Bytes of both directions that the process moved and no record tells of, by the kernel's own
        counters: calls that are not watched (io_uring), or processes that are not. They are part of no
        position."""


class Loss(Value):
    """Records that the source knows it could not deliver."""

    __slots__ = ("cause", "records")

    def __init__(
        self,
        *,
        records: int,
        cause: str,
    ) -> None:
        self.records = records
        self.cause = cause
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


def new_detail(
    connection: int,
    sequence: int,
    start: int,
    end: int,
    position: int,
    size: int,
    pid: int,
    fd: int,
    syscall: int,
    direction: int,
    error: int,
) -> Detail:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = Detail.__new__(Detail)
    made.connection = connection
    made.sequence = sequence
    made.start = start
    made.end = end
    made.position = position
    made.size = size
    made.pid = pid
    made.fd = fd
    made.syscall = syscall
    made.direction = direction
    made.error = error
    return made
