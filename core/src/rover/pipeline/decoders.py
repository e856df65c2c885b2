"""Decoders of connections, as the installed protocols make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rover.contracts.protocol import Decoder, ProtocolSpec, SkippingDecoder, WeighedDecoder
from rover.plugins.guard import check_decoder
from rover.plugins.manager import PluginManager
from rover.values.connection import Connection, ProtocolBreak

Made = tuple[type | None, Mapping[str, Any], bool, bool]
"""The class of a protocol's newest decoder, what it was made from, and which optional parts it has."""


class Decoders:
    """Makes them."""

    def __init__(self, manager: PluginManager, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """`settings`: by protocol name."""
        self._manager = manager
        self._settings = settings
        self._made: dict[str, Made] = {}  # by protocol name

    def make(
        self, spec: ProtocolSpec, connection: Connection, upgrade: ProtocolBreak | None
    ) -> tuple[Decoder, bool, bool]:
        """A decoder for this connection; whether it is a WeighedDecoder, and a SkippingDecoder.

        Raises whatever the plugin does, and TypeError for what is no decoder. It is looked at where its class
        is not that of the protocol's last one.
        """
        name = spec.name
        made = self._made.get(name)
        if made is None:
            made = (None, self._settings.get(name, {}), False, False)
        kind, settings, weighed, skipping = made
        decoder = spec.make(connection, settings, upgrade)
        if type(decoder) is not kind:
            check_decoder(decoder)
            weighed, skipping = isinstance(decoder, WeighedDecoder), isinstance(decoder, SkippingDecoder)
            self._made[name] = type(decoder), settings, weighed, skipping
        return decoder, weighed, skipping

    def failed(self, protocol: str, where: str, error: BaseException) -> None:
        """Counts a failure of the plugin that this protocol is of."""
        self._manager.blame(f"protocol {protocol}").failed(where, error)
