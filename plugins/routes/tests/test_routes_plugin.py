"""The hook: which logs get a route, in either form of attributes, and whose it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captures import Line, Segment, write_capture
from rover import NEVER, AccessLog, Address, Attributes, Role, Settings, Shape, UsageError
from rover.http import HTTP_NAMES
from rover.plugins.manager import PluginManager
from rover.testing import access_logs, connection
from rover_plugin_routes import Plugin, plugin

SHAPE = Shape((*HTTP_NAMES, "rpc.system.name", "rpc.method", "rpc.status_code"))


def started(**given: object) -> Plugin:
    """The plugin of a run with these settings."""
    made = Plugin()
    declared = {f"plugin.routes.{setting.name}": setting for setting in made.register_settings()}
    made.startup(Settings(declared, {f"plugin.routes.{name}": value for name, value in given.items()}))
    return made


def log(
    path: str | None = "/users/7",
    *,
    shaped: bool = True,
    role: Role | None = Role.SERVER,
    **more: str | int | None,
) -> AccessLog:
    said: dict[str, Any] = {
        "http.request.method": "GET",
        "url.path": path,
        "http.response.status_code": 200,
        "http.request.header.host": ("shop.example:80",),
        **{name.replace("_", "."): value for name, value in more.items()},
    }
    if "status" in more:
        said["http.response.status_code"] = more["status"]
    if shaped:
        attributes: Any = Attributes(SHAPE, tuple(said.get(name) for name in SHAPE.names))
    else:
        attributes = {name: value for name, value in said.items() if value is not None}
    return AccessLog(
        connection=connection(role), start=1, end=2, protocol="http", version="1.1", attributes=attributes
    )


def route(running: Plugin, each: AccessLog) -> tuple[object, object] | None:
    """What it says of the log; all else of it stays."""
    made = running.handle_access_log(each)
    if made is None:
        return None
    assert made is not NEVER
    said = dict(made.attributes)
    found = said.pop("http.route"), said.pop("rover.route.source")
    assert said == dict(each.attributes)
    assert made.replace(attributes=each.attributes) == each
    assert type(made.attributes) is type(each.attributes)
    return found


both = pytest.mark.parametrize("shaped", [True, False])


@both
def test_a_log_with_a_path_gets_a_route(shaped: bool) -> None:
    running = started()
    assert route(running, log(shaped=shaped)) == ("/users/{}", "shape")
    assert route(running, log("/", shaped=shaped)) == ("/", "shape")


@both
def test_a_log_without_one_does_not(shaped: bool) -> None:
    running = started()
    assert route(running, log(None, shaped=shaped)) is None
    assert route(running, log("/users", shaped=shaped, status=404)) is None
    assert route(running, log("/users", shaped=shaped, status=None)) is None


@pytest.mark.parametrize("each", access_logs())
def test_other_protocols_have_none(each: AccessLog) -> None:
    assert started().handle_access_log(each) is None
    assert started(patterns=["/{all...}"]).handle_access_log(each) is None


@both
def test_a_route_that_is_there_stays(shaped: bool) -> None:
    running = started()
    first = running.handle_access_log(log(shaped=shaped))
    assert isinstance(first, AccessLog)
    assert running.handle_access_log(first) is None


@both
def test_methods_of_grpc_stay(shaped: bool) -> None:
    running = started(words=1)
    for number in range(5):
        said = {"url.path": f"/a.B/Get{number}", "http.response.status_code": 200, "rpc.system.name": "grpc"}
        for status, found in (("UNIMPLEMENTED", None), ("OK", (f"/a.B/Get{number}", "shape"))):
            cells = {**said, "rpc.status_code": status}
            attributes: Any = Attributes(SHAPE, tuple(map(cells.get, SHAPE.names))) if shaped else cells
            assert route(running, log().replace(attributes=attributes)) == found


def test_the_users_patterns_go_first() -> None:
    running = started(patterns=["/users/{name}", "app/only/{here}", "shop.example/there/{x}"])
    assert route(running, log()) == ("/users/{name}", "user")
    assert route(running, log(status=404)) == ("/users/{name}", "user")
    assert route(running, log(status=None)) == ("/users/{name}", "user")
    assert route(running, log("/only/x")) == ("/only/{here}", "user")
    assert route(running, log("/only/x", role=Role.CLIENT)) == ("/only/x", "shape")
    assert route(running, log("/there/a", role=Role.CLIENT)) == ("/there/{x}", "user")


def test_only_the_users_patterns() -> None:
    running = started(derive=False, patterns=["/users/{name}"])
    assert route(running, log()) == ("/users/{name}", "user")
    assert route(running, log("/orders/7")) is None


def test_without_anything_to_do_it_leaves_the_run() -> None:
    assert started(derive=False).handle_access_log(log()) is NEVER
    running = started()
    assert route(running, log("/users"))
    running.shutdown()
    assert running.handle_access_log(log("/users")) is NEVER


def test_a_pattern_that_is_none_refuses_the_run() -> None:
    with pytest.raises(UsageError, match=r"plugin\.routes\.patterns: '/a\{': "):
        started(patterns=["/a{"])


def test_services_are_told_apart() -> None:
    """By the server's process and port, or by the host that a client asks."""
    running = started(words=1)
    served, asked = log("/a"), log("/a", role=Role.CLIENT)
    process = served.connection.process
    assert process is not None
    named = process.replace(attributes={"service.name": "shop"})
    other = Address(host="10.0.0.2", port=81)
    several = [
        served,
        served.replace(connection=served.connection.replace(process=named)),
        served.replace(connection=served.connection.replace(local=other)),
        served.replace(connection=served.connection.replace(process=None)),
        asked,
        asked.replace(connection=asked.connection.replace(remote=other)),
        asked.replace(attributes={**asked.attributes, "http.request.header.host": ("b.example",)}),
        asked.replace(
            connection=asked.connection.replace(remote=other),
            attributes={**asked.attributes, "http.request.header.host": ("x" * 256,)},
        ),
        served.replace(connection=served.connection.replace(role=None, remote=None)),
    ]
    for each in several:
        assert route(running, each) == ("/a", "shape")
        more = each.replace(attributes={**each.attributes, "url.path": "/b"})
        assert route(running, more) == ("/{}", "learned")


def test_shapes_without_end_are_no_leak() -> None:
    running = started()
    for number in range(1000):
        shape = Shape((f"own.{number}", "url.path", "http.response.status_code"))
        each = log().replace(attributes=Attributes(shape, (number, "/x", 200)))
        assert route(running, each) == ("/x", "shape")


def test_the_core_takes_it() -> None:
    manager = PluginManager()
    made = manager.register(plugin, "routes")
    assert not made.failures
    assert made.hooks == ("handle_access_log", "register_settings", "shutdown", "startup")
    ((first, _), *_) = manager.implementations("handle_access_log")
    assert first.name == "routes"


def test_replayed(tmp_path: Path) -> None:
    """As a user sees it: in JSON lines of either end, with a pattern and without."""
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    for path in ("/users/1", "/users/2", "/users/me", "/none"):
        status = "404 Not Found" if path == "/none" else "200 OK"
        line.client(f"GET {path}?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
        line.server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    line.close()
    capture = write_capture(tmp_path / "one.pcap", segments)

    def replay(*options: str) -> list[tuple[str | None, str | None]]:
        argv = [sys.executable, "-m", "rover", "replay", str(capture), "--sink", "jsonl", *options]
        ran = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert "failed" not in ran.stderr
        lines = [json.loads(each) for each in ran.stdout.splitlines()]
        return [(each.get("http.route"), each.get("rover.route.source")) for each in lines]

    derived = [("/users/{}", "shape")] * 2 + [("/users/me", "shape"), (None, None)]
    assert replay() == derived
    assert replay("--set", "plugin.routes.patterns=/users/me,/users/{id}") == [
        ("/users/{id}", "user"),
        ("/users/{id}", "user"),
        ("/users/me", "user"),
        (None, None),
    ]
    assert replay("--set", "plugin.routes.derive=no") == [(None, None)] * 4
