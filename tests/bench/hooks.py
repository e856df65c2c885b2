"""What the hooks that look at every access log cost: filtering by an expression, masking, routes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from rover import AccessLog, Attributes, Shape
from rover.http import HTTP_NAMES, split_target
from rover.plugins.manager import PluginManager
from rover.run.agent import start_plugins
from rover.run.configuration import Catalogue
from rover.testing import connection
from rover_plugin_filter import plugin as filtering
from rover_plugin_mask import plugin as masking
from rover_plugin_routes import plugin as routing

LOGS = 2_000
TIMES = 50
CONDITIONS = 'status >= 500 or duration > 200ms and path.startswith("/api") or method == "TRACE"'
SHAPE = Shape(HTTP_NAMES)
TARGETS: dict[str, Callable[[random.Random], str]] = {
    "no query": lambda rng: f"/users/{rng.getrandbits(30)}/orders",
    "two parameters": lambda rng: f"/search?q={rng.getrandbits(30)}&page={rng.randrange(9)}",
    "a secret among three": lambda rng: f"/a?page=1&token={rng.getrandbits(30)}&q={rng.getrandbits(30)}",
}


def logs(target: Callable[[random.Random], str]) -> list[AccessLog]:
    """No two targets alike."""
    rng, facts = random.Random(5), connection()
    made = []
    for _ in range(LOGS):
        sent = target(rng)
        path, query = split_target(sent)
        start = ("GET", sent, path, query or None, ("a.example",), "curl/7.88", 100, 0, 200, 90, 15)
        cells: Any = start + (None,) * (len(HTTP_NAMES) - len(start))
        attributes: Any = Attributes(SHAPE, cells)
        made.append(
            AccessLog(
                connection=facts,
                start=0,
                end=300_000_000,
                protocol="http",
                version="1.1",
                attributes=attributes,
            )
        )
    return made


def cost(hook: Callable[[AccessLog], object], each: list[AccessLog]) -> float:
    """us of processor time a log."""
    begun = time.process_time()
    for _ in range(TIMES):
        for log in each:
            hook(log)
    return (time.process_time() - begun) / (TIMES * len(each)) * 1e6


def rows(medians: Callable[..., list[float]], say: Callable[[str], None]) -> None:
    """A line for each: without the loop around the calls."""
    manager = PluginManager()
    manager.load_entry_points()
    settings = Catalogue(manager).settings(None, (), {"plugin.filter.keep": CONDITIONS})
    start_plugins(manager, settings)
    measured: dict[str, tuple[Callable[[AccessLog], object], list[AccessLog]]] = {
        "filter: three conditions and one that decides": (
            filtering.handle_access_log,
            logs(TARGETS["no query"]),
        )
    }
    measured |= {f"mask: {name}": (masking.handle_access_log, logs(of)) for name, of in TARGETS.items()}
    measured["routes: no two paths alike"] = (routing.handle_access_log, logs(TARGETS["no query"]))
    empty = logs(TARGETS["no query"])
    measures = [lambda pair=pair: cost(*pair) for pair in measured.values()]
    *costs, loop = medians(*measures, lambda: cost(nothing, empty))
    for name, each in zip(measured, costs, strict=True):
        say(f"  {name:55} {max(each - loop, 0):8.2f} us")


def nothing(_log: AccessLog) -> None:
    """As little as a call does."""
