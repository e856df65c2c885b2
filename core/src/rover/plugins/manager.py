"""Finding plugins, and keeping each one's failures its own."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.metadata
import inspect
import itertools
import logging
import time
import traceback
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar, cast

import pluggy

from rover.contracts import hooks
from rover.contracts.protocol import ProtocolSpec
from rover.contracts.settings import Setting
from rover.contracts.sink import SinkSpec
from rover.contracts.source import SourceSpec
from rover.contracts.tls_library import TlsLibrarySpec
from rover.errors import UsageError
from rover.plugins.guard import check_name, check_setting, check_spec, found

GROUP = "rover"
REPORT_INTERVAL = 60.0
"""Seconds between two log lines about the same failure of the same plugin."""
MAX_KINDS = 32
"""Kinds of failure kept of a plugin: more than it has methods that can fail. One that makes a new class
of exception each time has the rest of its failures counted as one kind."""
OTHERS = "others"
MAX_SPECS = 1000
"""Specifications taken from one hook: no plugin has so many, an iterator without end has more."""

LABELS = {
    "register_protocols": "protocol",
    "register_sources": "source",
    "register_sinks": "sink",
    "register_tls_libraries": "tls",
}
"""What one thing of each hook is called."""
HOOKS = tuple(sorted(n for n in vars(hooks) if hasattr(getattr(hooks, n), "rover_spec")))

logger = logging.getLogger("rover.plugins")
Spec = TypeVar("Spec", ProtocolSpec, SourceSpec, SinkSpec, TlsLibrarySpec)


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
    module: str = ""
    """Where its hooks are: the classes of its sources and sinks are from there, or from below."""
    provides: list[str] = dataclasses.field(default_factory=list)
    """What it registered: "protocol http1", "sink jsonl"."""
    _reported: dict[str, float] = dataclasses.field(default_factory=dict)

    def failed(self, where: str, error: BaseException) -> None:
        """Counts a failure; logs it once per kind and minute. Never raises."""
        kind = f"{where}: {class_name(error)}"
        if kind not in self.failures and len(self.failures) >= MAX_KINDS:
            kind = OTHERS
        message = first_line(error)
        self.last[kind] = message
        self.failures[kind] = self.failures.get(kind, 0) + 1
        now = time.monotonic()
        if now - self._reported.get(kind, -REPORT_INTERVAL) >= REPORT_INTERVAL:
            self._reported[kind] = now
            logger.error("plugin %s: %s: %s", self.name, kind, message)
            if logger.isEnabledFor(logging.DEBUG):
                # Without the exception itself: its text may hold what a terminal obeys.
                trace = BaseException.__dict__["__traceback__"].__get__(error)
                logger.debug("plugin %s:\n%s", self.name, "".join(traceback.format_tb(trace)))


class Guarded:
    """Holds a plugin's hooks, guarded, as attributes; pluggy tells plugins apart by identity."""


def class_name(error: BaseException) -> str:
    """The name of an exception's class, whatever a plugin called it."""
    name: str = type.__dict__["__name__"].__get__(type(error))[:MAX_MESSAGE]  # no metaclass is asked
    return name if name.isprintable() else repr(name)[1:-1]


MAX_MESSAGE = 500
"""Characters of an error's message that are shown: some six lines of a terminal."""


def printable(text: str) -> str:
    """A plugin's text on one line of a terminal: what that would obey is escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def first_line(error: BaseException) -> str:
    """An error's message on one line, whatever a plugin put into it: what a terminal would obey is
    escaped, and a message that cannot be made is said to be so. Never raises."""
    try:
        text = str.__str__(str(error))  # a class derived from str has code of its own
        return printable((text.strip()[:MAX_MESSAGE].splitlines() or [""])[0])
    except BaseException as failure:  # a message may have code of its own
        return f"its message cannot be read: {class_name(failure)}"


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
        self._manager.add_hookspecs(hooks)
        self.plugins: list[Plugin] = []
        self.hook = self._manager.hook

    def load_entry_points(self) -> None:
        """Loads and registers every installed plugin. One that fails is kept, with its failure."""
        installed = importlib.metadata.entry_points(group=GROUP)
        for entry in sorted(installed, key=lambda entry: entry.name):
            label = ""
            try:
                dist = entry.dist
                label = f"{dist.name} {dist.version}" if dist is not None else ""
                module = entry.load()
            except BaseException as error:
                plugin = Plugin(entry.name, label)
                self.plugins.append(plugin)
                plugin.failed("import", error)
                continue
            self.register(module, entry.name, label)

    def register(self, module: object, name: str, distribution: str = "") -> Plugin:
        """Registers one plugin. A misspelt or ill-formed hook refuses the whole plugin."""
        plugin = Plugin(name, distribution)
        self.plugins.append(plugin)
        guarded = Guarded()
        try:
            if not name:
                raise ValueError("its entry point has no name")  # pluggy would make one up
            self._guard(plugin, module, guarded)
            self._manager.register(guarded, name)
            plugin.module = module_of(module)
        except BaseException as error:
            plugin.failed("refused", error)
            if self._manager.is_registered(guarded):  # pluggy has taken what it had looked at
                self._manager.unregister(guarded)
        else:
            plugin.hooks = tuple(sorted(set(vars(guarded))))
        return plugin

    def _guard(self, plugin: Plugin, module: object, guarded: Guarded) -> None:
        """Makes a stand-in for the plugin, whose hooks count their exceptions and return None."""
        for name in dir(module):
            if name.startswith("__"):
                continue
            options = self._manager.parse_hookimpl_opts(module, name) or compiled_options(module, name)
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
            wrapper = guard(function, plugin, name)
            setattr(guarded, name, hooks.hookimpl(**marker_options(options))(wrapper))

    def collect(self, hook: str, kind: type[Spec]) -> list[Spec]:
        """What all plugins returned from `register_protocols`, `_sources`, `_sinks` or `_tls_libraries`.

        A value of the wrong type, or a name that is taken, is its plugin's failure.
        """
        specs: dict[str, Spec] = {}
        label = LABELS[hook]
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        for implementation in caller.get_hookimpls():
            plugin = self._plugin(implementation.plugin_name)
            returned = cast("Iterable[object] | None", implementation.function())
            if returned is None:
                continue
            try:
                offered = list(itertools.islice(returned, MAX_SPECS))
            except BaseException as error:
                plugin.failed(hook, error)
                continue
            for offer in offered:
                try:
                    check_spec(offer, kind)
                    spec = cast("Spec", offer)
                    if spec.name in specs:
                        holder = self.blame(f"{label} {spec.name}").name
                        raise ValueError(f"{label} {spec.name!r} is registered by plugin {holder} already")
                except BaseException as error:
                    plugin.failed(hook, error)
                else:
                    specs[spec.name] = spec
                    plugin.provides.append(f"{label} {spec.name}")
        return list(specs.values())

    def settings(self) -> dict[str, Setting]:
        """What plugins returned from `register_settings`, by full key.

        What declares no setting, or a name that is taken, is its plugin's failure.
        """
        declared: dict[str, Setting] = {}
        for plugin, hook in self.implementations("register_settings"):
            returned = cast("Iterable[object] | None", hook(None))
            if returned is None:
                continue
            try:
                check_name("a plugin", plugin.name)
                offered = list(itertools.islice(returned, MAX_SPECS))
            except BaseException as error:
                plugin.failed("register_settings", error)
                continue
            prefix = f"plugin.{plugin.name}"
            for offer in offered:
                try:
                    setting = check_setting(prefix, offer)
                    key = f"{prefix}.{setting.name}"
                    if key in declared:
                        raise ValueError(f"{key} is there twice")
                except BaseException as error:
                    plugin.failed("register_settings", error)
                else:
                    declared[key] = setting
            if offered:
                plugin.provides.append("settings")
        return declared

    def first_result(self, hook: str) -> list[Implementation]:
        """The implementations of a hook, in pluggy's order.

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

    def implementations(self, hook: str) -> Iterable[tuple[Plugin, Callable[..., object]]]:
        """Each plugin's implementation of a hook with one argument, guarded, in pluggy's order."""
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        for each in reversed(caller.get_hookimpls()):
            function = each.function if each.argnames else functools.partial(_without, each.function)
            yield self._plugin(each.plugin_name), function

    def owner(self, provided: str) -> Plugin | None:
        """The plugin that registered e.g. "protocol http1"."""
        return next((p for p in self.plugins if provided in p.provides), None)

    def blame(self, provided: str) -> Plugin:
        """The same, and where no plugin registered it, one in its name that failures are counted for."""
        return self.owner(provided) or self._named(provided)

    def maker(self, thing: object) -> Plugin:
        """The plugin whose module made the class of a source or a sink; where there is none, one in the
        name of the class."""
        kind = type(thing)
        made_in = f"{module_of(kind)}."
        for plugin in self.plugins:
            if plugin.module and made_in.startswith(f"{plugin.module}."):
                return plugin
        return self._named(type.__dict__["__name__"].__get__(kind))

    def _named(self, name: str) -> Plugin:
        known = next((p for p in self.plugins if p.name == name), None)
        if known is None:
            known = Plugin(name, "")
            self.plugins.append(known)
        return known

    def _plugin(self, name: str) -> Plugin:
        return next(p for p in self.plugins if p.name == name)

    def failures(self) -> Iterable[tuple[str, str, int]]:
        """(plugin, kind and newest message, count) of everything that went wrong."""
        return [
            (p.name, f"{kind}: {p.last[kind]}", n) for p in self.plugins for kind, n in p.failures.items()
        ]


def module_of(thing: object) -> str:
    """The module a class is from, or the name of a module; empty when it tells none."""
    name = getattr(thing, "__name__" if isinstance(thing, ModuleType) else "__module__", "")
    return name if isinstance(name, str) else ""


def guard(function: Callable[..., Any], plugin: Plugin, hook: str) -> Callable[..., Any]:
    """A plugin's hook. Whatever it raises is counted as its failure, and None is returned instead.

    A UsageError of `startup` is passed on: it refuses the run. A result of a hook that has to return
    nothing is a failure, too, such as a coroutine that is never awaited.
    """
    silent = getattr(hooks, hook).__annotations__.get("return") == "None"

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            returned = function(*args, **kwargs)
            if silent and returned is not None:
                raise TypeError(f"returned {found(returned)} where nothing is due")
        except BaseException as error:
            if hook == "startup" and issubclass(type(error), UsageError):
                raise
            plugin.failed(hook, error)
            return None
        return returned

    return guarded


def _without(function: Callable[[], object], _argument: object) -> object:
    """A hook that leaves its argument out."""
    return function()


def compiled_options(module: object, name: str) -> pluggy.HookimplOpts | None:
    """The mark of a hook that Cython has compiled: pluggy takes none for hooks but functions of Python."""
    function = inspect.getattr_static(module, name, None)
    if type(function).__name__ != "cython_function_or_method":
        return None
    return cast("pluggy.HookimplOpts | None", getattr(function, "rover_impl", None))


def marker_options(options: Any) -> dict[str, Any]:
    """Those of pluggy's hookimpl options that matter for order."""
    return {key: options[key] for key in ("tryfirst", "trylast", "optionalhook")}
