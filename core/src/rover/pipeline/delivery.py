"""From exchanges and details to access logs, and on to the sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from rover.contracts.protocol import AnyExchange
from rover.pipeline.filters import Filters
from rover.pipeline.outlet import Outlet
from rover.pipeline.totals import Totals
from rover.plugins.guard import checked_log
from rover.plugins.manager import Implementation, PluginManager
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.records import Detail


class Delivery:
    """Asks the hooks, and gives the outlets what they take."""

    def __init__(self, manager: PluginManager, outlets: Sequence[Outlet], totals: Totals) -> None:
        self._manager = manager
        self._hook = manager.hook
        self._outlets = tuple(outlets)
        self._kernel_outlets = tuple(outlet for outlet in outlets if outlet.kernel_logs)
        self.takes_kernel_logs = bool(self._kernel_outlets)
        """Whether any sink wants logs without an exchange."""
        self._filters = Filters(manager, totals) or None
        self._hooks = {kind: manager.first_result(kind.hook()) for kind in get_args(AnyExchange)}

    def put(self, log: AccessLog) -> None:
        """Gives a log to the sinks: that of an exchange or a break to all, others to those that want them."""
        if self._filters is not None:
            filtered = self._filters.apply(log)
            if filtered is None:
                return
            log = filtered
        everyone = log.protocol or log.outcome is Outcome.BREAK
        for outlet in self._outlets if everyone else self._kernel_outlets:
            outlet.put(log)

    def announce(self, connection: Connection, protocol_break: ProtocolBreak) -> None:
        """Tells the plugins of a break."""
        self._hook.on_protocol_break(connection=connection, protocol_break=protocol_break)

    def log_of(
        self, connection: Connection, exchange: AnyExchange, details: tuple[Detail, ...]
    ) -> AccessLog | None:
        """The access log of an exchange; None where no plugin and nothing in it makes one."""
        log = self._ask(self._hooks[type(exchange)], exchange.arguments(connection, details))
        if log is None:
            log = self._own_log(connection, exchange)
            if log is None:
                return None
        outcome, end = exchange.outcome, exchange.end
        if log.details is not details or log.outcome is not outcome or log.connection is not connection:
            log = log.replace(connection=connection, details=details, outcome=outcome)
        if end and end > log.end:
            log = log.replace(end=end)
        if exchange.assumed:
            log = log.replace(attributes={**log.attributes, "rover.pairing": "assumed"})
        return log

    def _ask(self, implementations: list[Implementation], arguments: tuple[object, ...]) -> AccessLog | None:
        """The first access log any of them returns."""
        for function, chosen, failed in implementations:
            try:
                if chosen is None:
                    log = function(*arguments)
                else:
                    log = function(*[arguments[index] for index in chosen])
                if log is not None:
                    return checked_log(log)
            except BaseException as error:
                failed(error)
        return None

    def _own_log(self, connection: Connection, exchange: AnyExchange) -> AccessLog | None:
        """What an exchange tells itself, of a protocol that the core has no name for."""
        if not isinstance(exchange, Exchange):
            return None
        try:
            return checked_log(
                AccessLog(
                    connection=connection,
                    start=exchange.start,
                    end=exchange.end,
                    protocol=exchange.name,
                    attributes=exchange.attributes,
                )
            )
        except BaseException as error:
            self._manager.blame(f"protocol {connection.protocol}").failed("decode", error)
            return None
