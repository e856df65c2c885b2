"""HTTPS of real programs: each exchange once at each end, its sizes right, each socket call once."""

from __future__ import annotations

from typing import Any

import pytest

from tls_peers import (
    CLIENTS,
    COUNT,
    ONLY_HTTP1,
    ONLY_HTTP2,
    SERVERS,
    Place,
    Start,
    begin,
    check,
    expected,
)

pytestmark = pytest.mark.live


SPOKEN = [
    (client, server)
    for server in SERVERS
    for client in ("curl1", "curl2")
    if server not in (ONLY_HTTP1 if client == "curl2" else ONLY_HTTP2)
]


@pytest.mark.parametrize(("client", "server"), SPOKEN)
def test_servers(server: str, client: str, place: Place, start_program: Start, start_agent: Any) -> None:
    ask, version = CLIENTS[client]
    begin(server, place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    ask(place.port)
    lines = check(agent, ("client", "server"), expected())
    versions = {line["network.protocol.version"] for line in lines if "network.protocol.version" in line}
    assert versions == {version}


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in ("curl1", "curl2")])
def test_clients(client: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """All against nginx, but those that have their library in themselves: the first of such a program's
    processes speaks before the program is known."""
    begin({"go1": "go", "go2": "go", "node": "node"}.get(client, "nginx"), place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    CLIENTS[client][0](place.port)
    # Each of h2load's connections asks for the first ones.
    wanted = expected() if not client.startswith("h2load") else expected([*range(1, COUNT // 5 + 1)] * 5)
    check(agent, ("client", "server"), wanted)
