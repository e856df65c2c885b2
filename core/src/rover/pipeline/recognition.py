"""Which protocol a connection speaks: by its port, or by its first bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rover.contracts.protocol import ProtocolSpec, Verdict
from rover.errors import NotInstalledError, UsageError
from rover.plugins.guard import found
from rover.plugins.manager import PluginManager
from rover.streams.buffer import StreamBuffer
from rover.values.connection import Connection

YES, NO, MAYBE = Verdict  # once: what an enumeration holds is slow to ask for
MAX_OPENING = 4096
"""Bytes of a direction a sniff may ask for; no protocol needs more to be told from another."""
MAX_GREETING = 4096
"""Bytes of each direction, in both, that may open nothing known before recognition gives up. A greeting
may precede the first message, in however many calls it comes: that of SOCKS takes up to 1 kB (RFC 1928,
1929), banners and negotiations of text protocols some lines. It is also what the kernel uploads of each
direction while it recognises nothing; whatever follows is looked at by the kernel alone, call by call."""
MAX_ONE_WAY = 65536
"""The same where the other direction says less: a long banner before a first request, but also whoever
ships logs. Until then the kernel judges each call, which costs it less than a microsecond."""


class Recogniser:
    """The installed protocols, in the order they are asked."""

    def __init__(
        self, manager: PluginManager, specs: Sequence[ProtocolSpec], ports: Mapping[str, str]
    ) -> None:
        """`ports`: port number to protocol name. Raises UsageError for what is not installed."""
        self._manager = manager
        self._specs = sorted(specs, key=lambda spec: (-spec.priority, spec.name))
        by_name = {spec.name: spec for spec in specs}
        self._ports: dict[int, ProtocolSpec] = {}
        for port, name in ports.items():
            if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                raise UsageError(f"ports.{port}: not a port number")
            if name not in by_name:
                known = ", ".join(sorted(by_name)) or "none"
                raise NotInstalledError(
                    f"ports.{port} = {name!r}: no such protocol; installed: {known}", f"protocol {name}"
                )
            self._ports[int(port)] = by_name[name]
        self._upgrades = {token: spec for spec in self._specs for token in spec.upgrades}

    def pinned(self, connection: Connection) -> ProtocolSpec | None:
        """The protocol the user pinned to one of the connection's ports."""
        if not self._ports:
            return None
        for address in (connection.server, connection.local, connection.remote):
            if address is not None and (spec := self._ports.get(address.port)):
                return spec
        return None

    def upgrade(self, token: str) -> ProtocolSpec | None:
        """The protocol that goes on after an HTTP Upgrade to `token`."""
        return self._upgrades.get(token)

    def sniff(self, buffer: StreamBuffer) -> tuple[Verdict, ProtocolSpec | None]:
        """The first protocol that says YES to the unread bytes; MAYBE if one needs more of them."""
        if not len(buffer):
            return NO, None
        offset = buffer.offset
        data = buffer.data if offset == 0 else buffer.data[offset : offset + MAX_OPENING]
        verdict = NO
        for spec in self._specs:
            try:
                said = spec.sniff(data)
                if type(said) is not Verdict:
                    raise TypeError(f"returned {found(said)} where a Verdict is due")
            except BaseException as error:
                self._manager.blame(f"protocol {spec.name}").failed("sniff", error)
                continue
            if said is YES:
                return said, spec
            if said is MAYBE:
                verdict = said
        if verdict is MAYBE and (buffer.gap or buffer.ended or len(data) >= MAX_OPENING):
            verdict = NO
        return verdict, None
