"""Access logs to a SkyWalking OAP server, and a stand-in for one.

protobuf, HTTP/2 and gRPC take longer to import than the rest of rover together: they are
imported when a sink is made or the receiver starts, not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rover import Sink, SinkSpec, Worker, hookimpl
from rover_plugin_sink_oap.settings import SETTINGS

if TYPE_CHECKING:
    import typer


@hookimpl
def register_sinks() -> Sequence[SinkSpec]:
    """`oap`."""
    return [SinkSpec("oap", _oap, SETTINGS, _oap_of_worker)]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """`rover oap-receiver`."""
    from rover_plugin_sink_oap.receiver.command import register

    register(cli)


def _oap(settings: Mapping[str, Any]) -> Sink:
    from rover_plugin_sink_oap.settings import configure
    from rover_plugin_sink_oap.sink import OapSink

    return OapSink(configure(settings))


def _oap_of_worker(settings: Mapping[str, Any], worker: Worker) -> Sink:
    from rover_plugin_sink_oap.settings import configure
    from rover_plugin_sink_oap.sink import OapSink

    configuration = configure(settings)
    return OapSink(dataclasses.replace(configuration, worker=worker.number, workers=worker.count))
