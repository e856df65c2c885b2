"""One export: files through the pipeline of every run, with listeners in front of it."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rover import Settings, SinkSpec, Source
from rover.cli.messages import say, say_totals
from rover.cli.replay import Files, show_progress
from rover.plugins.manager import PluginManager
from rover.recording.target import Target
from rover.run.agent import Agent
from rover.run.configuration import Catalogue
from rover.run.report import amount
from rover.run.signals import Signals
from rover_plugin_export import pcapng as blocks
from rover_plugin_export.capture import Capture
from rover_plugin_export.exchanges import Exchanges
from rover_plugin_export.har_sink import HarSink, why
from rover_plugin_export.tap import Listener, Tap

SINK = "har"
BUFFER = 1 << 16
"""Bytes of packets that are written at once."""


class PacketFile:
    """A pcapng file."""

    def __init__(self, target: Target) -> None:
        self.failure = ""
        """Why nothing more can be written; empty while all is well."""
        self.capture = Capture(self._add)
        self._target = target
        self._waiting = bytearray()

    def open(self) -> None:
        """Raises RoverError or UsageError."""
        version = importlib.metadata.version("rover-plugin-export")
        self._target.open(blocks.section(f"rover {version}"))

    def close(self) -> None:
        """Writes what waits."""
        self.capture.finish()
        self._flush()
        try:
            self._target.close()
        except OSError as error:
            self._fail(error)

    def _add(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= BUFFER:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        if self.failure or not waiting:
            return
        try:
            self._target.write(waiting)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or why(self._target.name, error)


def run(
    manager: PluginManager,
    files: Sequence[str],
    har: str | None,
    pcapng: str | None,
    *,
    replace: bool,
    limit: int,
    config: Path | None,
    sets: Sequence[str],
) -> int:
    """Writes what was asked for; returns the exit code. `limit`: bytes kept of each message's content."""
    signals = Signals()
    targets = {out: Target(out, replace=replace) for out in (har, pcapng) if out is not None}
    for target in targets.values():
        target.check()
    exchanges = Exchanges(limit)
    if har is not None:
        manager.register(exchanges, "export-har")
    catalogue = Catalogue(manager)

    def settings_with(given: Mapping[str, object]) -> Settings:
        return catalogue.settings(config, sets, given)

    settings = settings_with({})
    reading = Files(catalogue, files, settings_with, 0)
    sources = iter(reading)
    first = next(sources, None)
    if first is None:
        return reading.code
    listeners: list[Listener] = []
    packets: PacketFile | None = None
    sinks: list[HarSink] = []
    if pcapng is not None:
        packets = PacketFile(targets[pcapng])
        packets.open()
        listeners.append(packets.capture)
    if har is not None:
        target = targets[har]
        listeners.append(exchanges)

        def make(_settings: Mapping[str, object]) -> HarSink:
            sinks.append(HarSink(target, exchanges))
            return sinks[0]

        catalogue.sinks = {**catalogue.sinks, SINK: SinkSpec(SINK, make)}

    def failure() -> str:
        return next((each.failure for each in (*sinks, packets) if each is not None and each.failure), "")

    def tapped(source: Source) -> Source:
        return Tap(source, listeners, failure)

    def following() -> Iterator[Source]:
        for source in sources:
            yield tapped(source)

    agent = Agent(
        catalogue,
        settings,
        tapped(first),
        follow=following(),
        lossless=True,
        sinks=[SINK] if har is not None else [],
        signals=signals,
    )
    reading.attend = agent.attend
    for target in targets.values():
        target.ending = lambda: agent.stopping
    say("what is written holds secrets that went over the wire: nothing is masked")
    with signals.watch(agent.stop_seconds, agent.last_words):
        shown = os.isatty(2)
        failed = agent.run((lambda: show_progress(agent.report())) if shown else None)
        if packets is not None:
            packets.close()
        say_totals(agent.report(), signals)
    if sinks:
        say(f"{amount(sinks[0].entries, 'entries')} in {targets[har or ''].name}")
    if packets is not None:
        capture = packets.capture
        said = f"{amount(capture.packets, 'packets')} of {amount(capture.connections, 'connections')}"
        views = f"; {amount(capture.views, 'connections')} were seen at both ends and are there once"
        say(f"{said} in {targets[pcapng or ''].name}{views if capture.views else ''}")
    failures = agent.failures or [each for each in [failed or failure()] if each]
    for message in failures:
        say(message)
    return max(reading.code, int(bool(failures)))
