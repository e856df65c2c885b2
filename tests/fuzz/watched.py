"""The pipeline with every installed protocol, and what each source owes it checked on the way."""

from __future__ import annotations

import functools
import json
from operator import attrgetter
from typing import Any

from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue
from rover.values.access_log import AccessLog
from rover.values.records import MAX_NUMBER, Closed, Detail, Loss, Opened, Plaintext, Process
from rover_plugin_sink_log.line import Lines

IN_ORDER = attrgetter("connection", "sequence")
"""Of details."""


class _Outlet:
    """Stands where an outlet does: makes the line of each access log, and takes it to nobody."""

    kernel_logs = True

    def __init__(self) -> None:
        self._lines = Lines(True)

    def put(self, log: AccessLog) -> None:
        said = json.loads(self._lines.line(log))
        assert isinstance(said, dict)
        assert None not in said.values(), "absent is absent"


class _Counting(_Outlet):
    """Notes its calls, too."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered: list[Detail] = []

    def put(self, log: AccessLog) -> None:
        self.delivered += log.details
        super().put(log)


class _Switch:
    """The way back to the source: nothing is there."""

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True


@functools.cache
def _installed() -> tuple[PluginManager, Catalogue, Any]:
    manager = PluginManager()
    manager.load_entry_points()
    catalogue = Catalogue(manager)
    return manager, catalogue, catalogue.settings(None, (), {})


def make_pipeline(outlet: Any = None, epoch: int = 0) -> Pipeline:
    """What a source delivers its records to."""
    manager, catalogue, settings = _installed()
    protocols = list(catalogue.protocols.values())
    return Pipeline(
        manager,
        Recogniser(manager, protocols, {}),
        [outlet or _Outlet()],
        _Switch(),
        epoch=epoch,
        protocol_settings={spec.name: settings.section(f"protocol.{spec.name}") for spec in protocols},
        max_connections=100,
    )


class Watched:
    """A `RecordHandler` that passes on what it checks."""

    def __init__(self, epoch: int = 0) -> None:
        self._manager, _, _ = _installed()
        self._outlet = _Counting()
        self.pipeline = make_pipeline(self._outlet, epoch)
        self.got: list[Any] = []
        """Every record, in order; a call with its payload."""
        self._calls: list[Detail] = []

    @property
    def exchanges(self) -> int:
        """How many there were."""
        return self.pipeline.totals.exchanges

    def process(self, process: Process) -> None:
        self.got.append(process)
        self.pipeline.process(process)

    def opened(self, opened: Opened) -> None:
        self.got.append(opened)
        assert -MAX_NUMBER <= opened.time <= MAX_NUMBER
        self._take(opened.detail)
        self.pipeline.opened(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        self.got.append((detail, payload))
        assert type(payload) is bytes
        assert len(payload) <= detail.size
        self._take(detail)
        self.pipeline.data(detail, payload)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        self.got.append((plaintext, payload))
        assert type(payload) is bytes
        assert len(payload) <= plaintext.size
        assert max(plaintext.sequence, plaintext.position, plaintext.size) <= MAX_NUMBER
        assert min(plaintext.ciphertext_start, plaintext.ciphertext) >= -1
        assert max(plaintext.ciphertext_start, plaintext.ciphertext) <= MAX_NUMBER
        assert plaintext.direction in (0, 1)
        self.pipeline.plaintext(plaintext, payload)

    def closed(self, closed: Closed) -> None:
        self.got.append(closed)
        assert -MAX_NUMBER <= closed.time <= MAX_NUMBER
        self._take(closed.detail)
        self.pipeline.closed(closed)

    def lost(self, loss: Loss) -> None:
        self.got.append(loss)
        self.pipeline.lost(loss)

    def _take(self, detail: Detail | None) -> None:
        if detail is None:
            return
        assert 0 <= detail.connection < 1 << 64
        assert max(detail.sequence, detail.position, detail.size) <= MAX_NUMBER
        assert min(detail.sequence, detail.position, detail.size) >= 0
        assert max(abs(detail.start), abs(detail.end)) <= MAX_NUMBER
        assert detail.direction in (0, 1)
        self._calls.append(detail)

    def finish(self, now: int) -> None:
        """The end: each call was delivered once, and no plugin failed."""
        assert -MAX_NUMBER <= now <= MAX_NUMBER
        self.pipeline.finish(now)
        totals = self.pipeline.totals
        assert sorted(self._outlet.delivered, key=IN_ORDER) == sorted(self._calls, key=IN_ORDER), (
            "each call exactly once"
        )
        assert totals.calls == len(self._calls) == totals.in_exchanges + totals.alone
        failures = list(self._manager.failures())
        assert not failures, failures
