"""Logs of connections whose opening record has not arrived: who talks to whom is not known yet."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable

from rover import AccessLog, Connection

PATIENCE = 10.0
"""Seconds a log waits for its addresses, from its end on; the core may have waited already."""
MAX_WAITING = 4096
"""Logs that wait, at some 2 kB each 8 MB; beyond it the connection that waits longest goes out."""


class Unaddressed:
    """They wait by connection, in order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, tuple[float, list[AccessLog]]] = OrderedDict()
        self._count = 0

    @property
    def due(self) -> float | None:
        """When (time.monotonic) the first one has waited enough."""
        first = next(iter(self._waiting.values()), None)
        return first[0] if first is not None else None

    def hold(self, log: AccessLog, now: float) -> bool:
        """Whether it waits; one that is old enough need not, unless others of its connection do."""
        identity = log.connection.id
        waiting = self._waiting.get(identity)
        if waiting is None:
            age = (time.time_ns() - log.connection.epoch - log.end) / 1e9
            if age >= PATIENCE:
                return False
            waiting = self._waiting[identity] = (now + PATIENCE - max(age, 0.0), [])
        waiting[1].append(log)
        self._count += 1
        return True

    def release(self, connection: Connection) -> list[AccessLog]:
        """What waited for this connection, which is known now."""
        if not self._waiting:
            return []
        waiting = self._waiting.pop(connection.id, None)
        if waiting is None:
            return []
        self._count -= len(waiting[1])
        return [log.replace(connection=_addressed(log.connection, connection)) for log in waiting[1]]

    def expired(self, now: float | None) -> Iterable[AccessLog]:
        """What has waited enough, or is too much; everything without `now`."""
        while self._waiting:
            identity, (deadline, logs) = next(iter(self._waiting.items()))
            if now is not None and deadline > now and self._count <= MAX_WAITING:
                return
            del self._waiting[identity]
            self._count -= len(logs)
            yield from logs


def _addressed(connection: Connection, known: Connection) -> Connection:
    return connection.replace(local=known.local, remote=known.remote, role=connection.role or known.role)
