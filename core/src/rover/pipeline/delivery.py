"""From exchanges and details to access logs, and on to the sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from rover.contracts.protocol import AnyExchange
from rover.http.export import HeaderExport
from rover.pipeline.filters import Filters
from rover.pipeline.outlet import Outlet
from rover.pipeline.totals import Totals
from rover.plugins.guard import checked_log
from rover.plugins.manager import PluginManager
from rover.values.access_log import AccessLog
from rover.values.connection import Connection, ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpExchange, HttpStream
from rover.values.records import Detail


class Delivery:
    """Asks the hooks, and gives the outlets what they take."""

    def __init__(
        self,
        manager: PluginManager,
        outlets: Sequence[Outlet],
        totals: Totals,
        headers: HeaderExport | None = None,
    ) -> None:
        """`headers`: what logs show of the fields of HTTP messages."""
        self._manager = manager
        self._hook = manager.hook
        self._outlets = tuple(outlets)
        self._kernel_outlets = tuple(outlet for outlet in outlets if outlet.kernel_logs)
        self.takes_kernel_logs = bool(self._kernel_outlets)
        """Whether any sink wants logs without an exchange."""
        self._filters = Filters(manager, totals) or None
        self._headers = headers or None
        # Plain tuples: compiled, they are taken apart without an iterator.
        self._hooks: dict[type, list[tuple[Any, Any, Any]]] = {
            kind: [tuple(each) for each in manager.first_result(kind.hook())]  # type: ignore[misc]
            for kind in get_args(AnyExchange)
        }

    def put(self, log: AccessLog) -> None:
        """Gives a log to the sinks: that of an exchange or a break to all, others to those that want them."""
        if self._filters is not None:
            filtered = self._filters.apply(log)
            if filtered is None:
                return
            log = filtered
        outlets = self._outlets
        if not log.protocol and log.outcome is not Outcome.BREAK:
            outlets = self._kernel_outlets
        for outlet in outlets:
            outlet.put(log)

    def announce(self, connection: Connection, protocol_break: ProtocolBreak) -> None:
        """Tells the plugins of a break."""
        self._hook.on_protocol_break(connection=connection, protocol_break=protocol_break)

    def log_of(
        self, connection: Connection, exchange: AnyExchange, details: tuple[Detail, ...]
    ) -> AccessLog | None:
        """The access log of an exchange; None where no plugin and nothing in it makes one."""
        if type(exchange) is HttpExchange:  # the same, read in C
            http = exchange
            arguments = http.arguments(connection, details)
            outcome, end, assumed = http.outcome, http.end, http.assumed
        else:
            arguments = exchange.arguments(connection, details)
            outcome, end, assumed = exchange.outcome, exchange.end, exchange.assumed
        log = self._ask(self._hooks[type(exchange)], arguments)
        if log is None:
            log = self._own_log(connection, exchange)
            if log is None:
                return None
        if log.details is not details or log.outcome is not outcome or log.connection is not connection:
            log = log.replace(connection=connection, details=details, outcome=outcome)
        if end and end > log.end:
            log = log.replace(end=end)
        if self._headers is not None and isinstance(exchange, HttpExchange | HttpStream):
            log = self._with_headers(log, exchange)
        if assumed:
            log = log.replace(attributes={**log.attributes, "rover.pairing": "assumed"})
        return log

    def _with_headers(self, log: AccessLog, exchange: HttpExchange | HttpStream) -> AccessLog:
        """The log with what it is to show of header fields; a decoder may have made these of anything."""
        assert self._headers is not None  # noqa: S101
        try:
            return checked_log(self._headers.added(log, exchange.request, exchange.response))
        except BaseException as error:
            self._manager.blame(f"protocol {log.connection.protocol}").failed("headers", error)
            return log

    def _ask(
        self, implementations: list[tuple[Any, Any, Any]], arguments: tuple[object, ...]
    ) -> AccessLog | None:
        """The first access log any of these returns (`rover.plugins.manager.Implementation`)."""
        for implementation in implementations:
            function, chosen, failed = implementation
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
