"""From kernel records in memory to finished JSON lines, beside llhttp's bare parse of the heads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import httptools

from bench.traffic import Messages, http1, http1_records
from rover.configuration import Catalogue
from rover.pipeline.dispatch import Pipeline
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.plugins import PluginManager
from rover_plugin_sink_log.jsonl import JsonLinesSink
from rover_plugin_sink_log.output import Output
from rover_source_ebpf.record import Decoder


class NoSwitch:
    """The upload switch of a kernel that is not there."""

    def set_upload(self, connection: int, limit: int) -> None:
        pass

    def is_open(self, connection: int) -> bool:
        return True


def decode(records: Sequence[bytes], expected: int) -> float:
    """Seconds from the first record to the last line written; checks that none is missing."""
    manager = PluginManager()
    manager.load_entry_points()
    catalogue = Catalogue(manager)
    outlet = Outlet("jsonl", JsonLinesSink(Output("/dev/null")), lossless=True)
    outlet.start()
    settings = catalogue.settings(None, (), {})
    pipeline = Pipeline(
        manager,
        Recogniser(manager, list(catalogue.protocols.values()), {}),
        [outlet],
        NoSwitch(),
        epoch=1_700_000_000_000_000_000,
        protocol_settings={name: settings.section(f"protocol.{name}") for name in catalogue.protocols},
    )
    decoder = Decoder(lambda pid, port: None)
    started = time.process_time()
    for record in records:
        decoder.deliver(pipeline, record, 0, len(record))
    outlet.stop(time.monotonic() + 600)
    taken = time.process_time() - started
    if outlet.logged != expected:
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


def rows(median: Callable[[Callable[[], float]], float]) -> list[tuple[str, float, float]]:
    """(name, us per exchange, ratio to llhttp)."""
    rng = random.Random(7)
    exchanges = [http1(rng) for _ in range(10_000)]
    count = len(exchanges)
    bare = median(lambda: llhttp(exchanges)) / count * 1e6
    table = [("llhttp, bare parse of both heads", bare, 1.0)]
    for name, connections, each in [
        ("keep-alive, 1 connection", 1, count),
        ("keep-alive, 100 connections", 100, count),
        ("1,000 interleaved, 10 exchanges each", 1000, 10),
        ("short, 1 exchange each", 10, 1),
    ]:
        records = http1_records(exchanges, connections, each)
        cost = median(lambda records=records: decode(records, count)) / count * 1e6
        table.append((f"HTTP/1.1 exchange, {name}", cost, cost / bare))
    return table
