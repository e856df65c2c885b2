"""What plugins make of an access log before the sinks get it (the hook `handle_access_log`)."""

from __future__ import annotations

from collections.abc import Callable

from rover.contracts.hooks import NEVER, Drop
from rover.pipeline.totals import Totals
from rover.plugins.guard import checked_change
from rover.plugins.manager import Plugin, PluginManager, printable
from rover.values.access_log import AccessLog

HOOK = "handle_access_log"
MAX_RULE = 40
"""Characters of a rule's name in the totals."""


class Filters:
    """The plugins that implement the hook, in the order of their calls: found once, not for each log."""

    def __init__(self, manager: PluginManager, totals: Totals) -> None:
        """`totals`: where what they drop is counted."""
        plugins = [plugin for plugin, _ in manager.implementations(HOOK)]
        # Called as they are: what guards other hooks costs as much as some of these do.
        self._implementations = tuple(
            (plugin, each.function, each.chosen != [], each.failed)
            for plugin, each in zip(plugins, manager.first_result(HOOK), strict=True)
        )
        self._totals = totals

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._implementations)

    def apply(self, log: AccessLog) -> AccessLog | None:
        """The log that the sinks get; None when a plugin dropped it. A plugin that fails has changed
        nothing."""
        for implementation in self._implementations:
            plugin, function, takes_log, failed = implementation
            try:
                made = function(log) if takes_log else function()
            except BaseException as error:
                failed(error)
                continue
            if made is None or made is log:
                continue
            if type(made) is Drop:
                self._drop(plugin, made, log)
                return None
            if made is NEVER:
                self._leave(function)
                continue
            try:
                log = checked_change(made, log)
            except BaseException as error:
                failed(error)
        return log

    def _leave(self, function: Callable[..., object]) -> None:
        """Asks this one no more. Whoever goes through the others just then goes through all there were."""
        self._implementations = tuple(each for each in self._implementations if each[1] is not function)

    def _drop(self, plugin: Plugin, drop: Drop, log: AccessLog) -> None:
        if log.protocol:
            self._totals.drop(plugin.name, rule_of(drop))
        else:
            self._totals.dropped_alone += 1


def rule_of(drop: Drop) -> str:
    """The rule that a plugin names, fit for a line of the totals."""
    rule = drop.rule
    return printable(rule[:MAX_RULE]) if type(rule) is str else ""
