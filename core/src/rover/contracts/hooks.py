"""The whole plugin contract: every hook the core calls.

A plugin is a module (or object) named by an entry point of the group `rover`. The core calls its
functions that are marked `@rover.hookimpl` and named as below. An implementation may leave out
arguments it has no use for. Hooks that return an access log are asked in turn until one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from rover.contracts.protocol import ProtocolSpec
    from rover.contracts.settings import Settings
    from rover.contracts.sink import SinkSpec
    from rover.contracts.source import SourceSpec
    from rover.values.access_log import AccessLog
    from rover.values.connection import Connection, ProtocolBreak
    from rover.values.exchange import Exchange
    from rover.values.http import HttpRequest, HttpResponse, HttpStream
    from rover.values.records import Detail

hookspec = pluggy.HookspecMarker("rover")
hookimpl = pluggy.HookimplMarker("rover")


@hookspec(firstresult=True)
def handle_http_data(
    connection: Connection,
    request: HttpRequest,
    response: HttpResponse | None,
    details: tuple[Detail, ...],
) -> AccessLog | None:
    """Once per completed HTTP/1.x exchange (`response` is None when it was cut before one).

    Returns the access log, or None to leave it to the next plugin. The core sees to it that
    the log carries exactly `details`, and its outcome.
    """


@hookspec(firstresult=True)
def handle_whole_stream(
    connection: Connection, stream: HttpStream, details: tuple[Detail, ...]
) -> AccessLog | None:
    """Once per finished HTTP/2 stream, and each time a long-lived one is split.

    Returns the access log, or None to leave it to the next plugin.
    """


@hookspec(firstresult=True)
def handle_exchange(
    connection: Connection, exchange: Exchange, details: tuple[Detail, ...]
) -> AccessLog | None:
    """Once per exchange of any other protocol.

    Returns the access log, or None. Where every plugin returns None the core makes one of
    `exchange.attributes`.
    """


@hookspec
def on_protocol_break(connection: Connection, protocol_break: ProtocolBreak) -> None:
    """Once, when a connection can no longer be decoded; `connection` is as it was before."""


@hookspec
def register_protocols() -> Sequence[ProtocolSpec]:
    """Once, at start: the protocols this plugin can decode."""
    raise NotImplementedError


@hookspec
def register_sources() -> Sequence[SourceSpec]:
    """Once, at start: the sources this plugin can capture from."""
    raise NotImplementedError


@hookspec
def register_sinks() -> Sequence[SinkSpec]:
    """Once, at start: the sinks this plugin can export to."""
    raise NotImplementedError


@hookspec
def register_commands(cli: typer.Typer) -> None:
    """Once, at start: commands to add to `rover`."""


@hookspec
def startup(settings: Settings) -> None:
    """Once, before the first record; with `rover run --workers`, in every worker process."""


@hookspec
def shutdown() -> None:
    """Once, after the last access log, before the sinks close; in every worker process."""
