"""The hooks."""

from __future__ import annotations

from rover import NEVER, AccessLog, Never, Setting, Settings, hookimpl
from rover_plugin_mask.logs import Masking
from rover_plugin_mask.names import Names
from rover_plugin_mask.paths import Paths
from rover_plugin_mask.texts import Texts

SETTINGS = (
    Setting("enabled", True, "whether secrets are masked; --no-mask is short for false"),
    Setting("names", [], "more names whose values are secrets: of parameters, headers; * is any characters"),
    Setting("shown", [], "names whose values are shown, whatever they look like; * is any characters"),
    Setting("paths", [], "paths with segments that are secrets, in braces, as in /reset/{token}"),
    Setting("attributes", [], "attributes that are masked as a whole, such as redis.key"),
)


class MaskPlugin:
    """Masks what the sinks are to get, after every other plugin."""

    def __init__(self) -> None:
        self._masking: Masking | None = None

    @hookimpl
    def register_settings(self) -> tuple[Setting, ...]:
        """Those of `plugin.mask`."""
        return SETTINGS

    @hookimpl
    def startup(self, settings: Settings) -> None:
        """Reads the rules; a path that is none refuses the run."""
        own = settings.section("plugin.mask")
        self._masking = None
        if own["enabled"]:
            names = Names(own["names"], own["shown"])
            self._masking = Masking(names, Texts(names, Paths(own["paths"])), frozenset(own["attributes"]))

    @hookimpl
    def shutdown(self) -> None:
        """The rules of a run are its own."""
        self._masking = None

    @hookimpl(trylast=True)
    def handle_access_log(self, log: AccessLog) -> AccessLog | Never | None:
        """The log without secrets."""
        masking = self._masking
        return NEVER if masking is None else masking.masked(log)
