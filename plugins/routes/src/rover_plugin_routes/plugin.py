"""The hooks."""

from __future__ import annotations

from rover import NEVER, AccessLog, Never, Setting, Settings, hookimpl
from rover_plugin_routes.logs import Naming
from rover_plugin_routes.patterns import by_service
from rover_plugin_routes.router import Limits, Router

DEFAULTS = Limits()
SETTINGS = [
    Setting(
        "patterns",
        [],
        "routes of your own, as in /users/{id}, /files/{path...}, or shop/orders/{id} of the service shop",
    ),
    Setting("derive", True, "find routes of all other paths, by the shape of their segments and by learning"),
    Setting(
        "words",
        DEFAULTS.words,
        "words that are learned of one level of a service's paths; more of them become {}",
        minimum=1,
        maximum=1000,
    ),
    Setting(
        "limit",
        DEFAULTS.routes,
        "routes of one service, your own aside; beyond it the words of the largest level become {}",
        minimum=1,
        maximum=10_000,
    ),
]


class Plugin:
    """The hooks. What is learned belongs to a run: each begins anew, and so does each worker process."""

    def __init__(self) -> None:
        self._naming: Naming | None = None

    @hookimpl
    def register_settings(self) -> list[Setting]:
        """`plugin.routes.*`."""
        return SETTINGS

    @hookimpl
    def startup(self, settings: Settings) -> None:
        """Raises UsageError for a pattern that is none."""
        own = settings.section("plugin.routes")
        limits = Limits(own["words"], own["limit"]) if own["derive"] else None
        router = Router(by_service(own["patterns"]), limits)
        self._naming = None if router.is_idle else Naming(router)

    @hookimpl
    def shutdown(self) -> None:
        """Forgets what was learned."""
        self._naming = None

    @hookimpl(tryfirst=True)
    def handle_access_log(self, log: AccessLog) -> AccessLog | Never | None:
        """The log with its route, where it has one: before all plugins that look at it."""
        naming = self._naming
        return NEVER if naming is None else naming.with_route(log)
