"""The routes of every service: the user's patterns, then what is learned; known paths are found at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rover_plugin_routes.learning import Learned
from rover_plugin_routes.patterns import Patterns
from rover_plugin_routes.segments import split

MAX_SERVICES = 256
"""Services that are learned of; beyond it the one is forgotten of which nothing new was asked for longest."""
MAX_LEVELS = 50_000
"""Levels of all of them, beyond which the same happens: 300 bytes each are 15 MB. A service has some
hundred; one whose paths are made up to that end has some thousand."""
MAX_KNOWN = 16_384
"""Paths whose routes are kept, of all services together. When there are more, all are found anew, which takes
some microseconds for each."""
MAX_KNOWN_PATH = 256
"""Characters of such a path, so that all take 8 MB at most. A longer one is found anew each time."""
NOT_FOUND = 404

Route = tuple[str, str]
"""`http.route` and `rover.route.source`."""


class Limits(NamedTuple):
    """How much is learned of one service."""

    words: int = 20
    routes: int = 200


class Service:
    """What is known of one."""

    __slots__ = ("calls", "changes", "known", "learned", "patterns")

    def __init__(self, patterns: tuple[Patterns, ...], limits: Limits) -> None:
        self.patterns = patterns
        self.learned = Learned(limits.words, limits.routes)
        self.changes = 0
        self.calls: dict[str, Route] = {}
        """The routes of methods of gRPC, which stay as they are."""
        self.known: dict[str, Route] = {}
        """By path."""

    @property
    def levels(self) -> int:
        """How much is known, in levels."""
        return self.learned.levels + len(self.calls)


class Router:
    """Finds the routes of paths, and learns from them."""

    def __init__(
        self,
        patterns: Mapping[str, Patterns],
        limits: Limits | None,
        *,
        services: int = MAX_SERVICES,
        levels: int = MAX_LEVELS,
    ) -> None:
        """`patterns`: by the name of their service (`by_service`). `limits`: None where nothing is learned,
        and there are no routes but the user's."""
        self._patterns = patterns
        self._limits = limits
        self._most_services = services
        self._most_levels = levels
        self._services: dict[tuple[str, int], Service] = {}
        self._known = 0
        self.levels = 0
        """How much is known, of all services."""
        self.is_idle = limits is None and not patterns
        """Whether there are no routes at all."""

    def find(self, key: tuple[str, int], path: str, status: object, call: bool) -> Route | None:
        """The route of a path of the service that has this name and this port; None where it has none.

        `status`: of the answer, None where there was none: that, and 404, teach nothing. `call`: it is a
        method of gRPC.
        """
        service = self._services.get(key)
        if service is not None:
            route = service.known.get(path)
            if route is not None:
                return route
        return self._find(self._latest(key), path, status, call)

    def _find(self, service: Service, path: str, status: object, call: bool) -> Route | None:
        segments, cut = split(path)
        route: Route | None = None
        for patterns in service.patterns:
            found = patterns.find(segments, cut)
            if found:
                route = found, "user"
                break
        limits = self._limits
        if route is None and limits is not None:
            teaches = status is not None and status != NOT_FOUND
            before = service.levels
            if call:
                route = self._call(service.calls, path, teaches, limits.routes)
            else:
                route = service.learned.find(segments, cut, teaches)
                if service.changes != service.learned.changes:
                    service.changes = service.learned.changes
                    self._known -= len(service.known)
                    service.known.clear()
            self.levels += service.levels - before
            self._forget()
        if route is not None and len(path) <= MAX_KNOWN_PATH:
            self._keep(service, path, route)
        return route

    def _call(self, calls: dict[str, Route], path: str, teaches: bool, most: int) -> Route | None:
        route = calls.get(path)
        if route is None and teaches and len(calls) < most and len(path) <= MAX_KNOWN_PATH:
            route = calls[path] = path, "shape"
        return route

    def _keep(self, service: Service, path: str, route: Route) -> None:
        if self._known >= MAX_KNOWN:
            for each in self._services.values():
                each.known.clear()
            self._known = 0
        service.known[path] = route
        self._known += 1

    def _latest(self, key: tuple[str, int]) -> Service:
        """The service of this name and port, which is the last now that is forgotten."""
        service = self._services.pop(key, None)
        if service is None:
            name = key[0].lower().removesuffix(f":{key[1]}")
            patterns = tuple(
                self._patterns[each] for each in dict.fromkeys((name, "")) if each in self._patterns
            )
            service = Service(patterns, self._limits or Limits())
            self.levels += service.levels
        self._services[key] = service
        self._forget()
        return service

    def _forget(self) -> None:
        """Makes room, where more is known than may be; never of the latest service."""
        while len(self._services) > 1 and (
            len(self._services) > self._most_services or self.levels > self._most_levels
        ):
            forgotten = self._services.pop(next(iter(self._services)))
            self._known -= len(forgotten.known)
            self.levels -= forgotten.levels
