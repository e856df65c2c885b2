"""No access logs of health checks, and no query strings in others."""

from __future__ import annotations

from rover import DROP, AccessLog, Drop, Setting, Settings, hookimpl

_paths: set[str] = set()  # of this process: with --workers each has its own


@hookimpl
def register_settings() -> list[Setting]:
    return [Setting(name="paths", default=["/healthz"], help="paths of which there are no access logs")]


@hookimpl
def startup(settings: Settings) -> None:
    _paths.clear()
    _paths.update(settings["plugin.example.paths"])


@hookimpl
def handle_access_log(log: AccessLog) -> AccessLog | Drop | None:
    """The log, another one made of it, DROP, or None for "as it is"."""
    if log.attributes.get("url.path") in _paths:
        return DROP
    target, mark, _ = str(log.attributes.get("url.original", "")).partition("?")
    if not mark:
        return None
    kept = {name: value for name, value in log.attributes.items() if name != "url.query"}
    return log.replace(attributes={**kept, "url.original": target})
