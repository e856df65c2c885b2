"""Which protocol a connection speaks: by its port, or by its first bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rover.contracts.protocol import ProtocolSpec, Verdict
from rover.contracts.source import Wanted
from rover.errors import NotInstalledError, UsageError
from rover.plugins.guard import found
from rover.plugins.manager import PluginManager
from rover.streams.buffer import StreamBuffer
from rover.values.connection import Connection

YES, NO, MAYBE = Verdict  # once: what an enumeration holds is slow to ask for
NO_PORTS: frozenset[int] = frozenset()
SNIFFED = 4096
"""Bytes of a direction that a sniff is shown at most, where no protocol asks for more (`opening`)."""
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
            number = port_number(port)
            if name not in by_name:
                known = ", ".join(sorted(by_name)) or "none"
                raise NotInstalledError(
                    f"ports.{port} = {name!r}: no such protocol; installed: {known}", f"protocol {name}"
                )
            self._ports[number] = by_name[name]
        self._upgrades = {token: spec for spec in self._specs for token in spec.upgrades}
        self._asked = [(spec, spec.sniff, spec.sniff_own) for spec in self._specs]
        self._own = frozenset(port for spec in self._specs if spec.sniff_own for port in spec.ports)
        self._most = max((spec.opening for spec in self._specs), default=0)
        self._most = max(self._most, SNIFFED)

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

    def sniff(self, buffer: StreamBuffer, connection: Connection) -> tuple[Verdict, ProtocolSpec | None]:
        """The first protocol that says YES to the unread bytes; MAYBE if one needs more of them."""
        if not len(buffer):
            return NO, None
        offset = buffer.offset
        data = buffer.data if offset == 0 else buffer.data[offset : offset + self._most]
        verdict = NO
        for spec, sniff, sniff_own in self._asked:
            try:
                if sniff_own is not None and not self._own_ports(connection).isdisjoint(spec.ports):
                    said = sniff_own(data)
                else:
                    said = sniff(data)
                if type(said) is not Verdict:
                    raise TypeError(f"returned {found(said)} where a Verdict is due")
            except BaseException as error:
                self._manager.blame(f"protocol {spec.name}").failed("sniff", error)
                continue
            if said is YES:
                return said, spec
            if said is MAYBE:
                verdict = said
        if verdict is MAYBE and (buffer.gap or buffer.ended or len(data) >= self._most):
            verdict = NO
        return verdict, None

    def _own_ports(self, connection: Connection) -> frozenset[int]:
        """The ports of both ends, as far as they are known, that are some protocol's own."""
        own, local, remote = self._own, connection.local, connection.remote
        ports = NO_PORTS
        if local is not None and local.port in own:
            ports |= {local.port}
        if remote is not None and remote.port in own:
            ports |= {remote.port}
        return ports


def port_number(text: str) -> int:
    """The port that a user pins. Raises UsageError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise UsageError(f"ports.{text}: not a port number")
    return int(text)


def wanted(specs: Iterable[ProtocolSpec], pinned: Iterable[str]) -> Wanted:
    """What these protocols want of a source, where the user pins these ports. Raises UsageError."""
    ports = {port_number(port) for port in pinned}
    opening = 0
    for spec in specs:
        ports |= spec.ports
        opening = max(opening, spec.opening)
    return Wanted(opening=opening, ports=frozenset(ports))
