"""What one connection has to say, on its way to the sinks."""

from __future__ import annotations

from rover.pipeline.delivery import Delivery
from rover.pipeline.totals import Totals
from rover.streams.ledger import DETAIL_MEMORY
from rover.values.access_log import AccessLog
from rover.values.attributes import characters
from rover.values.connection import Connection
from rover.values.records import Detail

MAX_HELD = 1024
"""Logs kept for a connection whose opening record has not come; then all of them go out."""
LOG_MEMORY = 1024
"""Bytes of a log that is held, besides its texts and details."""


class Outbox:
    """Passes logs on, or holds them while the connection's addresses are not known."""

    __slots__ = ("_delivery", "_held", "_totals", "holds", "memory")

    def __init__(self, delivery: Delivery, totals: Totals, holds: bool) -> None:
        self.holds = holds
        """Whether the record that opens the connection has not come."""
        self.memory = 0
        """Bytes that the logs take which are held, about."""
        self._held: list[AccessLog] = []
        self._delivery = delivery
        self._totals = totals

    @property
    def since(self) -> int | None:
        """When the oldest log that is held ended (ns); None where there is none."""
        return self._held[0].end if self._held else None

    def put(self, log: AccessLog) -> None:
        """One log."""
        if not self.holds:
            self._delivery.put(log)
            return
        self.memory += log_memory(log)
        self._held.append(log)
        if len(self._held) > MAX_HELD:
            self.send_held(log.connection)

    def put_alone(self, connection: Connection, details: tuple[Detail, ...]) -> None:
        """Details that belong to no exchange."""
        if not details:
            return
        self._totals.alone += len(details)
        if self._delivery.takes_kernel_logs:
            self.put(
                AccessLog(connection=connection, start=details[0].start, end=details[-1].end, details=details)
            )

    def send_held(self, facts: Connection) -> None:
        """Sends what waited, with the addresses of the connection, if they are known by now."""
        held, self._held = self._held, []
        self.memory = 0
        for log in held:
            connection = log.connection.replace(
                local=facts.local, remote=facts.remote, role=log.connection.role or facts.role
            )
            self._delivery.put(log.replace(connection=connection))

    def release(self, facts: Connection) -> None:
        """Nothing is held from now on."""
        if self.holds:
            self.send_held(facts)
            self.holds = False


def log_memory(log: AccessLog) -> int:
    """Bytes that a log takes while it is held, about."""
    texts = sum(characters(value) for value in log.attributes.values())
    return LOG_MEMORY + texts + len(log.details) * DETAIL_MEMORY
