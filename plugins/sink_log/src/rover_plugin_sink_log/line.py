"""One JSON object per access log, under OpenTelemetry's names where they exist.

Somebody will look at a line in a terminal, and what it tells came from strangers. Beside what JSON must
escape (RFC 8259 section 7), what a terminal would obey, or show in another order or on another line than it
stands, is escaped too: DEL, the C1 controls, Unicode's line separators and bidirectional controls.

`_line.pyx` is the same, compiled: it yields the same bytes, and asks this module for whatever is
not ordinary.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from rover import SYSCALL_NAMES, AccessLog, Address, Connection, Detail, Outcome, Role, Syscall
from rover_plugin_sink_log.time_text import SECOND, TimeText

_UNSAFE = (0x7F, *range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_ESCAPED = {code: f"\\u{code:04x}" for code in _UNSAFE}


OWN = frozenset(
    (
        *("timestamp", "duration_ns", "network.protocol.name", "network.protocol.version"),
        *("network.transport", "network.local.address", "network.local.port"),
        *("network.peer.address", "network.peer.port", "client.address", "client.port"),
        *("server.address", "server.port", "rover.role", "process.pid", "process.executable.name"),
        *("tls.established", "rover.connection", "rover.outcome", "rover.break.reason", "rover.break.detail"),
        *("rover.break.protocol", "rover.syscalls"),
    )
)
"""Keys of a line's own. What a plugin says of a process under one of them is left out."""


class Lines:
    """Makes lines. Remembers the second it was in last."""

    def __init__(self, syscalls: bool) -> None:
        """`syscalls`: whether to tell of each socket call of an exchange."""
        self._syscalls = syscalls
        self._clock = TimeText("%Y-%m-%dT%H:%M:%S", local=False)

    def prepare(self, log: AccessLog) -> tuple[bytes, bool]:
        """Its line, and whether it tells of an exchange."""
        return self.line(log), bool(log.protocol)

    def line(self, log: AccessLog) -> bytes:
        """One line."""
        record = self._record(log)
        try:
            return safe(orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE))
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
        record |= about(connection)
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


def safe(encoded: bytes) -> bytes:
    """JSON in UTF-8, with what may not be shown as it is escaped: in strings, as the rest is ASCII."""
    if encoded.isascii() and 0x7F not in encoded:  # a bytes object there costs an exception, made and dropped
        return encoded
    # All at once: with an object for each character, a field that has nothing else takes 300 times its size.
    return encoded.decode().translate(_ESCAPED).encode()


def about(connection: Connection) -> dict[str, Any]:
    """What all lines of a connection say of it, ahead of the exchange."""
    found: dict[str, Any] = {"network.transport": "tcp"}
    local, remote, role = connection.local, connection.remote, connection.role
    process = connection.process
    if local is not None and remote is not None:
        proxied = connection.proxied
        if role is None:
            put_address(found, "network.local", local)
            put_address(found, "network.peer", remote)
        else:
            client, server = (local, remote) if role is Role.CLIENT else (remote, local)
            put_address(found, "client", proxied or client)
            put_address(found, "server", server)
            if proxied is not None:
                # The socket's own ends, as the watched process has them; where none was watched, as
                # the server has them, whom the header is for.
                peer = remote
                if role is Role.CLIENT and process is not None and process.pid:
                    put_address(found, "network.local", local)
                elif role is Role.CLIENT:
                    peer = local
                put_address(found, "network.peer", peer)
    if role is not None:
        found["rover.role"] = role.value
    if process is not None and process.pid:
        found["process.pid"] = process.pid
        if process.name:
            found["process.executable.name"] = process.name
    found["tls.established"] = connection.tls
    if process is not None and process.attributes:
        found |= {key: value for key, value in process.attributes.items() if key not in OWN}
    return found


def put_address(found: dict[str, Any], end: str, address: Address) -> None:
    """Adds what is called `end`.address and `end`.port."""
    found[f"{end}.address"], found[f"{end}.port"] = address.host, address.port


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
