"""Access logs and connections as the protocol's messages.

A message is serialised in parts, its connection apart from its logs: parts of one message that
are written one after the other are that message (protobuf's encoding guarantees it), and who the
other end is may become known only after the logs are encoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from rover import SYSCALL_NAMES, AccessLog, Address, AttributeValue, Connection, Detail, Outcome, Syscall
from rover_plugin_sink_oap.messages import AccessLogKernelLog, EBPFAccessLogMessage, numbers
from rover_plugin_sink_oap.naming import Ends, Names

MAX_PATH = 4096
"""Characters of a path that are sent; the server keeps 150 of an endpoint's name."""
MAX_TEXT = 512
"""Characters of a host or of an id."""
MAX_UINT64 = (1 << 64) - 1
STATUSES = range(100, 1000)
"""What a response can have as status (RFC 9110 section 15: three digits). Any other number, 0 first of all,
would be below 500, which is success to the server."""

READS = {
    Syscall.READ: "Read",
    Syscall.READV: "Readv",
    Syscall.RECVFROM: "RecvFrom",
    Syscall.RECVMSG: "RecvMsg",
    Syscall.RECVMMSG: "RecvMmsg",
    Syscall.PREADV2: "Readv",  # which has no number of its own; nor has pwritev2
}
WRITES = {
    Syscall.WRITE: "Write",
    Syscall.WRITEV: "Writev",
    Syscall.SENDTO: "SendTo",
    Syscall.SENDMSG: "SendMsg",
    Syscall.SENDMMSG: "SendMmsg",
    Syscall.SENDFILE64: "SendFile64",
    Syscall.PWRITEV2: "Writev",
}
# splice has no number of its own. Outwards it does what sendfile does, bytes that never were in
# the process; inwards the plain read is the nearest.
SPLICE_IN, SPLICE_OUT = "Read", "SendFile64"

UNDECIDED = (Outcome.UNFINISHED, Outcome.SPLIT)
"""Still under way when the agent ended, or when it was logged."""

PROTOCOLS = {"http1": "HTTP_1", "http2": "HTTP_2"}
"""The server's protocol by the name of ours; any other is TCP to it, as is a broken one."""
PROVIDERS = {"skywalking": "SkyWalking", "zipkin": "Zipkin", "w3c": "Zipkin"}
"""W3C trace ids are OpenTelemetry's, whose traces the server keeps among Zipkin's."""


class Encoded(NamedTuple):
    """The logs of one access log, without its connection."""

    logs: bytes
    exchanges: int
    """1 or 0."""
    calls: int
    """Socket calls in it."""


class Encoder:
    """Counts what the protocol has no message for."""

    def __init__(self, unanswered_status: int = 0) -> None:
        """`unanswered_status`: of exchanges that ended without a response; with 0 they are left out."""
        self._unanswered_status = unanswered_status
        self.left_out: Counter[str] = Counter()
        """Socket calls by name, exchanges by why."""
        accept = _Operation("accept")
        common = {
            Syscall.CONNECT.value: _Operation("connect"),
            Syscall.ACCEPT.value: accept,
            Syscall.ACCEPT4.value: accept,
            Syscall.CLOSE.value: _Operation("close"),
            **{call.value: _Operation("read", name) for call, name in READS.items()},
            **{call.value: _Operation("write", name) for call, name in WRITES.items()},
        }
        self._operations = (
            {**common, Syscall.SPLICE.value: _Operation("read", SPLICE_IN)},
            {**common, Syscall.SPLICE.value: _Operation("write", SPLICE_OUT)},
        )
        """By direction, by syscall."""
        methods = numbers("AccessLogHTTPProtocolRequest", "method")
        self._methods = {name.upper(): number for name, number in methods.items()}
        self._providers = numbers("AccessLogTraceInfo", "provider")
        self._protocols = numbers("AccessLogConnection", "protocol")

    def logs(self, log: AccessLog) -> Encoded | None:
        """None when the protocol can say nothing of it. A break says that its connection changed."""
        message = EBPFAccessLogMessage()
        kernel_logs, operations = message.kernelLogs, self._operations
        for detail in log.details:
            operation = operations[1 if detail.direction else 0].get(detail.syscall)
            if operation is None:
                self.left_out[f"call_{SYSCALL_NAMES.get(detail.syscall, 'unknown')}"] += 1
            else:
                kernel_logs.append(operation.of(detail))
        calls = len(kernel_logs)
        exchanges = 0
        if log.protocol:
            method = self._methods.get(str(log.attributes.get("http.request.method")))
            if log.protocol != "http":
                self.left_out["exchange_protocol"] += 1
            elif method is None:
                self.left_out["exchange_method"] += 1
            elif not (status := self._status(log)):
                self.left_out["exchange_unanswered"] += 1
            else:
                self._http(message.protocolLog.http, log, method, status)
                exchanges = 1
        if not calls and not exchanges and log.outcome is not Outcome.BREAK:
            return None
        return Encoded(message.SerializeToString(), exchanges, calls)

    def connection(self, connection: Connection, ends: Ends) -> bytes:
        """The connection as it is, with the names of its ends."""
        message = EBPFAccessLogMessage()
        made = message.connection
        _address(made.local.kubernetes, ends.local, connection.local)
        _address(made.remote.kubernetes, ends.remote, connection.remote)
        made.role = int(ends.server)
        made.tlsMode = int(connection.tls)
        made.protocol = self._protocols[PROTOCOLS.get(connection.protocol, "TCP")]
        serialised: bytes = message.SerializeToString()
        return serialised

    def _status(self, log: AccessLog) -> int:
        """The status to send; 0 leaves the exchange out."""
        status = log.attributes.get("http.response.status_code")
        if type(status) is int and status in STATUSES:
            return status
        # Where nobody gave up on it the response may have come, or come later: no failure either.
        return 0 if log.outcome in UNDECIDED else self._unanswered_status

    def _http(self, http: Any, log: AccessLog, method: int, status: int) -> None:
        attributes = log.attributes
        http.startTime.offset.offset = log.start
        http.endTime.offset.offset = log.end
        http.version = 1 if log.version.startswith("2") else 0
        request = http.request
        request.method = method
        request.path = path_of(attributes)
        request.sizeOfHeadersBytes = _size(attributes.get("http.request.header.size"))
        request.sizeOfBodyBytes = _size(attributes.get("http.request.body.size"))
        request.host = _text(_first(attributes.get("http.request.header.host")), MAX_TEXT)
        provider = PROVIDERS.get(str(attributes.get("trace.provider")))
        if provider is not None:
            trace = request.trace
            trace.provider = self._providers[provider]
            trace.traceId = _text(attributes.get("trace_id"), MAX_TEXT)
            trace.traceSegmentId = _text(attributes.get("trace.segment_id"), MAX_TEXT)
            trace.spanId = _text(attributes.get("span_id"), MAX_TEXT)
        response = http.response
        response.statusCode = status
        response.sizeOfHeadersBytes = _size(attributes.get("http.response.header.size"))
        response.sizeOfBodyBytes = _size(attributes.get("http.response.body.size"))


class _Operation:
    """A kernel log made once, whose times are set for each call before it is copied."""

    __slots__ = ("_end", "_log", "_operation", "_start", "_succeeds", "_written")

    def __init__(self, kind: str, syscall: str = "") -> None:
        """`kind`: the field of AccessLogKernelLog. `syscall`: for a read or a write, its name."""
        self._log = AccessLogKernelLog()
        operation = self._operation = getattr(self._log, kind)
        if syscall:
            operation.syscall = numbers(operation.DESCRIPTOR.name, "syscall")[syscall]
        self._start = operation.startTime.offset
        self._end = operation.endTime.offset
        self._start.SetInParent()
        self._end.SetInParent()
        self._succeeds = kind in ("connect", "close")
        self._written = operation.l4Metrics if kind == "write" else None

    def of(self, detail: Detail) -> Any:
        """The same object each time: append it to a message, which copies it."""
        self._start.offset = detail.start
        self._end.offset = detail.end
        if self._succeeds:
            self._operation.success = not detail.error
        elif self._written is not None:
            self._written.totalPackageSize = detail.size
        return self._log


def _address(message: Any, names: Names, address: Address | None) -> None:
    message.serviceName, message.podName, message.containerName, message.processName = names
    message.port = address.port if address is not None else 0


def path_of(attributes: Mapping[str, AttributeValue]) -> str:
    """The path without query; of a target that has none (`*`, `host:port`) the target."""
    path = attributes.get("url.path") or attributes.get("url.original")
    return _text(path, MAX_PATH).partition("?")[0]


def _first(value: AttributeValue | None) -> AttributeValue | None:
    """The first of several texts."""
    if isinstance(value, tuple):
        return value[0] if value else None
    return value


def _text(value: object, limit: int) -> str:
    """What a plugin gave as text that a protobuf string can hold."""
    if not isinstance(value, str):
        return ""
    value = value[:limit]
    if value.isascii():
        return value
    # Lone surrogates become U+FFFD: UTF-8 has no form for them.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _size(value: object) -> int:
    """What a plugin gave as a size that the field can hold; protobuf takes no bool."""
    return value if type(value) is int and 0 <= value <= MAX_UINT64 else 0
