"""The whole plugin contract: every hook the core calls.

A plugin is a module (or object) named by an entry point of the group `rover`. The core calls its
functions that are marked `@rover.hookimpl` and named as below. An implementation may leave out
arguments it has no use for. Hooks that make an access log are asked in turn until one does.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from rover.contracts.protocol import ProtocolSpec
    from rover.contracts.settings import Setting, Settings
    from rover.contracts.sink import SinkSpec
    from rover.contracts.source import SourceSpec
    from rover.values.access_log import AccessLog
    from rover.values.attributes import AttributeValue
    from rover.values.connection import Connection, ProtocolBreak
    from rover.values.exchange import Exchange
    from rover.values.http import HttpRequest, HttpResponse, HttpStream
    from rover.values.records import Detail, Process

hookspec = pluggy.HookspecMarker("rover")
hookimpl = pluggy.HookimplMarker("rover")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """What `handle_access_log` returns for a log that no sink is to get. It is counted by plugin, and by rule
    where one is named."""

    rule: str = ""
    """Which of the plugin's rules it was: a few words, of which there are few."""


DROP = Drop()
"""The one that names no rule."""


class Never(enum.Enum):
    """The class of `NEVER`."""

    NEVER = "never"


NEVER = Never.NEVER
"""What `handle_access_log` returns when this log, and every other of the run, stays as it is: the plugin is
not asked again. So a plugin that is installed and has nothing to do costs nothing."""


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
def handle_access_log(log: AccessLog) -> AccessLog | Drop | Never | None:
    """Once per access log that a sink is to get, whatever its protocol, before any sink's queue: of an
    exchange, of a break, and, where a sink takes kernel logs, of socket calls without an exchange.

    Returns the log, another one made of it (`log.replace(attributes=...)`), `DROP`, None for "as it is",
    or `NEVER`. Each plugin gets what the one before it returned; after a DROP none is asked. A plugin may
    change what a log says: its protocol, version, attributes and times, and the addresses, the process
    and the break of its connection. Its details and its outcome, and which connection it is of, stay;
    what is the log of an exchange remains one. A plugin that fails changes nothing.
    """


@hookspec
def describe_process(process: Process, live: bool) -> Mapping[str, AttributeValue] | None:
    """Once per process, and again after it has executed another program, when the first connection of it
    is seen; `process.name` is empty where it is not known. `live` is false in a replay: the process ran
    at another time or on another host, and nothing may be read of it here.

    Returns attributes that each log of the process carries, or None. Where several plugins name the same
    attribute, the first of them in the order of calls is believed. It is called where records are read,
    so all connections wait for it; the process may have ended by then.
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
def register_settings() -> Sequence[Setting]:
    """Once, at start: settings of the plugin itself. A user sets them as `plugin.NAME.SETTING`, where NAME is
    that of the plugin's entry point; `startup` gets them."""
    raise NotImplementedError


@hookspec
def startup(settings: Settings) -> None:
    """Once, before the first record; with `rover run --workers`, in every worker process.

    A UsageError refuses the run: its message is what the user is told.
    """


@hookspec
def shutdown() -> None:
    """Once, after the last access log, before the sinks close; in every worker process."""
