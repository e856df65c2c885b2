"""The plugins that look at access logs, in their order: a filter sees the route that was found, and what was
really sent; what the sinks get has the route, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captures import Line, Segment, write_capture

TARGETS = ("/users/1?token=s3cr3t", "/users/2", "/healthz", "/orders/3?token=s3cr3t")


def replay(directory: Path, *options: str) -> list[tuple[str, str | None]]:
    """The target and the route of each log that a sink got."""
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    for target in TARGETS:
        line.client(f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
        line.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    line.close()
    capture = write_capture(directory / "one.pcap", segments)
    argv = [sys.executable, "-m", "rover", "replay", str(capture), "--sink", "jsonl", *options]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "s3cr3t" not in ran.stdout
    logs = [json.loads(each) for each in ran.stdout.splitlines()]
    return [(each["url.original"], each.get("http.route")) for each in logs]


def test_nothing_is_dropped_unless_asked_for(tmp_path: Path) -> None:
    assert [route for _, route in replay(tmp_path)] == ["/users/{}", "/users/{}", "/healthz", "/orders/{}"]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("http.route == '/users/{}'", ["/users/{}", "/users/{}"]),
        ("http.route != '/healthz'", ["/users/{}", "/users/{}", "/orders/{}"]),
        ("url.query.contains('s3cr3t')", ["/users/{}", "/orders/{}"]),
        ("http.route.startswith('/orders') and url.query == 'token=s3cr3t'", ["/orders/{}"]),
    ],
)
def test_a_filter_sees_the_route_and_what_was_sent(tmp_path: Path, expression: str, kept: list[str]) -> None:
    assert [route for _, route in replay(tmp_path, "--filter", expression)] == kept


def test_a_filter_sees_the_users_patterns(tmp_path: Path) -> None:
    pattern = ("--set", "plugin.routes.patterns=/users/{id}")
    expression = "http.route == '/users/{id}'"
    assert [route for _, route in replay(tmp_path, *pattern, "--filter", expression)] == ["/users/{id}"] * 2
