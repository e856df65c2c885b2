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


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", ["curl1", "curl2"])
def test_servers(server: str, client: str, place: Place, start_program: Start, start_agent: Any) -> None:
    ask, version = CLIENTS[client]
    if (server in ONLY_HTTP1 and version == "2") or (server in ONLY_HTTP2 and version != "2"):
        pytest.skip("is not spoken")
    begin(server, place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    ask(place.port)
    lines = check(agent, ("client", "server"), expected())
    versions = {line["network.protocol.version"] for line in lines if "network.protocol.version" in line}
    assert versions == {version}


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in ("curl1", "curl2")])
def test_clients(client: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """All against nginx, but Go's: the first of a program's processes speaks before the program is known."""
    begin("go" if client.startswith("go") else "nginx", place, start_program)
    agent = start_agent("--port", str(place.port), "--set", "sink.jsonl.kernel_logs=true")
    CLIENTS[client][0](place.port)
    # Each of h2load's connections asks for the first ones.
    wanted = expected() if not client.startswith("h2load") else expected([*range(1, COUNT // 5 + 1)] * 5)
    check(agent, ("client", "server"), wanted)
