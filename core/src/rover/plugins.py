"""Finding plugins, and keeping each one's failures its own."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.metadata
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import pluggy

from rover import hookspecs
from rover.decoder import ProtocolSpec
from rover.sink import SinkSpec
from rover.source import SourceSpec

GROUP = "rover"
REPORT_INTERVAL = 60.0
"""Seconds between two log lines about the same failure of the same plugin."""

HOOKS = tuple(sorted(n for n in vars(hookspecs) if hasattr(getattr(hookspecs, n), "rover_spec")))

logger = logging.getLogger("rover.plugins")
Spec = TypeVar("Spec", ProtocolSpec, SourceSpec, SinkSpec)


@dataclasses.dataclass(slots=True)
class Plugin:
    """An installed plugin and how it fared."""

    name: str
    distribution: str
    """Name and version of the package it came with; empty when registered directly."""
    hooks: tuple[str, ...] = ()
    failures: dict[str, int] = dataclasses.field(default_factory=dict)
    """How often each kind of failure happened: "handle_exchange: ValueError" -> 3."""
    last: dict[str, str] = dataclasses.field(default_factory=dict)
    """The newest message of each kind."""
    provides: list[str] = dataclasses.field(default_factory=list)
    """What it registered: "protocol http1", "sink jsonl"."""
    _reported: dict[str, float] = dataclasses.field(default_factory=dict)

    def failed(self, where: str, error: BaseException) -> None:
        """Counts a failure; logs it once per kind and minute."""
        kind = f"{where}: {type(error).__name__}"
        self.last[kind] = first_line(error)
        self.failures[kind] = self.failures.get(kind, 0) + 1
        now = time.monotonic()
        if now - self._reported.get(kind, -REPORT_INTERVAL) >= REPORT_INTERVAL:
            self._reported[kind] = now
            logger.error("plugin %s: %s: %s", self.name, kind, first_line(error))
            logger.debug("plugin %s", self.name, exc_info=error)


class Guarded:
    """Holds a plugin's hooks, guarded, as attributes; pluggy tells plugins apart by identity."""


MAX_MESSAGE = 500
"""Characters of an error's message that are shown: some six lines of a terminal."""


def first_line(error: BaseException) -> str:
    """An error's message on one line, whatever a plugin put into it: what a terminal would obey is
    escaped, and a message that cannot be made is said to be so. Never raises."""
    try:
        message = (str(error).strip()[:MAX_MESSAGE].splitlines() or [""])[0]
        return message if message.isprintable() else repr(message)[1:-1]
    except BaseException as failure:  # a message may have code of its own
        return f"its message cannot be read: {type(failure).__name__}"


class Implementation(NamedTuple):
    """One plugin's implementation of a hook, to be called with the hook's arguments in their order."""

    function: Callable[..., object]
    chosen: list[int] | None
    """Which of them it takes; None for all."""
    failed: Callable[[BaseException], None]
    """Told of its exceptions."""


class PluginManager:
    """The installed plugins, their hooks and what they registered."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("rover")
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.hook = self._manager.hook

    def load_entry_points(self) -> None:
        """Loads and registers every installed plugin. One that fails is kept, with its failure."""
        found = importlib.metadata.entry_points(group=GROUP)
        for entry in sorted(found, key=lambda entry: entry.name):
            dist = entry.dist
            label = f"{dist.name} {dist.version}" if dist is not None else ""
            try:
                module = entry.load()
            except (Exception, SystemExit) as error:
                plugin = Plugin(entry.name, label)
                self.plugins.append(plugin)
                plugin.failed("import", error)
                continue
            self.register(module, entry.name, label)

    def register(self, module: object, name: str, distribution: str = "") -> Plugin:
        """Registers one plugin. A misspelt or ill-formed hook refuses the whole plugin."""
        plugin = Plugin(name, distribution)
        self.plugins.append(plugin)
        try:
            guarded = self._guard(plugin, module)
            self._manager.register(guarded, name)
        except Exception as error:
            plugin.failed("refused", error)
        else:
            plugin.hooks = tuple(sorted(set(vars(guarded))))
        return plugin

    def _guard(self, plugin: Plugin, module: object) -> Guarded:
        """A stand-in for the plugin, whose hooks count their exceptions and return None."""
        guarded = Guarded()
        for name in dir(module):
            if name.startswith("__"):
                continue
            options = self._manager.parse_hookimpl_opts(module, name)
            if options is None:
                continue
            if name not in HOOKS:
                near = difflib.get_close_matches(name, HOOKS, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; hooks are {', '.join(HOOKS)}"
                raise ValueError(f"there is no hook {name}{hint}")
            if options["wrapper"] or options["hookwrapper"]:
                raise ValueError(
                    f"{name} is a hook wrapper: one plugin could stop another, so none are taken"
                )
            function = getattr(module, name)
            wrapper = guard(function, functools.partial(plugin.failed, name))
            setattr(guarded, name, hookspecs.hookimpl(**marker_options(options))(wrapper))
        return guarded

    def collect(self, hook: str, kind: type[Spec]) -> list[Spec]:
        """What all plugins returned from `register_protocols`, `_sources` or `_sinks`.

        A value of the wrong type, or a name that is taken, is its plugin's failure.
        """
        specs: dict[str, Spec] = {}
        label = hook.removeprefix("register_").removesuffix("s")
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        for implementation in caller.get_hookimpls():
            plugin = self._plugin(implementation.plugin_name)
            returned = cast("Sequence[Spec] | None", implementation.function())
            try:
                for spec in returned or ():
                    if not isinstance(spec, kind):
                        raise TypeError(f"returned {spec!r} where a {kind.__name__} is due")
                    if spec.name in specs:
                        raise ValueError(f"{label} {spec.name!r} is registered by another plugin already")
                    specs[spec.name] = spec
                    plugin.provides.append(f"{label} {spec.name}")
            except Exception as error:
                plugin.failed(hook, error)
        return list(specs.values())

    def first_result(self, hook: str) -> list[Implementation]:
        """The implementations of a hook that returns an access log, in pluggy's order.

        Every exchange goes through one, so they are found once, not at each call; what calls them
        reports their exceptions (`Implementation.failed`) and goes on with the next.
        """
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        assert caller.spec is not None  # noqa: S101
        names = list(caller.spec.argnames)
        return [
            Implementation(
                cast("Any", each.function).__wrapped__,
                None if list(each.argnames) == names else [names.index(name) for name in each.argnames],
                functools.partial(self._plugin(each.plugin_name).failed, hook),
            )
            for each in reversed(caller.get_hookimpls())
        ]

    def owner(self, provided: str) -> Plugin | None:
        """The plugin that registered e.g. "protocol http1"."""
        return next((p for p in self.plugins if provided in p.provides), None)

    def _plugin(self, name: str) -> Plugin:
        return next(p for p in self.plugins if p.name == name)

    def failures(self) -> Iterable[tuple[str, str, int]]:
        """(plugin, kind and newest message, count) of everything that went wrong."""
        return [
            (p.name, f"{kind}: {p.last[kind]}", n) for p in self.plugins for kind, n in p.failures.items()
        ]


def guard(function: Callable[..., Any], failed: Callable[[BaseException], None]) -> Callable[..., Any]:
    """`function`, with an exception reported to `failed` and None returned instead."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failed(error)
            return None

    return guarded


def marker_options(options: Any) -> dict[str, Any]:
    """Those of pluggy's hookimpl options that matter for order."""
    return {key: options[key] for key in ("tryfirst", "trylast", "optionalhook")}
