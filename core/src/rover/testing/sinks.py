"""Access logs of every kind, made up, and the laws that every sink keeps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rover.contracts.sink import Sink, SinkSpec
from rover.pipeline.outlet import Outlet
from rover.testing.play import LawError, connection
from rover.values.access_log import AccessLog
from rover.values.attributes import AttributeValue
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.records import Detail, Direction, Role, Syscall

SECONDS = 10
"""That a sink may take to end."""
AGAIN = 100
"""Times that every kind of log is written."""


def access_logs() -> list[AccessLog]:
    """One of each kind: of either end, with and without attributes, in every outcome, kernel logs, a break;
    texts that are none in ASCII, that are long, and that a terminal would obey."""
    facts = connection(Role.SERVER)
    plain: dict[str, AttributeValue] = {"example.text": "caf\u00e9 \U0001f600", "example.number": 1 << 61}
    odd: dict[str, AttributeValue] = {"example.text": "\x1b[31m\n\0\"'\\", "example.long": "x" * 100_000}
    logs = [
        AccessLog(
            connection=facts,
            start=number,
            end=number + 1_000_000,
            protocol="example",
            version="1.0",
            attributes=plain,
            details=(_detail(number, Direction.INGRESS), _detail(number + 1, Direction.EGRESS)),
            outcome=outcome,
        )
        for number, outcome in enumerate(Outcome)
        if outcome is not Outcome.BREAK
    ]
    unknown = Connection(
        id=2, local=None, remote=None, role=None, process=None, opened=0, epoch=facts.epoch, tls=True
    )
    broken = connection(Role.CLIENT)
    said = ProtocolBreak(reason="framing", detail="no line", protocol="example", direction=Direction.INGRESS)
    downgraded = Connection(
        id=broken.id,
        local=broken.local,
        remote=broken.remote,
        role=broken.role,
        process=broken.process,
        opened=0,
        epoch=broken.epoch,
        protocol_break=said,
    )
    return [
        *logs,
        AccessLog(connection=broken, start=5, end=5, protocol="example", attributes=odd),
        AccessLog(connection=unknown, start=6, end=7, protocol="example"),
        AccessLog(connection=facts, start=8, end=8, details=(_detail(8, Direction.INGRESS),)),
        AccessLog(connection=downgraded, start=9, end=9, outcome=Outcome.BREAK),
    ]


def _detail(sequence: int, direction: Direction) -> Detail:
    return Detail(
        connection=1,
        sequence=sequence,
        start=sequence,
        end=sequence + 5,
        position=10 * sequence,
        size=10,
        pid=42,
        fd=3,
        syscall=Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE,
        direction=direction,
        error=0,
    )


def check_sink(spec: SinkSpec, settings: Mapping[str, Any] | None = None) -> Sink:
    """Opens a sink, hands it logs of every kind as the core does, in a thread of its own, and closes it.
    Returns it.

    `settings`: those that are not to be the defaults. Raises LawError when the sink raised, answered
    with a wrong type, lost a log, or did not end.
    """
    given = {setting.name: setting.default for setting in spec.settings} | dict(settings or {})
    sink = spec.make(given)
    failures: list[str] = []
    outlet = Outlet(
        spec.name,
        sink,
        lossless=True,
        failed=lambda where, error: failures.append(f"{where}: {type(error).__name__}: {error}"),
    )
    logs = access_logs() * AGAIN
    due = sum(bool(log.protocol) for log in logs)
    outlet.start()
    for number, log in enumerate(logs):
        if log.protocol or log.outcome is Outcome.BREAK or outlet.kernel_logs:
            outlet.put(log)
        if number == len(logs) // 2:
            outlet.reopen()
    outlet.end()
    outlet.stop(time.monotonic() + SECONDS)
    if failures or outlet.failure:
        raise LawError(f"no failure: {'; '.join(failures) or outlet.failure}")
    if outlet.logged != due or outlet.lost.total():
        raise LawError(
            f"what comes in is logged or lost: {due} access logs of exchanges came, {outlet.logged} are "
            f"logged, lost {dict(outlet.lost)}"
        )
    return sink
