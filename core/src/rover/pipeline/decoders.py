"""Decoders of connections, as the installed protocols make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rover.contracts.protocol import Decoder, ProtocolSpec, SkippingDecoder, WeighedDecoder
from rover.plugins.guard import check_decoder
from rover.plugins.manager import PluginManager
from rover.values.connection import Connection, ProtocolBreak

NONE: tuple[type | None, bool, bool] = (None, False, False)


class Decoders:
    """Makes them."""

    def __init__(self, manager: PluginManager, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """`settings`: by protocol name."""
        self._manager = manager
        self._settings = settings
        self._newest: dict[str, tuple[type, bool, bool]] = {}  # of each protocol, what it made last

    def make(
        self, spec: ProtocolSpec, connection: Connection, upgrade: ProtocolBreak | None
    ) -> tuple[Decoder, bool, bool]:
        """A decoder for this connection; whether it is a WeighedDecoder, and a SkippingDecoder.

        Raises whatever the plugin does, and TypeError for what is no decoder. It is looked at where its class
        is not that of the protocol's last one.
        """
        decoder = spec.make(connection, self._settings.get(spec.name, {}), upgrade)
        kind, weighed, skipping = self._newest.get(spec.name, NONE)
        if type(decoder) is not kind:
            check_decoder(decoder)
            weighed, skipping = isinstance(decoder, WeighedDecoder), isinstance(decoder, SkippingDecoder)
            self._newest[spec.name] = type(decoder), weighed, skipping
        return decoder, weighed, skipping

    def failed(self, protocol: str, where: str, error: BaseException) -> None:
        """Counts a failure of the plugin that this protocol is of."""
        self._manager.blame(f"protocol {protocol}").failed(where, error)
