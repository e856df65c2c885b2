"""From kernel records in memory to finished JSON lines, beside llhttp's bare parse of the heads."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence

import httptools

from bench.traffic import Messages, grpc_records, http1, http1_records, tls_records
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager
from rover.run.agent import relax_collector, start_plugins
from rover.run.configuration import Catalogue
from rover_plugin_sink_log.jsonl import JsonLinesSink
from rover_plugin_sink_log.output import Output
from rover_source_ebpf.source import RecordDecoder


class NoSwitch:
    """The upload switch of a kernel that is not there."""

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True


Batch = tuple[bytes, list[tuple[int, int]]]
BATCH = 128
"""Records, as many as the source takes from the ring at a time."""


def batches(records: Sequence[bytes]) -> list[Batch]:
    """The records as they lie in the ring: a piece of memory, and where each record is in it."""
    found: list[Batch] = []
    for first in range(0, len(records), BATCH):
        batch = records[first : first + BATCH]
        ends = list(itertools.accumulate(map(len, batch)))
        found.append((b"".join(batch), [(end - len(r), len(r)) for end, r in zip(ends, batch, strict=True)]))
    return found


def pipeline_to(path: str) -> tuple[Pipeline, Outlet]:
    """Every installed plugin, and JSON lines into a file."""
    manager = PluginManager()
    manager.load_entry_points()
    catalogue = Catalogue(manager)
    outlet = Outlet("jsonl", JsonLinesSink(Output(path)), lossless=True)
    outlet.start()
    settings = catalogue.settings(None, (), {})
    start_plugins(manager, settings)  # what is on by default
    pipeline = Pipeline(
        manager,
        Recogniser(manager, list(catalogue.protocols.values()), {}),
        [outlet],
        NoSwitch(),
        epoch=1_700_000_000_000_000_000,
        protocol_settings={name: settings.section(f"protocol.{name}") for name in catalogue.protocols},
    )
    return pipeline, outlet


def decode(records: Sequence[Batch], expected: int | None, path: str = "/dev/null") -> float:
    """Seconds of processor time (all threads) from the first record to the last line written.

    Checks that no exchange is missing. Processor time, so that what else the machine does matters
    less; the threads share one core anyway, as they share the interpreter's lock.
    """
    pipeline, outlet = pipeline_to(path)
    relax_collector()
    decoder = RecordDecoder(lambda pid, port: None)
    started = time.process_time()
    for memory, places in records:
        decoder.deliver_all(pipeline, memory, places)
    pipeline.finish(1 << 40)
    outlet.stop(time.monotonic() + 600)
    taken = time.process_time() - started
    if expected is not None and outlet.logged != expected:
        raise AssertionError(f"{outlet.logged} of {expected} exchanges logged: {pipeline.totals}")
    return taken


class Headers:
    """Takes llhttp's callbacks."""

    def on_header(self, name: bytes, value: bytes) -> None:
        pass


def llhttp(exchanges: Sequence[Messages]) -> float:
    """Seconds for the bare parse of every head by llhttp, with Python header callbacks."""
    heads = [
        (m.request[: m.request.index(b"\r\n\r\n") + 4], m.response[: m.response.index(b"\r\n\r\n") + 4])
        for m in exchanges
    ]
    protocol = Headers()
    started = time.process_time()
    for request, response in heads:
        httptools.HttpRequestParser(protocol).feed_data(request)
        httptools.HttpResponseParser(protocol).feed_data(response)
    return time.process_time() - started


def rows(medians: Callable[..., list[float]]) -> Iterator[tuple[str, float, float]]:
    """(name, us per exchange, us that llhttp takes for both heads of one, measured beside it)."""
    rng = random.Random(7)
    exchanges = [http1(rng) for _ in range(10_000)]
    count = len(exchanges)

    def row(name: str, records: list[Batch]) -> tuple[str, float, float]:
        cost, bare = medians(lambda: decode(records, count), lambda: llhttp(exchanges))
        return name, cost / count * 1e6, bare / count * 1e6

    for name, connections, each in [
        ("keep-alive, 1 connection", 1, count),
        ("keep-alive, 100 connections", 100, count),
        ("1,000 interleaved, 10 exchanges each", 1000, 10),
        ("short, 1 exchange each", 10, 1),
    ]:
        yield row(f"HTTP/1.1 exchange, {name}", batches(http1_records(exchanges, connections, each)))
    for name, connections, in_memory in [
        ("1 connection", 1, False),
        ("100 connections", 100, False),
        ("100 connections, in memory", 100, True),
    ]:
        made = batches(tls_records(exchanges, connections, in_memory=in_memory))
        yield row(f"HTTP/1.1 exchange over TLS, {name}", made)
    for name, connections in [("1 connection", 1), ("100 interleaved connections", 100)]:
        yield row(f"gRPC call, {name}", batches(grpc_records(rng, count, connections)))
