"""One JSON object per access log, under OpenTelemetry's names where they exist."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from rover import SYSCALL_NAMES, AccessLog, Detail, Outcome, Role, Syscall
from rover_plugin_sink_log.clock import SECOND, Clock
from rover_plugin_sink_log.output import Output


class JsonLinesSink:
    """Writes to a file or standard output."""

    def __init__(self, output: Output, *, kernel_logs: bool = False, syscalls: bool = True) -> None:
        self.kernel_logs = kernel_logs
        self._output = output
        self._syscalls = syscalls
        self._clock = Clock("%Y-%m-%dT%H:%M:%S", local=False)

    def write(self, logs: Sequence[AccessLog]) -> None:
        """A line each."""
        self._output.write([(self._line(log), bool(log.protocol)) for log in logs])

    def flush(self) -> None:
        """Writes what a full disk held up."""
        self._output.flush()

    def reopen(self) -> None:
        """After log rotation."""
        self._output.reopen()

    def counters(self) -> Mapping[str, int]:
        """Nothing to add."""
        return {}

    def close(self) -> int:
        """The number of exchanges never written."""
        return self._output.close()

    def _line(self, log: AccessLog) -> bytes:
        record = self._record(log)
        try:
            return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:
            # A plugin's attribute that UTF-8 or 64 bits cannot hold.
            return json.dumps(record, default=str).encode() + b"\n"

    def _record(self, log: AccessLog) -> dict[str, Any]:
        connection = log.connection
        epoch = connection.epoch
        start = epoch + log.start
        record: dict[str, Any] = {
            "timestamp": f"{self._clock.second(start)}.{start % SECOND:09d}Z",
            "duration_ns": log.end - log.start,
        }
        if log.protocol:
            record["network.protocol.name"] = log.protocol
            if log.version:
                record["network.protocol.version"] = log.version
        record["network.transport"] = "tcp"
        local, remote, role = connection.local, connection.remote, connection.role
        if local is not None and remote is not None:
            if role is None:
                record["network.local.address"], record["network.local.port"] = local
                record["network.peer.address"], record["network.peer.port"] = remote
            else:
                client, server = (local, remote) if role is Role.CLIENT else (remote, local)
                record["client.address"], record["client.port"] = client
                record["server.address"], record["server.port"] = server
        if role is not None:
            record["rover.role"] = role.value
        process = connection.process
        if process is not None and process.pid:
            record["process.pid"] = process.pid
            if process.name:
                record["process.executable.name"] = process.name
        record["tls"] = connection.tls
        record |= log.attributes
        record["rover.connection"] = f"{connection.id:016x}"
        if log.protocol or log.outcome is Outcome.BREAK:
            record["rover.outcome"] = log.outcome.value
        if log.outcome is Outcome.BREAK and (broken := connection.protocol_break) is not None:
            record["rover.break.reason"] = broken.reason
            if broken.detail:
                record["rover.break.detail"] = broken.detail
            if broken.protocol:
                record["rover.break.protocol"] = broken.protocol
        if self._syscalls:
            calls = [_syscall(detail, epoch) for detail in log.details if detail.syscall != Syscall.NONE]
            if calls:
                record["rover.syscalls"] = calls
        return record


def _syscall(detail: Detail, epoch: int) -> dict[str, Any]:
    call: dict[str, Any] = {
        "name": SYSCALL_NAMES.get(detail.syscall, str(detail.syscall)),
        "sequence": detail.sequence,
        "start_unix_ns": epoch + detail.start,
        "duration_ns": detail.end - detail.start,
        "size": detail.size,
        "pid": detail.pid,
        "fd": detail.fd,
    }
    if detail.error:
        call["errno"] = detail.error
    return call
