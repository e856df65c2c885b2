"""Access logs as OpenTelemetry's traces, metrics and logs, by OTLP; and a stand-in for what receives them.

protobuf, HTTP/2 and gRPC take longer to import than the rest of rover together: they are imported when a sink
is made or the receiver starts, not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rover import Sink, SinkSpec, Worker, hookimpl
from rover_plugin_sink_otlp.settings import SETTINGS

if TYPE_CHECKING:
    import typer


@hookimpl
def register_sinks() -> Sequence[SinkSpec]:
    """`otlp`."""
    return [SinkSpec("otlp", _otlp, SETTINGS, _otlp_of_worker)]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """`rover otlp-receiver`."""
    from rover_plugin_sink_otlp.receiver.command import register

    register(cli)


def _otlp(settings: Mapping[str, Any]) -> Sink:
    from rover_plugin_sink_otlp.settings import configure
    from rover_plugin_sink_otlp.sink import OtlpSink

    return OtlpSink(configure(settings))


def _otlp_of_worker(settings: Mapping[str, Any], worker: Worker) -> Sink:
    from rover_plugin_sink_otlp.settings import configure
    from rover_plugin_sink_otlp.sink import OtlpSink

    return OtlpSink(configure(settings, worker.number, worker.count))
