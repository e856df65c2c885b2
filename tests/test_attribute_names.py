"""What the attributes of access logs are called, all packages together."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from rover.http import HTTP_NAMES
from rover_plugin_http2.grpc import GRPC_NAMES
from rover_plugin_redis.exchange import SHAPE as REDIS
from rover_plugin_sink_log.line import OWN

DOCUMENT = Path(__file__).parent.parent / "docs" / "access-logs.md"


def documented() -> set[str]:
    """The keys of the first table of docs/access-logs.md, `.size` after `a.b.type` read as `a.b.size`."""
    table = re.search(r"^\| key \| value \|\n(.*?)\n\n", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert table is not None
    found: set[str] = set()
    for row in table[1].splitlines():
        before = ""
        for name in re.findall(r"`([a-z0-9_.]+)`", row.split(" | ")[0]):
            before = f"{before.rpartition('.')[0]}{name}" if name.startswith(".") else name
            found.add(before)
    return found


def test_every_name_is_documented():
    known = documented()
    named = {*HTTP_NAMES, *GRPC_NAMES, *OWN, *(name for name in REDIS.names if name.startswith("db."))}
    assert {name for name in named if not name.startswith(("network.local.", "network.peer."))} <= known


def test_no_name_is_the_namespace_of_another():
    """Stores that nest objects by the dots of a name take no value where they have an object. `tls` was one
    before: OpenTelemetry has `tls.established` for it."""
    names = {*documented(), *HTTP_NAMES, *GRPC_NAMES, *OWN, *REDIS.names} - {"tls"}
    assert not [(a, b) for a, b in itertools.permutations(names, 2) if b.startswith(a + ".")]
