"""What a plugin author needs, all of it: the names that `from rover import ...` gives."""

from rover.access_log import AccessLog
from rover.buffer import StreamBuffer
from rover.connection import Connection, ProtocolBreak
from rover.decoder import (
    NEED_MORE,
    RESYNCHRONISED,
    UPLOAD_ALL,
    UPLOAD_NONE,
    AnyExchange,
    Decoder,
    Outcomes,
    ProtocolSpec,
    Verdict,
    WeighedDecoder,
)
from rover.errors import RoverError, SinkError, UsageError
from rover.exchange import Exchange, Outcome
from rover.hookspecs import hookimpl
from rover.lock import ProcessLock
from rover.records import (
    SYSCALL_NAMES,
    Address,
    Closed,
    Detail,
    Direction,
    Loss,
    Opened,
    Process,
    RecordHandler,
    Role,
    Syscall,
)
from rover.settings import Setting, Settings
from rover.sink import Sink, SinkSpec, Worker
from rover.source import Check, DescribingSource, DivisibleSource, Selection, Source, SourceSpec

__all__ = [
    "NEED_MORE",
    "RESYNCHRONISED",
    "SYSCALL_NAMES",
    "UPLOAD_ALL",
    "UPLOAD_NONE",
    "AccessLog",
    "Address",
    "AnyExchange",
    "Check",
    "Closed",
    "Connection",
    "Decoder",
    "DescribingSource",
    "Detail",
    "Direction",
    "DivisibleSource",
    "Exchange",
    "Loss",
    "Opened",
    "Outcome",
    "Outcomes",
    "Process",
    "ProcessLock",
    "ProtocolBreak",
    "ProtocolSpec",
    "RecordHandler",
    "Role",
    "RoverError",
    "Selection",
    "Setting",
    "Settings",
    "Sink",
    "SinkError",
    "SinkSpec",
    "Source",
    "SourceSpec",
    "StreamBuffer",
    "Syscall",
    "UsageError",
    "Verdict",
    "WeighedDecoder",
    "Worker",
    "hookimpl",
]
