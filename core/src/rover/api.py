"""What a plugin author needs, all of it: the names that `from rover import ...` gives."""

from rover.contracts.hooks import DROP, NEVER, Drop, Never, hookimpl
from rover.contracts.lock import ProcessLock
from rover.contracts.protocol import (
    NEED_MORE,
    RESYNCHRONISED,
    UPLOAD_ALL,
    UPLOAD_NONE,
    AnyExchange,
    Decoder,
    Outcomes,
    ProtocolSpec,
    SkippingDecoder,
    Verdict,
    WeighedDecoder,
)
from rover.contracts.settings import Setting, Settings
from rover.contracts.sink import InformedSink, PreparingSink, RunFigures, Sink, SinkSpec, Worker
from rover.contracts.source import (
    Check,
    DescribingSource,
    DivisibleSource,
    InformedSource,
    Selection,
    SkippingSource,
    Source,
    SourceSpec,
    Wanted,
)
from rover.errors import RoverError, SinkError, UsageError
from rover.http import http_attributes
from rover.streams.buffer import StreamBuffer
from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, AttributeValue, Shape
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover.values.records import (
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

__all__ = [
    "DROP",
    "NEED_MORE",
    "NEVER",
    "RESYNCHRONISED",
    "SYSCALL_NAMES",
    "UPLOAD_ALL",
    "UPLOAD_NONE",
    "AccessLog",
    "Address",
    "AnyExchange",
    "AttributeValue",
    "Attributes",
    "Check",
    "Closed",
    "Connection",
    "Decoder",
    "DescribingSource",
    "Detail",
    "Direction",
    "DivisibleSource",
    "Drop",
    "Exchange",
    "Headers",
    "HttpExchange",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "InformedSink",
    "InformedSource",
    "Loss",
    "Never",
    "Opened",
    "Outcome",
    "Outcomes",
    "PreparingSink",
    "Process",
    "ProcessLock",
    "ProtocolBreak",
    "ProtocolSpec",
    "RecordHandler",
    "Role",
    "RoverError",
    "RunFigures",
    "Selection",
    "Setting",
    "Settings",
    "Shape",
    "Sink",
    "SinkError",
    "SinkSpec",
    "SkippingDecoder",
    "SkippingSource",
    "Source",
    "SourceSpec",
    "StreamBuffer",
    "Syscall",
    "UsageError",
    "Verdict",
    "Wanted",
    "WeighedDecoder",
    "Worker",
    "hookimpl",
    "http_attributes",
]
