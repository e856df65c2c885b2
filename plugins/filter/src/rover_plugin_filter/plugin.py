"""The hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover import NEVER, AccessLog, Drop, Never, Setting, Settings, hookimpl

if TYPE_CHECKING:
    from rover_plugin_filter.rules import Rules

SETTINGS = (
    Setting("keep", "", "an expression: only access logs for which it is true are kept; empty keeps all"),
    Setting("drop.*", "", "drops access logs, by a name for the totals: health = \"path == '/healthz'\""),
    Setting(
        "sample.*", "", 'how many are kept of those for which an expression is true: "status < 400" = "1 %"'
    ),
)


class FilterPlugin:
    """Keeps what the rules of a run keep."""

    def __init__(self) -> None:
        self._rules: Rules | None = None

    @hookimpl
    def register_settings(self) -> tuple[Setting, ...]:
        """Those of `plugin.filter`."""
        return SETTINGS

    @hookimpl
    def startup(self, settings: Settings) -> None:
        """Reads the rules; one that is none refuses the run."""
        given = settings.section("plugin.filter")
        self._rules = None
        if given != {"keep": ""}:
            from rover_plugin_filter.rules import rules_of  # some milliseconds, where there is no rule

            self._rules = rules_of(given)

    @hookimpl
    def shutdown(self) -> None:
        """The rules of a run are its own."""
        self._rules = None

    @hookimpl
    def handle_access_log(self, log: AccessLog) -> AccessLog | Drop | Never | None:
        """What the rules make of it."""
        rules = self._rules
        return NEVER if rules is None else rules.decide(log)
