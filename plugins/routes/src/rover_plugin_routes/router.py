"""The routes of every service: the user's patterns, then what is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rover_plugin_routes.learning import Learned
from rover_plugin_routes.patterns import Patterns
from rover_plugin_routes.segments import split

MAX_SERVICES = 256
"""Services that are learned of; beyond it the one is forgotten that was not asked about for longest."""
MAX_LEVELS = 50_000
"""Levels of all of them, beyond which the same happens: 300 bytes each are 15 MB. A service has some
hundred; one whose paths are made up to that end has some thousand."""
MAX_CALL = 256
"""Characters of a method of gRPC whose route is kept: `package.Service/Method` has a fifth of it."""
NOT_FOUND = 404

Route = tuple[str, str]
"""`http.route` and `rover.route.source`."""


class Limits(NamedTuple):
    """How much is learned of one service."""

    words: int = 20
    routes: int = 200


class Service:
    """What is known of one."""

    __slots__ = ("asked", "calls", "key", "learned", "levels", "patterns")

    def __init__(self, key: tuple[str, int], patterns: tuple[Patterns, ...], limits: Limits) -> None:
        self.key = key
        self.patterns = patterns
        self.learned = Learned(limits.words, limits.routes)
        self.calls: dict[str, Route] = {}
        """The routes of methods of gRPC, which stay as they are."""
        self.levels = 0
        """How much is known, in levels, as the router has counted it."""
        self.asked = 0
        """When it was asked about last: the number of that question."""


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
        self._asked = 0
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
        if service is None:
            service = self._add(key)
        self._asked += 1
        service.asked = self._asked
        if service.patterns:
            found = self._pattern(service.patterns, path)
            if found:
                return found, "user"
        limits = self._limits
        if limits is None:
            return None
        teaches = status is not None and status != NOT_FOUND
        if call:
            route = self._call(service.calls, path, teaches, limits.routes)
        else:
            segments, cut = split(path)
            route = service.learned.find(segments, cut, teaches)
        levels = service.learned.levels + len(service.calls)
        if levels != service.levels:
            self._count(service, levels)
        return route

    def _pattern(self, several: tuple[Patterns, ...], path: str) -> str:
        """The pattern of a path; empty when there is none."""
        segments, cut = split(path)
        for patterns in several:
            found = patterns.find(segments, cut)
            if found:
                return found
        return ""

    def _call(self, calls: dict[str, Route], path: str, teaches: bool, most: int) -> Route | None:
        route = calls.get(path)
        if route is None and teaches and len(calls) < most and len(path) <= MAX_CALL:
            route = calls[path] = path, "shape"
        return route

    def _add(self, key: tuple[str, int]) -> Service:
        """The service of this name and port, of which nothing is known."""
        name = key[0].lower().removesuffix(f":{key[1]}")
        patterns = tuple(self._patterns[each] for each in dict.fromkeys((name, "")) if each in self._patterns)
        service = self._services[key] = Service(key, patterns, self._limits or Limits())
        service.asked = self._asked + 1
        self._count(service, service.learned.levels)
        return service

    def _count(self, service: Service, levels: int) -> None:
        """Takes what is known of the service into account. Makes room where more is known than may be, but
        never of this service, which was asked about last."""
        self.levels += levels - service.levels
        service.levels = levels
        services = self._services
        while len(services) > 1 and (len(services) > self._most_services or self.levels > self._most_levels):
            oldest = service
            for each in services.values():
                if each.asked < oldest.asked:
                    oldest = each
            del services[oldest.key]
            self.levels -= oldest.levels
