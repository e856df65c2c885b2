"""Traffic of one connection, in memory, through the pipeline that `rover run` has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from rover.contracts.hooks import hookimpl
from rover.contracts.protocol import (
    RESYNCHRONISED,
    UPLOAD_ALL,
    AnyExchange,
    Decoder,
    Outcomes,
    ProtocolSpec,
    Verdict,
)
from rover.pipeline.outlet import Outlet
from rover.pipeline.recognition import Recogniser
from rover.pipeline.table import Pipeline
from rover.plugins.manager import PluginManager
from rover.streams.buffer import StreamBuffer
from rover.streams.ledger import Ledger
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak
from rover.values.http import HttpRequest, HttpResponse, HttpStream
from rover.values.records import (
    Address,
    Closed,
    Detail,
    Direction,
    Opened,
    Plaintext,
    Process,
    Role,
    Syscall,
)

Make = Callable[[Connection, Mapping[str, Any], ProtocolBreak | None], Decoder]
"""What `ProtocolSpec.make` is."""
Protocol = ProtocolSpec | Make | Decoder
"""What can be played to: a protocol, which recognises its connections itself; a factory of decoders, or one
decoder, which gets whatever is sent."""

EPOCH = 1_700_000_000_000_000_000
PORT = 80
"""The server's, in every connection."""
PID = 42
RECORD_HEADER = b"\x17\x03\x03\x40\x11"
"""The first bytes of ciphertext, in every connection."""
RECORD_OVERHEAD = 22
"""Bytes of ciphertext besides the plaintext: of a record of TLS 1.3."""
CALL = 10
"""ns from the end of one call to the end of the next; each lasts half of it."""


def connection(role: Role | None = Role.CLIENT) -> Connection:
    """A made-up connection, recognised as nothing yet."""
    client, server = Address(host="10.0.0.1", port=40000), Address(host="10.0.0.2", port=PORT)
    return Connection(
        id=1,
        local=server if role is Role.SERVER else client,
        remote=client if role is Role.SERVER else server,
        role=role,
        process=Process(pid=PID, name="app"),
        opened=0,
        epoch=EPOCH,
    )


def defaults_of(spec: ProtocolSpec) -> dict[str, Any]:
    """The settings of a protocol that nobody has set."""
    return {setting.name: setting.default for setting in spec.settings}


class LawError(AssertionError):
    """A plugin does what the core does not allow. The message names the law, and where it was broken."""


class Installed:
    """Plugins as they are installed, with a hook that makes a log of what no other makes one of."""

    def __init__(self, plugins: Sequence[object] = ()) -> None:
        """Modules, or objects, with hooks."""
        self.manager = PluginManager()
        self.playing: Play | None = None
        """Whose turn it is."""
        self.manager.register(_Fallback(self), "testing")
        for plugin in plugins:
            self.manager.register(plugin, getattr(plugin, "__name__", type(plugin).__name__))
        self.protocols = self.manager.collect("register_protocols", ProtocolSpec)

    def failures(self) -> list[str]:
        """What plugins did wrong since it was called last."""
        found = [f"{kind}: {text}" for plugin in self.manager.plugins for kind, text in plugin.last.items()]
        if found:
            for plugin in self.manager.plugins:
                plugin.failures.clear()
                plugin.last.clear()
        return found


class Play:
    """One connection through the pipeline: recognition, decoding, hooks, the break, access logs.

    Each `send` is one socket call and takes 10 ns. What the decoder raises, `send` raises; what else the
    plugin does wrong (see "What a plugin may do wrong" in docs/plugins.md) is a LawError.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        role: Role | None = None,
        late: bool = False,
        settings: Mapping[str, Any] | None = None,
        upgrade: ProtocolBreak | None = None,
        plugins: Sequence[object] | Installed = (),
        keep: bool = True,
        tls: bool = False,
    ) -> None:
        """`role`: which end is watched, where the source can tell. `late`: the beginning of the connection
        was not seen. `settings`: of the protocol, where they are not the defaults. `upgrade`: the break with
        which the protocol before ended; then this one is not asked to recognise its connection. `plugins`:
        modules whose hooks make the access logs, or whose protocols may claim an upgrade; for many plays,
        best as one `Installed`. `keep`: False for what is played only to see what it costs; then
        `exchanges`, `taken`, `alone`, `logs` and `calls` stay empty. `tls`: what is sent goes through a TLS
        library; a socket call inside each call of it carries the ciphertext.
        """
        self.exchanges: list[AnyExchange] = []
        self.logs: list[AccessLog] = []
        """What the sinks get, kernel logs and the log of a break left out."""
        self.taken: list[tuple[Detail, ...]] = []
        """The details of each of these."""
        self.alone: list[Detail] = []
        """The details delivered without an exchange."""
        self.protocol_break: ProtocolBreak | None = None
        self.resynchronised = 0
        """How often the decoder was."""
        self.calls: list[Detail] = []
        """Every call made: each ends up in `taken` or `alone`, once."""
        self.time = 0
        """ns, now. It may be set."""
        self.decoder: Any = protocol if _is_decoder(protocol) else None
        """The newest that was made; None until the protocol is recognised."""
        self.buffers = {way: StreamBuffer(way, Ledger()) for way in Direction}
        """Of each direction, once the decoder was given it; an empty one before."""
        self.upload = UPLOAD_ALL
        """Bytes of each call that are captured, as the pipeline asked for."""
        self.closed = False
        """Whether the connection has ended, or the agent."""
        self.keep = keep
        self.waiting = 0
        """Calls that were made and whose details are not delivered yet."""
        self._positions = dict.fromkeys(Direction, 0)
        self._sequence = 0
        self._tls = tls
        self._plain_positions = dict.fromkeys(Direction, 0)
        self._plain_sequence = 0
        self._error: BaseException | None = None

        self._installed = plugins if isinstance(plugins, Installed) else Installed(plugins)
        spec = self._witnessed(protocol, upgrade)
        others = [other for other in self._installed.protocols if other.name != spec.name]
        specs = [spec, *(self._witnessed(other, None) for other in others)]
        given = {other.name: defaults_of(other) for other in others}
        given[spec.name] = defaults_of(spec) | dict(settings or {})
        manager = self._installed.manager
        pinned = {str(PORT): spec.name} if upgrade or not isinstance(protocol, ProtocolSpec) else {}
        self._pipeline = Pipeline(
            manager,
            Recogniser(manager, specs, pinned),
            [cast("Outlet", _Taker(self))],
            _Memory(self),
            epoch=EPOCH,
            protocol_settings=given,
        )
        facts = connection(role)
        self._turn().process(cast("Process", facts.process))
        self._turn().opened(
            Opened(
                connection=facts.id,
                time=0,
                local=cast("Address", facts.local),
                remote=cast("Address", facts.remote),
                role=role,
                pid=PID,
                late=late or upgrade is not None,  # claimed at once: no bytes are looked at before
                detail=None,
            )
        )
        self._check()

    # -- what happens ------------------------------------------------------------------------

    def send(self, direction: Direction, data: bytes, *, captured: int | None = None, size: int = 0) -> None:
        """One call that moved `data` (of which the first `captured` bytes were seen).

        `size` is for a call longer than `data`: sendfile, or above the capture limit.
        """
        limit = self.upload if captured is None else min(captured, self.upload)
        self._call(direction, max(size, len(data)), data[:limit])

    def send_all(self, direction: Direction, pieces: Iterable[bytes]) -> None:
        """A call per piece."""
        for piece in pieces:
            self.send(direction, piece)

    def lose(self, direction: Direction, size: int) -> None:
        """A call of which no record arrives."""
        if self._tls:
            self._plain_positions[direction] += size
            self._plain_sequence += 1
            size += RECORD_OVERHEAD
        self._positions[direction] += size
        self._sequence += 1
        self.time += CALL

    def end(self, direction: Direction) -> None:
        """The direction's FIN: a read that returns 0, or a shutdown."""
        self._call(direction, 0, b"")

    def expire(self, now: int) -> None:
        """Time passes."""
        self.time = now
        self._turn().tick(now)
        self._check()

    def close(self, *, reset: bool = False) -> None:
        """The connection ends; `reset` by a RST, so that nothing that a close would end is complete."""
        self.time += CALL
        self.closed = True
        self._turn().closed(Closed(connection=1, time=self.time, reset=reset, detail=None))
        self._check()

    def finish(self) -> None:
        """The agent ends, and the connection does not."""
        self.closed = True
        self._turn().finish(self.time)
        self._check()

    def _turn(self) -> Pipeline:
        """The pipeline. What the plugins are told until `_check` is of this play."""
        self._installed.playing = self
        return self._pipeline

    def _call(self, direction: Direction, size: int, payload: bytes) -> None:
        if not self._tls:
            self._socket_call(direction, size, payload)
            self._check()
            return
        began = self._positions[direction]
        moved = size + RECORD_OVERHEAD if size else 0
        self._socket_call(direction, moved, b"" if began or not moved else RECORD_HEADER)
        self._turn().plaintext(
            Plaintext(
                connection=1,
                sequence=self._plain_sequence,
                start=self.time - CALL // 2,
                end=self.time,
                position=self._plain_positions[direction],
                size=size,
                ciphertext=began + moved,
                pid=PID,
                direction=direction,
                ciphertext_start=began,
            ),
            payload,
        )
        self._plain_positions[direction] += size
        self._plain_sequence += 1
        self._check()

    def _socket_call(self, direction: Direction, size: int, payload: bytes) -> None:
        self.time += CALL
        detail = Detail(
            connection=1,
            sequence=self._sequence,
            start=self.time - CALL // 2,
            end=self.time,
            position=self._positions[direction],
            size=size,
            pid=PID,
            fd=3,
            syscall=Syscall.READ
            if direction is Direction.INGRESS
            else Syscall.WRITE
            if size
            else Syscall.SHUTDOWN,
            direction=direction,
            error=0,
        )
        self._positions[direction] += size
        self._sequence += 1
        self.waiting += 1
        if self.keep:
            self.calls.append(detail)
        self._turn().data(detail, payload)

    # -- what comes of it --------------------------------------------------------------------

    def _check(self) -> None:
        """The end of its turn. Raises what went wrong in it."""
        self._installed.playing = None
        said = self._installed.failures()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if said:
            raise LawError("; ".join(said))

    def _witnessed(self, protocol: Protocol, upgrade: ProtocolBreak | None) -> ProtocolSpec:
        """The protocol, its decoders such that the play learns what they say."""
        if isinstance(protocol, ProtocolSpec):
            spec, make = protocol, protocol.make
        else:
            spec = ProtocolSpec(name="played", sniff=lambda _: Verdict.YES, make=_no_decoder)
            make = _factory_of(protocol)

        def witnessed(facts: Connection, settings: Mapping[str, Any], claimed: ProtocolBreak | None) -> Any:
            try:
                self.decoder = make(facts, settings, upgrade if claimed is None else claimed)
            except BaseException as error:
                self._error = error
                raise
            return _witness(self, self.decoder)

        return dataclasses.replace(spec, make=witnessed)


def _no_decoder(_facts: Connection, _settings: Mapping[str, Any], _upgrade: ProtocolBreak | None) -> Decoder:
    raise NotImplementedError


def _factory_of(protocol: Make | Decoder) -> Make:
    if _is_decoder(protocol):
        return lambda _facts, _settings, _upgrade: cast("Decoder", protocol)
    return cast("Make", protocol)


def _is_decoder(protocol: object) -> bool:
    """Whether it is one decoder, and not a class of decoders."""
    return not isinstance(protocol, type) and hasattr(protocol, "decode")


class _Witness:
    """Stands before a decoder, and tells the play what that says and raises."""

    def __init__(self, play: Play, decoder: Any) -> None:
        self._play = play
        self._decoder = decoder

    @property
    def role(self) -> Role | None:
        role: Role | None = self._told("role")
        return role

    def _told(self, name: str, *arguments: Any) -> Any:
        try:
            found = getattr(self._decoder, name)
            return found(*arguments) if arguments else found
        except BaseException as error:
            self._play._error = error
            raise

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> AnyExchange | Outcomes | ProtocolBreak:
        self._play.buffers[direction] = buffer
        result: Any = self._told("decode", direction, buffer, now)
        if result is RESYNCHRONISED:
            self._play.resynchronised += 1
        elif not isinstance(result, Outcomes | ProtocolBreak) and self._play.keep:
            self._play.exchanges.append(result)
        return cast("AnyExchange | Outcomes | ProtocolBreak", result)

    def expire(self, now: int) -> Iterable[AnyExchange]:
        return self._yielded("expire", now)

    def close(self, now: int) -> Iterable[AnyExchange]:
        return self._yielded("close", now)

    def _yielded(self, method: str, now: int) -> Iterable[AnyExchange]:
        try:
            for exchange in self._told(method, now):
                if self._play.keep:
                    self._play.exchanges.append(exchange)
                yield exchange
        except Exception as error:
            self._play._error = error
            raise


def _witness(play: Play, decoder: Any) -> _Witness:
    """With the optional methods that the decoder has, and no others."""
    optional: dict[str, Any] = {}
    if hasattr(decoder, "memory"):
        optional["memory"] = property(lambda self: self._told("memory"))
    if hasattr(decoder, "unneeded"):
        optional["unneeded"] = lambda self, direction: self._told("unneeded", direction)
    kind: type[_Witness] = type("Witness", (_Witness,), optional)
    return kind(play, decoder)


class _Taker:
    """Stands where an outlet does, and hands each log to the play."""

    kernel_logs = True

    def __init__(self, play: Play) -> None:
        self._play = play

    def put(self, log: AccessLog) -> None:
        play = self._play
        play.waiting -= len(log.details)
        if not play.keep:
            return
        if log.protocol:
            play.logs.append(log)
            play.taken.append(log.details)
        else:
            play.alone += log.details


class _Memory:
    """Stands where a source does: does as it is told."""

    def __init__(self, play: Play) -> None:
        self._play = play

    def set_upload(self, _connection: int, limit: int) -> None:
        self._play.upload = limit

    def is_open(self, _connection: int) -> bool:
        return True


class _Fallback:
    """Tells the play of a break, and makes a log of each exchange for which no plugin that is played with
    makes one."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed

    @hookimpl
    def on_protocol_break(self, protocol_break: ProtocolBreak) -> None:
        if self._installed.playing is not None:
            self._installed.playing.protocol_break = protocol_break

    @hookimpl(trylast=True)
    def handle_http_data(
        self, connection: Connection, request: HttpRequest, response: HttpResponse | None
    ) -> AccessLog:
        end = max(request.end, response.end if response is not None else 0)
        return AccessLog(connection=connection, start=request.start, end=end, protocol="http")

    @hookimpl(trylast=True)
    def handle_whole_stream(self, connection: Connection, stream: HttpStream) -> AccessLog:
        return self.handle_http_data(connection, stream.request, stream.response)
