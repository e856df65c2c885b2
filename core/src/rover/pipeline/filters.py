"""What plugins make of an access log before the sinks get it (the hook `handle_access_log`)."""

from __future__ import annotations

from rover.contracts.hooks import DROP
from rover.pipeline.totals import Totals
from rover.plugins.guard import checked_change
from rover.plugins.manager import Plugin, PluginManager
from rover.values.access_log import AccessLog

HOOK = "handle_access_log"


class Filters:
    """The plugins that implement the hook, in the order of their calls: found once, not for each log."""

    def __init__(self, manager: PluginManager, totals: Totals) -> None:
        """`totals`: where what they drop is counted."""
        self._implementations = tuple(manager.implementations(HOOK))
        self._totals = totals

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._implementations)

    def apply(self, log: AccessLog) -> AccessLog | None:
        """The log that the sinks get; None when a plugin dropped it. A plugin that fails has changed
        nothing."""
        for plugin, function in self._implementations:
            made = function(log)
            if made is None or made is log:
                continue
            if made is DROP:
                self._drop(plugin, log)
                return None
            try:
                log = checked_change(made, log)
            except BaseException as error:
                plugin.failed(HOOK, error)
        return log

    def _drop(self, plugin: Plugin, log: AccessLog) -> None:
        if log.protocol:
            self._totals.dropped[plugin.name] += 1
        else:
            self._totals.dropped_alone += 1
