"""The same records by one worker process and by two: what the second core brings."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence

from bench.decode import Batch, NoSwitch, batches
from bench.traffic import http1, http1_records
from rover.plugins.manager import PluginManager
from rover.run import workers
from rover.run.configuration import Catalogue
from rover.values.records import RecordHandler
from rover_source_ebpf.record import HEADER
from rover_source_ebpf.source import RecordDecoder

EXCHANGES = 10_000
CONNECTIONS = 100
TIMES = 10
"""The records are played so many times: a second of work and more, beside which a fork is nothing."""
CONNECTION = 3
"""Where a header has the connection."""


class Recorded(NoSwitch):
    """A `rover.DivisibleSource` over records in memory. Its parts wait for `open_gate`."""

    epoch = 1_700_000_000_000_000_000

    def __init__(self, records: Sequence[bytes]) -> None:
        self._records = records
        self.gate, self._gate_end = os.pipe()

    def divide(self, count: int) -> Sequence[Part]:
        """By the connections' ids, as the kernel side does."""
        shares: list[list[bytes]] = [[] for _ in range(count)]
        for record in self._records:
            shares[HEADER.unpack_from(record)[CONNECTION] % count].append(record)
        return [Part(self, batches(share)) for share in shares]

    def open_gate(self) -> None:
        """Lets every part begin."""
        os.close(self._gate_end)

    def leave_gate(self) -> None:
        """In a part: the gate opens when nobody else holds it."""
        os.close(self._gate_end)

    def start(self) -> None:
        """Nothing to start."""

    def ignore(self, pid: int) -> None:
        """Nobody is watched."""

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """All is the parts'."""
        return False

    def now(self) -> int:
        """ns."""
        return time.monotonic_ns()

    def counters(self) -> Mapping[str, int]:
        """None."""
        return {}

    def stop(self, handler: RecordHandler) -> None:
        """Nothing is lost."""

    def close(self) -> None:
        """Nothing more to open."""
        os.close(self.gate)


class Part(NoSwitch):
    """The batches of one worker."""

    epoch = Recorded.epoch

    def __init__(self, whole: Recorded, share: Sequence[Batch]) -> None:
        self._whole = whole
        self._batches = iter([batch for _ in range(TIMES) for batch in share])
        self._decoder = RecordDecoder(lambda pid, port: None)
        self._begun = False

    def start(self) -> None:
        """In its process."""
        self._whole.leave_gate()

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """One batch, once the gate is open."""
        if not self._begun:
            self._begun = True
            os.read(self._whole.gate, 1)
        batch = next(self._batches, None)
        if batch is not None:
            self._decoder.deliver_all(handler, *batch)
        return batch is not None

    def now(self) -> int:
        """ns."""
        return time.monotonic_ns()

    def counters(self) -> Mapping[str, int]:
        """None."""
        return {}

    def stop(self, handler: RecordHandler) -> None:
        """It ends by itself."""

    def close(self) -> None:
        """Nothing was opened."""


def wall(records: Sequence[bytes], count: int) -> float:
    """Seconds from the moment all workers are ready to the end of the last; no exchange may be missing."""
    manager = PluginManager()
    manager.load_entry_points()
    catalogue = Catalogue(manager)
    settings = catalogue.settings(None, ["run.sinks=jsonl", "sink.jsonl.path=/dev/null"], {})
    source = Recorded(records)
    began = 0.0

    def ready() -> None:
        nonlocal began
        began = time.perf_counter()
        source.open_gate()

    report, failure = workers.run(catalogue, settings, source, count, lossless=True, ready=ready)
    taken = time.perf_counter() - began
    logged = report.sinks[0].logged
    if failure or logged != EXCHANGES * TIMES:
        raise AssertionError(f"{logged} of {EXCHANGES * TIMES} exchanges logged; {failure}")
    return taken


def row(medians: Callable[..., list[float]]) -> str:
    """ "2 workers: 1.90 x one worker", by wall time, for exchanges of HTTP/1.1."""
    rng = random.Random(7)
    records = http1_records([http1(rng) for _ in range(EXCHANGES)], CONNECTIONS, EXCHANGES)
    if (cores := len(os.sched_getaffinity(0))) < 2:
        return f"2 workers: not measured on {cores} core"
    alone, both = medians(lambda: wall(records, 1), lambda: wall(records, 2))
    return f"2 workers: {alone / both:.2f} x one worker"
