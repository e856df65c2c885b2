"""What a stream must keep for an OAP server to make sense of it.

A real server says nothing: it drops what it cannot use and counts it somewhere.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from typing import Any, NamedTuple

RULES = {
    "node-first": "the first message has the node: a name, a boot time, interfaces with an index each",
    "connection-known": "logs follow a connection",
    "address-set": "both ends of a connection are named",
    "service-different": "the two ends are different services; two plain IP addresses are not",
    "empty-log": "no log is empty",
    "interface-known": "an interface of a layer 2 figure is one of the node's",
    "time-order": "a log has both times, and does not end before it starts",
    "enum-known": "a value of an enumeration is one of it",
    "status-set": "an exchange has a status; without one it counts as a success",
    "path-without-query": "an endpoint's path has no query",
    "call-twice": "a socket call comes once",
}
MAX_REMEMBERED = 1_000_000
"""Socket calls looked through for one that comes again: twice this many at most, some 200 MB."""
MAX_FINDINGS = 1000
"""Findings kept with their words; all are counted."""


class Finding(NamedTuple):
    """A rule that was broken."""

    rule: str
    stream: int
    what: str


class Accepted:
    """What was accepted."""

    def __init__(self) -> None:
        self.streams = 0
        self.messages = 0
        self.exchanges = 0
        self.calls: Counter[str] = Counter()
        """Socket calls by operation."""
        self.repeated = 0
        """Streams that were there before, message by message: sent again, as at-least-once allows."""
        self.unanswered = 0
        """Streams that were refused, reset or given up by the client: they do not count."""
        self.broken: Counter[str] = Counter()
        """Findings by rule."""

    def __str__(self) -> str:
        calls = f" ({_counted(self.calls)})" if self.calls else ""
        broken = f" ({_counted(self.broken)})" if self.broken else ""
        return (
            f"{_amount(self.streams, 'streams')}, {_amount(self.messages, 'messages')}, "
            f"{_amount(self.exchanges, 'exchanges')}, {_amount(self.calls.total(), 'socket calls')}{calls}, "
            f"{_amount(self.repeated, 'streams', ' repeated')}, {self.unanswered} not answered, "
            f"{_amount(self.broken.total(), 'rules', ' broken')}{broken}"
        )


def _amount(count: int, things: str, rest: str = "") -> str:
    return f"{count} {things.removesuffix('s') if count == 1 else things}{rest}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items()))


class Received:
    """What all streams together have brought."""

    def __init__(self) -> None:
        self.totals = Accepted()
        self.findings: list[Finding] = []
        self._calls = _Remembered()
        self._streams = _Remembered()

    def accept(self, stream: LogStream) -> bool:
        """Counts a stream that is answered; False when it is one that came before."""
        totals = self.totals
        totals.streams += 1
        if not stream.messages:
            return True
        if not self._streams.add(stream.digest):
            totals.repeated += 1
            return False
        totals.messages += len(stream.messages)
        totals.exchanges += stream.exchanges
        totals.calls += stream.operations
        for call in stream.calls:
            if not self._calls.add(call):
                stream.find("call-twice", f"{call[0]} from {call[3]} to {call[4]} ns")
        for finding in stream.findings:
            totals.broken[finding.rule] += 1
        self.findings += stream.findings[: MAX_FINDINGS - len(self.findings)]
        return True


class _Remembered:
    """A set of the newest, in two halves: the older is forgotten when the newer is full."""

    def __init__(self) -> None:
        self._old: set[object] = set()
        self._new: set[object] = set()

    def add(self, key: object) -> bool:
        """False when it is there already."""
        if key in self._new or key in self._old:
            return False
        self._new.add(key)
        if len(self._new) >= MAX_REMEMBERED:
            self._old, self._new = self._new, set()
        return True


CallKey = tuple[str, int, int, int, int]
"""(operation, local port, remote port, start, end): ns of the node's clock tell calls apart."""


class LogStream:
    """One stream's messages, checked as they come."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages: list[Any] = []
        self.findings: list[Finding] = []
        self.exchanges = 0
        self.operations: Counter[str] = Counter()
        self.calls: list[CallKey] = []
        self._digest = hashlib.sha256()
        self._interfaces: set[int] = set()
        self._connected = False
        self._ports = (0, 0)
        self._checked: dict[bytes, tuple[int, int]] = {}

    @property
    def digest(self) -> bytes:
        """Tells a stream from any other: the times of its logs are nowhere else."""
        return self._digest.digest()

    def find(self, rule: str, what: str) -> None:
        """A rule was broken."""
        self.findings.append(Finding(rule, self.number, what))

    def add(self, raw: bytes, message: Any) -> None:
        """The next message."""
        self._digest.update(b"%d:%b" % (len(raw), raw))
        if not self.messages:
            self._node(message)
        self.messages.append(message)
        if message.HasField("connection"):
            self._connection(message.connection)
        kernel_logs, exchange = message.kernelLogs, message.HasField("protocolLog")
        if not self._connected and (kernel_logs or exchange):
            self.find("connection-known", f"logs without one in message {len(self.messages)}")
        for log in kernel_logs:
            self._kernel_log(log)
        if exchange:
            self._protocol_log(message.protocolLog)

    def _node(self, message: Any) -> None:
        node = message.node
        self._interfaces = {interface.index for interface in node.netInterfaces}
        if not message.HasField("node"):
            self.find("node-first", "the first message has no node")
        elif not node.name or not node.HasField("bootTime"):
            self.find("node-first", "the node has no name or no boot time")
        elif len(self._interfaces) < len(node.netInterfaces) or not self._interfaces or 0 in self._interfaces:
            self.find("node-first", f"the node has the interfaces {sorted(self._interfaces)}")

    def _connection(self, connection: Any) -> None:
        self._connected = True
        # The same comes with every message of a connection.
        serialised = connection.SerializeToString(deterministic=True)
        ports = self._checked.get(serialised)
        if ports is None:
            self._ends(connection)
            for field in ("role", "tlsMode", "protocol"):
                self._enum(connection, field)
            ports = self._checked[serialised] = _port(connection.local), _port(connection.remote)
        self._ports = ports

    def _ends(self, connection: Any) -> None:
        services = []
        for end in ("local", "remote"):
            address = getattr(connection, end)
            kind = address.WhichOneof("address")
            if kind is None:
                self.find("address-set", f"the {end} end has no address")
            elif kind == "kubernetes" and not (address.kubernetes.serviceName and address.kubernetes.podName):
                self.find("address-set", f"the {end} end has no service or no pod")
            services.append(address.kubernetes.serviceName if kind == "kubernetes" else "")
        if services[0] == services[1]:
            self.find("service-different", f"both ends are {services[0] or 'unknown'!r}")

    def _kernel_log(self, log: Any) -> None:
        kind = log.WhichOneof("operation")
        if kind is None:
            self.find("empty-log", "a kernel log without an operation")
            return
        operation = getattr(log, kind)
        self.operations[kind] += 1
        start, end = self._times(kind, operation)
        self.calls.append((kind, *self._ports, start, end))
        if kind in ("read", "write"):
            self._enum(operation, "syscall")
            if operation.HasField("l2Metrics") and operation.l2Metrics.ifindex not in self._interfaces:
                self.find("interface-known", f"{kind} through interface {operation.l2Metrics.ifindex}")

    def _protocol_log(self, log: Any) -> None:
        if log.WhichOneof("protocol") is None:
            self.find("empty-log", "a protocol log without a protocol")
            return
        http = log.http
        request = http.request
        self.exchanges += 1
        self._times("http", http)
        if http.response.statusCode < 100:
            self.find("status-set", f"{request.path} has the status {http.response.statusCode}")
        self._enum(http, "version")
        self._enum(request, "method")
        if request.HasField("trace"):
            self._enum(request.trace, "provider")
        if "?" in request.path:
            self.find("path-without-query", request.path)

    def _times(self, kind: str, log: Any) -> tuple[int, int]:
        first, last = log.startTime, log.endTime
        start, end = first.offset.offset, last.offset.offset
        if not (first.HasField("offset") and last.HasField("offset")):
            self.find("time-order", f"{kind} without a time")
        elif end < start:
            self.find("time-order", f"{kind} from {start} to {end}")
        return start, end

    def _enum(self, message: Any, field: str) -> None:
        """Numbers that an enumeration lacks come through as they are: proto3's are open."""
        number = getattr(message, field)
        if number not in _known(message.DESCRIPTOR, field):
            self.find("enum-known", f"{message.DESCRIPTOR.name}.{field} is {number}")


@functools.cache
def _known(message: Any, field: str) -> frozenset[int]:
    return frozenset(message.fields_by_name[field].enum_type.values_by_number)


def _port(address: Any) -> int:
    kind = address.WhichOneof("address")
    return getattr(address, kind).port if kind else 0
